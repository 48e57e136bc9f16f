"""A round of an analysis that asks somebody: one look, outside of any transaction, by the provider that was asked for.

A provider looks at the targets of the step and returns a `Measurement`; `services.rollouts.measured` stores it, and
moves the rollout on.
"""

from collections.abc import Callable, Mapping, Sequence

from django.utils import timezone

from apps.core.work import DONE, Again, Outcome
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Placement
from apps.deployments.reconcile import probing, querying
from apps.deployments.rollout.analysis import Measurement, next_at
from apps.deployments.rollout.asked import Provider
from apps.deployments.services.analysing import measurements_of
from apps.deployments.services.rollouts import measured

Look = Callable[[AnalysisRun, Sequence[Placement]], Measurement]
LOOKS: Mapping[str, Look] = {Provider.PROBE: probing.look, Provider.PROMETHEUS: querying.look}


def measure(pk: int) -> Outcome:
    """Look once, if it is time; a round of the queue."""
    run = selectors.analysis(pk)
    if run is None:
        return DONE
    wait = (next_at(run.asked, run.started_at, measurements_of(run)) - timezone.now()).total_seconds()
    if wait > 0:
        return Again(wait)
    step = run.rollout.plan[run.step]
    places = [place for place in run.rollout.deployment.places if place.target.name in step["targets"]]
    again = measured(run, LOOKS[run.asked["provider"]](run, places))
    return Again(float(run.asked["interval_seconds"])) if again else DONE
