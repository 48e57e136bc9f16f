"""What a deployment's revision is asked to be: frozen dataclasses that manifests and decisions are made from. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.clusters import podoptions
from apps.core.errors import Invalid
from apps.experiments.specs import ONLY_OF_RUNS, RunSpec, check_variables, parse_spec

DEFAULT_PORT = 8080
MAX_REPLICAS = 1000
# The volume with the model's files, where an init step brings them.
MODEL_VOLUME = "flotilla-model"
# Where Flotilla's own server finds the model's files.
OWN_MODEL_PATH = "/mnt/models"
# The variables that Flotilla sets for a replica, beside those that `parse_spec` reserves for all our containers.
RESERVED_ENV = frozenset({"HOST", "PORT", "FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION", "FLOTILLA_MODEL_DIR"})
_CONTAINER = ("image", "command", "args", "env", "resources", *podoptions.KEYS)
# As long as people wait for a pod that ends: Kubernetes itself knows no bound.
MAX_GRACE_SECONDS = 3600
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,200}")


@dataclass(frozen=True)
class ModelRef:
    """The model version that a revision serves."""

    name: str
    version: int


@dataclass(frozen=True)
class Probes:
    """HTTP paths that answer 200: when the replica may get traffic, and while it needs no restart.

    An empty path means no such probe.
    """

    ready_path: str = "/v2/health/ready"
    live_path: str = "/v2/health/live"
    # How long a replica may take to start (to load its model), in seconds.
    startup_seconds: int = 600

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "ready_path": self.ready_path,
            "live_path": self.live_path,
            "startup_seconds": self.startup_seconds,
        }


@dataclass(frozen=True)
class Shutdown:
    """How a replica ends. It goes on answering for `drain_seconds`, while load balancers take note that it leaves; what
    is in flight then has the rest of `grace_seconds`.

    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
    """

    drain_seconds: int = 0
    grace_seconds: int = 30

    def to_json(self) -> dict[str, int]:
        """The form that is stored and shown."""
        return {"drain_seconds": self.drain_seconds, "grace_seconds": self.grace_seconds}


@dataclass(frozen=True)
class RevisionSpec:
    """Everything that a replica is made from, and nothing else. Two revisions with equal specs run the same thing."""

    container: RunSpec
    model: ModelRef | None = None
    port: int = DEFAULT_PORT
    probes: Probes = Probes()
    shutdown: Shutdown = Shutdown()
    # Where an init step puts the model's files before the container starts; "" for none, and the container has a token
    # to fetch them by itself.
    model_path: str = ""

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        container = {name: value for name, value in self.container.to_json().items() if name not in ONLY_OF_RUNS}
        return {
            "model": {"name": self.model.name, "version": self.model.version} if self.model else None,
            **container,
            "port": self.port,
            "probes": self.probes.to_json(),
            # Left out where nobody asked for it, so that the digests of earlier revisions stay.
            **({"shutdown": self.shutdown.to_json()} if self.shutdown != Shutdown() else {}),
            **({"model_path": self.model_path} if self.model_path else {}),
        }

    @property
    def digest(self) -> str:
        """A short hash of the whole spec. What is empty counts as not being there, so that a new field changes none."""
        return digest_of({key: value for key, value in self.to_json().items() if value not in (None, "", [], {})})


def digest_of(value: Any) -> str:
    """A short hash of what JSON can say."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ObservedRevision:
    """One revision on the cluster: replicas asked of Kubernetes, existing pods, ready pods.

    `fresh` is False while Kubernetes has not yet acted on the last change (its observedGeneration lags). `leaving` are
    pods that are being deleted and run still: they are counted for `recreate` alone.
    """

    wanted: int
    existing: int = 0
    ready: int = 0
    fresh: bool = True
    leaving: int = 0

    @property
    def surely_ready(self) -> int:
        """Ready replicas that stay when the last command is carried out."""
        return min(self.ready, self.wanted)

    @property
    def pods(self) -> int:
        """Pods that there are or will be."""
        return max(self.wanted, self.existing)


def parse_revision(data: Mapping[str, Any]) -> RevisionSpec:
    """Check what a person or a program asked for. Raises Invalid naming the field and what it should be."""
    if not data.get("image"):
        raise Invalid(
            "What shall serve? Name a registered model or a container image.",
            field="image",
            hint="An image serves HTTP on $PORT.",
        )
    for name in data.get("env") or {}:
        if name in RESERVED_ENV:
            raise Invalid(f"{name} is set by Flotilla in every replica.", field="env", hint="Leave it out.")
    container = parse_spec({key: data.get(key) for key in _CONTAINER})
    check_variables(container.pod.secret_env, RESERVED_ENV)
    model = _model(data.get("model"))
    return RevisionSpec(
        container=container,
        model=model,
        port=whole(data.get("port"), "port", DEFAULT_PORT, 1, 65535),
        probes=_probes(an_object(data.get("probes"), "probes")),
        shutdown=_shutdown(an_object(data.get("shutdown"), "shutdown")),
        model_path=_model_path(data.get("model_path"), model, container),
    )


def check_replicas(value: Any) -> int:
    """The number of replicas, if it is one. Raises Invalid."""
    return whole(value, "replicas", 1, 0, MAX_REPLICAS)


def an_object(value: Any, name: str) -> Mapping[str, Any]:
    """A JSON object; nothing is an empty one. Raises Invalid naming the field."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{name} is an object.", field=name)
    return value


def refuse_unknown(value: Mapping[str, Any], place: str, known: tuple[str, ...]) -> None:
    """Raises Invalid for the first key below `place` that is none of the `known`."""
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        where = f"{place}.{unknown[0]}"
        raise Invalid(f"{where} is nothing that Flotilla knows.", field=where, hint=f"Known: {', '.join(known)}.")


def whole(value: Any, name: str, default: int, least: int, most: int) -> int:
    """A whole number within its bounds; nothing is the default. Raises Invalid naming the field."""
    if value is None or value == "":
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid(f"{name} is a whole number from {least} to {most}.", field=name)
    return value


def _model(value: Any) -> ModelRef | None:
    if value is None:
        return None
    return ModelRef(name=str(value["name"]), version=int(value["version"]))


def _model_path(value: Any, model: ModelRef | None, container: RunSpec) -> str:
    if value in (None, ""):
        return ""
    path = podoptions.mount_path(value, "model_path")
    if model is None:
        raise Invalid("There is no model whose files could be put there.", field="model_path", hint="Name a model.")
    if any(volume.mount_path.rstrip("/") == path.rstrip("/") for volume in container.pod.volumes):
        raise Invalid(f"A volume is mounted at {path}.", field="model_path", hint="Name another place.")
    if any(volume.name == MODEL_VOLUME for volume in container.pod.volumes):
        raise Invalid(f"The volume of the model's files is named {MODEL_VOLUME}, too.", field="volumes")
    return path


def _path(value: Any, name: str, default: str) -> str:
    if value is None:
        return default
    if value != "" and (not isinstance(value, str) or not _PATH.fullmatch(value)):
        raise Invalid(f"{value!r} is no path of a probe.", field=name, hint='Write "/healthz", or "" for no probe.')
    return str(value)


def _probes(value: Mapping[str, Any]) -> Probes:
    default = Probes()
    return Probes(
        ready_path=_path(value.get("ready_path"), "probes.ready_path", default.ready_path),
        live_path=_path(value.get("live_path"), "probes.live_path", default.live_path),
        startup_seconds=whole(
            value.get("startup_seconds"), "probes.startup_seconds", default.startup_seconds, 1, 24 * 3600
        ),
    )


def _shutdown(value: Mapping[str, Any]) -> Shutdown:
    default = Shutdown()
    drain, grace = (
        whole(value.get(name), f"shutdown.{name}", getattr(default, name), least, MAX_GRACE_SECONDS)
        for name, least in (("drain_seconds", 0), ("grace_seconds", 1))
    )
    if drain >= grace:
        raise Invalid(
            f"A replica that drains for {drain} s has to have more than {drain} s of grace.",
            field="shutdown.grace_seconds",
            hint="Kubernetes kills it when its grace is over.",
        )
    return Shutdown(drain, grace)
