"""An attempt's Secret and Job: two calls in the usual case, and the same two objects however often it is repeated.

Several workers have a Service, too. It is made after their Job, which owns it.
"""

import base64
import binascii
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.clusters.kube import errors as kube
from apps.clusters.kube.client import KubeClient
from apps.core.errors import Invalid
from apps.core.models import ApiToken
from apps.core.secrets.tokens import digest, revoke_tokens
from apps.experiments import manifests
from apps.experiments.decision.causes import NAME_TAKEN
from apps.experiments.manifests.checkpoints import checkpoints_claim
from apps.experiments.manifests.trainer import train_job
from apps.experiments.manifests.workers import meeting_service
from apps.experiments.models import Attempt, Run
from apps.experiments.reconcile.case import Case, new_token
from apps.experiments.reconcile.kept import make_claim, note_kept
from apps.experiments.specs import RunSpec, parse_spec


class RefusedError(Exception):
    """The API server does not accept what we ask for: trying again changes nothing."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def launch(case: Case, attempt: Attempt, client: KubeClient, token: str, now: datetime) -> str:
    """Make the Secret and the Job of an attempt; the Job's uid. `token` is the text that a first launch just made.

    Raises RefusedError, or another error of the adapter.
    """
    try:
        spec, job = parse_spec(case.run.spec), _job(case, attempt, now)
        _secret(case.run, client, token)
        _claim(case.run, spec, job, client)
        if spec.trainer:
            # Nobody else deletes it when it has ended, as Kubernetes does a Job.
            job = train_job(job, spec)
            note_kept(case.run, job)
        created = _create(client, job, case.run)
    except Invalid as error:
        raise RefusedError("Invalid", error.sentence) from error
    except kube.Invalid as error:
        raise RefusedError(error.reason, error.message) from error
    uid = str((created.get("metadata") or {}).get("uid") or "")
    let_meet(case, attempt, client, uid, now)
    return uid


def let_meet(case: Case, attempt: Attempt, client: KubeClient, job_uid: str, now: datetime) -> None:
    """Make the Service by which several workers find each other, or find it made. It goes with their Job."""
    spec = parse_spec(case.run.spec)
    if spec.workers > 1 and not spec.trainer:
        job = _job(case, attempt, now)
        client.apply(meeting_service(job, job_uid), force=False)


def _job(case: Case, attempt: Attempt, now: datetime) -> dict[str, Any]:
    run, deadline = case.run, case.deadline_at
    return manifests.run_job(
        project=run.experiment.project.name,
        namespace_name=attempt.namespace,
        run_pk=run.pk,
        run_uid=run.uid,
        experiment_pk=run.experiment_id,
        spec=parse_spec(run.spec),
        tracking_uri=settings.PUBLIC_URL,
        git_image=settings.GIT_IMAGE,
        files_image=settings.MODEL_SERVER_IMAGE,
        lists_packages=settings.LIST_PACKAGES,
        number=attempt.number,
        name=attempt.job_name,
        time_left=deadline - now if deadline is not None else None,
    )


def _secret(run: Run, client: KubeClient, token: str) -> None:
    """The Secret with the run's token. One that is there is kept, so that repeats make no more tokens."""
    project = run.experiment.project.name
    name = manifests.secret_name(run.pk)
    if token and _is_new(client, _with(run, token), project):
        return
    try:
        secret = client.get("v1", "Secret", name, run.namespace)
    except kube.NotFound:
        secret = None
    if secret is not None:
        if not manifests.is_ours(secret, run.pk, run.uid):
            raise RefusedError(NAME_TAKEN, f"Secret {name} in {run.namespace} is another Flotilla's, or a person's.")
        if _keeps(secret, run):
            return
    with transaction.atomic():
        revoke_tokens(run_uid=run.uid)
        text = new_token(run)
    if secret is not None:
        client.apply(_with(run, text))
    else:
        _in_namespace(client, _with(run, text), project)


def _claim(run: Run, spec: RunSpec, job: dict[str, Any], client: KubeClient) -> None:
    """The claim of the run's checkpoints, where it asks for them."""
    claim = checkpoints_claim(job, run.pk, run.experiment.project.name, spec)
    if claim is not None and not make_claim(run, claim, client):
        name = claim["metadata"]["name"]
        raise RefusedError(NAME_TAKEN, f"Claim {name} in {run.namespace} is another Flotilla's, or a person's.")


def _with(run: Run, token: str) -> dict[str, Any]:
    project = run.experiment.project.name
    return manifests.run_secret(
        project=project, namespace_name=run.namespace, run_pk=run.pk, run_uid=run.uid, token=token
    )


def _in_namespace(client: KubeClient, obj: dict[str, Any], project: str) -> None:
    """Create an object in the project's namespace, which is made where it is missing."""
    try:
        client.create(obj)
    except kube.NamespaceMissing:
        client.apply(manifests.run_namespace(project, obj["metadata"]["namespace"]))
        client.create(obj)


def _is_new(client: KubeClient, obj: dict[str, Any], project: str) -> bool:
    """Create an object; False where somebody has left one of its name, which is to be looked at."""
    try:
        _in_namespace(client, obj, project)
    except kube.AlreadyExists:
        return False
    return True


def _keeps(secret: dict[str, Any], run: Run) -> bool:
    """Whether the Secret holds a token of the run that is valid; then no other one is."""
    encoded = (secret.get("data") or {}).get(manifests.TOKEN_KEY, "")
    try:
        text = base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError):
        return False
    # Not `find_token`, which would count as use: a used token is how a lost Job is told from one never made.
    valid = ApiToken.objects.filter(run_uid=run.uid, revoked_at=None)
    if not valid.filter(digest=digest(text)).exists():
        return False
    valid.exclude(digest=digest(text)).update(revoked_at=timezone.now())
    return True


def _create(client: KubeClient, job: dict[str, Any], run: Run) -> dict[str, Any]:
    """The Job, made now or found: its name is the attempt's, so the one that is there is the attempt's, too."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    try:
        return client.create(job)
    except kube.AlreadyExists:
        existing = client.get(job["apiVersion"], job["kind"], name, namespace)
    if not manifests.is_ours(existing, run.pk, run.uid):
        raise RefusedError(NAME_TAKEN, f"{job['kind']} {name} in {namespace} is another Flotilla's, or a person's.")
    return existing


def remove_secret(run: Run, client: KubeClient) -> None:
    """Remove the Secret of a run that has ended. Raises an error of the adapter; its token is revoked in any case."""
    client.delete("v1", "Secret", manifests.secret_name(run.pk), run.namespace, propagation="Background")
