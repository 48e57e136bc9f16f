"""PromQL of an analysis: placeholders filled in, and what Prometheus' HTTP API answers. Pure.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.core.text.jsontext import plain

_PLACEHOLDER = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
# What stands in for a placeholder is a name, and may be put within quotes, regular expressions included.
_SAFE = re.compile(r"[A-Za-z0-9_\-]*")
MAX_QUERY = 4000
MAX_SERIES = 100
# Of a server's own words.
MAX_SAID = 200


def _pods(deployment: str, revision: int) -> str:
    """A pattern of the names of a revision's pods: workload, ReplicaSet's hash, five letters."""
    return f"{deployment}-r{revision}-[a-z0-9]+-[a-z0-9]+"


@dataclass(frozen=True)
class Names:
    """What placeholders stand for. Of the earlier revision None where there is none."""

    project: str
    environment: str
    target: str
    cluster: str
    namespace: str
    deployment: str
    revision: int
    earlier: int | None = None

    def values(self) -> dict[str, str | None]:
        """By the placeholder's name."""
        earlier = self.earlier
        return {
            "project": self.project,
            "environment": self.environment,
            "target": self.target,
            "cluster": self.cluster,
            "namespace": self.namespace,
            "deployment": self.deployment,
            "revision": str(self.revision),
            "pods": _pods(self.deployment, self.revision),
            "earlier_revision": None if earlier is None else str(earlier),
            "earlier_pods": None if earlier is None else _pods(self.deployment, earlier),
        }


class Silent(Exception):
    """Nothing was measured; the sentence says why."""


PLACEHOLDERS = tuple(Names("", "", "", "", "", "", 0).values())


def check_query(query: str, place: str) -> None:
    """Raise Invalid for a placeholder that there is not."""
    for name in _PLACEHOLDER.findall(query):
        if name not in PLACEHOLDERS:
            known = ", ".join(PLACEHOLDERS)
            raise Invalid(f"{place} has a placeholder {{{{{name}}}}} that there is not.", field=place, hint=known)


def filled_in(query: str, names: Names) -> str:
    """The query about these. Raises Silent where it speaks of an earlier revision, and there is none."""
    values = names.values()

    def put(found: re.Match[str]) -> str:
        value = values.get(found[1])
        if value is None:
            raise Silent(f"No revision served before, and the query speaks of {found[1]}.")
        if found[1] not in ("pods", "earlier_pods") and not _SAFE.fullmatch(value):
            # Names are checked where they are made. Whatever comes here all the same ends no string of the query.
            value = re.sub(r"[^A-Za-z0-9_\-]", ".", value)
        return value

    return _PLACEHOLDER.sub(put, query)


@dataclass(frozen=True)
class Series:
    """A value, and the labels that tell it from others: "code=200, pod=a", or "" where there is but one."""

    labels: str
    value: float


def series_in(status: int, body: bytes, source: str) -> list[Series]:
    """The values that an instant query gave. Raises Silent, with Prometheus' own words where it has any."""
    said = _object(body)
    if said.get("status") == "error":
        why = plain(f"{said.get('errorType') or 'error'}: {said.get('error') or ''}", MAX_SAID)
        raise Silent(f"{source} refuses the query, {why.rstrip('.')}.")
    if status in (401, 403):
        raise Silent(f"{source} refuses the token ({status}): make the metrics source anew with one that may read.")
    data = said.get("data")
    if status != 200 or said.get("status") != "success" or not isinstance(data, Mapping):
        raise Silent(f"{source} answers {status}, and not as Prometheus' HTTP API does: is its address right?")
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        found = [Series("", _number(result))]
    elif kind == "vector" and isinstance(result, list):
        found = [_series(each) for each in result[: MAX_SERIES + 1]]
    else:
        raise Silent(f"The query gives a {plain(kind, 20)}: an instant vector or a scalar is wanted.")
    if not found:
        raise Silent("The query gives nothing: no series fits it now.")
    if len(found) > MAX_SERIES:
        raise Silent(f"The query gives more than {MAX_SERIES} series: sum them, or take the greatest.")
    return found


def _series(each: Any) -> Series:
    labels = each.get("metric") if isinstance(each, Mapping) else None
    pairs = sorted(labels.items()) if isinstance(labels, Mapping) else []
    named = ", ".join(f"{name}={value}" for name, value in pairs if name != "__name__")
    return Series(plain(named, MAX_SAID), _number(each.get("value") if isinstance(each, Mapping) else None))


def _number(pair: Any) -> float:
    """Of [time, "0.5"], where NaN, +Inf and -Inf may stand, too."""
    try:
        return float(pair[1])
    except (TypeError, ValueError, IndexError, KeyError):
        return float("nan")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
