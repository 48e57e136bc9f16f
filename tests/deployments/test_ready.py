"""What pages say of ready replicas while clusters can't be asked: a table over placements, no database."""

from typing import Any

import pytest

from apps.clusters.models import Cluster
from apps.core.states import Health
from apps.deployments.health import observed_together
from apps.deployments.models import Deployment, Placement, Revision, Target
from apps.deployments.pages.ready import ready_of, ready_of_revision, ready_on, revision_on
from apps.deployments.pages.story import serves
from apps.deployments.services import together

HALF = {2: (2, 2, 2), 1: (2, 2, 2)}
OLD = {1: (4, 4, 4)}


def place(wanted: int, revisions: dict[int, tuple[int, int, int]], *, lost: bool = False, **columns: Any) -> Placement:
    """Revision 1 shall be there; `revisions` has wanted, existing and ready replicas of each."""
    observed = [
        {"revision": number, "wanted": counts[0], "existing": counts[1], "ready": counts[2]}
        for number, counts in revisions.items()
    ]
    made = Placement(
        pk=1,
        target=Target(name="eu", cluster=Cluster(name="eu", state="Healthy")),
        desired_replicas=wanted,
        ready_replicas=sum(counts[2] for counts in revisions.values()),
        observed=observed,
        health=Health.UNKNOWN if lost else Health.HEALTHY,
        state="Active",
        **columns,
    )
    made.stable = Revision(number=1)
    return made


def deployment(places: list[Placement]) -> Deployment:
    """As it is after these have been summed up."""
    made = Deployment(pk=1, name="app", state="Active", desired_replicas=sum(each.desired_replicas for each in places))
    made._prefetched_objects_cache = {"placements": places}  # type: ignore[attr-defined]
    made.ready_replicas = sum(each.ready_replicas for each in places)
    made.observed = observed_together(map(together.part_of, places))
    return made


@pytest.mark.parametrize(
    ("places", "sure", "said"),
    [
        ([place(4, OLD), place(4, OLD)], 8, "8 of 8 ready"),
        ([place(4, HALF), place(4, OLD)], 8, "8 of 8 ready"),
        ([place(2, HALF), place(2, {1: (2, 2, 2)})], 6, "6 of 6 ready"),
        ([place(4, OLD), place(4, HALF, lost=True)], 4, "4 of 4 ready; 4 on a target that can't be asked"),
        # Its replicas run on the other one: of 5 that are wanted, 5 are ready, whatever the lost one has still.
        ([place(5, {1: (5, 5, 5)}), place(0, {1: (2, 2, 2)}, lost=True)], 5,
         "5 of 5 ready; 2 on a target that can't be asked"),
        ([place(4, OLD), place(1, {1: (1, 1, 0)}, lost=True), place(1, {1: (1, 1, 1)}, lost=True)], 4,
         "4 of 4 ready; 1 on 2 targets that can't be asked"),
        ([place(4, OLD, lost=True)], 0, "4 of 4 ready when last seen"),
    ],
)  # fmt: skip
def test_what_is_on_a_cluster_that_is_away_is_not_counted_as_ready(
    places: list[Placement], sure: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, stored = deployment(places), dict[str, Any]()
    assert ready_of(app).said() == said
    assert serves(app) == f"Revision 1 serves: {said.replace(' ready', ' replicas ready')}."
    monkeypatch.setattr(together, "put", lambda row, **fields: stored.update(fields))
    together.sum_up(app)
    assert stored["ready_replicas"] == sure


@pytest.mark.parametrize(
    ("there", "ready", "left"),
    [
        (place(4, HALF), "4 of 4 ready", ""),
        (place(4, OLD, lost=True), "4 of 4 ready when last seen", ""),
        (place(4, HALF, lost=True), "4 of 4 ready when last seen",
         ", and 2 of revision 2 (50 % of the requests) until it is back"),
        (place(4, {2: (2, 1, 0), 1: (4, 4, 4)}, lost=True), "4 of 4 ready when last seen",
         ", and 1 of revision 2 until it is back"),
        # While the rollout goes on, what comes shall be there, and has a share of its own.
        (place(4, HALF, lost=True, coming=Revision(number=2)), "4 of 4 ready when last seen", ""),
    ],
)  # fmt: skip
def test_a_cluster_that_is_away_shows_what_was_last_seen_of_each_revision(
    there: Placement, ready: str, left: str
) -> None:
    assert ready_on(there).said() == ready
    assert revision_on(there) == left


@pytest.mark.parametrize(
    ("places", "first", "second"),
    [
        ([place(4, HALF), place(4, OLD)], "6 of 6 ready", "2 of 2 ready"),
        ([place(4, HALF, lost=True)], "2 of 2 ready when last seen", "2 of 2 ready when last seen"),
        # Only what the lost one had is told apart.
        (
            [place(4, OLD), place(4, HALF, lost=True)],
            "4 of 4 ready; 2 on a target that can't be asked",
            "0 of 0 ready; 2 on a target that can't be asked",
        ),
        ([place(4, HALF), place(4, OLD, lost=True)], "2 of 2 ready; 4 on a target that can't be asked", "2 of 2 ready"),
    ],
)
def test_what_is_ready_of_each_revision_is_told_as_the_head_tells_it(
    places: list[Placement], first: str, second: str
) -> None:
    app = deployment(places)
    assert (ready_of_revision(app, 1).said(), ready_of_revision(app, 2).said()) == (first, second)
