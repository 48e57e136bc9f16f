"""The card of the overview that shows what serves: a line for each deployment, a square for each replica."""

from collections.abc import Mapping
from typing import Any

from apps.core.pages import nav
from apps.core.pages.overview import Scope, ServingRow
from apps.core.states import Health
from apps.deployments import selectors
from apps.deployments.models import Deployment, Revision
from apps.deployments.pages.ready import LAST_SEEN, ready_of
from apps.deployments.pages.rows import coming_of
from apps.deployments.states import RolloutState

SERVING_ROWS = 8
SQUARES = 60


def serving(scope: Scope) -> list[ServingRow]:
    """Deployments with a square for each replica, the worst first: two queries more, however many there are."""
    rows = list(selectors.worst_first(selectors.deployments(project=scope.project))[:SERVING_ROWS])
    comes = {place.pk: coming_of(row) for row in rows for place in row.places}
    squares: dict[int, list[dict[str, Any]]] = {}
    for pod in selectors.first_pods_of(rows, each=SQUARES):
        squares.setdefault(pod.placement, []).append(_square(pod, comes[pod.placement]))
    return [
        ServingRow(
            row.name,
            _sub(row),
            row.word,
            ready.count,
            ready.apart,
            [
                {**(_lost(square) if place.is_lost else square), "url": url}
                for place in row.places
                for square in squares.get(place.pk, [])
            ],
            url,
            row.is_unheard,
        )
        for row in rows
        for ready, url in ((ready_of(row), nav.link("deployments:detail", row.project.name, row.name)),)
    ]


def _sub(row: Deployment) -> str:
    return " · ".join(part for part in (_served(row), targets_text(row)) if part)


def _served(row: Deployment) -> str:
    """The model version that serves, and the one that is being rolled out or taken back beside it."""
    rollout = row.under_way
    wanted = _version(row.current)
    if rollout is None or rollout.from_revision is None:
        return wanted
    before, coming = _version(rollout.from_revision), _version(rollout.to_revision)
    if before == coming:
        # Another image or size of the same model.
        numbers = f"revision {rollout.to_revision.number} {_GOES[rollout.state == RolloutState.ROLLING_BACK]}"
        return f"{before}, {numbers}" if before else numbers
    came = f"version {coming.rpartition(' ')[2]}" if _name(before) == _name(coming) else coming
    return f"{before}, {came or 'another server'} {_GOES[rollout.state == RolloutState.ROLLING_BACK]}"


_GOES = {False: "is coming", True: "is taken back"}


def _version(revision: Revision | None) -> str:
    """ "digits version 4"; "" where no registered model is served."""
    model = revision.spec.get("model") if revision is not None else None
    return f"{model['name']} version {model['version']}" if model else ""


def _name(version: str) -> str:
    return version.partition(" version ")[0]


def targets_text(row: Deployment) -> str:
    """ "eu-production", or "3 targets"."""
    places = row.places
    return places[0].target.name if len(places) == 1 else f"{len(places)} targets"


def _lost(square: Mapping[str, Any]) -> dict[str, Any]:
    return {**square, "state": Health.UNKNOWN, "detail": f"{square['state']} {LAST_SEEN}", "stale": True}


def _square(pod: selectors.Square, coming: str) -> dict[str, Any]:
    young = bool(coming) and pod.revision == coming
    return {"name": pod.name, "state": pod.health, "detail": pod.said, "young": young, "stale": False}
