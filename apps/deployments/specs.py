"""What a deployment's revision is asked to be: frozen dataclasses that manifests and decisions are made from. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from apps.clusters import podoptions
from apps.core.errors import Invalid
from apps.core.text.names import is_subdomain
from apps.experiments.specs import ONLY_OF_RUNS, RunSpec, check_variables, parse_spec

DEFAULT_PORT = 8080
MAX_REPLICAS = 1000
# The volume with the model's files, where an init step brings them.
MODEL_VOLUME = "flotilla-model"
# Where Flotilla's own server, and all serving runtimes of KServe, find the model's files.
OWN_MODEL_PATH = "/mnt/models"
# The serving runtime that KServe installs for a model format. Of several we have to know which, for each is told in a
# way of its own what its model is called.
SERVING_RUNTIMES = {
    "mlflow": "kserve-mlserver",
    "sklearn": "kserve-sklearnserver",
    "xgboost": "kserve-xgbserver",
    "lightgbm": "kserve-lgbserver",
    "paddle": "kserve-paddleserver",
    "pmml": "kserve-pmmlserver",
    "huggingface": "kserve-huggingfaceserver",
}
PROTOCOLS = ("v2", "v1")
# The variables that Flotilla sets for a replica, beside those that `parse_spec` reserves for all our containers.
RESERVED_ENV = frozenset({"HOST", "PORT", "FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION", "FLOTILLA_MODEL_DIR"})
_CONTAINER = ("image", "command", "args", "env", "resources", *podoptions.KEYS)
# As long as people wait for a pod that ends: Kubernetes itself knows no bound.
MAX_GRACE_SECONDS = 3600
MAX_STARTUP_SECONDS = 24 * 3600
_FORMAT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
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
class KServe:
    """How KServe runs a revision: the `model_format` by a serving runtime of the cluster, which has an image of its
    own, or, with "" for it, the revision's image."""

    model_format: str = ""
    serving_runtime: str = ""
    protocol: str = PROTOCOLS[0]

    def to_json(self) -> dict[str, str]:
        """The form that is stored and shown."""
        if not self.model_format:
            return {}
        return {
            "model_format": self.model_format,
            "serving_runtime": self.serving_runtime,
            "protocol": self.protocol,
        }


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
    # Where it is an InferenceService of KServe's; else it is a Kubernetes Deployment.
    kserve: KServe | None = None

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
            **({"runtime": {"kserve": self.kserve.to_json()}} if self.kserve else {}),
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
    pods that are being deleted and run still: they are counted for `recreate` alone. `refused` says why no pod can be
    made, by a quota, say, where fewer exist than are wanted; it `is_bare` where not even its ReplicaSet can. `wish` is
    the generation of its object, which is another one as soon as anybody asks for anything else; it has `arrived` when
    all pods are of it.
    """

    wanted: int
    existing: int = 0
    ready: int = 0
    fresh: bool = True
    leaving: int = 0
    refused: str = ""
    is_bare: bool = False
    wish: int = 0
    arrived: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether it is as its object asks, and nothing else is there."""
        return self.fresh and self.arrived and self.ready == self.existing == self.wanted

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
    kserve = _kserve(data.get("runtime"))
    has_runtime = kserve is not None and kserve.model_format != ""
    if not data.get("image") and not has_runtime:
        raise Invalid(
            "What shall serve? Name a registered model or a container image.",
            field="image",
            hint="An image serves HTTP on $PORT.",
        )
    for name in data.get("env") or {}:
        if name in RESERVED_ENV:
            raise Invalid(f"{name} is set by Flotilla in every replica.", field="env", hint="Leave it out.")
    container = _container(data)
    check_variables(container.pod.secret_env, RESERVED_ENV)
    model = _model(data.get("model"))
    path = _path_of_runtime(data.get("model_path"), model) if has_runtime else data.get("model_path")
    return RevisionSpec(
        container=container,
        model=model,
        port=whole(data.get("port"), "port", DEFAULT_PORT, 1, 65535),
        probes=_probes(an_object(data.get("probes"), "probes")),
        shutdown=_shutdown(an_object(data.get("shutdown"), "shutdown")),
        model_path=_model_path(path, model, container),
        kserve=kserve,
    )


def serves_a_format(data: Mapping[str, Any]) -> bool:
    """Whether a serving runtime of KServe's is asked for, which brings its own image; of what nobody has checked."""
    runtime = data.get("runtime")
    kserve = runtime.get("kserve") if isinstance(runtime, Mapping) else None
    return isinstance(kserve, Mapping) and bool(kserve.get("model_format"))


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


def _container(data: Mapping[str, Any]) -> RunSpec:
    fields = {key: data.get(key) for key in _CONTAINER}
    if fields["image"]:
        return parse_spec(fields)
    # A serving runtime's image is not ours to name: anything stands in for it while the rest is checked.
    return replace(parse_spec({**fields, "image": "runtime"}), image="")


def _kserve(value: Any) -> KServe | None:
    runtime = an_object(value, "runtime")
    refuse_unknown(runtime, "runtime", ("kserve",))
    if runtime.get("kserve") is None:
        return None
    asked, place = an_object(runtime["kserve"], "runtime.kserve"), "runtime.kserve"
    refuse_unknown(asked, place, ("model_format", "serving_runtime", "protocol"))
    named = asked.get("model_format") or ""
    if not named:
        alone = next((name for name in ("serving_runtime", "protocol") if asked.get(name)), "")
        if alone:
            hint = "Name the model's format, such as mlflow; without one KServe runs the image."
            raise Invalid(f"{alone} belongs to a model format.", field=f"{place}.model_format", hint=hint)
        return KServe()
    if not isinstance(named, str) or not _FORMAT.fullmatch(named):
        raise Invalid("A model format is a word.", field=f"{place}.model_format", hint='For example "mlflow".')
    runs = asked.get("serving_runtime") or SERVING_RUNTIMES.get(named, "")
    if not runs:
        raise Invalid(
            f"Which serving runtime of the cluster serves {named}?",
            field=f"{place}.serving_runtime",
            hint="kubectl get clusterservingruntimes,servingruntimes lists them.",
        )
    if not isinstance(runs, str) or not is_subdomain(runs):
        raise Invalid(f"{runs!r} can't name a serving runtime.", field=f"{place}.serving_runtime")
    protocol = asked.get("protocol") or PROTOCOLS[0]
    if protocol not in PROTOCOLS:
        raise Invalid(f"protocol is one of {', '.join(PROTOCOLS)}.", field=f"{place}.protocol")
    return KServe(named, runs, protocol)


def _path_of_runtime(value: Any, model: ModelRef | None) -> str:
    """The place of the model's files, of which serving runtimes know one alone."""
    if model is None:
        hint = "Name a model, or leave the format out and name an image."
        raise Invalid("A serving runtime serves a registered model.", field="model", hint=hint)
    if value not in (None, "", OWN_MODEL_PATH):
        hint = "Leave this out."
        raise Invalid(f"KServe's serving runtimes look at {OWN_MODEL_PATH} alone.", field="model_path", hint=hint)
    return OWN_MODEL_PATH


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
            value.get("startup_seconds"), "probes.startup_seconds", default.startup_seconds, 1, MAX_STARTUP_SECONDS
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
