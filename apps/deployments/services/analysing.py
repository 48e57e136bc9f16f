"""The analysis of a rollout's step: begun, measured, and judged, under the deployment's lock. No cluster is called.

What Flotilla's own rows tell is measured here. Who asks somebody does it in a round of its own (`reconcile.measuring`),
and records what it measured with `measured`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db.models import Sum

from apps.clusters.services import is_away
from apps.core import work
from apps.core.database.rows import put
from apps.core.hints import hint
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Deployment, Placement, Rollout, Stage
from apps.deployments.rollout import analysis, whole
from apps.deployments.rollout.analysis import Fares, Measurement
from apps.deployments.rollout.asked import ASK_NOBODY, MAX_MEASUREMENTS, Provider
from apps.deployments.rollout.figures import by_model
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.probed import Tally
from apps.deployments.rollout.verdicts import Outcome, Verdict
from apps.deployments.services.common import CLOCK, PROBES

# Looks of one analysis that are kept: as many as a step may ask for.
MOST_KEPT = MAX_MEASUREMENTS


def analyse(
    deployment: Deployment, rollout: Rollout, step: PlanStep, stages: Mapping[int, Stage], now: datetime
) -> Verdict:
    """How the analysis of the step that the rollout is at stands, after a measurement if one is due.

    The clock, or the round that asks somebody, is asked for the next one.
    """
    asked = dict(step.analysis or {})
    places = [place for place in deployment.places if place.target.name in step.targets and place.pk in stages]
    fares = fares_of(deployment, rollout, places, stages)
    run, _ = AnalysisRun.objects.get_or_create(
        rollout=rollout,
        step=rollout.step,
        defaults={
            "asked": asked,
            "before": {"restarts": sum(each.restarts for each in fares)},
            "state": Outcome.RUNNING,
            "started_at": now,
        },
    )
    if run.state != Outcome.RUNNING:
        return Verdict(Outcome(run.state), run.message)
    return look_if_due(run, deployment, places, now, lambda: _measured_here(run, deployment, rollout, fares, now))


def look_if_due(
    run: AnalysisRun,
    deployment: Deployment,
    places: Sequence[Placement],
    now: datetime,
    measure: Callable[[], Measurement],
) -> Verdict:
    """How an analysis that goes on stands, after a look if one is due; the clock, or its round, is asked for the next.

    `measure` looks at what Flotilla's own rows tell.
    """
    measurements = measurements_of(run)
    due = analysis.next_at(run.asked, run.started_at, measurements)
    if run.asked["provider"] not in ASK_NOBODY:
        peer = _asked_first(run, deployment, places)
        # A first look of those that are held against the one before.
        first = run.asked["provider"] == Provider.SCRAPE and not measurements
        work.ask(PROBES, run.pk, cluster=peer, after=0.0 if first else max(0.0, (due - now).total_seconds()))
        return Verdict(Outcome.RUNNING)
    if now >= due:
        verdict = note(run, measure())
        # The rollout may stand as before: then nobody else says that there is more to see.
        hint(f"deployment:{deployment.pk}", deployment.project_id)
        if verdict.outcome is not Outcome.RUNNING:
            return verdict
        due = analysis.next_at(run.asked, run.started_at, measurements_of(run))
    work.ask(CLOCK, deployment.pk, cluster=None, after=max(0.0, (due - now).total_seconds()))
    return Verdict(Outcome.RUNNING)


def _measured_here(
    run: AnalysisRun, deployment: Deployment, rollout: Rollout, fares: Sequence[Fares], now: datetime
) -> Measurement:
    if run.asked["provider"] == Provider.HEALTH:
        before = int(run.before["restarts"])
        number, which = rollout.to_revision.number, ""
        if sum(each.restarts for each in fares) > before:
            which = selectors.restarted_replica(deployment, number)
        elif any(each.ready < each.wanted for each in fares):
            which = selectors.unready_replica(deployment, number)
        return analysis.by_health(fares, before, now, which)
    metric, former = str(run.asked["metric"]), rollout.from_revision
    new = selectors.logged_metric(rollout.to_revision, metric)
    old = selectors.logged_metric(former, metric) if former is not None else None
    return by_model(run.asked, new, old, now)


def measurements_of(run: AnalysisRun) -> list[Measurement]:
    """What was measured so far."""
    return [Measurement.from_json(each) for each in run.measurements]


def answers_of(run: AnalysisRun) -> list[Tally]:
    """What both revisions said to each request so far."""
    return [Tally.from_json(each) for each in run.answers]


def remember(run: AnalysisRun, memory: Mapping[str, Any]) -> None:
    """Keep what the next look is held against. Only the analysis's own round writes it, and there is one at a time."""
    if memory:
        put(run, before={**run.before, **memory})


def forget(run: AnalysisRun, name: str) -> None:
    """Keep this no longer: the next look is none that is held against it."""
    if name in run.before:
        put(run, before={key: value for key, value in run.before.items() if key != name})


def note(run: AnalysisRun, measurement: Measurement) -> Verdict:
    """Add a measurement, under the deployment's lock; how the analysis stands after it.

    That of a whole rollout goes on while it is good: of what it has seen the last looks are kept, of others how many.
    """
    measurements = [*measurements_of(run), measurement]
    dropped, kept = analysis.Looks(**run.dropped), measurements[-MOST_KEPT:]
    verdict = analysis.verdict_of(run.asked, measurements, dropped, _name(run))
    if run.step is None and verdict.outcome is Outcome.SUCCESSFUL:
        verdict = Verdict(Outcome.RUNNING)
    put(
        run,
        measurements=[each.to_json() for each in kept],
        dropped=asdict(dropped + analysis.Looks.of(measurements[: -len(kept)])),
        state=verdict.outcome,
        message=verdict.message,
        ended_at=measurement.at if verdict.outcome is not Outcome.RUNNING else None,
    )
    return verdict


def standing(run: AnalysisRun) -> Verdict:
    """The verdict if it ended now."""
    return analysis.verdict_of(run.asked, measurements_of(run), analysis.Looks(**run.dropped), _name(run))


def _name(run: AnalysisRun) -> str:
    return "The analysis" if run.step is not None else whole.NAME


def _asked_first(run: AnalysisRun, deployment: Deployment, places: Sequence[Placement]) -> int | None:
    """Whom its round calls first: a metrics source, or a cluster."""
    if run.asked["provider"] == Provider.PROMETHEUS:
        return selectors.peer_of_source(deployment.project_id, str(run.asked["source"]))
    reachable = [place for place in places if not is_away(place.target.cluster)]
    return (reachable or list(places))[0].target.cluster_id if places else None


def fares_of(
    deployment: Deployment, rollout: Rollout, places: Sequence[Placement], stages: Mapping[int, Stage]
) -> list[Fares]:
    """The new revision on each of these, as it was seen last."""
    number = rollout.to_revision.number
    pods = selectors.pods_of(deployment).filter(revision=str(number))
    counts = pods.order_by().values_list("cluster_id", "namespace").annotate(Sum("restarts"))
    restarts = {(cluster, namespace): count for cluster, namespace, count in counts}
    fares = []
    for place in places:
        seen = next((entry for entry in place.observed if entry["revision"] == number), None)
        fares.append(
            Fares(
                target=place.target.name,
                reachable=not is_away(place.target.cluster),
                # Of what was never seen every replica is missing.
                wanted=seen["wanted"] if seen else place.desired_replicas,
                ready=seen["ready"] if seen else 0,
                restarts=restarts.get((place.target.cluster_id, place.target.namespace)) or 0,
                trouble=stages[place.pk].trouble,
            )
        )
    return fares
