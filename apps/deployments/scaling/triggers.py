"""What KEDA looks at to scale a deployment, and to start it from zero: the triggers of an autoscaling policy. Pure.

Their words are those of KEDA's prometheus and cron scalers. https://keda.sh/docs/latest/scalers/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from apps.core.errors import Invalid
from apps.deployments.rollout.bounds import number
from apps.deployments.rollout.windows import check_zone
from apps.deployments.specs import MAX_REPLICAS, an_object, refuse_unknown, whole

MAX_TRIGGERS = 10
MAX_QUERY = 4000
MAX_THRESHOLD = 1e12
PROMETHEUS, CRON = "prometheus", "cron"
_KEYS = {
    PROMETHEUS: ("type", "server_address", "query", "threshold", "activation_threshold"),
    CRON: ("type", "time_zone", "start", "end", "replicas"),
}
# Five fields of numbers, names, and what joins them.
_CRON = re.compile(r"[0-9A-Za-z*/,-]+(?: [0-9A-Za-z*/,-]+){4}")


@dataclass(frozen=True)
class Trigger:
    """One trigger: its `type`, and what else is said of it, checked and with its defaults."""

    type: str
    said: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {"type": self.type, **self.said}

    @property
    def words(self) -> str:
        """What it looks at, in a word or two."""
        if self.type == CRON:
            return f"cron ({self.said['start']} to {self.said['end']})"
        return f"Prometheus ({self.said['threshold']:g} each)"

    def to_keda(self) -> dict[str, Any]:
        """The trigger of a ScaledObject: KEDA takes all figures as texts."""
        said = self.said
        if self.type == CRON:
            metadata = {
                "timezone": said["time_zone"],
                "start": said["start"],
                "end": said["end"],
                "desiredReplicas": str(said["replicas"]),
            }
        else:
            metadata = {
                "serverAddress": said["server_address"],
                "query": said["query"],
                "threshold": _figure(said["threshold"]),
                "activationThreshold": _figure(said["activation_threshold"]),
            }
        return {"type": self.type, "metadata": metadata}


def parse_triggers(data: Any, place: str) -> tuple[Trigger, ...]:
    """The triggers out of a list. Raises Invalid naming the field below `place`."""
    if not isinstance(data, list | tuple):
        raise Invalid(f"{place} is a list of triggers.", field=place, hint=f"Each has a type: {PROMETHEUS} or {CRON}.")
    if len(data) > MAX_TRIGGERS:
        raise Invalid(f"{place} has {len(data)} triggers: {MAX_TRIGGERS} at most.", field=place)
    return tuple(_trigger(an_object(item, f"{place}[{each}]"), f"{place}[{each}]") for each, item in enumerate(data))


def _trigger(value: Mapping[str, Any], place: str) -> Trigger:
    kind = value.get("type")
    if kind not in _KEYS:
        hint = "KEDA has more: a ScaledObject of your own scales a deployment without a policy."
        raise Invalid(f"{place}.type is {PROMETHEUS} or {CRON}.", field=f"{place}.type", hint=hint)
    refuse_unknown(value, place, _KEYS[kind])
    return Trigger(kind, (_prometheus if kind == PROMETHEUS else _cron)(value, place))


def _prometheus(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    address, query = value.get("server_address"), value.get("query")
    if not isinstance(address, str) or not _is_address(address):
        raise Invalid(
            f"{place}.server_address is the address of a Prometheus, as the cluster reaches it.",
            field=f"{place}.server_address",
            hint="Such as http://prometheus.monitoring:9090.",
        )
    if not isinstance(query, str) or not query.strip() or len(query) > MAX_QUERY:
        hint = "One number comes of it, such as sum(rate(http_requests_total[1m]))."
        raise Invalid(f"{place}.query is a PromQL query.", field=f"{place}.query", hint=hint)
    threshold = _number(value.get("threshold"), f"{place}.threshold")
    if threshold == 0:
        raise Invalid(f"{place}.threshold is how much one replica takes: more than 0.", field=f"{place}.threshold")
    active = value.get("activation_threshold")
    return {
        "server_address": address,
        "query": query.strip(),
        "threshold": threshold,
        "activation_threshold": _number(0 if active is None else active, f"{place}.activation_threshold"),
    }


def _number(value: Any, place: str) -> float:
    """A number as it was written: 20 is not 20.0."""
    checked = number(value, place, 0.0, MAX_THRESHOLD)
    return int(checked) if checked.is_integer() else checked


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    # A password in it would stand in the ScaledObject for everybody to read.
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and len(text) <= 500


def _figure(value: float) -> str:
    return f"{value:.15g}"


def _cron(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    said: dict[str, Any] = {"time_zone": check_zone(value.get("time_zone"), f"{place}.time_zone")}
    for word in ("start", "end"):
        text = " ".join(value[word].split()) if isinstance(value.get(word), str) else ""
        if not _CRON.fullmatch(text):
            hint = 'Five fields, such as "0 8 * * 1-5".'
            raise Invalid(f"{place}.{word} is a cron expression.", field=f"{place}.{word}", hint=hint)
        said[word] = text
    if said["start"] == said["end"]:
        raise Invalid(f"{place} ends when it starts.", field=f"{place}.end")
    if value.get("replicas") is None:
        raise Invalid(f"How many replicas does {place} ask for?", field=f"{place}.replicas")
    return said | {"replicas": whole(value["replicas"], f"{place}.replicas", 1, 1, MAX_REPLICAS)}
