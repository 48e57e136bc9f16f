"""The deployment's own row: what was observed on all of its placements, together."""

from typing import Any

from apps.core.database.rows import put
from apps.core.states import Health
from apps.deployments.health import Part, Verdict, observed_together, verdict_of
from apps.deployments.models import Deployment, Placement, Rollout
from apps.deployments.services.common import since_held
from apps.deployments.states import RolloutState


def sum_up(deployment: Deployment, rollout: Rollout | None = None) -> bool:
    """Store what the placements of a held deployment say together; returns whether any of it is new.

    While a rollout is under way nothing is as wanted yet, however well each placement is for now.
    """
    places = deployment.places
    parts = [part_of(place) for place in places]
    verdict = verdict_of(parts)
    fares_well = verdict.health in (Health.HEALTHY, Health.SUSPENDED)
    if rollout is not None and (fares_well or (verdict.health == Health.PROGRESSING and _says_more(rollout, places))):
        verdict = Verdict(Health.PROGRESSING, "RollingOut", rollout.message)
    seen = [place.observed_at for place in places if place.observed_at is not None]
    scalers = list(dict.fromkeys(place.scaled_by for place in places if place.scaled_by))
    has_followed = all(place.observed_generation == place.generation for place in places)
    fields: dict[str, Any] = {
        "desired_replicas": sum(place.desired_replicas for place in places),
        "observed_generation": deployment.generation if has_followed else deployment.generation - 1,
        "health": verdict.health,
        "reason": verdict.reason,
        "message": verdict.message,
        "ready_replicas": sum(place.known_ready for place in places),
        "scaled_to": sum(place.wanted_replicas for place in places) if scalers else None,
        "scaled_by": ", ".join(scalers)[:300],
        "observed": observed_together(parts),
        "drift": [{**edit, "target": place.target.name} for place in places for edit in place.drift],
    }
    changed = any(getattr(deployment, name) != value for name, value in fields.items())
    times = {
        "health_since": since_held(deployment, verdict.health),
        "observed_at": min(seen) if len(seen) == len(places) else None,
    }
    if changed or times["observed_at"] != deployment.observed_at:
        put(deployment, **fields, **times, updated_at=deployment.updated_at)
    return changed


def _says_more(rollout: Rollout, places: list[Placement]) -> bool:
    """Whether the rollout says better than a placement that moves what there is to wait for."""
    return len(places) > 1 or rollout.state in (RolloutState.PAUSED, RolloutState.ROLLING_BACK)


def part_of(place: Placement) -> Part:
    """The placement, as far as the deployment's health goes."""
    return Part(
        target=place.target.name,
        verdict=Verdict(Health(place.health), place.reason, place.message),
        wanted=place.wanted_replicas,
        ready=place.ready_replicas,
        observed=place.observed,
        cluster=place.target.cluster.name,
    )
