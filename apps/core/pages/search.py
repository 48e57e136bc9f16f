"""Search by name over everything: each app gives a provider, the caller's own permissions apply in each.

`register("run", find_runs)` from AppConfig.ready(), where `find_runs(principal, query, limit)` returns Hits.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from django.urls import reverse

from apps.core.access import Principal, visible_projects

MIN_LENGTH = 2
PER_KIND = 6
PER_KIND_ON_PAGE = 50
# Icons by kind. Equal hits are listed in this order: objects that people named before those that were generated.
ICONS = {
    "project": "folder",
    "cluster": "server",
    "deployment": "rocket",
    "model": "box",
    "experiment": "flask-conical",
    "run": "play",
    "node": "cpu",
    "pod": "boxes",
}
_ORDER = list(ICONS)


@dataclass(frozen=True)
class Hit:
    """Something found. `sub` says where it is or how it stands."""

    label: str
    sub: str
    url: str
    kind: str

    @property
    def icon(self) -> str:
        """The icon of its kind."""
        return ICONS.get(self.kind, "circle")


Provider = Callable[[Principal, str, int], list[Hit]]
_providers: dict[str, Provider] = {}


def register(kind: str, provider: Provider) -> None:
    """Let `provider` answer for `kind`."""
    _providers[kind] = provider


def is_full(hits: list[Hit], per_kind: int) -> bool:
    """Whether there may be more of a kind than were looked for."""
    return any(count >= per_kind for count in Counter(hit.kind for hit in hits).values())


def find(principal: Principal, query: str, *, per_kind: int = PER_KIND) -> list[Hit]:
    """The visible objects whose name contains `query`: exact names first, then those that begin with it."""
    text = query.strip()
    if len(text) < MIN_LENGTH:
        return []
    hits = [hit for provider in _providers.values() for hit in provider(principal, text, per_kind)]
    return sorted(hits, key=lambda hit: _rank(hit, text.lower()))


def _rank(hit: Hit, text: str) -> tuple[int, int, str]:
    label = hit.label.lower()
    closeness = 0 if label == text else 1 if label.startswith(text) else 2
    kind = _ORDER.index(hit.kind) if hit.kind in _ORDER else len(_ORDER)
    return closeness, kind, label


def find_projects(principal: Principal, query: str, limit: int) -> list[Hit]:
    """Projects by name."""
    projects = visible_projects(principal).filter(name__icontains=query)[:limit]
    return [
        Hit(project.name, project.description or "project", reverse("core:overview", args=[project.name]), "project")
        for project in projects
    ]


register("project", find_projects)
