"""The analysis of a whole rollout: one over all waves, one verdict, and one way back for all of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.database.transitions import transitions_of
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.core.work import DONE, Again
from apps.deployments import services
from apps.deployments.models import AnalysisRun, Deployment, Rollout
from apps.deployments.reconcile import measuring
from apps.deployments.rollout.analysis import Looks, Measurement, verdict_of
from apps.deployments.rollout.asked import parse_whole
from apps.deployments.rollout.fleet import decide
from apps.deployments.rollout.seen import FleetStatus
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.rollout.traffic import Share
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.rollout.whole import looked_at
from apps.deployments.services.common import locked
from apps.deployments.services.rollouts import go_on, measured
from tests import factories
from tests.deployments.places import arrive, arrive_on, reread
from tests.deployments.test_fleet import ALL, HOLD, NOW, PLAN, TENTH, at, said, seen
from tests.deployments.test_pages import browser, words
from tests.deployments.test_placements import CANARY, place, wanted

GOOD, YET = Verdict(Outcome.SUCCESSFUL), Verdict(Outcome.RUNNING)
BAD, MAYBE = Verdict(Outcome.FAILED, "2 of 9 fell."), Verdict(Outcome.INCONCLUSIVE, "3 of 9 said nothing.")

RULES = [
    # name, status, placements, verdict over all, decided, and whether a person went past it
    ("it goes on beside the steps", at(1), "a 20, b 0, c 0", YET, "a 20, b 0, c 0 @1 Paused PauseStep", False),
    ("a failure takes back the wave that pauses", at(1), "a 20, b 0, c 0", BAD,
     "a 0, b 0, c 0 @1 RollingBack RollingBack", False),
    ("also those that were promoted long ago", at(6), "a 100, b 20 moving, c 0", BAD,
     "a 0, b 0, c 0 @6 RollingBack RollingBack", False),
    ("also while a person has paused it", at(7, paused=True), "a 100, b 20, c 20", BAD,
     "a 0, b 0, c 0 @7 RollingBack RollingBack", False),
    ("also at the very end", at(ALL), "a 100, b 100, c 100 moving", BAD,
     "a 0, b 0, c 0 @11 RollingBack RollingBack", False),
    ("also where one is away", at(6), "a 100 away, b 20, c 20", BAD,
     "a 0, b 0, c 0 @6 RollingBack RollingBack", False),
    ("a failure waits for a person where none takes back", at(6, **HOLD), "a 100, b 20, c 0", BAD,
     "a 100, b 20, c 0 @6 Degraded AnalysisFailed", False),
    ("who goes past it goes past no step", at(7, promote=True, **HOLD), "a 100, b 20, c 20", BAD,
     "a 100, b 20, c 20 @7 Paused PauseStep", True),
    ("no conclusion waits for a person", at(1, ago=60), "a 20, b 0, c 0", MAYBE,
     "a 20, b 0, c 0 @1 Paused Inconclusive", False),
    ("who goes past that", at(1, ago=60, promote=True), "a 20, b 0, c 0", MAYBE,
     "a 20, b 0, c 0 @2 Paused PauseStep", True),
    ("fully: nobody waits for it", at(4, full=True), "a 100, b 0, c 0", BAD,
     "a 100, b 100, c 100 @10 Progressing Promoting", False),
    ("the end waits for its looks", at(10), "a 100, b 100, c 100", YET,
     "a 100, b 100, c 100 @11 Progressing Analysing", False),
    ("and for no more", at(10), "a 100, b 100, c 100", GOOD, "a 100, b 100, c 100 @11 Healthy Complete", False),
    ("fully: nor for its looks", at(10, full=True), "a 100, b 100, c 100", YET,
     "a 100, b 100, c 100 @11 Healthy Complete", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "placements", "whole", "decided", "passed"), [row[1:] for row in RULES], ids=[row[0] for row in RULES]
)
def test_each_rule(status: FleetStatus, placements: str, whole: Verdict, decided: str, passed: bool) -> None:
    decision = decide(PLAN, status, seen(placements), {}, NOW, whole=whole)
    assert (said(decision), decision.overrules) == (decided, passed)
    assert decision.message.endswith(".")
    # What came of it, recorded, changes nothing more.
    recorded = replace(
        status, state=decision.state, step=decision.step, since=decision.since, promote=False,
        verdict=decision.verdict_reason,
    )  # fmt: skip
    again = decide(PLAN, recorded, seen(placements), {}, NOW, whole=None if passed else whole)
    assert again.shares == decision.shares
    if not decision.state.is_final:
        assert again == replace(decision, passed=(), overrules=False)


def test_a_verdict_that_fell_is_told_until_all_is_back_and_falls_once() -> None:
    decision = decide(PLAN, at(6), seen("a 100 away, b 20, c 0"), {}, NOW, whole=BAD)
    assert (
        decision.message == "Rolling back on b. 2 of 9 fell. a could not be reached: what is there follows by itself."
    )
    back = at(6, state=decision.state, verdict=decision.verdict_reason)
    ended = decide(PLAN, back, seen("a 0 moving away, b 0, c 0"), {}, NOW, whole=BAD)
    assert said(ended) == "a 0, b 0, c 0 @6 Failed RolledBack"
    assert ended.passed == (), "it was turned at one step, once"
    over = at(6, state=ended.state, verdict=ended.verdict_reason)
    assert said(decide(PLAN, over, seen("a 100, b 0, c 0"), {}, NOW, whole=BAD)) == "a 0, b 0, c 0 @6 Failed Ended"


@pytest.mark.parametrize(
    ("step", "weights", "looks_at"),
    [
        (0, {"a": 10, "b": 10, "c": 0}, {}),
        (1, {"a": 10, "b": 100, "c": 0}, {"a": 0}),
        (1, {"a": 10, "b": 10, "c": 0}, {"a": 0, "b": 0}),
        (2, {"a": 10, "b": 100, "c": 0}, {"a": 0, "b": 1}),
        (3, {"a": 50, "b": 100, "c": 0}, {"b": 1}),
        (3, {"a": 10, "b": 100, "c": 0}, {"a": 0, "b": 1}),
        (4, {"a": 50, "b": 100, "c": 0}, {"a": 3, "b": 1}),
        (4, {"b": 100, "c": 0}, {"b": 1}),
        (6, {"a": 100, "b": 100, "c": 100}, {"a": 5, "b": 1}),
        (7, {"a": 100, "b": 100, "c": 100}, {"a": 5, "b": 1, "c": 6}),
    ],
)
def test_it_looks_at_what_has_its_share_and_at_nothing_that_is_on_its_way(
    step: int, weights: Mapping[str, int], looks_at: Mapping[str, int]
) -> None:
    assert looked_at(TENTH, step, {target: Share(weight) for target, weight in weights.items()}) == looks_at


def test_looks_that_are_kept_no_more_count_all_the_same() -> None:
    asked = parse_whole({"failure_limit": 2}, "a")
    last = [Measurement(NOW, Outcome.FAILED, "us: it crashes.", {})]
    assert verdict_of(asked, last, Looks(good=4000, bad=1)).outcome is Outcome.SUCCESSFUL
    verdict = verdict_of(asked, last, Looks(good=4000, bad=2), "The analysis of the whole rollout")
    assert verdict.message == "The analysis of the whole rollout failed, 3 of 4003 measurements: us: it crashes."


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"provider": "model", "metric": "accuracy", "min": 0.9}, "strategy.analysis", "the same in all waves"),
        ({"provider": "scrape", "metric": "m", "better": "less"}, "strategy.analysis.better", "no earlier one"),
        ({"provider": "guess"}, "strategy.analysis.provider", "is one of"),
        ({"failure_limit": -1}, "strategy.analysis.failure_limit", "from 0 to"),
        ({"counts": 1}, "strategy.analysis.counts", "counts"),
        ([], "strategy.analysis", "object"),
    ],
)
def test_what_says_nothing_of_all_waves_is_refused(asked: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        parse_strategy({"kind": "canary", "analysis": asked})
    assert refused.value.field == field


def test_it_is_read_as_it_is_written_kept_and_taken_away() -> None:
    asked = {"provider": "probe", "count": 2, "failure_limit": 5, "min_agreement": 90}
    strategy = parse_strategy({"kind": "canary", "analysis": asked})
    assert parse_strategy(strategy.to_json()) == strategy
    assert strategy.analysis is not None
    assert (strategy.analysis["interval_seconds"], strategy.analysis["failure_limit"]) == (30, 5)
    assert parse_strategy({"max_surge": 2}, strategy).analysis == strategy.analysis
    assert parse_strategy({"analysis": {}}, strategy).to_json() == parse_strategy({"kind": "canary"}).to_json()


STRATEGY: dict[str, Any] = {
    "steps": [{"set_weight": 50}, {"pause": {}}],
    "analysis": {"interval_seconds": 10, "count": 2, "failure_limit": 1},
}


@pytest.fixture
def app(root: Principal, demo: Project) -> Deployment:
    """Revision 1 serves on eu and us, and a canary goes from wave to wave."""
    for name in ("eu", "us"):
        factories.cluster(name)
        services.create_target(principal=root, project=demo, name=name, cluster=name, environment="production")
    made = place(root, demo, strategy=CANARY)
    arrive(made)
    return made


def begun(root: Principal, app: Deployment, **strategy: Any) -> Rollout:
    """Revision 2 on its way, with an analysis of the whole."""
    wish = {"env": {"TAG": "2"}}
    services.set_strategy(principal=root, deployment=app, strategy={**app.strategy, **STRATEGY, **strategy})
    services.deploy_revision(principal=root, deployment=reread(app), changes=wish)
    return Rollout.objects.get(deployment=app, ended_at=None)


def later(rollout: Rollout, seconds: float) -> Rollout:
    """As the clock would move it on after so long."""
    with transaction.atomic():
        held = locked(rollout.deployment_id)
        assert held is not None
        go_on(held, timezone.now() + timedelta(seconds=seconds))
    rollout.refresh_from_db()
    return rollout


def lose_a_replica(app: Deployment, target: str) -> None:
    """One of the new revision's is not ready there, as a round would have found it."""
    place = app.placements.get(target__name=target)
    for entry in place.observed:
        entry["ready"] -= entry["revision"] == 2
    place.save(update_fields=["observed"])


@pytest.mark.django_db
def test_one_analysis_goes_on_from_the_first_wave_to_the_last_and_one_verdict_takes_all_back(
    root: Principal,
    app: Deployment,
    api: Client,
) -> None:
    rollout = begun(root, app)
    assert not rollout.analyses.exists(), "nothing has come anywhere yet"
    arrive_on(app, "eu")
    later(rollout, 11)
    services.promote(principal=root, deployment=app)
    arrive_on(app, "eu")
    arrive_on(app, "us")
    later(rollout, 22)
    run = AnalysisRun.objects.get(rollout=rollout)
    assert (run.step, run.state, len(run.measurements)) == (None, "Running", 2), run.measurements
    assert [each["value"]["wanted"] for each in run.measurements] == [2, 4], "first of eu, then of both"
    seen_on_page = words(browser(root.user).get("/p/demo/deployments/app/"))
    assert "health over all waves · every 10 s · 1 may fail · 1 may tell nothing · until the end" in seen_on_page
    lose_a_replica(app, "eu")
    later(rollout, 33)
    assert wanted(app)["us"] == (1, 2, 50), "one may fail"
    Cluster.objects.filter(name="us").update(state="Unreachable", reason="Timeout", message="No answer.")
    later(rollout, 44)
    assert (rollout.state, wanted(app)) == ("RollingBack", {"eu": (1, 2, 0), "us": (1, 2, 0)})
    assert rollout.verdict.startswith("The analysis of the whole rollout failed, 2 of 4 measurements: ")
    assert "us could not be reached: what is there follows by itself." in rollout.message
    seen_on_page = browser(root.user).get("/p/demo/deployments/app/").content
    assert b'href="#analysis-whole"' in seen_on_page and b'id="analysis-whole" open' in seen_on_page
    arrive_on(app, "eu")
    later(rollout, 55)
    assert (rollout.state, wanted(app)) == ("Failed", {"eu": (1, None, 0), "us": (1, None, 0)})
    turns = [row for row in transitions_of(rollout) if row.to_state == "RollingBack"]
    assert len(turns) == 1
    [told] = api.get("/api/v1/deployments/app/analyses").json()["results"]
    assert (told["step"], told["targets"], told["state"]) == (None, ["eu", "us"], "Failed")


@pytest.mark.django_db
def test_the_end_waits_for_its_looks_and_gives_the_verdict(root: Principal, app: Deployment) -> None:
    rollout = begun(root, app, steps=[{"set_weight": 50}], waves=[])
    for _ in range(3):
        arrive(app)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.reason) == ("Progressing", "Analysing"), rollout.message
    assert rollout.message.startswith("eu and us serve the new revision. The analysis of the whole rollout goes on")
    later(rollout, 11)
    later(rollout, 22)
    run = AnalysisRun.objects.get(rollout=rollout)
    assert (rollout.state, run.state, run.message) == ("Healthy", "Successful", "2 of 2 measurements were good.")
    assert run.ended_at is not None


@pytest.mark.django_db
def test_a_person_goes_past_it_once_and_it_looks_no_more(root: Principal, app: Deployment) -> None:
    rollout = begun(root, app, on_failure="hold")
    arrive_on(app, "eu")
    lose_a_replica(app, "eu")
    later(rollout, 11)
    later(rollout, 22)
    assert (rollout.state, rollout.reason) == ("Degraded", "AnalysisFailed"), rollout.message
    assert "Promote Pause" not in (page := words(browser(root.user).get("/p/demo/deployments/app/")))
    assert "Pause Promote" in page, "it is offered where the verdict waits"
    services.promote(principal=root, deployment=app)
    assert later(rollout, 33).reason == "PauseStep", "not past the step beside it"
    run = AnalysisRun.objects.get(rollout=rollout)
    assert (run.overruled, run.state, len(run.measurements)) == (True, "Failed", 2)
    services.promote(principal=root, deployment=app)
    assert wanted(app)["eu"] == (1, 2, 100)


@pytest.mark.django_db
def test_what_has_nothing_to_go_back_to_or_ends_otherwise_has_no_verdict(root: Principal, app: Deployment) -> None:
    rollout = begun(root, app)
    arrive_on(app, "eu")
    services.abort(principal=root, deployment=app)
    arrive(app)
    assert AnalysisRun.objects.get(rollout=rollout).state == "Stopped"
    services.delete_deployment(principal=root, deployment=reread(app))
    spec = {"image": "a/b:1", "strategy": {**CANARY, **STRATEGY, "waves": []}}
    asked = services.NewDeployment(name="new", targets=["eu"], spec=spec)
    again = services.create_deployment(principal=root, project=app.project, asked=asked)
    arrive(again)
    assert not AnalysisRun.objects.filter(rollout__deployment=again).exists()


@pytest.mark.django_db
def test_a_round_that_asks_somebody_looks_where_it_can_and_stores_it_at_any_step(
    root: Principal,
    app: Deployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def look(run: AnalysisRun, places: Any) -> measuring.Seen:
        asked.append([place.target.name for place in places])
        return measuring.Seen(Measurement(timezone.now(), Outcome.SUCCESSFUL, "All answered.", {}), {})

    monkeypatch.setitem(measuring.LOOKS, "probe", look)  # type: ignore[arg-type]
    rollout = begun(root, app, analysis={"provider": "probe", "interval_seconds": 1, "count": 1})
    arrive_on(app, "eu")
    run = AnalysisRun.objects.get(rollout=rollout)
    AnalysisRun.objects.update(started_at=NOW)
    assert measuring.measure(run.pk) == Again(1.0)
    services.promote(principal=root, deployment=app)
    good = Measurement(timezone.now(), Outcome.SUCCESSFUL, "All answered.", {})
    assert measured(run, good, {}), "the rollout has gone on to another step, and the look counts"
    assert measuring.measure(run.pk) == Again(1.0)
    assert asked == [["eu"]], "eu is on its way to all of it"
    arrive_on(app, "eu")
    arrive_on(app, "us")
    AnalysisRun.objects.filter(pk=run.pk).update(measurements=[])
    Cluster.objects.filter(name="eu").update(state="Unreachable", reason="Timeout", message="No answer.")
    measuring.measure(run.pk)
    assert asked[1:] == [["us"]], "a cluster that is away holds its own wave"
    services.abort(principal=root, deployment=app)
    assert not measured(run, good, {})
    arrive(app)
    assert measuring.measure(run.pk) == DONE
