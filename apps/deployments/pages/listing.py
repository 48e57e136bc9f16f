"""The project's deployments, as a list or as a matrix over targets, and what narrows them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from apps.core.access import may
from apps.core.database.transactions import snapshot
from apps.core.models import Project
from apps.core.pages.addresses import own_address
from apps.core.pages.asked import PAGE, TEXT, page_of, words
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.pages.commands import posting
from apps.core.text.names import service_name_from
from apps.core.text.numbers import whole
from apps.deployments import selectors
from apps.deployments.health import WORDS
from apps.deployments.pages.matrix import matrix_of
from apps.deployments.pages.ready import ready_of
from apps.deployments.pages.rows import model_text
from apps.deployments.rollout.strategy import Kind
from apps.deployments.selectors import narrowing
from apps.deployments.states import RolloutState

PER_PAGE = 50
# The states of a rollout that people look for; an address may name any other.
_ROLLOUTS = {
    narrowing.ROLLS: "Rolling out",
    RolloutState.PAUSED: "Rollout paused",
    RolloutState.DEGRADED: "Rollout degraded",
    RolloutState.ROLLING_BACK: "Rolling back",
}


_TAKES = {
    **dict.fromkeys(narrowing.NAMES, TEXT),
    "health": words(WORDS),
    "rollout": words(narrowing.ROLLOUTS),
    "strategy": words(narrowing.STRATEGIES),
    "view": words(["matrix"]),
    "page": PAGE,
}


@dataclass(frozen=True)
class Choice:
    """A filter that is chosen out of a list: its name in the address, what stands for none, and the list."""

    name: str
    any: str
    options: Mapping[str, str]
    chosen: str

    @property
    def shown(self) -> list[tuple[str, str]]:
        """Values and words; what the address asks for is among them, known or not."""
        words = dict(self.options)
        if self.chosen:
            words.setdefault(self.chosen, self.chosen)
        return list(words.items())

    @property
    def is_worth_it(self) -> bool:
        """Whether there is anything to choose between."""
        return bool(self.chosen) or len(self.options) > 1


@dataclass(frozen=True)
class Way:
    """A filter that may be cleared where nothing matches: its words, the address without it, how many match there."""

    words: str
    url: str
    count: int


@page(takes=_TAKES)
@require_safe
@snapshot()
def listing(request: PageRequest, project: Project) -> HttpResponse:
    """The project's deployments."""
    as_matrix, asked = request.GET.get("view") == "matrix", narrowing.asked_of(request.GET)
    rows = (selectors.matrix if as_matrix else selectors.deployments)(project=project)
    shown = page_of(request, narrowing.narrowed(rows, asked), PER_PAGE)
    context = {
        "project": project,
        "page_obj": shown,
        "matrix": matrix_of(project, shown, asked) if as_matrix else None,
        "deployments": [
            (row, row.word, model_text(row.current.spec, row.alias) if row.current else "–", ready_of(row))
            for row in shown
        ],
        "totals": selectors.totals(project),
        "approvals": len(selectors.waiting_for(request.principal, project)),
        "asked": asked,
        "choices": [choice for choice in choices_of(project, asked) if choice.is_worth_it],
        "ways": ways_out(request, project, asked) if asked and not shown.paginator.count else [],
        "may_change": may(request.principal, project),
        "command": lambda: _deploy_command(project),
    }
    return render_page(request, "deployments/list.html", context)


def choices_of(project: Project, asked: Mapping[str, str]) -> list[Choice]:
    """The lists to choose from. One query."""
    places = {name: {text: text for text in texts} for name, texts in narrowing.places_of(project).items()}
    options: dict[str, tuple[str, Mapping[str, str]]] = {
        "health": ("Any health", {word: word for word in WORDS}),
        "rollout": ("Any rollout", _ROLLOUTS),
        "cluster": ("Any cluster", places["cluster"]),
        "target": ("Any target", places["target"]),
        "environment": ("Any environment", places["environment"]),
        "strategy": ("Any strategy", {kind.value: kind.word for kind in Kind}),
    }
    return [Choice(name, none, words, asked.get(name, "")) for name, (none, words) in options.items()]


def ways_out(request: PageRequest, project: Project, asked: Mapping[str, str]) -> list[Way]:
    """What may be cleared so that something matches, most first; all, where one alone brings nothing. One query."""
    counts = narrowing.found_without(selectors.deployments(project=project), asked)
    ways = [Way(_words(name, text), _without(request, name), counts[name]) for name, text in asked.items()]
    helping = sorted((way for way in ways if way.count), key=lambda way: -way.count)
    return helping or ways


def _without(request: PageRequest, name: str) -> str:
    rest = request.GET.copy()
    for key in (name, "page", "part"):
        rest.pop(key, None)
    return own_address(request, rest)


def _words(name: str, text: str) -> str:
    if name == "q":
        return f"the name “{text}”"
    if name == "rollout":
        return _ROLLOUTS.get(text, f"rollout {text}").lower()
    return f"{name} {Kind(text).word if text in narrowing.STRATEGIES else text}"


def _deploy_command(project: Project) -> str:
    """How to deploy by REST, with a target and a model that the project has; with a gap to fill where it has none."""
    target = selectors.targets(project=project).order_by("name").first()
    [(value, _)] = selectors.version_choices(project, limit=1) or [("MODEL:VERSION", "")]
    model, _, version = value.rpartition(":")
    number = whole(version)
    body = {
        "project": project.name,
        "name": service_name_from(model) or "NAME",
        "target": target.name if target else "TARGET",
        "model": model,
        "version": version if number is None else number,
        "replicas": 3,
    }
    return posting("deployments", json.dumps(body, indent=2, ensure_ascii=False))
