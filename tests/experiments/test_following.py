"""Runs follow the state of their cluster, also where a round comes late."""

import pytest
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.experiments.models import Experiment, Run
from apps.experiments.reconcile import case as cases
from apps.experiments.reconcile.following import follow_cluster
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_round_that_comes_late_leaves_what_is_said_of_a_cluster_that_went_away(experiment: Experiment) -> None:
    cluster = factories.cluster("home")
    fields = {"kind": "launched", "cluster": cluster, "namespace": "flotilla-demo", "spec": {"image": "a:1"}}
    run = factories.run(experiment, state="Queued", ended_at=None, **fields)
    factories.attempt(run, state="Queued")
    case = cases.load(run.pk)
    assert case is not None
    away = {"state": "Disabled", "reason": "Disabled", "message": "Nothing is watched."}
    Cluster.objects.filter(pk=cluster.pk).update(**away)
    cluster.refresh_from_db()
    follow_cluster(cluster)
    cases.record(case, timezone.now(), {"reason": "Unschedulable", "message": "No node has room."})
    told = Run.objects.get(pk=run.pk)
    assert (told.state, told.reason, told.message) == ("Queued", "ClusterDisabled", "home: Nothing is watched.")
