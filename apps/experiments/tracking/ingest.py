"""What clients log, checked as MLflow's server does: the values of one request as columns."""

import functools
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core.errors import Invalid
from apps.experiments.models import KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH
from apps.experiments.tracking.arguments import missing, mistyped, wrong
from apps.experiments.tracking.measured import OfModel

# Limits of one request, as MLflow's server has them (mlflow/utils/validation.py).
MAX_METRICS = 1000
MAX_PARAMS = 100
MAX_TAGS = 100
MAX_ENTITIES = 1000
MAX_BATCH_BYTES = 1_000_000

_KEY = re.compile(r"[/\w.\- :]+")
_INT64 = 2**63


@dataclass
class Batch:
    """The values of one request. The four metric lists are columns of equal length; timestamps are milliseconds."""

    keys: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    of_models: list[OfModel] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def add_metric(self, metric: Mapping[str, Any], where: str = "") -> None:
        """Check and append one metric. Raises Invalid."""
        self.keys.append(check_key(metric.get("key"), f"{where}key"))
        self.values.append(_double(metric.get("value"), f"{where}value"))
        timestamp = int64(metric.get("timestamp"), f"{where}timestamp")
        if timestamp < 0:
            raise wrong(f"{where}timestamp", timestamp, "It must not be negative.")
        self.timestamps.append(timestamp)
        self.steps.append(int64(0 if (step := metric.get("step")) is None else step, f"{where}step"))
        if metric.get("model_id"):
            self.of_models.append(_of_model(metric, where, len(self.keys) - 1))


def _of_model(metric: Mapping[str, Any], where: str, at: int) -> OfModel:
    parts = (("model_id", 64), ("dataset_name", 500), ("dataset_digest", 36))
    uid, name, digest = (check_text(metric.get(part), most, f"{where}{part}") for part, most in parts)
    return OfModel(uid, name, digest, at)


def one_metric(body: Mapping[str, Any]) -> Batch:
    """The body of `runs/log-metric`. Raises Invalid."""
    batch = Batch()
    batch.add_metric(body)
    return batch


def parse_batch(body: Mapping[str, Any]) -> Batch:
    """The body of `runs/log-batch`. Raises Invalid when it breaks a limit or has no sense."""
    metrics, params, tags = (_list(body, name) for name in ("metrics", "params", "tags"))
    _limit("metrics", len(metrics), MAX_METRICS)
    _limit("params", len(params), MAX_PARAMS)
    _limit("tags", len(tags), MAX_TAGS)
    _limit("metrics, params, and tags", len(metrics) + len(params) + len(tags), MAX_ENTITIES)
    batch = Batch()
    for index, metric in enumerate(metrics):
        batch.add_metric(metric, f"metrics[{index}].")
    for index, param in enumerate(params):
        key, value = pair(param, PARAM_LENGTH, f"params[{index}].")
        if key in batch.params:
            raise Invalid(
                f"Duplicate parameter keys have been submitted: ['{key}']. Please ensure the request contains only "
                "one param value per param key."
            )
        batch.params[key] = value
    for index, tag in enumerate(tags):
        key, value = pair(tag, TAG_LENGTH, f"tags[{index}].")
        batch.tags[key] = value
    return batch


def pair(item: Mapping[str, Any], limit: int, where: str = "") -> tuple[str, str]:
    """The checked key and value of a param or a tag; a longer value is cut to `limit` characters."""
    key = check_key(item.get("key"), f"{where}key")
    return key, cut_text(item.get("value"), limit, f"{where}value")


def cut_text(value: Any, limit: int, where: str) -> str:
    """A string that Postgres can keep, cut to `limit` characters: as MLflow does with what programs log, because a
    training that ran for hours shall not end for a long remark. None is "". Raises Invalid."""
    return _storable(_string(value, where)[:limit], where)


def check_text(value: Any, limit: int, where: str) -> str:
    """A string that Postgres can keep, of at most `limit` characters; None is "". Raises Invalid."""
    text = _string(value, where)
    if len(text) > limit:
        raise Invalid(f"'{where}' exceeds the maximum length of {limit} characters")
    return _storable(text, where)


def _string(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if value is not None:
        raise mistyped(where, value, "a string")
    return ""


def _storable(text: str, where: str) -> str:
    if "\x00" in text or (not text.isascii() and any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)):
        raise Invalid(f"'{where}' has a NUL or half a surrogate pair, which can't be stored.")
    return text


@functools.lru_cache(maxsize=20_000)
def _key_problem(key: str) -> str:
    if len(key) > KEY_LENGTH:
        return f"It exceeds the maximum length of {KEY_LENGTH} characters."
    if not _KEY.fullmatch(key):
        return "Names may only contain alphanumerics, underscores, dashes, periods, spaces, colons and slashes."
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        return f"Names may be treated as files in certain cases, and must not resolve to other names; use {plain!r}."
    return ""


def check_key(key: Any, where: str) -> str:
    """The name of a metric, param or tag, as MLflow allows it. Raises Invalid."""
    if key is None or key == "":
        raise missing(where, "A key name must be provided.")
    if not isinstance(key, str):
        raise mistyped(where, key, "a string")
    problem = _key_problem(key)
    if problem:
        raise wrong(where, key, problem)
    return key


def _list(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise mistyped(name, value, "a list of objects")
    return value


def _limit(kind: str, count: int, limit: int) -> None:
    if count > limit:
        raise Invalid(
            f"A batch logging request can contain at most {limit} {kind}. Got {count} {kind}. Please split up {kind} "
            "across multiple requests and try again."
        )


def _double(value: Any, where: str) -> float:
    # JSON has no NaN and Infinity: protobuf's JSON writes them as these strings, which float() reads.
    if isinstance(value, float):
        return value
    if value is None:
        raise missing(where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise mistyped(where, value, "a number")
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise wrong(where, value, "It must be a double (64-bit floating point).") from error


def int64(value: Any, where: str) -> int:
    """A 64-bit integer; protobuf's JSON may write it as a string."""
    if type(value) is not int:
        if value is None:
            raise missing(where)
        whole = isinstance(value, float) and value.is_integer()
        if not whole and not (isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value)):
            raise mistyped(where, value, "an integer")
        value = int(value)
    if not -_INT64 <= value < _INT64:
        raise wrong(where, value, "It must fit 64 bits.")
    return int(value)
