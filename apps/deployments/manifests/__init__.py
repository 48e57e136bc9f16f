"""A revision's spec → Kubernetes objects (dicts). Pure; tested by whole-object equality."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.clusters.manifests import REVISION, RUN_AS_USER, base_labels, secure_pod_spec
from apps.core.text.numbers import whole
from apps.deployments.manifests import kserve
from apps.deployments.manifests.modelfiles import Source, folder_of, model_step, name_of
from apps.deployments.specs import MODEL_VOLUME, RevisionSpec, digest_of

# Digest of what was asked when the object was applied: while it is the same, there is nothing to apply.
ASKED = "flotilla.dev/asked"
# The annotation that older versions wrote: a hash of the manifest that the code of that day had made.
FORMERLY = "flotilla.dev/applied"
# Which token's value a Secret holds (the token's public prefix, never its value).
TOKEN_PREFIX = "flotilla.dev/token-prefix"  # noqa: S105 - the name of an annotation
TOKEN_KEY = "token"  # noqa: S105 - the name of a Secret's key
SERVICE_PORT = 80
PORT_NAME = "http"
CONTAINER = "server"
PREVIEW_SUFFIX = "-preview"
# A replica that is busy for half a minute is not taken for one that hangs.
LIVENESS = {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 6}
# What is asked of a Service that selects one revision, beside its number.
SELECTED, PREVIEW, OWN = "selected", "preview", "own"


@dataclass(frozen=True)
class Identity:
    """The owner of the objects: their names and labels follow from it."""

    project: str
    deployment: str
    namespace: str

    @property
    def selector(self) -> str:
        """The label selector of everything that belongs to the deployment."""
        labels = self.labels()
        return ",".join(f"{key}={labels[key]}" for key in sorted(labels) if not key.endswith("/name"))

    def labels(self, **extra: str | int) -> dict[str, str]:
        """Labels of one object; keywords as in `base_labels`."""
        return base_labels(self.project, self.deployment, deployment=self.deployment, **extra)

    def workload(self, revision: int) -> str:
        """The name of a revision's Kubernetes Deployment, or InferenceService."""
        return f"{self.deployment}-r{revision}"

    @property
    def service(self) -> str:
        """The name of the one Service."""
        return self.deployment

    def own_service(self, revision: int) -> str:
        """The name of the Service that a revision has of its own, while an HTTPRoute gives it a weight."""
        return self.workload(revision)

    @property
    def preview(self) -> str:
        """The name of the Service of the revision that is looked at before it serves."""
        return f"{self.deployment}{PREVIEW_SUFFIX}"

    @property
    def secret(self) -> str:
        """The name of the Secret with the token that fetches the model."""
        return f"{self.deployment}-model-access"


def workload(identity: Identity, revision: int, spec: RevisionSpec, replicas: int, *, source: Source) -> dict[str, Any]:
    """The Kubernetes Deployment of one revision, or its InferenceService where KServe runs it."""
    labels = identity.labels(revision=revision)
    chosen = {key: value for key, value in labels.items() if key.startswith("flotilla.dev/")}
    of_runtime = spec.kserve is not None and spec.kserve.model_format != ""
    pod = secure_pod_spec(
        [_container(identity, spec, source)],
        labels=chosen,
        options=spec.container.pod,
        grace_seconds=spec.shutdown.grace_seconds,
        # The image of a serving runtime, which is not ours, has the user that it was made for.
        run_as_user=None if of_runtime else RUN_AS_USER,
        **model_step(spec, _access(identity, source), source),
    )
    metadata = {"name": identity.workload(revision), "namespace": identity.namespace, "labels": labels}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    if spec.kserve is not None:
        return kserve.inference_service(spec, spec.kserve, metadata, pod, strategy, replicas)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "strategy": strategy,
            "selector": {"matchLabels": chosen},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def services(
    identity: Identity, serving: int, *, selects: int | None, preview: int | None, own: Iterable[int] = ()
) -> list[tuple[dict[str, Any], str]]:
    """The Services, each with the digest of what was asked; `serving` is the revision that serves in the end.

    `selects`, `preview` and `own` are as in `rollout.traffic.Traffic`.
    """
    pairs = [(service(identity, selects), asked_of_service(identity, serving, selects))]
    if preview is not None:
        pairs.append((_service(identity, identity.preview, preview), asked_of(identity, preview, PREVIEW)))
    pairs += [(_service(identity, identity.own_service(n), n), asked_of(identity, n, OWN)) for n in own]
    return pairs


def service(identity: Identity, revision: int | None = None) -> dict[str, Any]:
    """The Service that selects the pods of every revision, or of one alone."""
    return _service(identity, identity.service, revision)


def asked_of_service(identity: Identity, serving: int, selects: int | None) -> str:
    """The digest of what was asked of the Service. One that selects all is asked for anew with each revision."""
    return asked_of(identity, serving) if selects is None else asked_of(identity, selects, SELECTED)


def selected_by(service: Mapping[str, Any]) -> int | None:
    """The revision that a Service on the cluster selects; None for all of them."""
    return whole(str(((service.get("spec") or {}).get("selector") or {}).get(REVISION, "")))


def owner_of_service(identity: Identity, service: Mapping[str, Any]) -> int | None:
    """The revision whose own Service it is; None of the others."""
    number = selected_by(service)
    is_own = number is not None and service["metadata"]["name"] == identity.own_service(number)
    return number if is_own else None


def _service(identity: Identity, name: str, revision: int | None) -> dict[str, Any]:
    labels = identity.labels() if revision is None else identity.labels(revision=revision)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": identity.namespace, "labels": identity.labels()},
        "spec": {
            "type": "ClusterIP",
            "selector": {key: value for key, value in labels.items() if key.startswith("flotilla.dev/")},
            "ports": [{"name": PORT_NAME, "port": SERVICE_PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }


def token_secret(identity: Identity, *, prefix: str, token: str) -> dict[str, Any]:
    """The Secret with the deployment token. `token` is the secret text: never log this object."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": identity.secret,
            "namespace": identity.namespace,
            "labels": identity.labels(),
            "annotations": {TOKEN_PREFIX: prefix},
        },
        "type": "Opaque",
        "data": {TOKEN_KEY: b64encode(token.encode()).decode()},
    }


def asked_of(identity: Identity, revision: int, digest: str = "") -> str:
    """The digest of what a person asked for, whatever today's code makes of it.

    `digest` is the revision's own, as it was stored when it was made, or a word for what no revision's spec shapes.
    """
    return digest_of([identity.project, identity.deployment, identity.namespace, revision, digest])


def notes_of(identity: Identity, revision: int, digest: str) -> set[str]:
    """Every digest that may be noted on an object of this revision."""
    return {asked_of(identity, revision, said) for said in ("", digest, SELECTED, PREVIEW, OWN)}


def stamped(manifest: dict[str, Any], asked: str) -> dict[str, Any]:
    """The object with the note of what was asked."""
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": (metadata.get("annotations") or {}) | {ASKED: asked}}}


def _container(identity: Identity, spec: RevisionSpec, source: Source) -> dict[str, Any]:
    resources: dict[str, str] = {
        "cpu": spec.container.resources.cpu,
        "memory": spec.container.resources.memory,
    }
    if spec.container.resources.gpu:
        resources["nvidia.com/gpu"] = str(spec.container.resources.gpu)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.container.image,
        "env": _env(identity, spec, source),
        "ports": [{"name": PORT_NAME, "containerPort": spec.port, "protocol": "TCP"}],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        # The end of the log stands in for a message when the server dies without one.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(spec),
    }
    if spec.shutdown.drain_seconds:
        # https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/: nothing in the image is needed.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": spec.shutdown.drain_seconds}}}
    if spec.model_path:
        container["volumeMounts"] = [{"name": MODEL_VOLUME, "mountPath": spec.model_path, "readOnly": True}]
    if spec.container.command:
        container["command"] = list(spec.container.command)
    if spec.container.args:
        container["args"] = list(spec.container.args)
    return container


def _env(identity: Identity, spec: RevisionSpec, source: Source) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in spec.container.env.items()]
    env += spec.container.pod.env
    if spec.container.image:
        # A serving runtime knows its port by itself.
        env.append({"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
        env.append({"name": "PORT", "value": str(spec.port)})
    if spec.model is not None:
        env += name_of(spec.model)
        # Whoever has the files needs no token.
        env += [folder_of(spec)] if spec.model_path else _access(identity, source)
    return env


def _access(identity: Identity, source: Source) -> list[dict[str, Any]]:
    return [
        {"name": "MLFLOW_TRACKING_URI", "value": source.tracking_uri},
        {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": {"secretKeyRef": {"name": identity.secret, "key": TOKEN_KEY}}},
    ]


def _probes(spec: RevisionSpec) -> dict[str, Any]:
    """Readiness each second, so that a healed replica gets traffic soon; liveness only once it has started."""
    probes: dict[str, Any] = {}
    if spec.probes.ready_path:
        probes["readinessProbe"] = {
            "httpGet": {"path": spec.probes.ready_path, "port": PORT_NAME},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        }
    if spec.probes.live_path:
        get = {"path": spec.probes.live_path, "port": PORT_NAME}
        probes["startupProbe"] = {
            "httpGet": get,
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": spec.probes.startup_seconds,
        }
        probes["livenessProbe"] = {"httpGet": dict(get), **LIVENESS}
    return probes
