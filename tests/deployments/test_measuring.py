"""Analyses as rows: what is measured out of Flotilla's own tables, and what follows from it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.core.access import Principal
from apps.core.work import DONE
from apps.core.work.models import Work
from apps.deployments import selectors, services
from apps.deployments.models import AnalysisRun, Deployment, Rollout
from apps.deployments.reconcile.measuring import measure
from apps.deployments.reconcile.scraping import SCRAPED
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.verdicts import Outcome
from apps.deployments.services.common import PROBES, locked
from apps.deployments.services.rollouts import go_on, measured
from apps.experiments.models import LatestMetric, LoggedModel, ModelVersion
from tests.deployments.places import arrive

pytestmark = pytest.mark.django_db


def canary(developer: Principal, digits: Deployment, analyse: dict[str, Any]) -> Rollout:
    """Version 2 comes beside version 1, as far as the analysis."""
    arrive(digits)
    steps = [{"set_weight": 50}, {"analyse": analyse}, {"pause": {}}]
    services.set_strategy(principal=developer, deployment=digits, strategy={"kind": "canary", "steps": steps})
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    arrive(digits)
    return Rollout.objects.get(deployment=digits, ended_at=None)


def later(rollout: Rollout, seconds: float) -> Rollout:
    """As the clock would move it on after so long."""
    with transaction.atomic():
        held = locked(rollout.deployment_id)
        assert held is not None
        go_on(held, timezone.now() + timedelta(seconds=seconds))
    rollout.refresh_from_db()
    return rollout


def log_accuracy(version: int, value: float | None) -> None:
    made = ModelVersion.objects.get(version=version)
    LatestMetric.objects.filter(run=made.run, key="accuracy").delete()
    if value is not None and made.run is not None:
        values = {"experiment": made.run.experiment, "key": "accuracy", "value": value, "step": 0, "timestamp": 0}
        LatestMetric.objects.create(run=made.run, **values)


WORSE = {"provider": "model", "metric": "accuracy", "better": "greater", "tolerance": 0.01}


@pytest.mark.parametrize(
    ("old", "new", "state", "says"),
    [
        (0.95, 0.945, "Paused", "1 of 1 measurement was good."),
        (0.95, 0.9, "RollingBack", "digits 2 is 0.9, the earlier revision's 0.95: at least 0.94 is wanted."),
        (0.95, None, "Paused", "digits 2 has no metric accuracy: it has"),
        (None, 0.9, "Paused", "the earlier revision has none to compare it with."),
    ],
)
def test_a_version_is_held_against_the_metrics_of_the_one_that_it_replaces(
    developer: Principal, digits: Deployment, old: float | None, new: float | None, state: str, says: str
) -> None:
    log_accuracy(1, old)
    log_accuracy(2, new)
    rollout = later(canary(developer, digits, WORSE), 5)
    run = AnalysisRun.objects.get(rollout=rollout)
    assert (rollout.state, says in run.message) == (state, True), run.message
    assert len(run.measurements) == 1
    assert (rollout.reason == "Inconclusive") == (new is None or old is None)
    if state == "RollingBack":
        assert says in rollout.message


def test_a_metric_that_is_logged_in_time_ends_the_wait_for_it(developer: Principal, digits: Deployment) -> None:
    log_accuracy(1, 0.9)
    log_accuracy(2, None)
    rollout = later(canary(developer, digits, WORSE | {"count": 3, "inconclusive_limit": 2}), 2)
    assert rollout.reason == "Analysing"
    log_accuracy(2, 0.9)
    later(rollout, 4)
    assert later(rollout, 6).reason == "PauseStep"
    run = AnalysisRun.objects.get(rollout=rollout)
    assert [each["outcome"] for each in run.measurements] == ["Inconclusive", "Successful", "Successful"]


SCRAPE = {"provider": "scrape", "metric": "requests_total", "read": "rate", "max": 1}


def test_nothing_is_measured_while_a_person_has_paused_and_then_it_begins_anew(
    developer: Principal, digits: Deployment
) -> None:
    edit: dict[str, Any] = {"principal": developer, "deployment": digits}
    rollout = canary(developer, digits, SCRAPE)
    run = AnalysisRun.objects.get(rollout=rollout)
    before = {**run.before, SCRAPED: {"new": {}, "old": {}}}
    AnalysisRun.objects.filter(pk=run.pk).update(before=before)
    seen = selectors.analysis(run.pk)
    services.pause(**edit)
    # What a look that was under way has found counts for nothing, and another one is not taken.
    bad = Measurement(timezone.now(), Outcome.FAILED, "It is too many.", {"new": 9.0})
    assert seen is not None and not measured(seen, bad, {})
    Work.objects.filter(kind=PROBES).delete()
    assert measure(run.pk) == DONE
    run.refresh_from_db()
    assert (run.state, run.measurements, SCRAPED in run.before) == ("Running", [], False)
    assert later(rollout, 60).reason == "Paused" and not Work.objects.filter(kind=PROBES).exists()
    services.resume(**edit)
    assert Work.objects.filter(kind=PROBES, object_id=run.pk).exists()


def test_a_page_grows_with_each_measurement_though_the_rollout_stands_as_before(
    developer: Principal, digits: Deployment
) -> None:
    log_accuracy(2, None)
    rollout = later(canary(developer, digits, WORSE | {"count": 3, "inconclusive_limit": 2}), 2)
    stands = (rollout.step, rollout.message)
    connection.run_on_commit.clear()
    assert (later(rollout, 4).step, rollout.message) == stands
    assert len(AnalysisRun.objects.get().measurements) == 2
    told = [topic for _, batch, _ in connection.run_on_commit for topic, _ in getattr(batch, "topics", ())]
    assert told == [f"deployment:{digits.pk}"]


def test_metrics_are_those_of_the_run_that_logged_the_model(digits: Deployment) -> None:
    log_accuracy(1, 0.75)
    version = ModelVersion.objects.get(version=1)
    assert version.run is not None
    logged = LoggedModel.objects.create(experiment=version.run.experiment, run=version.run, name="m")
    ModelVersion.objects.filter(pk=version.pk).update(run=None, logged_model=logged)
    revision = digits.current
    assert revision is not None
    logged = selectors.logged_metric(revision, "accuracy")
    assert (logged.version, logged.value, "accuracy" in logged.known) == ("digits 1", 0.75, True)
    ModelVersion.objects.filter(pk=version.pk).update(logged_model=None)
    assert selectors.logged_metric(revision, "accuracy").value is None
