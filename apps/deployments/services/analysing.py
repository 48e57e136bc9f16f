"""The analysis of a rollout's step: begun, measured, and judged, under the deployment's lock. No cluster is called."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db.models import Sum

from apps.clusters.services import is_away
from apps.core import work
from apps.core.database.rows import put
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Deployment, Placement, Rollout, Stage
from apps.deployments.rollout import analysis
from apps.deployments.rollout.analysis import Fares, Measurement
from apps.deployments.rollout.fleet import Outcome, Verdict
from apps.deployments.rollout.plan import PlanStep
from apps.deployments.services.common import CLOCK


def analyse(
    deployment: Deployment, rollout: Rollout, step: PlanStep, stages: Mapping[int, Stage], now: datetime
) -> Verdict:
    """How the analysis of the step that the rollout is at stands, after a measurement if one is due.

    The clock is asked for the next one.
    """
    asked = dict(step.analysis or {})
    places = [place for place in deployment.places if place.target.name in step.targets and place.pk in stages]
    fares = _fares(deployment, rollout, places, stages)
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
    measurements = [Measurement.from_json(each) for each in run.measurements]
    if now >= analysis.next_at(run.asked, run.started_at, measurements):
        measurements.append(analysis.by_health(fares, int(run.before["restarts"]), now))
    verdict = analysis.verdict_of(run.asked, measurements)
    is_over = verdict.outcome is not Outcome.RUNNING
    put(
        run,
        measurements=[each.to_json() for each in measurements],
        state=verdict.outcome,
        message=verdict.message,
        ended_at=now if is_over else None,
    )
    if not is_over:
        due = analysis.next_at(run.asked, run.started_at, measurements)
        work.ask(CLOCK, deployment.pk, cluster=None, after=max(0.0, (due - now).total_seconds()))
    return verdict


def _fares(
    deployment: Deployment, rollout: Rollout, places: Sequence[Placement], stages: Mapping[int, Stage]
) -> list[Fares]:
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
