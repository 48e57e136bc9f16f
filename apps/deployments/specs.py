"""What a deployment's revision is asked to be: frozen dataclasses that manifests and decisions are made from. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from apps.clusters import podoptions
from apps.core.errors import Invalid
from apps.experiments.specs import ONLY_OF_RUNS, RunSpec, parse_spec

DEFAULT_PORT = 8080
MAX_REPLICAS = 1000
MAX_PROGRESS_DEADLINE_SECONDS = 24 * 3600
# The variables that Flotilla sets for a replica, beside those that `parse_spec` reserves for all our containers.
RESERVED_ENV = frozenset({"HOST", "PORT", "FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION"})
_CONTAINER = ("image", "command", "args", "env", "resources", *podoptions.KEYS)
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


@dataclass(frozen=True)
class Strategy:
    """Rolling update, in replicas; as in a Kubernetes Deployment, both can't be 0. The deployment's, no revision's."""

    max_surge: int = 1
    max_unavailable: int = 0
    progress_deadline_seconds: int = 600

    @property
    def progress_deadline(self) -> timedelta:
        """How long a rollout may stand still before it is Degraded."""
        return timedelta(seconds=self.progress_deadline_seconds)

    def to_json(self) -> dict[str, int]:
        """The form that is stored and shown."""
        return asdict(self)


@dataclass(frozen=True)
class RevisionSpec:
    """Everything that a replica is made from, and nothing else. Two revisions with equal specs run the same thing."""

    container: RunSpec
    model: ModelRef | None = None
    port: int = DEFAULT_PORT
    probes: Probes = Probes()

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        container = {name: value for name, value in self.container.to_json().items() if name not in ONLY_OF_RUNS}
        return {
            "model": {"name": self.model.name, "version": self.model.version} if self.model else None,
            **container,
            "port": self.port,
            "probes": {
                "ready_path": self.probes.ready_path,
                "live_path": self.probes.live_path,
                "startup_seconds": self.probes.startup_seconds,
            },
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

    `fresh` is False while Kubernetes has not yet acted on the last change (its observedGeneration lags).
    """

    wanted: int
    existing: int = 0
    ready: int = 0
    fresh: bool = True

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
    return RevisionSpec(
        container=parse_spec({key: data.get(key) for key in _CONTAINER}),
        model=_model(data.get("model")),
        port=_whole(data.get("port"), "port", DEFAULT_PORT, 1, 65535),
        probes=_probes(_object(data.get("probes"), "probes")),
    )


def check_replicas(value: Any) -> int:
    """The number of replicas, if it is one. Raises Invalid."""
    return _whole(value, "replicas", 1, 0, MAX_REPLICAS)


def _model(value: Any) -> ModelRef | None:
    if value is None:
        return None
    return ModelRef(name=str(value["name"]), version=int(value["version"]))


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{name} is an object.", field=name)
    return value


def _whole(value: Any, name: str, default: int, least: int, most: int) -> int:
    if value is None or value == "":
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Invalid(f"{name} is a whole number from {least} to {most}.", field=name)
    return value


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
        startup_seconds=_whole(
            value.get("startup_seconds"), "probes.startup_seconds", default.startup_seconds, 1, 24 * 3600
        ),
    )


def parse_strategy(data: Any, default: Strategy = Strategy()) -> Strategy:
    """The strategy that `data` asks for; what it leaves out is as in `default`. Raises Invalid."""
    value = _object(data, "strategy")
    strategy = Strategy(
        max_surge=_whole(value.get("max_surge"), "strategy.max_surge", default.max_surge, 0, MAX_REPLICAS),
        max_unavailable=_whole(
            value.get("max_unavailable"), "strategy.max_unavailable", default.max_unavailable, 0, MAX_REPLICAS
        ),
        progress_deadline_seconds=_whole(
            value.get("progress_deadline_seconds"),
            "strategy.progress_deadline_seconds",
            default.progress_deadline_seconds,
            1,
            MAX_PROGRESS_DEADLINE_SECONDS,
        ),
    )
    if strategy.max_surge == 0 and strategy.max_unavailable == 0:
        raise Invalid(
            "max_surge and max_unavailable can't both be 0: no replica could ever be replaced.",
            field="strategy.max_surge",
        )
    return strategy
