"""Addresses of what a deployment's pages point to."""

from django.urls import NoReverseMatch, reverse

from apps.clusters.models import Pod
from apps.deployments.models import Deployment, Revision


def pod_url(deployment: Deployment, pod: Pod) -> str:
    """The page with the replica's log."""
    return reverse("deployments:replica", args=[deployment.project.name, deployment.name, pod.name])


def run_url(revision: Revision | None) -> str:
    """The page of the run that made the model, where there is one."""
    version = revision.model_version if revision else None
    if version is None or version.run is None:
        return ""
    try:
        return reverse("experiments:run", args=[version.model.project.name, version.run.uid])
    except NoReverseMatch:
        return ""
