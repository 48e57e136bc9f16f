"""The rows of a rollout that begins, or that goes to more targets than it began with."""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.access import Principal
from apps.core.database.rows import put
from apps.core.database.transitions import log
from apps.deployments.models import Deployment, Placement, Revision, Rollout, Stage
from apps.deployments.rollout.decisions import in_words
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import OnFailure, Strategy
from apps.deployments.rollout.traffic import ALL
from apps.deployments.services.common import change_wanted
from apps.deployments.states import RolloutState


@dataclass(frozen=True)
class Asker:
    """Who asked for a rollout: as the history names them, and the id of the person behind it, if there is one."""

    label: str
    person: int | None

    @classmethod
    def of(cls, principal: Principal) -> "Asker":
        """The caller."""
        return cls(principal.label, principal.user.pk if principal.user else None)

    @classmethod
    def again(cls, rollout: Rollout) -> "Asker":
        """Whoever asked for an earlier one."""
        return cls(rollout.created_by, rollout.requester_id)


def join(rollout: Rollout, places: Sequence[Placement], by: Asker) -> None:
    """Let a rollout that is under way go to more placements, behind all others."""
    names = tuple(place.target.name for place in places)
    wave = 1 + max((step["wave"] for step in rollout.plan), default=-1)
    put(rollout, plan=[*rollout.plan, PlanStep(Do.PROMOTE, wave, names).to_json()])
    for place in places:
        Stage.objects.create(rollout=rollout, placement=place, wave=wave, state=RolloutState.PENDING)
        change_wanted(place, coming=rollout.to_revision, weight=0)
    said = f"{in_words(names)} {'was' if len(names) == 1 else 'were'} added, and gets the new revision last."
    log(rollout, from_state=rollout.state, to_state=rollout.state, reason="TargetAdded", message=said, actor=by.label)


def keep_what_serves(deployment: Deployment, superseded: Rollout | None) -> None:
    """Let what serves on each placement of a held deployment serve until the next revision comes there.

    That is what a superseded rollout has brought whole; where it fares badly, what was there before comes back. A first
    revision that was never everywhere serves where it has replicas.
    """
    places = deployment.places
    if superseded is None or not any(place.share.weight == ALL.weight for place in places):
        return
    stages = {stage.placement_id: stage for stage in superseded.stages.all()}
    for place in places:
        stage, has_all = stages.get(place.pk), place.share.weight == ALL.weight
        is_first = place.stable is None and place.share == ALL and place.ready_replicas > 0
        if is_first or (stage is not None and has_all and _is_whole(place, stage)):
            put(place, stable=place.coming)
    serve = {place.stable_id for place in places}
    if deployment.stable is not None and len(serve) == 1 and (one := places[0].stable) is not None:
        # It is everywhere: what comes next can go back to it.
        put(deployment, stable=one)


def _is_whole(place: Placement, stage: Stage) -> bool:
    """Whether the last round found all of what is wanted there, and nothing bad about it."""
    has_followed = place.observed_generation == place.generation
    return has_followed and stage.state == RolloutState.HEALTHY and not stage.trouble


def started(
    deployment: Deployment,
    revision: Revision,
    places: Sequence[Placement],
    plan: Sequence[PlanStep],
    *,
    strategy: Strategy,
    from_revision: Revision | None,
    by: Asker,
    on_failure: OnFailure = OnFailure.HOLD,
    proven: Sequence[str] = (),
    message: str = "",
) -> Rollout:
    """The rows of a rollout that begins, with its first line of history.

    What is `proven` on all of its targets has passed its steps, and waits at none of them again.
    """
    has_passed = bool(proven) and {place.target.name for place in places} <= set(proven)
    rollout = Rollout.objects.create(
        deployment=deployment,
        from_revision=from_revision,
        to_revision=revision,
        state=RolloutState.PENDING,
        reason="Waiting",
        message="Waiting for the first round.",
        strategy=strategy.to_json(),
        plan=[step.to_json() for step in plan],
        on_failure=on_failure,
        proven=list(proven),
        full_asked=has_passed,
        created_by=by.label,
        requester_id=by.person,
    )
    said = "It has served here before: none of its steps is waited for." if has_passed else message
    log(rollout, from_state="", to_state=rollout.state, message=said, actor=by.label)
    # One that stands in several waves is told of with its first.
    wave_of = {target: step.wave for step in reversed(plan) for target in step.targets}
    Stage.objects.bulk_create(
        Stage(rollout=rollout, placement=place, wave=wave_of[place.target.name], state=RolloutState.PENDING)
        for place in places
    )
    return rollout
