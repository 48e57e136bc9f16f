"""An analysis as a person asks for it: where measurements come from, how many, and what is good enough. Pure."""

import enum
import json
from collections.abc import Mapping
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.specs import an_object, whole

MAX_MEASUREMENTS = 1000
MAX_REQUESTS, MAX_REQUESTS_BYTES = 20, 32 * 1024
MAX_LATENCY_MS = 60_000


class Provider(enum.StrEnum):
    """Where measurements come from: what is observed of the replicas, or requests that are sent to both revisions."""

    HEALTH = "health"
    PROBE = "probe"


_OF_ALL = ("provider", "interval_seconds", "count", "failure_limit")
_OF_PROBES = ("requests", "max_errors", "max_latency_ms", "min_agreement")


def parse_analysis(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What an `analyse` step asks for, with its defaults. Raises Invalid naming the field below `place`."""
    provider = value.get("provider") or Provider.HEALTH
    if provider not in tuple(Provider):
        raise Invalid(f"{place}.provider is one of: {', '.join(Provider)}.", field=f"{place}.provider")
    known = (*_OF_ALL, *_OF_PROBES) if provider == Provider.PROBE else _OF_ALL
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        field = f"{place}.{unknown[0]}"
        raise Invalid(f"{field} is nothing that Flotilla knows.", field=field, hint=f"Known: {', '.join(known)}.")
    count = whole(value.get("count"), f"{place}.count", 3, 1, MAX_MEASUREMENTS)
    asked = {
        "provider": str(provider),
        "interval_seconds": whole(value.get("interval_seconds"), f"{place}.interval_seconds", 10, 1, 24 * 3600),
        "count": count,
        "failure_limit": whole(value.get("failure_limit"), f"{place}.failure_limit", 0, 0, count - 1),
    }
    return asked | _of_probe(value, place) if provider == Provider.PROBE else asked


def _of_probe(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"max_errors": whole(value.get("max_errors"), f"{place}.max_errors", 0, 0, 100)}
    if value.get("max_latency_ms") is not None:
        asked["max_latency_ms"] = whole(value["max_latency_ms"], f"{place}.max_latency_ms", 1, 1, MAX_LATENCY_MS)
    if value.get("min_agreement") is not None:
        asked["min_agreement"] = whole(value["min_agreement"], f"{place}.min_agreement", 0, 0, 100)
    if value.get("requests") is not None:
        asked["requests"] = _requests(value["requests"], f"{place}.requests")
    return asked


def _requests(value: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_REQUESTS:
        raise Invalid(f"{place} is a list of 1 to {MAX_REQUESTS} requests.", field=place)
    for number, request in enumerate(value):
        inputs = an_object(request, f"{place}[{number}]").get("inputs")
        if not isinstance(inputs, list) or not inputs:
            field = f"{place}[{number}].inputs"
            raise Invalid(f"{field} is a list of inputs, as in a prediction.", field=field)
    if len(json.dumps(value)) > MAX_REQUESTS_BYTES:
        raise Invalid(f"{place} is larger than {MAX_REQUESTS_BYTES // 1024} KiB.", field=place, hint="Send fewer.")
    return [dict(request) for request in value]
