"""The analysis of a whole rollout: one over all waves, whose verdict is the verdict on all of them. Pure.

It begins with the first target that has its share, goes on from wave to wave, and ends with the rollout, as a
background analysis of Argo Rollouts does (docs/features/analysis.md). A failure takes back every wave at once, whatever
the rollout waits for just then.
"""

from collections.abc import Mapping, Sequence

from apps.deployments.rollout.decisions import sentence
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.seen import Fleet
from apps.deployments.rollout.strategy import OnFailure
from apps.deployments.rollout.traffic import Share
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.rollout.waits import Wait
from apps.deployments.states import RolloutState

NAME = "The analysis of the whole rollout"


def looked_at(plan: Sequence[PlanStep], step: int, shares: Mapping[str, Share]) -> dict[str, int]:
    """The targets that it looks at while the rollout is at `step`, each with the step that brought what it has there.

    What is just being brought more is left out: whether it arrives is what the step itself waits for. `shares` are
    those that are wanted now; one that waits before a gate keeps what it has, and is looked at.
    """
    since = {target: at for at, each in enumerate(plan[:step]) if each.brings is not None for target in each.targets}
    now = plan[step] if step < len(plan) else None
    moves = {target for target in now.targets if shares.get(target) == now.brings} if now and now.brings else set()
    return {target: at for target, at in since.items() if target in shares and target not in moves}


def failure_of(fleet: Fleet) -> str:
    """Why everything is taken back by its verdict; "" where nothing is."""
    verdict = _heeded(fleet)
    if verdict.outcome is not Outcome.FAILED or fleet.status.on_failure is not OnFailure.ROLLBACK:
        return ""
    return sentence(verdict.message or f"{NAME} failed")


def wait_for_person(fleet: Fleet) -> Wait | None:
    """What a person has to decide: a failure that takes nothing back by itself, or no conclusion."""
    verdict = _heeded(fleet)
    if verdict.outcome is Outcome.FAILED:
        why = sentence(verdict.message or f"{NAME} failed")
        return Wait(RolloutState.DEGRADED, "AnalysisFailed", f"{why} A person has to decide.")
    if verdict.outcome is Outcome.INCONCLUSIVE:
        why = sentence(verdict.message or f"{NAME} came to no conclusion")
        return Wait(RolloutState.PAUSED, "Inconclusive", f"{why} A person has to decide.")
    return None


def wait_for_looks(fleet: Fleet, done: str) -> Wait | None:
    """What the end waits for where it has not looked often enough; `done` says that all else is there."""
    if fleet.whole is None or _heeded(fleet).outcome is not Outcome.RUNNING:
        return None
    return Wait(RolloutState.PROGRESSING, "Analysing", f"{done} {NAME} goes on, until it has looked often enough.")


def _heeded(fleet: Fleet) -> Verdict:
    """Its verdict, of one that is promoted fully none: nobody waits for an analysis then."""
    if fleet.whole is None or fleet.status.full:
        return Verdict(Outcome.SUCCESSFUL)
    return fleet.whole
