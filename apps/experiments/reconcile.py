"""The shell around `health.decide`: observe → decide → act → record. Level-triggered: it may be repeated at any time,
and cut off at any line."""

import base64
import binascii
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, Invalid, KubeError, NotFound, RefusedOnce, Unauthorized, Unreachable
from apps.clusters.manifests import RUN
from apps.clusters.models import KubeEvent, Node, Pod
from apps.clusters.services import connect
from apps.core import transitions
from apps.core.errors import FlotillaError
from apps.core.hints import hint
from apps.core.models import ApiToken
from apps.core.states import Role
from apps.core.tokens import digest, issue_token, revoke_tokens
from apps.core.work import DONE, Again, Away, Outcome, Retry
from apps.experiments import manifests
from apps.experiments.health import Act, Decision, Facts, JobSeen, Object, decide, node_of, see
from apps.experiments.models import Run
from apps.experiments.specs import parse_spec
from apps.experiments.states import LAUNCHED_MOVES, SETTLED, RunKind, RunState

logger = logging.getLogger(__name__)

LOG_LINES = 200
LOG_BYTES = 64 * 1024
MAX_MESSAGE = 4000
# So long after a run's end its cluster is still asked whether a Job was made late.
ORPHAN_WINDOW = timedelta(minutes=10)


def reconcile_run(pk: int) -> Outcome:
    """Bring one launched run a step further: a round of the queue, which sees to it that there is one at a time."""
    run = Run.objects.select_related("experiment__project", "cluster").filter(pk=pk, kind=RunKind.LAUNCHED).first()
    if run is None or (run.state in SETTLED and _is_old(run)):
        return DONE
    if run.cluster is None:
        _settle_without_cluster(run)
        return DONE
    try:
        client = connect(run.cluster)
        job = _observe(run, client)
        decision = decide(_facts(run, job), job, timezone.now())
        _act(run, client, job, decision)
    except RefusedOnce as error:
        return Retry(error.reason)
    except (Invalid, Forbidden) as error:
        # The API server refuses what we ask for: trying again changes nothing until somebody acts.
        return _refused(run, error)
    except (Unreachable, Unauthorized, FlotillaError) as error:
        logger.warning("run %s: %s does not answer: %s", run.pk, run.cluster.name, error)
        _note(run, "ClusterUnreachable", f"{run.cluster.name} does not answer: {error}")
        return Away(str(error))
    except KubeError as error:
        _note(run, error.reason, f"{run.cluster.name}: {error.message}")
        return Retry(error.reason)
    return DONE if decision.recheck is None else Again(decision.recheck)


def _is_old(run: Run) -> bool:
    """Whether no launch of ours can still be under way for a run that has ended."""
    return run.ended_at is not None and timezone.now() - run.ended_at > ORPHAN_WINDOW


def _observe(run: Run, client: KubeClient) -> JobSeen | None:
    try:
        job = client.get("batch/v1", "Job", run.job_name, run.namespace)
    except NotFound:
        return None
    pods = client.list("v1", "Pod", run.namespace, label_selector=f"{RUN}={run.pk}")
    warnings = [] if pods else _warnings(run)
    return see(job, pods, warnings, _silent(run, pods))


def _silent(run: Run, pods: Sequence[Object]) -> list[str]:
    """The nodes of pods that are being deleted which, as last observed, are not ready."""
    nodes = {node_of(pod) for pod in pods if pod["metadata"].get("deletionTimestamp")}
    found = Node.objects.filter(cluster=run.cluster, name__in=nodes, ready=False) if nodes else Node.objects.none()
    return list(found.values_list("name", flat=True))


def _warnings(run: Run) -> list[str]:
    rows = KubeEvent.objects.filter(
        cluster=run.cluster, namespace=run.namespace, involved_name=run.job_name, type="Warning"
    )
    return list(rows.order_by("-last_at").values_list("message", flat=True)[:1])


def _facts(run: Run, job: JobSeen | None) -> Facts:
    launched = bool(run.job_uid)
    if job is None and not launched and run.state not in SETTLED:
        # Stopped between making the Job and noting it? Then its pod was seen, or its program used its token.
        launched = (
            Pod.objects.filter(cluster=run.cluster, namespace=run.namespace, run=str(run.pk)).exists()
            or ApiToken.objects.filter(run_uid=run.uid, last_used_at__isnull=False).exists()
        )
    return Facts(state=run.state, launched=launched, reason=run.reason, message=run.message)


def _act(run: Run, client: KubeClient, job: JobSeen | None, decision: Decision) -> None:
    if job is not None and job.uid != run.job_uid and run.state not in SETTLED:
        Run.objects.filter(pk=run.pk).update(job_uid=job.uid)
    if decision.act is Act.CREATE:
        _launch(run, client)
        return
    if decision.act is Act.DELETE and job is not None:
        if decision.state is not None:
            # Noted before the Job goes, so that who finds it gone knows why.
            Run.objects.filter(pk=run.pk).update(reason=decision.reason[:100], message=decision.message[:MAX_MESSAGE])
        client.delete("batch/v1", "Job", run.job_name, run.namespace, propagation="Foreground", uid=job.uid)
    if decision.state is not None and decision.state in SETTLED:
        _settle(run, decision.state, client, job, decision)
    elif decision.state is not None or decision.message:
        _advance(run, job, decision)


def _launch(run: Run, client: KubeClient) -> None:
    project = run.experiment.project.name
    client.apply(manifests.run_namespace(project, run.namespace))
    _ensure_secret(run, client)
    job = manifests.run_job(
        project=project,
        namespace_name=run.namespace,
        run_pk=run.pk,
        run_uid=run.uid,
        experiment_pk=run.experiment_id,
        spec=parse_spec(run.spec),
        tracking_uri=settings.PUBLIC_URL,
    )
    made = client.apply(job)
    uid = str((made.get("metadata") or {}).get("uid") or "")
    Run.objects.filter(pk=run.pk).update(job_uid=uid)
    _move(run, RunState.QUEUED, {"job_uid": uid, "reason": "", "message": ""}, reason="JobCreated")


def _ensure_secret(run: Run, client: KubeClient) -> None:
    """The Secret with the run's token. What is there is kept, so that repeats make no more tokens."""
    try:
        found = client.get("v1", "Secret", run.job_name, run.namespace)
    except NotFound:
        found = {}
    if _is_valid(found, run):
        return
    project = run.experiment.project
    with transaction.atomic():
        revoke_tokens(run_uid=run.uid)
        _, text = issue_token(name=f"run {run.uid[:8]}", project=project, run_uid=run.uid, role=Role.DEVELOPER)
    client.apply(manifests.run_secret(project=project.name, namespace_name=run.namespace, run_pk=run.pk, token=text))


def _is_valid(secret: dict[str, Any], run: Run) -> bool:
    encoded = (secret.get("data") or {}).get(manifests.TOKEN_KEY, "")
    try:
        text = base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError):
        return False
    # Not `find_token`, which would count as use: a used token is how a lost Job is told from one never made.
    return ApiToken.objects.filter(digest=digest(text), run_uid=run.uid, revoked_at=None).exists()


def _seen_fields(run: Run, job: JobSeen | None, decision: Decision) -> dict[str, Any]:
    pod = job.pod if job else None
    fields: dict[str, Any] = {
        "reason": decision.reason[:100],
        "message": decision.message[:MAX_MESSAGE],
        "started_at": decision.started_at or run.started_at,
    }
    if pod is not None:
        fields |= {"pod_name": pod.name, "node_name": pod.node}
    return fields


def _advance(run: Run, job: JobSeen | None, decision: Decision) -> None:
    fields = _seen_fields(run, job, decision)
    if decision.state is not None and decision.state != run.state:
        _move(run, decision.state, fields)
    elif any(getattr(run, name) != value for name, value in fields.items()):
        Run.objects.filter(pk=run.pk).update(**fields, updated_at=timezone.now())
        _hints(run)


def _move(run: Run, to: RunState, fields: dict[str, Any], *, reason: str = "") -> None:
    """The one way in which a reconcile changes a state: row, history and the end of the token in one transaction."""
    reason, message = reason or fields["reason"], fields["message"]
    others = {name: value for name, value in fields.items() if name not in ("reason", "message")}
    with transaction.atomic():
        moved = transitions.advance(run, to=to, allowed=LAUNCHED_MOVES, reason=reason, message=message, **others)
        if not moved:
            return
        Run.objects.filter(pk=run.pk).update(reason=fields["reason"], message=message, updated_at=timezone.now())
        if to in SETTLED:
            revoke_tokens(run_uid=run.uid)
        _hints(run)


def _settle(run: Run, to: RunState, client: KubeClient | None, job: JobSeen | None, decision: Decision) -> None:
    """Record the end. What may fail comes first, and fails alone: a lost log is never a failed run."""
    log = _last_lines(run, client, job)
    if client is not None:
        _remove_secret(run, client)
    fields = _seen_fields(run, job, decision) | {"exit_code": decision.exit_code, "ended_at": decision.ended_at}
    _move(run, to, fields if log is None else fields | {"log_tail": log})


def _last_lines(run: Run, client: KubeClient | None, job: JobSeen | None) -> str | None:
    name = (job.pod.name if job and job.pod else "") or run.pod_name
    if client is None or not name:
        return None
    try:
        text = client.pod_log(
            run.namespace, name, container=manifests.CONTAINER, tail_lines=LOG_LINES, limit_bytes=LOG_BYTES
        )
    except KubeError as error:
        logger.info("run %s: its log is not kept: %s", run.pk, error)
        return None
    return text.replace("\x00", "")[-LOG_BYTES:]


def _remove_secret(run: Run, client: KubeClient) -> None:
    try:
        client.delete("v1", "Secret", run.job_name, run.namespace, propagation="Background")
    except KubeError as error:
        # Its token is revoked in any case, so what stays behind opens nothing.
        logger.warning("run %s: its Secret stays on %s: %s", run.pk, run.cluster, error)


def _settle_without_cluster(run: Run) -> None:
    if run.state in SETTLED:
        return
    message = "The cluster that it ran on is no longer registered."
    to = RunState.CANCELED if run.state == RunState.CANCELING else RunState.LOST
    _settle(run, to, None, None, Decision(reason="ClusterRemoved", message=message, ended_at=timezone.now()))


def _refused(run: Run, error: KubeError) -> Outcome:
    if run.state == RunState.PENDING and isinstance(error, Invalid):
        decision = Decision(reason=error.reason, message=error.message, ended_at=timezone.now())
        _settle(run, RunState.FAILED, None, None, decision)
        return DONE
    logger.warning("run %s: %s refuses: %s", run.pk, run.cluster, error)
    _note(run, error.reason, error.message)
    return Retry(error.reason)


def _note(run: Run, reason: str, message: str) -> None:
    """Say on the run why it does not go on; its state stays."""
    if run.state in SETTLED or (run.reason, run.message) == (reason[:100], message[:MAX_MESSAGE]):
        return
    Run.objects.filter(pk=run.pk, state=run.state).update(reason=reason[:100], message=message[:MAX_MESSAGE])
    _hints(run)


def _hints(run: Run) -> None:
    project = run.experiment.project_id
    for topic in (f"run:{run.pk}", f"experiment:{run.experiment_id}", "runs", "overview"):
        hint(topic, project)
