"""Rows as the system itself would have written them, for tests that need a busy project quickly.

Nothing here stands in for a part that can run: it only saves the time of running it a hundred times.
"""

import itertools
import json
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.secrets import crypto
from apps.core.secrets.tokens import issue_token
from apps.core.states import Health, Role
from apps.deployments.models import Deployment, KeptLog, Placement, Recording, Revision, Rollout, Stage, Target
from apps.deployments.specs import parse_revision
from apps.deployments.states import DeploymentState, RolloutState
from apps.experiments.files.stores import name_of
from apps.experiments.models import (
    Attempt,
    Experiment,
    LatestMetric,
    MetricPoint,
    ModelAlias,
    ModelVersion,
    Param,
    RegisteredModel,
    Run,
    Trace,
)
from apps.experiments.states import RunKind, RunState
from apps.experiments.tracking.ingest import parse_batch
from apps.experiments.tracking.permits import Permit, stamp_by_run
from apps.experiments.tracking.store import store
from apps.experiments.tracking.traces.otlp import Sent
from apps.experiments.tracking.traces.spans import Event, Span
from apps.experiments.tracking.traces.store import append

GIB = 1024**3
_numbers = itertools.count(1)


def uid() -> str:
    return secrets.token_hex(16)


def stored_at(key: str) -> Path:
    """The file of an artifact's key, on disk."""
    return Path(settings.ARTIFACTS_DIR) / name_of(key)


def member(project: Project, name: str = "ada", role: Role = Role.DEVELOPER) -> User:
    user = User.objects.create_user(name, password="a long enough one")
    Membership.objects.create(project=project, user=user, role=role)
    return user


def cluster(name: str, *, nodes: int = 3, state: str = "Healthy", **fields: Any) -> Cluster:
    now = timezone.now()
    made = Cluster.objects.create(
        name=name,
        labels={"provider": "local", "region": "here"},
        server="https://127.0.0.1:6443",
        ca="-----BEGIN CERTIFICATE-----",
        credential_encrypted=crypto.encrypt(b'{"token": "t"}'),
        credential_kind="token",
        state=state,
        server_version="v1.33.0",
        last_seen_at=now,
        **fields,
    )
    for number in range(nodes):
        node(made, f"{name}-node-{number + 1}", gpu=2 if number == 0 else 0)
    return made


def node(cluster: Cluster, name: str, *, gpu: int = 0) -> Node:
    now = timezone.now()
    return Node.objects.create(
        cluster=cluster,
        uid=uid(),
        name=name,
        ready=True,
        health=Health.HEALTHY,
        allocatable_cpu_m=4000,
        allocatable_memory_b=8 * GIB,
        allocatable_gpu=gpu,
        allocatable_gpus={"nvidia.com/gpu": gpu} if gpu else {},
        capacity={"cpu": 4000, "memory": 8 * GIB, "pods": 110, "gpus": {}},
        allocatable_pods=110,
        used_cpu_m=900,
        used_memory_b=2 * GIB,
        created_at=now,
        observed_at=now,
    )


def pod(cluster: Cluster, project: Project | None, *, namespace: str = "", **fields: Any) -> Pod:
    now = timezone.now()
    number = next(_numbers)
    values: dict[str, Any] = {
        "name": f"pod-{number}",
        "node_name": f"{cluster.name}-node-1",
        "pod_ip": "127.10.0.1",
        "phase": "Running",
        "ready": True,
        "health": Health.HEALTHY,
        "requests_cpu_m": 250,
        "requests_memory_b": GIB // 4,
        "used_cpu_m": 100,
        "used_memory_b": GIB // 8,
        "created_at": now,
        "started_at": now,
        "observed_at": now,
        "project": project.name if project else "",
    }
    space = namespace or (f"flotilla-{project.name}" if project else "default")
    return Pod.objects.create(cluster=cluster, uid=uid(), namespace=space, **(values | fields))


def warning(
    cluster: Cluster, pod: Pod, reason: str = "Unhealthy", message: str = "Readiness probe failed"
) -> KubeEvent:
    return event(
        cluster,
        reason,
        message,
        namespace=pod.namespace,
        involved_name=pod.name,
        involved_uid=pod.uid,
        project=pod.project,
    )


def event(cluster: Cluster, reason: str, message: str, **fields: Any) -> KubeEvent:
    """What the kubelet says of a pod."""
    now = timezone.now()
    values = {"involved_kind": "Pod", "type": "Warning", "source": "kubelet", "first_at": now, "last_at": now}
    return KubeEvent.objects.create(cluster=cluster, uid=uid(), reason=reason, message=message, **(values | fields))


def run(experiment: Experiment, *, state: str = RunState.SUCCEEDED, points: int = 5, **fields: Any) -> Run:
    now = timezone.now()
    number = next(_numbers)
    values: dict[str, Any] = {
        "name": f"trial-{number}",
        "kind": RunKind.EXTERNAL,
        "created_by": "ada",
        "started_at": now - timedelta(minutes=3),
        "ended_at": now if state != RunState.RUNNING else None,
    }
    made = Run.objects.create(experiment=experiment, state=state, **(values | fields))
    Param.objects.create(run=made, experiment=experiment, key="alpha", value=str(number / 1000))
    at = _milliseconds(now)
    MetricPoint.objects.bulk_create(
        MetricPoint(run_id=made.pk, key="loss", step=step, timestamp=at + step, value=1 / (step + 1))
        for step in range(points)
    )
    for key, value in (("loss", 1 / max(points, 1)), ("accuracy", 0.9 + number % 10 / 100)):
        LatestMetric.objects.create(
            run=made, experiment=experiment, key=key, value=value, step=points - 1, timestamp=at
        )
    return made


def trace(run: Run, *, spans: int = 3, name: str = "answer", failed: bool = False, **said: Any) -> Trace:
    """A trace of a run, as exporters of OpenTelemetry send one: a root, and steps, every other below the one before."""
    trace_id, root = secrets.token_hex(16), secrets.token_hex(8)
    began = _milliseconds(timezone.now()) * 1_000_000
    steps = [
        Span(
            id=root, parent="", name=name, start=began, end=began + spans * 10_000_000,
            code="ERROR" if failed else "OK", message="It broke." if failed else "",
            attributes={"mlflow.spanInputs": '{"question": "Why?"}', "mlflow.spanOutputs": '"Because."', **said},
            events=(Event("exception", began, {"exception.message": '"It broke."'}),) if failed else (),
        )
    ]  # fmt: skip
    for number in range(1, spans):
        at = began + number * 10_000_000
        above = steps[number - 1].id if number % 2 == 0 else root
        usage = {"mlflow.chat.tokenUsage": '{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}'}
        kind = {"mlflow.spanType": '"LLM"', **usage} if number == 1 else {}
        steps.append(Span(secrets.token_hex(8), above, f"step {number}", at, at + 5_000_000, "OK", attributes=kind))
    sent = Sent({f"tr-{trace_id}": steps}, {f"tr-{trace_id}": {"team": "vision"}})
    return append(run.experiment, sent, run=run)[0]


def log(run: Run, **body: Any) -> None:
    """What `runs/log-batch` with this body leaves behind. Raises Invalid."""
    assert store(writer(run), parse_batch(body))


def writer(run: Run) -> Permit:
    """A permit to log to the run, by a token of its project."""
    run = Run.objects.select_related("experiment__project").get(pk=run.pk)
    token, _ = issue_token(name="logs", project=run.experiment.project)
    return Permit.by(token.digest, stamp_by_run(token.digest, run.uid), Principal(token=token), run)


def attempt(run: Run, *, number: int = 1, **fields: Any) -> Attempt:
    """An attempt of a launched run as its reconcile would have left it; by default in the run's own state and words."""
    pods = [{"name": name, "state": state, "node": "gpu-1"} for name, state in fields.pop("named", {}).items()]
    values: dict[str, Any] = {
        "cluster": run.cluster,
        "namespace": run.namespace,
        "job_name": f"run-{run.pk}-{number}",
        "job_uid": uid(),
        "state": "Stopping" if run.state == RunState.CANCELING else run.state,
        "created_at": run.created_at,
        "pods": pods,
        **{name: getattr(run, name) for name in ("reason", "message", "exit_code", "started_at", "ended_at")},
    }
    return Attempt.objects.create(run=run, number=number, **(values | fields))


def version(model: RegisteredModel, source: Run, *, alias: str = "") -> ModelVersion:
    model.last_version += 1
    model.save(update_fields=["last_version"])
    made = ModelVersion.objects.create(
        model=model, version=model.last_version, run=source, source_run=source.uid, artifact_path="model"
    )
    if alias:
        ModelAlias.objects.update_or_create(model=model, name=alias, defaults={"version": made})
    return made


def observed(replicas: int) -> dict[str, Any]:
    """As if all the replicas of revision 1 were ready."""
    return {
        "desired_replicas": replicas,
        "ready_replicas": replicas,
        "health": Health.HEALTHY,
        "message": f"{replicas} of {replicas} replicas are ready.",
        "observed_generation": 1,
        "observed": [{"revision": 1, "wanted": replicas, "existing": replicas, "ready": replicas}],
        "observed_at": timezone.now(),
    }


def deployment(
    project: Project, cluster: Cluster, name: str, model_version: ModelVersion, *, replicas: int = 3
) -> Deployment:
    target, _ = Target.objects.get_or_create(
        project=project,
        name=f"{cluster.name}-production",
        defaults={"cluster": cluster, "namespace": f"flotilla-{project.name}", "environment": "production"},
    )
    made = Deployment.objects.create(
        project=project,
        name=name,
        state=DeploymentState.ACTIVE,
        last_revision=1,
        **(seen := observed(replicas)),
    )
    revision = Revision.objects.create(
        deployment=made,
        number=1,
        digest="d" * 16,
        model_version=model_version,
        spec=serving_spec(model_version),
    )
    Deployment.objects.filter(pk=made.pk).update(current=revision, stable=revision)
    Placement.objects.create(deployment=made, target=target, state=DeploymentState.ACTIVE, stable=revision, **seen)
    made.refresh_from_db()
    Rollout.objects.create(deployment=made, to_revision=revision, state=RolloutState.HEALTHY, ended_at=timezone.now())
    for _ in range(replicas):
        pod(cluster, project, deployment=name, revision="1", name=f"{name}-r1-{uid()[:5]}")
    return made


def revision(of: Deployment, model_version: ModelVersion) -> Revision:
    """One more revision, rolled out and superseded."""
    number = of.revisions.count() + 1
    spec = serving_spec(model_version)
    made = Revision.objects.create(
        deployment=of, number=number, digest=uid()[:16], model_version=model_version, spec=spec
    )
    Rollout.objects.create(
        deployment=of,
        to_revision=made,
        state=RolloutState.SUPERSEDED,
        ended_at=timezone.now(),
        started_at=timezone.now(),
    )
    Deployment.objects.filter(pk=of.pk).update(last_revision=number)
    return made


def canary(of: Deployment, model_version: ModelVersion) -> Rollout:
    """A canary under way: half of the traffic is the new revision's, and a person has to promote it."""
    made = revision(of, model_version)
    plan = [
        {"do": "set_weight", "wave": 0, "weight": 50},
        {"do": "pause", "wave": 0},
        {"do": "promote", "wave": 0},
    ]
    [place] = of.places
    rollout = made.rollouts.get()
    Rollout.objects.filter(pk=rollout.pk).update(
        from_revision=of.current,
        state=RolloutState.PAUSED,
        reason="PauseStep",
        message=f"Paused at 50 % on {place.target.name} until a person goes on.",
        plan=[{**step, "targets": [place.target.name]} for step in plan],
        step=1,
        ended_at=None,
        on_failure="rollback",
    )
    Placement.objects.filter(pk=place.pk).update(coming=made, weight=50)
    Deployment.objects.filter(pk=of.pk).update(current=made)
    Stage.objects.create(rollout=rollout, placement=place, weight=50, actual=50, state=RolloutState.HEALTHY)
    rollout.refresh_from_db()
    return rollout


def recording(of: Deployment, number: int = 1) -> Recording:
    """A request that analyses send again."""
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [number]}]})
    return Recording.objects.create(
        deployment=of, number=number, body=body, digest=uid(), inputs="x 1 FP64", revision=1, created_by="ada"
    )


def kept_log(of: Deployment) -> KeptLog:
    """The last lines of a replica that is gone."""
    rollout = of.rollouts.earliest("id")
    return KeptLog.objects.create(
        rollout=rollout, target="gone", replica=f"{of.name}-r1-{uid()[:5]}", container="server", text="no weights\n"
    )


def serving_spec(model_version: ModelVersion) -> dict[str, Any]:
    asked = {
        "model": {"name": model_version.model.name, "version": model_version.version},
        "image": "team/digits:1",
        "command": ["python", "serve.py"],
    }
    return parse_revision(asked).to_json()


def busy_project(name: str = "demo", *, size: int = 3) -> Project:
    """A project with `size` of everything, on one cluster of its own."""
    project = Project.objects.create(name=name)
    home = cluster(f"{name}-cluster", nodes=size)
    for number in range(size):
        experiment = Experiment.objects.create(project=project, name=f"digits-{number}" if number else "digits")
        runs = [run(experiment) for _ in range(size)]
        run(experiment, state=RunState.FAILED, reason="Error", exit_code=1, message="exit code 1")
        model = RegisteredModel.objects.create(project=project, name=f"digits-{number}" if number else "digits")
        versions = [version(model, source) for source in runs]
        served = deployment(project, home, f"digits-{number}" if number else "digits", versions[0])
        sick = pod(home, project, deployment=served.name, revision="1", ready=False, health=Health.DEGRADED)
        warning(home, sick)
    return project


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
