"""Reads of the Kubernetes objects of a deployment: as they were applied, and as they were observed."""

from django.db.models import Q, QuerySet

from apps.clusters.models import Workload
from apps.core.errors import Missing
from apps.deployments.models import AppliedObject, Deployment

Place = tuple[int, str, str, str]
"""Cluster, namespace, kind and name of an object."""


def applied_objects(of: Deployment) -> QuerySet[AppliedObject]:
    """What was applied on all its targets, with the placements."""
    return AppliedObject.objects.filter(placement__deployment=of).select_related("placement__target__cluster")


def applied_object(of: Deployment, pk: int) -> AppliedObject:
    """One of them. Raises Missing."""
    row = applied_objects(of).filter(pk=pk).first()
    if row is None:
        raise Missing("There is no such object of this deployment any more.", hint="Its resources page lists them.")
    return row


def observed_objects(of: Deployment) -> dict[Place, Workload]:
    """What the watcher has seen of its objects; Secrets and other kinds are not watched."""
    where = Q(pk__in=[])
    for place in of.places:
        where |= Q(cluster_id=place.target.cluster_id, namespace=place.target.namespace)
    # By label and not by name: whose labels somebody took off is not known to be there.
    rows = Workload.objects.filter(
        where, project=of.project.name, labels__contains={"flotilla.dev/deployment": of.name}
    )
    return {(row.cluster_id, row.namespace, row.kind, row.name): row for row in rows}


def route_hosts(of: Deployment) -> list[str]:
    """The host names at which routes lead to it, as they were applied, in order."""
    rows = AppliedObject.objects.filter(placement__deployment=of, kind="HTTPRoute")
    named = rows.values_list("manifest__spec__hostnames", flat=True)
    return sorted({host for hosts in named for host in hosts or () if "*" not in host})
