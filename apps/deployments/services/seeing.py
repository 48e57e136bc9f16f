"""What the rows of a rollout say to the pure decision about it."""

from apps.clusters.services import is_away
from apps.deployments.models import Placement, Rollout, Stage
from apps.deployments.rollout.canary import WEIGHT_HELD
from apps.deployments.rollout.seen import FleetStatus, PlacementSeen
from apps.deployments.rollout.strategy import OnFailure
from apps.deployments.rollout.traffic import NOTHING, Share
from apps.deployments.states import RolloutState


def status_of(rollout: Rollout) -> FleetStatus:
    """Where it stands, and what people asked of it since."""
    return FleetStatus(
        state=RolloutState(rollout.state),
        step=rollout.step,
        since=rollout.step_since,
        paused=rollout.paused,
        promote=rollout.promote_asked,
        full=rollout.full_asked,
        abort=rollout.abort_asked,
        on_failure=OnFailure(rollout.on_failure),
        verdict=rollout.verdict,
    )


def seen_of(place: Placement, stage: Stage, rollout: Rollout) -> PlacementSeen:
    """A placement as its last round left it."""
    has_followed = place.observed_generation == place.generation
    # A rollout that would wait for a person anyway gives the replicas their time to come right.
    counts = rollout.on_failure == OnFailure.ROLLBACK or stage.state == RolloutState.DEGRADED
    return PlacementSeen(
        target=place.target.name,
        reachable=not is_away(place.target.cluster),
        share=share_of(place, rollout),
        arrived=has_followed and stage.state == RolloutState.HEALTHY,
        trouble=stage.trouble if has_followed and counts else "",
        refused=place.refused.get("message", "") if has_followed else "",
        had=stage.actual if has_followed else None,
        held=stage.reason == WEIGHT_HELD,
    )


def share_of(place: Placement, rollout: Rollout) -> Share:
    """What is wanted there of what the rollout brings.

    What it had of another revision, whose rollout this one supersedes, is nothing of this one.
    """
    return place.share if place.coming_id == rollout.to_revision_id else NOTHING
