"""Where the rollout of a deployment over all its targets stands: tables for each rule."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.deployments.rollout.fleet import FleetDecision, decide
from apps.deployments.rollout.passages import How
from apps.deployments.rollout.plan import PlanStep, plan_of
from apps.deployments.rollout.policy import FROZEN, REJECTED, UNAPPROVED, Answer, Ruling
from apps.deployments.rollout.seen import FleetStatus, PlacementSeen
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import OnFailure, parse_strategy
from apps.deployments.rollout.traffic import Share
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.states import ROLLOUT_MOVES, UNFINISHED, RolloutState

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
CRASH = "digits-r2-x ended with exit 1."

# 0 set_weight 20 · 1 pause 60 s · 2 pause · 3 analyse · 4 promote · 5 soak 60 s, on a; without soak on b and c.
STRATEGY = parse_strategy({
    "kind": "canary",
    "steps": [{"set_weight": 20}, {"pause": {"seconds": 60}}, {"pause": {}}, {"analyse": {}}],
    "waves": [{"targets": ["a"], "soak_seconds": 60}, {"targets": ["b", "c"]}],
})  # fmt: skip
PLAN = plan_of(STRATEGY, ["a", "b", "c"], fresh=())
ALL = len(PLAN)


def seen(said: str) -> dict[str, PlacementSeen]:
    """ "a 20, b 0 moving, c 100 away bad": weight, then what differs from a placement that arrived in peace."""
    placements = {}
    for part in said.split(", ") if said else []:
        target, weight, *words = part.split()
        placements[target] = PlacementSeen(
            target,
            "away" not in words,
            Share(int(weight)),
            not {"moving", "bad"} & set(words),
            CRASH if "bad" in words else "",
            had=next((int(word[3:]) for word in words if word.startswith("had")), None),
            held="held" in words,
        )
    return placements


def at(step: int, *, ago: int = 0, state: RolloutState = RolloutState.PROGRESSING, **asked: Any) -> FleetStatus:
    since = NOW - timedelta(seconds=ago)
    return FleetStatus(state, step, since, **{"on_failure": OnFailure.ROLLBACK, **asked})


def said(decision: FleetDecision) -> str:
    """ "a 20, b 0 @1 Paused PauseStep"."""
    weights = ", ".join(f"{target} {share.weight}" for target, share in decision.shares.items())
    return f"{weights} @{decision.step} {decision.state} {decision.reason}"


HOLD = {"on_failure": OnFailure.HOLD}
BACK = RolloutState.ROLLING_BACK
OK, BAD, MAYBE = Verdict(Outcome.SUCCESSFUL), Verdict(Outcome.FAILED, "2 of 3 fell."), Verdict(Outcome.INCONCLUSIVE)
RULES = [
    # name, status, placements, analyses, decided
    ("it begins with the first wave", at(0, state=RolloutState.PENDING), "a 0, b 0, c 0", {},
     "a 20, b 0, c 0 @0 Progressing SettingWeight"),
    ("told, not there yet", at(0), "a 20 moving, b 0, c 0", {}, "a 20, b 0, c 0 @0 Progressing SettingWeight"),
    ("there: the pause begins", at(0), "a 20, b 0, c 0", {}, "a 20, b 0, c 0 @1 Paused PauseStep"),
    ("the pause lasts", at(1, ago=59), "a 20, b 0, c 0", {}, "a 20, b 0, c 0 @1 Paused PauseStep"),
    ("the pause is over: the next one has no end", at(1, ago=60), "a 20, b 0, c 0", {},
     "a 20, b 0, c 0 @2 Paused PauseStep"),
    ("a press goes past one pause, not two", at(1, ago=5, promote=True), "a 20, b 0, c 0", {},
     "a 20, b 0, c 0 @2 Paused PauseStep"),
    ("no clock ends a pause without seconds", at(2, ago=10**6), "a 20, b 0, c 0", {},
     "a 20, b 0, c 0 @2 Paused PauseStep"),
    ("a person does", at(2, promote=True), "a 20, b 0, c 0", {}, "a 20, b 0, c 0 @3 Progressing Analysing"),
    ("a press while it moves is no press for later", at(0, promote=True), "a 20, b 0, c 0", {},
     "a 20, b 0, c 0 @1 Paused PauseStep"),
    ("the analysis runs", at(3), "a 20, b 0, c 0", {3: Verdict(Outcome.RUNNING)},
     "a 20, b 0, c 0 @3 Progressing Analysing"),
    ("it succeeded: the wave is promoted", at(3), "a 20, b 0, c 0", {3: OK},
     "a 100, b 0, c 0 @4 Progressing Promoting"),
    ("it failed: back", at(3), "a 20, b 0, c 0", {3: BAD}, "a 0, b 0, c 0 @3 RollingBack RollingBack"),
    ("it failed, and a person's press comes too late", at(3, promote=True), "a 20, b 0, c 0", {3: BAD},
     "a 0, b 0, c 0 @3 RollingBack RollingBack"),
    ("it failed on hold: a person decides", at(3, **HOLD), "a 20, b 0, c 0", {3: BAD},
     "a 20, b 0, c 0 @3 Degraded AnalysisFailed"),
    ("and goes on", at(3, promote=True, **HOLD), "a 20, b 0, c 0", {3: BAD},
     "a 100, b 0, c 0 @4 Progressing Promoting"),
    ("no conclusion: a person decides", at(3), "a 20, b 0, c 0", {3: MAYBE}, "a 20, b 0, c 0 @3 Paused Inconclusive"),
    ("and goes on after all", at(3, promote=True), "a 20, b 0, c 0", {3: MAYBE},
     "a 100, b 0, c 0 @4 Progressing Promoting"),
    ("another step's analysis says nothing", at(3), "a 20, b 0, c 0", {9: OK},
     "a 20, b 0, c 0 @3 Progressing Analysing"),
    ("promoted: it soaks", at(4), "a 100, b 0, c 0", {}, "a 100, b 0, c 0 @5 Progressing Soaking"),
    ("soaked: the next wave", at(5, ago=60), "a 100, b 0, c 0", {}, "a 100, b 20, c 20 @6 Progressing SettingWeight"),
    ("a press ends the soak", at(5, promote=True), "a 100, b 0, c 0", {},
     "a 100, b 20, c 20 @6 Progressing SettingWeight"),
    ("soaked, and just being repaired", at(5, ago=60), "a 100 moving, b 0, c 0", {},
     "a 100, b 0, c 0 @5 Progressing Recovering"),
    ("the slowest of a wave is waited for", at(6), "a 100, b 20, c 20 moving", {},
     "a 100, b 20, c 20 @6 Progressing SettingWeight"),
    ("an earlier wave's repair holds nobody", at(6), "a 100 moving, b 20, c 20", {},
     "a 100, b 20, c 20 @7 Paused PauseStep"),
    ("but it holds the end", at(ALL), "a 100 moving, b 100, c 100", {},
     "a 100, b 100, c 100 @11 Progressing Recovering"),
    ("the end", at(10), "a 100, b 100, c 100", {}, "a 100, b 100, c 100 @11 Healthy Complete"),
    # Clusters that are away
    ("away: its wave is held, its neighbour goes on", at(6), "a 100, b 0 away, c 20 moving", {},
     "a 100, b 20, c 20 @6 Progressing ClusterAway"),
    ("away: its neighbour has arrived, and waits", at(6), "a 100, b 0 away, c 20", {},
     "a 100, b 20, c 20 @6 Progressing ClusterAway"),
    ("away since it arrived: nothing to wait for", at(6), "a 100, b 20 away, c 20", {},
     "a 100, b 20, c 20 @7 Paused PauseStep"),
    ("a later wave's is not asked for yet", at(0), "a 20, b 0 away, c 0 away", {},
     "a 20, b 0, c 0 @1 Paused PauseStep"),
    ("an earlier wave's holds nobody but the end", at(10), "a 100 away moving, b 100, c 100", {},
     "a 100, b 100, c 100 @11 Progressing ClusterAway"),
    ("its last trouble proves nothing", at(6), "a 100, b 20 away bad, c 20", {},
     "a 100, b 20, c 20 @6 Progressing ClusterAway"),
    # Trouble
    ("trouble: back everywhere", at(6), "a 100, b 20 bad, c 20", {}, "a 0, b 0, c 0 @6 RollingBack RollingBack"),
    ("trouble of an earlier wave: the same", at(6), "a 100 bad, b 20, c 20", {},
     "a 0, b 0, c 0 @6 RollingBack RollingBack"),
    ("trouble of a later wave is not ours", at(1), "a 20, b 0 bad, c 0", {}, "a 20, b 0, c 0 @1 Paused PauseStep"),
    ("trouble in a pause", at(2), "a 20 bad, b 0, c 0", {}, "a 0, b 0, c 0 @2 RollingBack RollingBack"),
    ("trouble in the soak", at(5), "a 100 bad, b 0, c 0", {}, "a 0, b 0, c 0 @5 RollingBack RollingBack"),
    ("trouble before the end", at(ALL), "a 100 bad, b 100, c 100", {}, "a 0, b 0, c 0 @11 RollingBack RollingBack"),
    ("trouble before the weight was given is not ours", at(0), "a 0 bad, b 0, c 0", {},
     "a 20, b 0, c 0 @0 Progressing SettingWeight"),
    ("trouble on hold", at(6, **HOLD), "a 100, b 20 bad, c 0", {}, "a 100, b 20, c 0 @6 Degraded TargetDegraded"),
    ("and it passes", at(6, state=RolloutState.DEGRADED, **HOLD), "a 100, b 20, c 0", {},
     "a 100, b 20, c 20 @6 Progressing SettingWeight"),
    # People
    ("paused: nothing moves", at(0, paused=True), "a 20, b 0, c 0", {}, "a 20, b 0, c 0 @0 Paused Paused"),
    ("paused, but bad: back all the same", at(0, paused=True), "a 20 bad, b 0, c 0", {},
     "a 0, b 0, c 0 @0 RollingBack RollingBack"),
    ("paused and on hold: nothing moves", at(0, paused=True, **HOLD), "a 20 bad, b 0, c 0", {},
     "a 20, b 0, c 0 @0 Paused Paused"),
    ("paused: no promotion", at(2, paused=True, promote=True, full=True), "a 20, b 0, c 0", {},
     "a 20, b 0, c 0 @2 Paused Paused"),
    ("fully: past all waits, to the wave's promote", at(1, full=True), "a 20, b 0, c 0", {},
     "a 100, b 0, c 0 @4 Progressing Promoting"),
    ("fully: the waves stay in order", at(4, full=True), "a 100, b 0, c 0", {},
     "a 100, b 100, c 100 @10 Progressing Promoting"),
    ("fully: past a failed analysis too", at(3, full=True), "a 20, b 0, c 0", {3: BAD},
     "a 100, b 0, c 0 @4 Progressing Promoting"),
    ("fully: trouble takes it back still", at(4, full=True), "a 100 bad, b 0, c 0", {},
     "a 0, b 0, c 0 @4 RollingBack RollingBack"),
    ("aborted", at(6, abort="ada took it back"), "a 100, b 20, c 0", {}, "a 0, b 0, c 0 @6 RollingBack RollingBack"),
    ("aborted while paused", at(6, paused=True, abort="no"), "a 100, b 20, c 0", {},
     "a 0, b 0, c 0 @6 RollingBack RollingBack"),
    ("aborted before anything moved", at(0, abort="no"), "a 0, b 0, c 0", {}, "a 0, b 0, c 0 @0 Aborted Aborted"),
    # Back
    ("on the way back", at(6, state=BACK, verdict="b: bad."), "a 0 moving, b 0, c 0", {},
     "a 0, b 0, c 0 @6 RollingBack RollingBack"),
    ("back: a verdict began it", at(6, state=BACK, verdict="b: bad."), "a 0, b 0, c 0", {},
     "a 0, b 0, c 0 @6 Failed RolledBack"),
    ("back: a person began it", at(6, state=BACK, abort="no"), "a 0, b 0, c 0", {}, "a 0, b 0, c 0 @6 Aborted Aborted"),
    ("a person can't turn a verdict into a wish", at(6, state=BACK, verdict="b: bad.", abort="no"), "a 0, b 0, c 0", {},
     "a 0, b 0, c 0 @6 Failed RolledBack"),
    ("nothing turns it round", at(6, state=BACK, verdict="x.", full=True, promote=True), "a 100, b 20, c 20", {},
     "a 0, b 0, c 0 @6 RollingBack RollingBack"),
    ("back where it can be, the rest follows", at(6, state=BACK, verdict="b: bad."), "a 0 moving away, b 0, c 0", {},
     "a 0, b 0, c 0 @6 Failed RolledBack"),
    ("a later wave that never had it holds nobody up", at(1, state=BACK, verdict="x."), "a 0, b 0 moving, c 0 bad", {},
     "a 0, b 0, c 0 @1 Failed RolledBack"),
    # Over
    ("over and good: who is late gets it", at(ALL, state=RolloutState.HEALTHY), "a 100, b 20, c 0", {},
     "a 100, b 100, c 100 @11 Healthy Ended"),
    ("over and bad: who is late loses it", at(6, state=RolloutState.FAILED), "a 100, b 20, c 0", {},
     "a 0, b 0, c 0 @6 Failed Ended"),
    ("superseded: another rollout says", at(6, state=RolloutState.SUPERSEDED), "a 100, b 20, c 0", {},
     "a 100, b 20, c 0 @6 Superseded Ended"),
    # Placements that came or went since the plan was made
    ("a target that is gone is not waited for", at(6), "a 100, c 20", {}, "a 100, c 20 @7 Paused PauseStep"),
    ("one that came later keeps what it has", at(6), "a 100, b 20, c 20, d 0", {},
     "a 100, b 20, c 20, d 0 @7 Paused PauseStep"),
    ("and gets it with the end", at(10), "a 100, b 100, c 100, d 0", {},
     "a 100, b 100, c 100, d 100 @11 Progressing Recovering"),
    ("no target is left", at(2), "", {}, " @2 Paused PauseStep"),
]  # fmt: skip


SHUT = {
    UNAPPROVED: Ruling(Answer.WAITS, reason=UNAPPROVED),
    REJECTED: Ruling(Answer.WAITS, "It was rejected for b.", reason=REJECTED),
    FROZEN: Ruling(Answer.WAITS, reason=FROZEN, due=NOW + timedelta(hours=2)),
    "longer": Ruling(Answer.WAITS, reason=FROZEN, due=NOW + timedelta(hours=9)),
}
GATES = [
    # name, status, placements, targets that are shut, decided, and why
    ("nothing is brought where approval is missing", at(0, state=RolloutState.PENDING), "a 0, b 0, c 0",
     {"a": UNAPPROVED}, "a 0, b 0, c 0 @0 Paused WaitingForApproval", "Waiting for approval of a."),
    ("a wave waits as a whole", at(5, ago=60), "a 100, b 0, c 0", {"c": FROZEN},
     "a 100, b 0, c 0 @6 Paused Frozen", "c is frozen until Mon 30 Nov 2026, 05:00 (UTC)."),
    ("until the last of them is over", at(6), "a 100, b 0, c 0", {"b": FROZEN, "c": "longer"},
     "a 100, b 0, c 0 @6 Paused Frozen", "b and c are frozen until Mon 30 Nov 2026, 12:00 (UTC)."),
    ("all that is waited for is told", at(6), "a 100, b 0, c 0", {"b": UNAPPROVED, "c": FROZEN},
     "a 100, b 0, c 0 @6 Paused WaitingForApproval",
     "Waiting for approval of b. c is frozen until Mon 30 Nov 2026, 05:00 (UTC)."),
    ("a rejection first", at(6), "a 100, b 0, c 0", {"c": UNAPPROVED, "b": REJECTED},
     "a 100, b 0, c 0 @6 Paused Rejected", "It was rejected for b. Waiting for approval of c."),
    ("another wave's holds nobody", at(0), "a 20 moving, b 0, c 0", {"b": UNAPPROVED},
     "a 20, b 0, c 0 @0 Progressing SettingWeight", "a goes to 20 %."),
    ("what is on its way already goes on", at(6), "a 100, b 20 moving, c 20", {"b": FROZEN},
     "a 100, b 20, c 20 @6 Progressing SettingWeight", "b goes to 20 %."),
    ("what was brought stays, the next step waits", at(8, promote=True), "a 100, b 20, c 20", {"b": FROZEN},
     "a 100, b 20, c 20 @9 Progressing Analysing", "Analysing how the new revision fares on b and c."),
    ("nobody promotes past it", at(6, promote=True), "a 100, b 0, c 0", {"b": UNAPPROVED},
     "a 100, b 0, c 0 @6 Paused WaitingForApproval", "Waiting for approval of b."),
    ("nor fully", at(4, full=True), "a 100, b 0, c 0", {"b": UNAPPROVED},
     "a 100, b 0, c 0 @10 Paused WaitingForApproval", "Waiting for approval of b."),
    ("an abort passes", at(6, abort="Enough"), "a 100, b 20, c 0", {"a": FROZEN, "b": UNAPPROVED, "c": FROZEN},
     "a 0, b 0, c 0 @6 RollingBack RollingBack", "Rolling back on a and b. Enough."),
    ("trouble passes", at(6), "a 100 bad, b 0, c 0", {"a": FROZEN, "b": FROZEN},
     "a 0, b 0, c 0 @6 RollingBack RollingBack", f"Rolling back on a. a: {CRASH}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "placements", "shut", "decided", "why"), [row[1:] for row in GATES], ids=[row[0] for row in GATES]
)
def test_each_rule_of_what_targets_let_in(
    status: FleetStatus, placements: str, shut: Mapping[str, str], decided: str, why: str
) -> None:
    gates = {target: SHUT[reason] for target, reason in shut.items()}
    decision = decide(PLAN, status, seen(placements), {}, NOW, gates)
    assert (said(decision), decision.message) == (decided, why)
    waits = decision.reason in (UNAPPROVED, REJECTED, FROZEN)
    assert decision.asks == tuple(t for t, reason in shut.items() if waits and reason == UNAPPROVED)
    dues = [gate.due for gate in gates.values() if gate.due is not None]
    assert decision.due == (min(dues, default=None) if waits else None)


@pytest.mark.parametrize(
    ("status", "placements", "analyses", "decided"), [row[1:] for row in RULES], ids=[row[0] for row in RULES]
)
def test_each_rule(status: FleetStatus, placements: str, analyses: Mapping[int, Verdict], decided: str) -> None:
    world = seen(placements)
    decision = decide(PLAN, status, world, analyses, NOW)
    assert said(decision) == decided
    assert decision.message.endswith(".")
    assert decision.state is status.state or decision.state in ROLLOUT_MOVES[status.state]
    # What came of it, recorded, changes nothing more.
    recorded = replace(
        status, state=decision.state, step=decision.step, since=decision.since, promote=False,
        verdict=decision.verdict_reason,
    )  # fmt: skip
    if decision.state.is_final:
        assert decide(PLAN, recorded, world, analyses, NOW).shares == decision.shares
    elif not (status.promote and decision.step == status.step):
        assert decide(PLAN, recorded, world, analyses, NOW) == replace(decision, passed=())


MESSAGES = [
    (at(0), "a 0, b 0, c 0", {}, "a goes to 20 %."),
    (at(6), "a 100, b 0, c 0", {}, "b and c go to 20 %."),
    (at(1), "a 20, b 0, c 0", {}, "Paused at 20 % on a for 1 min."),
    (at(1), "a 20 had20, b 0, c 0", {}, "Paused at 20 % on a for 1 min."),
    (at(1), "a 20 had33, b 0, c 0", {}, "Paused at 33 % (20 % are wanted) on a for 1 min."),
    (at(1), "a 20 had33 away, b 0, c 0", {}, "Paused at 33 % (20 % are wanted) on a for 1 min."),
    (at(7), "a 100, b 20 had20, c 20 had33", {}, "Paused at 20–33 % (20 % are wanted) on b and c for 1 min."),
    (at(1), "a 20 had10 held, b 0, c 0", {},
     "Paused at 10 % (20 % are wanted, and an autoscaler keeps what serves whole) on a for 1 min."),
    (at(7), "a 100, b 20, c 20", {}, "Paused at 20 % on b and c for 1 min."),
    (at(2), "a 20, b 0, c 0", {}, "Paused at 20 % on a until a person goes on."),
    (at(2), "b 0", {}, "Paused where nothing is placed any more until a person goes on."),
    (at(3), "a 20, b 0, c 0", {}, "Analysing how the new revision fares on a."),
    (at(3), "a 20, b 0, c 0", {3: BAD}, "Rolling back on a. 2 of 3 fell."),
    (at(3, **HOLD), "a 20, b 0, c 0", {3: Verdict(Outcome.FAILED)},
     "The analysis on a failed. A person has to decide."),
    (at(3), "a 20, b 0, c 0", {3: MAYBE}, "The analysis on a came to no conclusion. A person has to decide."),
    (at(5), "a 100, b 0, c 0", {}, "a is watched for 1 min."),
    (at(5, ago=60), "a 100 moving, b 0, c 0", {}, "Waits until a is ready."),
    (at(6), "a 100, b 0 away, c 20", {}, "b can't be asked: the wave waits until it is back."),
    (at(6), "a 100, b 0 away, c 0", {}, "b can't be asked: the wave waits until it is back. c goes to 20 %."),
    (at(6), "b 0 away, c 0 away", {}, "b and c can't be asked: the wave waits until they are back."),
    (at(6), "a 100, b 20 bad, c 20 bad", {}, f"Rolling back on a, b and c. b: {CRASH} And 1 more."),
    (at(6, **HOLD), "a 100, b 20 bad, c 20", {}, f"b: {CRASH} It goes on when this has passed."),
    (at(6, paused=True, **HOLD), "a 100, b 20 bad, c 20", {}, f"Paused by a person. b: {CRASH}"),
    (at(6, state=BACK, verdict="b: bad."), "a 0 moving away, b 0, c 0", {},
     "Rolled back. b: bad. a could not be reached: what is there follows by itself."),
    (at(6, state=BACK, abort="ada: too slow"), "a 0, b 0, c 0", {}, "Aborted. ada: too slow."),
    (at(6, state=BACK), "a 0, b 0, c 0", {}, "Rolled back."),
    (at(ALL), "a 100", {}, "a serves the new revision."),
    (at(ALL), "a 100, b 100, c 100, d 100, e 100", {}, "a, b, c and 2 more serve the new revision."),
    (at(ALL), "", {}, "No target is left."),
]  # fmt: skip


@pytest.mark.parametrize(("status", "placements", "analyses", "message"), MESSAGES, ids=[row[3] for row in MESSAGES])
def test_it_says_why_in_a_sentence(
    status: FleetStatus, placements: str, analyses: Mapping[int, Verdict], message: str
) -> None:
    assert decide(PLAN, status, seen(placements), analyses, NOW).message == message


@pytest.mark.parametrize(
    ("status", "placements", "due"),
    [
        (at(1, ago=20), "a 20, b 0, c 0", 40),
        (at(0, ago=20), "a 20, b 0, c 0", 60),
        (at(5, ago=50), "a 100, b 0, c 0", 10),
        (at(0), "a 20 moving, b 0, c 0", None),
        (at(2), "a 20, b 0, c 0", None),
        (at(1, paused=True), "a 20, b 0, c 0", None),
        (at(5, ago=90), "a 100 moving, b 0, c 0", None),
    ],
)
def test_the_clock_is_asked_only_where_a_time_passes(status: FleetStatus, placements: str, due: int | None) -> None:
    decision = decide(PLAN, status, seen(placements), {}, NOW)
    assert decision.due == (None if due is None else NOW + timedelta(seconds=due))


def test_a_verdict_is_told_so_that_it_can_be_kept() -> None:
    decision = decide(PLAN, at(6), seen("a 100, b 20 bad, c 20"), {}, NOW)
    assert decision.verdict_reason == f"b: {CRASH}"
    assert decide(PLAN, at(6, abort="no"), seen("a 100, b 20 bad, c 20"), {}, NOW).verdict_reason == ""


# 0 set_weight 10 on a and b · 1 promote b · 2 soak 60 s on both · 3 set_weight 50 and 4 pause on a · 5 promote a
# · 6 promote c.
TENTH = plan_of(
    parse_strategy({
        "kind": "canary",
        "steps": [{"set_weight": 50}, {"pause": {}}],
        "waves": [{"targets": ["a", "b"], "steps": [{"set_weight": 10}], "soak_seconds": 60}, {"targets": ["a"]},
                  {"targets": ["c"], "steps": []}],
    }), ["a", "b", "c"], fresh=(),
)  # fmt: skip
IN_PARTS = [
    ("a part of both", at(0), "a 10 moving, b 10, c 0", {}, "a 10, b 10, c 0 @0 Progressing SettingWeight"),
    ("one ends here, the other stays at its part", at(0), "a 10, b 10, c 0", {},
     "a 10, b 100, c 0 @1 Progressing Promoting"),
    ("both are watched", at(1), "a 10, b 100, c 0", {}, "a 10, b 100, c 0 @2 Progressing Soaking"),
    ("each has to be well with what it has", at(2, ago=60), "a 10 moving, b 100, c 0", {},
     "a 10, b 100, c 0 @2 Progressing Recovering"),
    ("then the rest, by the steps of that wave", at(2, ago=60), "a 10, b 100, c 0", {},
     "a 50, b 100, c 0 @3 Progressing SettingWeight"),
    ("and all of it", at(4, promote=True), "a 50, b 100, c 0", {}, "a 100, b 100, c 0 @5 Progressing Promoting"),
    ("a wave without steps is promoted at once", at(5), "a 100, b 100, c 0", {},
     "a 100, b 100, c 100 @6 Progressing Promoting"),
    ("a failure in the second part takes all of it back", at(4), "a 50 bad, b 100, c 0", {},
     "a 0, b 0, c 0 @4 RollingBack RollingBack"),
    ("an abort, too", at(2, abort="Enough"), "a 10, b 100, c 0", {}, "a 0, b 0, c 0 @2 RollingBack RollingBack"),
    ("what is gated gets no part of it", at(0), "a 0, b 0, c 0", {"a": FROZEN}, "a 0, b 0, c 0 @0 Paused Frozen"),
    ("nor by a full promotion", at(0, full=True), "a 0, b 0, c 0", {"a": FROZEN}, "a 0, b 0, c 0 @0 Paused Frozen"),
    ("which waits for the part, and for no time", at(0, full=True), "a 10, b 10, c 0", {},
     "a 10, b 100, c 0 @1 Progressing Promoting"),
    ("and goes straight to the end of the next wave", at(1, full=True), "a 10, b 100, c 0", {},
     "a 100, b 100, c 0 @5 Progressing Promoting"),
    ("held for the rest it keeps its part", at(2, ago=60), "a 10, b 100, c 0", {"a": UNAPPROVED},
     "a 10, b 100, c 0 @3 Paused WaitingForApproval"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "placements", "shut", "decided"), [row[1:] for row in IN_PARTS], ids=[row[0] for row in IN_PARTS]
)
def test_each_rule_of_a_target_that_gets_it_in_several_waves(
    status: FleetStatus, placements: str, shut: Mapping[str, str], decided: str
) -> None:
    gates = {target: SHUT[reason] for target, reason in shut.items()}
    assert said(decide(TENTH, status, seen(placements), {}, NOW, gates)) == decided


def test_a_soak_tells_the_part_that_is_watched() -> None:
    plan = tuple(step for step in TENTH if step.do in (Do.SET_WEIGHT, Do.SOAK))
    assert decide(plan, at(1), seen("a 10, b 10"), {}, NOW).message == "a and b are watched at 10 % for 1 min."
    assert decide(TENTH, at(2), seen("a 10, b 100, c 0"), {}, NOW).message == "a and b are watched for 1 min."


def test_several_finished_steps_are_passed_at_once() -> None:
    plan: tuple[PlanStep, ...] = plan_of(parse_strategy({"waves": [{"targets": ["a"]}]}), ["a", "b"], fresh=())
    decision = decide(plan, at(0), seen("a 100, b 100"), {}, NOW)
    assert said(decision) == "a 100, b 100 @2 Healthy Complete"


D, P, S, F, A = How.DONE, How.PROMOTED, How.SKIPPED, How.FAILED, How.ABORTED
ON_A = "a 20, b 0, c 0"


@pytest.mark.parametrize(
    ("status", "placements", "analyses", "passed"),
    [
        (at(0, ago=9), "a 20 moving, b 0, c 0", {}, []),
        (at(0, ago=9), ON_A, {}, [(0, 9, D)]),
        (at(1, ago=60), ON_A, {}, [(1, 60, D)]),
        (at(1, ago=5, promote=True), ON_A, {}, [(1, 5, P)]),
        (at(1, ago=90, promote=True), ON_A, {}, [(1, 90, D)]),
        (at(3, ago=5), ON_A, {3: OK}, [(3, 5, D)]),
        (at(3, ago=5, promote=True), ON_A, {3: MAYBE}, [(3, 5, P)]),
        (at(3, ago=5), ON_A, {3: BAD}, [(3, 5, F)]),
        (at(0, ago=9, full=True), "a 0, b 0, c 0", {}, [(0, 9, S), (1, 0, S), (2, 0, S), (3, 0, S)]),
        (at(0, ago=9, full=True), ON_A, {}, [(0, 9, D), (1, 0, S), (2, 0, S), (3, 0, S)]),
        (at(4, ago=9, full=True), "a 100, b 0, c 0", {}, [(4, 9, D), *((step, 0, S) for step in range(5, 10))]),
        (at(1, ago=5), "a 20 bad, b 0, c 0", {}, [(1, 5, F)]),
        (at(1, ago=5, abort="no"), ON_A, {}, [(1, 5, A)]),
        (at(1, ago=5, state=BACK), ON_A, {}, []),
        (at(1, ago=5, paused=True), ON_A, {}, []),
        (at(ALL, ago=5, abort="no"), "a 100, b 100, c 100", {}, []),
        (at(0, state=RolloutState.ABORTED), ON_A, {}, []),
    ],
)
def test_it_says_of_each_step_that_it_leaves_since_when_it_stood_there_and_why_it_left(
    status: FleetStatus, placements: str, analyses: Mapping[int, Verdict], passed: list[tuple[int, int, How]]
) -> None:
    decision = decide(PLAN, status, seen(placements), analyses, NOW)
    assert [(each.step, (NOW - each.since).seconds, each.how) for each in decision.passed] == passed


def test_every_state_leads_to_an_end() -> None:
    for state in UNFINISHED:
        assert any(to.is_final for to in map(RolloutState, ROLLOUT_MOVES[state]))
        assert {RolloutState.SUPERSEDED, RolloutState.CANCELED} <= ROLLOUT_MOVES[state]
    assert RolloutState.PROGRESSING not in ROLLOUT_MOVES[RolloutState.ROLLING_BACK]
