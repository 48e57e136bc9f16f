"""An analysis as a person asks for it: where measurements come from, how many, and what is good enough. Pure."""

import enum
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from apps.core.errors import Invalid
from apps.deployments.rollout import bounds, promql
from apps.deployments.specs import an_object, refuse_unknown, whole

MAX_MEASUREMENTS = 1000
MAX_REQUESTS, MAX_REQUESTS_BYTES = 20, 32 * 1024
MAX_LATENCY_MS = 60_000
# As long as a metric's key in the registry.
MAX_METRIC = 250
# What a number is called in sentences and charts.
MAX_NAME = 60
MAX_LABELS = 20
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PATH = re.compile(r"/[A-Za-z0-9/._~-]*")


class Provider(enum.StrEnum):
    """Where measurements come from: what is observed of the replicas, requests that are sent to both revisions, what
    the registry knows of the model, a query that Prometheus answers, or what replicas say of themselves."""

    HEALTH = "health"
    PROBE = "probe"
    MODEL = "model"
    PROMETHEUS = "prometheus"
    SCRAPE = "scrape"


class Reading(enum.StrEnum):
    """What is read of a metric of replicas: its value, how fast it grows, or a quantile of a histogram."""

    VALUE = "value"
    RATE = "rate"
    QUANTILE = "quantile"


ASK_NOBODY = frozenset({Provider.HEALTH, Provider.MODEL})
"""Providers that measure out of Flotilla's own rows; the others ask somebody, in a round of their own."""

_OF_ALL = ("provider", "interval_seconds", "count", "failure_limit", "inconclusive_limit")
_OF_PROBES = ("requests", "recorded", "max_errors", "max_latency_ms", "min_agreement")
_OF_MODELS = ("metric", *bounds.FIELDS, *bounds.COMPARING)
_OF_SCRAPES = (
    *("metric", "labels", "read", "quantile", "over", "path", "port", "name"),
    *bounds.FIELDS,
    *bounds.COMPARING,
)
_OF_PROMETHEUS = ("source", "query", "name", *bounds.FIELDS)
# What the registry knows changes rarely: one look, at once.
_COUNT = {Provider.MODEL: 1}
_INTERVAL = {Provider.MODEL: 1}


def parse_analysis(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    """What an `analyse` step asks for, with its defaults. Raises Invalid naming the field below `place`."""
    provider = _provider(value, place)
    count = whole(value.get("count"), f"{place}.count", _COUNT.get(provider, 3), 1, MAX_MEASUREMENTS)
    return _parsed(value, place, provider, _INTERVAL.get(provider, 10), count, count - 1)


def parse_whole(value: Any, place: str) -> dict[str, Any]:
    """What the analysis of a whole rollout asks for: it goes on until the end, and looks `count` times at least.

    Raises Invalid for what says nothing of the one wave or the other: what the registry knows, and what compares with
    an earlier revision that is gone where the new one was promoted.
    """
    said = an_object(value, place)
    provider = _provider(said, place)
    if provider is Provider.MODEL:
        hint = 'Let a step ask it: {"analyse": {"provider": "model", …}}.'
        raise Invalid("What the registry knows of a model is the same in all waves.", field=place, hint=hint)
    if said.get("better") is not None:
        hint = "Say min or max, or compare in a step, where both revisions serve."
        told = "Where the new revision was promoted there is no earlier one to compare it with."
        raise Invalid(told, field=f"{place}.better", hint=hint)
    count = whole(said.get("count"), f"{place}.count", 3, 1, MAX_MEASUREMENTS)
    return _parsed(said, place, provider, 30, count, MAX_MEASUREMENTS)


def _provider(value: Mapping[str, Any], place: str) -> Provider:
    provider = value.get("provider") or Provider.HEALTH
    if not isinstance(provider, str) or provider not in tuple(Provider):
        raise Invalid(f"{place}.provider is one of: {', '.join(Provider)}.", field=f"{place}.provider")
    return Provider(provider)


def _parsed(
    value: Mapping[str, Any], place: str, provider: Provider, interval: int, count: int, most_bad: int
) -> dict[str, Any]:
    """All that is asked for. At most `most_bad` looks may be bad, or tell nothing."""
    own, parse = _OWN[provider]
    refuse_unknown(value, place, (*_OF_ALL, *own))
    failures = whole(value.get("failure_limit"), f"{place}.failure_limit", 0, 0, most_bad)
    silent = whole(value.get("inconclusive_limit"), f"{place}.inconclusive_limit", failures, 0, most_bad)
    return {
        "provider": str(provider),
        "interval_seconds": whole(value.get("interval_seconds"), f"{place}.interval_seconds", interval, 1, 24 * 3600),
        "count": count,
        "failure_limit": failures,
        "inconclusive_limit": silent,
        **parse(value, place),
    }


def _of_health(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {}


def _of_probe(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"max_errors": whole(value.get("max_errors"), f"{place}.max_errors", 0, 0, 100)}
    if value.get("max_latency_ms") is not None:
        asked["max_latency_ms"] = whole(value["max_latency_ms"], f"{place}.max_latency_ms", 1, 1, MAX_LATENCY_MS)
    if value.get("min_agreement") is not None:
        asked["min_agreement"] = whole(value["min_agreement"], f"{place}.min_agreement", 0, 0, 100)
    if value.get("requests") is not None:
        asked["requests"] = _requests(value["requests"], f"{place}.requests")
    if value.get("recorded") not in (None, False):
        if value["recorded"] is not True:
            hint = "With it, the requests that were recorded of the deployment are sent."
            raise Invalid(f"{place}.recorded is true or false.", field=f"{place}.recorded", hint=hint)
        asked["recorded"] = True
    return asked


def _of_model(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    metric = _text(value.get("metric"), f"{place}.metric", MAX_METRIC, "the name of a metric of the model, as logged")
    return {"metric": metric, **bounds.parse_bounds(value, place, compares=True)}


def _of_prometheus(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    source = _text(value.get("source"), f"{place}.source", MAX_METRIC, "the name of a metrics source of the project")
    query = _text(value.get("query"), f"{place}.query", promql.MAX_QUERY, "a query in PromQL")
    promql.check_query(query, f"{place}.query")
    return {"source": source, "query": query} | _name(value, place) | bounds.parse_bounds(value, place, compares=False)


def _or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


def _of_scrape(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    read = _or_default(value.get("read"), Reading.VALUE)
    if not isinstance(read, str) or read not in tuple(Reading):
        raise Invalid(f"{place}.read is one of: {', '.join(Reading)}.", field=f"{place}.read")
    asked: dict[str, Any] = {**_metric(value, place), "read": str(read)}
    if read == Reading.QUANTILE:
        asked["quantile"] = bounds.number(_or_default(value.get("quantile"), 0.95), f"{place}.quantile", 0.0, 1.0)
    elif value.get("quantile") is not None:
        raise Invalid(f"{place}.quantile needs {place}.read: quantile.", field=f"{place}.quantile")
    if value.get("over") is not None:
        if read != Reading.RATE:
            raise Invalid(f"{place}.over needs {place}.read: rate.", field=f"{place}.over")
        over = an_object(value["over"], f"{place}.over")
        refuse_unknown(over, f"{place}.over", ("metric", "labels"))
        asked["over"] = _metric(over, f"{place}.over")
    path = _or_default(value.get("path"), "/metrics")
    if not isinstance(path, str) or not _PATH.fullmatch(path) or len(path) > MAX_METRIC:
        raise Invalid(f"{place}.path is a path of the replicas.", field=f"{place}.path", hint="Such as /metrics.")
    asked["path"] = path
    if value.get("port") is not None:
        asked["port"] = whole(value["port"], f"{place}.port", 1, 1, 65535)
    return asked | _name(value, place) | bounds.parse_bounds(value, place, compares=True)


def _metric(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A metric's name and the labels that its series must have."""
    metric, labels = value.get("metric"), value.get("labels")
    if not isinstance(metric, str) or not _METRIC.fullmatch(metric) or len(metric) > MAX_METRIC:
        hint = "Such as http_requests_total; of a histogram without _bucket."
        raise Invalid(f"{place}.metric is the name of a metric of the replicas.", field=f"{place}.metric", hint=hint)
    if labels is None:
        return {"metric": metric}
    said = an_object(labels, f"{place}.labels")
    for key, text in said.items():
        if not isinstance(key, str) or not isinstance(text, str) or len(key) + len(text) > MAX_METRIC or "\x00" in text:
            raise Invalid(
                f"{place}.labels has texts by name.", field=f"{place}.labels", hint='Such as {"code": "500"}.'
            )
    if len(said) > MAX_LABELS:
        raise Invalid(f"{place}.labels has more than {MAX_LABELS}.", field=f"{place}.labels")
    return {"metric": metric, "labels": dict(said)}


def _name(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    if value.get("name") is None:
        return {}
    return {"name": _text(value["name"], f"{place}.name", MAX_NAME, 'what the number is called: "error rate"')}


_OWN: dict[Provider, tuple[tuple[str, ...], Callable[[Mapping[str, Any], str], dict[str, Any]]]] = {
    Provider.HEALTH: ((), _of_health),
    Provider.PROBE: (_OF_PROBES, _of_probe),
    Provider.MODEL: (_OF_MODELS, _of_model),
    Provider.PROMETHEUS: (_OF_PROMETHEUS, _of_prometheus),
    Provider.SCRAPE: (_OF_SCRAPES, _of_scrape),
}


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


def _text(value: Any, place: str, most: int, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        raise Invalid(f"{place} is {what}.", field=place)
    if len(value) > most:
        raise Invalid(f"{place} has more than {most} characters.", field=place)
    return value.strip()
