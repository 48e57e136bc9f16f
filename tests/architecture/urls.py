"""Every URL that the project answers, with sample values in the place of parameters."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver

# Patterns that no parameter describes: one address of each.
EXAMPLES = {
    r"^(?:ajax-)?api/[234]\.0/mlflow(?:-artifacts)?/": "api/2.0/mlflow/not-here",
    r"^(?:ajax-api|v1|gateway|graphql)(?:/|$)": "v1/traces",
    r"^api/3\.0/(?:jobs|genai)(?:/|$)": "api/3.0/jobs/",
}
# What a parameter that is written as a regular expression may be.
REGEX_SAMPLES = {
    r"\d+": "1",
    "core|clusters|experiments|deployments": "core",
    "[0-9]{1,9}": "1",
    "[a-z0-9_]{1,40}": "sample",
    "[-a-z0-9]{1,40}": "sample",
    "[0-9a-f]{32}": "0" * 32,
    "m-[0-9a-f]{32}|[0-9a-f]{32}|[0-9]{1,18}": "0" * 32,
}
SAMPLES = {"int": "1", "uuid": "00000000-0000-0000-0000-000000000000"}
_CONVERTER = re.compile(r"<(?:(\w+):)?(\w+)>")


@dataclass(frozen=True)
class Url:
    """One address: `route` as written, `path` with samples, `params` by name."""

    route: str
    path: str
    params: frozenset[str]
    name: str


def every_url(project: str = "theirs") -> Iterator[Url]:
    """Walk the URL configuration; `project` stands where a URL names a project."""
    seen: set[str] = set()
    for route, name in _routes("", get_resolver().url_patterns, ""):
        path, params = (EXAMPLES[route], frozenset[str]()) if route in EXAMPLES else _fill(route, project)
        if path not in seen:
            seen.add(path)
            yield Url(route, "/" + path, params, name)


def _routes(prefix: str, patterns: list[URLPattern | URLResolver], space: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(route, pattern.url_patterns, f"{space}{pattern.namespace or ''}:")
        else:
            yield route, f"{space}{pattern.name or ''}".strip(":")


def _fill(route: str, project: str) -> tuple[str, frozenset[str]]:
    params: set[str] = set()

    def sample(name: str, kind: str = "") -> str:
        params.add(name)
        return project if name == "project" else SAMPLES.get(kind, "sample")

    named = _named_groups(route.replace("(?:ajax-)?", ""), sample)
    text = _CONVERTER.sub(lambda match: sample(match[2], match[1] or ""), named)
    text = re.sub(r"\\(.)", r"\1", text.replace("\\Z", "").replace("/?", "").replace("^", "").replace("$", ""))
    return text, frozenset(params)


def _named_groups(route: str, sample: Callable[[str], str]) -> str:
    """Replace `(?P<name>…)`, whose body may hold brackets of its own."""
    while (start := route.find("(?P<")) >= 0:
        name_end = route.index(">", start)
        depth, end = 1, name_end
        while depth:
            end += 1
            depth += {"(": 1, ")": -1}.get(route[end], 0)
        name = route[start + 4 : name_end]
        value = REGEX_SAMPLES.get(route[name_end + 1 : end]) or sample(name)
        route = route[:start] + value + route[end + 1 :]
    return route
