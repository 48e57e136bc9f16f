"""A round of an analysis that asks somebody: one look, outside of any transaction, by the provider that was asked for.

A provider looks at the targets of the step and returns a `Measurement`; `services.rollouts.measured` stores it, and
moves the rollout on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from django.utils import timezone

from apps.core.work import DONE, Again, Outcome
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Placement
from apps.deployments.reconcile import probing, querying, scraping
from apps.deployments.rollout.analysis import Measurement, next_at
from apps.deployments.rollout.asked import Provider
from apps.deployments.rollout.probed import Tally
from apps.deployments.rollout.scraped import needs_two
from apps.deployments.services.analysing import forget, measurements_of, remember
from apps.deployments.services.rollouts import measured
from apps.deployments.services.whole import places_now


class Seen(NamedTuple):
    """A measurement, what to keep for the next one, and what was said to each request so far."""

    measurement: Measurement
    memory: dict[str, Any]
    answers: Sequence[Tally] = ()


def _probe(run: AnalysisRun, places: Sequence[Placement]) -> Seen:
    measurement, answers = probing.look(run, places)
    return Seen(measurement, {}, answers)


LOOKS: Mapping[str, Callable[[AnalysisRun, Sequence[Placement]], Seen]] = {
    Provider.PROBE: _probe,
    Provider.PROMETHEUS: lambda run, places: Seen(querying.look(run, places), {}),
    Provider.SCRAPE: lambda run, places: Seen(*scraping.look(run, places)),
}


def measure(pk: int) -> Outcome:
    """Look once, if it is time; a round of the queue."""
    run = selectors.analysis(pk)
    if run is None:
        return DONE
    if run.rollout.paused:
        # What happens meanwhile judges nobody; the rollout asks again when it goes on.
        forget(run, scraping.SCRAPED)
        return DONE
    places, interval = _places_of(run), float(run.asked["interval_seconds"])
    if not places and run.step is None:
        # All of them are on their way to another share, or away.
        return Again(interval)
    wait = (next_at(run.asked, run.started_at, measurements_of(run)) - timezone.now()).total_seconds()
    if _has_to_begin(run):
        remember(run, scraping.first_look(run, places))
        return Again(interval)
    if wait > 0:
        return Again(wait)
    again = measured(run, *LOOKS[run.asked["provider"]](run, places))
    return Again(interval) if again else DONE


def _places_of(run: AnalysisRun) -> list[Placement]:
    """Where it looks now."""
    places = run.rollout.deployment.places
    if run.step is None:
        return list(places_now(run.rollout, places))
    return [place for place in places if place.target.name in run.rollout.plan[run.step]["targets"]]


def _has_to_begin(run: AnalysisRun) -> bool:
    """Whether the first measurement needs a look before it."""
    if run.asked["provider"] != Provider.SCRAPE or scraping.SCRAPED in run.before:
        return False
    return needs_two(run.asked)
