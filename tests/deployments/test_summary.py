"""What the head of a deployment's page says of its rollout and its traffic: tables over rows, no database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core.states import Health
from apps.deployments.models import Deployment, Placement, Revision, Rollout, Stage, Target
from apps.deployments.pages.rolling import steps_of, traffic_of
from apps.deployments.pages.rows import PlaceRow
from apps.deployments.pages.summary import RolloutCell, rollout_cell, shares_on, traffic_cell
from apps.deployments.pages.waves import near, waves_of
from apps.deployments.rollout.plan import plan_of
from apps.deployments.rollout.strategy import parse_strategy
from tests.deployments.test_panels import seen

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ONE, TWO = Revision(pk=1, number=1), Revision(pk=2, number=2)
CANARY: dict[str, Any] = {"kind": "canary", "steps": [{"set_weight": 20}, {"pause": {}}]}
WAVES = CANARY | {"waves": [{"targets": ["eu"], "soak_seconds": 60}, {"targets": ["us"]}]}


def rollout(strategy: dict[str, Any], targets: list[str], **fields: Any) -> Rollout:
    plan = [step.to_json() for step in plan_of(parse_strategy(strategy), targets, fresh=[])]
    both: dict[str, Any] = {"from_revision": ONE, "to_revision": TWO}
    return Rollout(plan=plan, strategy=strategy, step_since=NOW, **(both | {"state": "Progressing"} | fields))


def cell(made: Rollout, word: str = "") -> RolloutCell:
    waves = near(waves_of(made, [], [], NOW)) if len(made.plan) > 1 else near([])
    steps = steps_of(made, desired=2, ready=1, pods=2, old_left=1)
    return rollout_cell(made, word or made.state, made.strategy["kind"], waves, steps)


def test_where_the_rollout_stands_in_a_line() -> None:
    hour = NOW - timedelta(hours=1)
    for made, said in (
        (rollout(CANARY, ["eu"], step=1, state="Paused"), ("Paused", "step 2 of 3", "canary: Until promoted")),
        (rollout(WAVES, ["eu", "us"], step=0), ("Progressing", "step 1 of 4, wave 1 of 2", "canary: 20\xa0%")),
        (rollout(WAVES, ["eu", "us"], step=5), ("Progressing", "step 2 of 3, wave 2 of 2", "canary: Until promoted")),
        # Of a plain one the replicas tell the steps.
        (rollout({"kind": "rolling"}, ["eu"], step=0), ("Progressing", "step 3 of 4", "rolling: Get 2 of 2 ready")),
        (rollout(CANARY, ["eu"], step=1, state="RollingBack"), ("RollingBack", "rolling back", "revision 2")),
        (rollout(CANARY, ["eu"], step=3, state="Healthy", ended_at=hour), ("", "none", "last promoted")),
        (rollout(CANARY, ["eu"], step=1, state="Superseded", ended_at=hour), ("", "none", "last superseded")),
        (rollout(CANARY, ["eu"], step=1, state="Aborted", ended_at=hour), ("Aborted", "taken back", "revision 2")),
    ):
        told = cell(made)
        assert (told.state, told.stands, told.note) == said
        assert told.at == made.ended_at
    assert rollout_cell(None, "", "rolling", near([]), []).stands == "none"


def placed(name: str, *revisions: tuple[int, int], traffic: dict[str, Any] | None = None, **fields: Any) -> Placement:
    """With so many ready replicas of each revision."""
    observed = [seen(number, ready, ready, ready) for number, ready in revisions]
    made = Placement(pk=1, target=Target(name=name), observed=observed, state="Active", traffic=traffic or {}, **fields)
    made.stable = ONE
    return made


@pytest.mark.parametrize(
    ("places", "lines", "by"),
    [
        ([placed("eu", (1, 4))], ["all to revision 1"], "by replicas"),
        ([placed("eu")], ["nobody answers"], "by replicas"),
        ([placed("eu", (2, 1), (1, 3))], ["25\xa0% to 2, 75\xa0% to 1"], "by replicas"),
        ([placed("eu", (2, 1), (1, 7))], ["13\xa0% to 2, 87\xa0% to 1"], "by replicas"),
        # A Gateway says it, whatever the number of replicas.
        ([placed("eu", (2, 1), (1, 1), traffic={"selects": 1, "route": {"to": 2, "weight": 10}})],
         ["10\xa0% to 2, 90\xa0% to 1"], "by HTTPRoute"),
        ([placed("eu", (2, 4), (1, 4), traffic={"selects": 1, "preview": 2})],
         ["all to revision 1"], "by its Service, revision 2 in preview"),
        ([placed("eu", (2, 4), (1, 4), coming=TWO, mirror=20, traffic={"selects": 1, "route": {"to": 2, "mirror": 5}})],
         ["all to revision 1"], "by HTTPRoute, 5 % of 20 % mirrored to 2, answers dropped"),
        ([placed("eu", (2, 4)), placed("us", (1, 4))],
         ["eu: all to revision 2", "us: all to revision 1"], "by replicas"),
        ([placed("eu", (2, 4)), placed("us", (2, 2), (1, 2)), placed("a", (1, 4)), placed("b", (1, 4))],
         ["2 of 4 targets: all to revision 1", "eu: all to revision 2", "otherwise on 1 more"], "by replicas"),
        ([placed("eu", (1, 4)), placed("us", (1, 4), health=Health.UNKNOWN)],
         ["all to revision 1"], "by replicas, in part as last seen"),
    ],
)  # fmt: skip
def test_where_requests_go_in_a_line(places: list[Placement], lines: list[str], by: str) -> None:
    made = Deployment(pk=1, name="app", state="Active")
    made._prefetched_objects_cache = {"placements": places}  # type: ignore[attr-defined]
    made.unfinished = []  # type: ignore[attr-defined]
    told = traffic_cell(made)
    assert (told.lines, told.by) == (lines, by)


def test_the_line_and_the_bars_say_the_same_share() -> None:
    made = rollout(CANARY, ["eu"], step=0)
    for new, old in ((1, 3), (1, 7), (3, 5), (2, 4), (4, 0), (0, 4)):
        place = placed("eu", (2, new), (1, old))
        shares = shares_on(place, 2)
        stage = Stage(placement=place, weight=20, actual=shares.get(2, 0), state="Progressing")
        bars = {number: said.partition(" of ")[0] for number, said in traffic_of(made, [stage]).items()}
        assert bars == {number: f"{shares.get(number, 0)} %" for number in (1, 2)}


def test_a_preview_is_no_share_of_nothing() -> None:
    stage = Stage(placement=placed("eu", (2, 4), (1, 4)), weight=0, actual=0, phase="preview", state="Healthy")
    assert PlaceRow(stage.placement, stage).share == "preview, no traffic"
    assert traffic_of(rollout({"kind": "blue_green"}, ["eu"]), [stage])[2] == "preview, no traffic"
