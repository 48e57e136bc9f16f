"""The rail: which pages there are, which one this is, and the counts beside them.

Core knows the order of the entries; an entry whose page does not exist (yet) is not shown. Apps give counts in
their AppConfig.ready(): `nav.count("deployments", fn)`, where `fn(principal, project)` returns a Count or None.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from apps.core.access import Principal
from apps.core.models import Project
from apps.core.text.wording import plural


@dataclass(frozen=True)
class Item:
    """A place in the rail. `views` are the URL names (without the app's namespace) that light it up."""

    key: str
    label: str
    icon: str
    url_name: str
    views: tuple[str, ...]
    in_project: bool = True
    shortcut: str = ""


@dataclass(frozen=True)
class Count:
    """The number beside an entry: how many things of the `noun` there are, or how many of them need somebody."""

    noun: str
    total: int
    bad: int = 0

    @property
    def title(self) -> str:
        """What the number counts: "3 runs under way", "2 of 5 clusters need you"."""
        if self.bad:
            return f"{self.bad} of {self.total} {plural(self.noun, self.total)} need{'s' if self.bad == 1 else ''} you"
        return f"{self.total} {plural(self.noun, self.total)}"


@dataclass(frozen=True)
class Entry:
    """An item as shown."""

    item: Item
    url: str
    current: bool
    count: Count | None


ITEMS: tuple[Item, ...] = (
    Item("overview", "Overview", "layout-dashboard", "core:overview", ("core:overview", "core:home"), shortcut="o"),
    Item("clusters", "Clusters", "server", "clusters:list", ("clusters:",), in_project=False, shortcut="c"),
    Item("experiments", "Experiments", "flask-conical", "experiments:list", ("experiments:",), shortcut="e"),
    Item("models", "Models", "box", "experiments:models", ("experiments:model",), shortcut="m"),
    Item("deployments", "Deployments", "rocket", "deployments:list", ("deployments:",), shortcut="d"),
    Item("pipelines", "Pipelines", "workflow", "workflows:list", ("workflows:",), shortcut="p"),
    Item("usage", "Usage", "gauge", "clusters:fleet-usage", ("clusters:fleet-usage",), in_project=False, shortcut="u"),
    Item("activity", "Activity", "history", "core:activity", ("core:activity",), in_project=False, shortcut="a"),
)
Counter = Callable[[Principal, Project | None], Count | None]
_counters: dict[str, Counter] = {}


def count(key: str, counter: Counter) -> None:
    """Let `counter` say what stands beside the entry `key`."""
    _counters[key] = counter


def entries(principal: Principal, project: Project | None, active: str) -> list[Entry]:
    """The rail, with the entry `active` lit. Without a project only the platform's pages are shown."""
    shown = []
    for item in ITEMS:
        url = _url(item, project)
        if url is None:
            continue
        counter = _counters.get(item.key)
        badge = counter(principal, project) if counter else None
        shown.append(Entry(item, url, item.key == active, badge))
    return shown


def link(url_name: str, *args: object) -> str:
    """The address of a page, or "" when there is no such page (its app is not installed)."""
    try:
        return reverse(url_name, args=[str(arg) for arg in args])
    except NoReverseMatch:
        return ""


def _url(item: Item, project: Project | None) -> str | None:
    if item.in_project and project is None:
        return None
    return link(item.url_name, *([project.name] if item.in_project and project else [])) or None


def context(principal: Principal, project: Project | None, active: str) -> dict[str, Any]:
    """The context of templates/components/nav.html."""
    return {"entries": entries(principal, project, active), "active": active, "project": project}


def active_of(request: HttpRequest) -> str:
    """The key of the item whose views claim this page; the longest claim wins, so that models are not experiments."""
    match = request.resolver_match
    name = match.view_name if match else ""
    claims = [(len(view), item.key) for item in ITEMS for view in item.views if name.startswith(view)]
    return max(claims)[1] if claims else ""
