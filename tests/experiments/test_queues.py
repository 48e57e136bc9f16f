"""Runs that wait in a queue of Kueue. The test plays Kueue, and resumes the Job as it does when there is quota."""

import pytest

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import Run
from apps.experiments.reconcile import case as cases
from apps.experiments.states import SETTLED, RunState
from tests import factories
from tests.experiments.rounds import follow, last

WISH = {"experiment": "e", "image": "busybox", "command": ["true"], "queue": "team-a", "deadline_seconds": 1}
KUEUE = {"engines": [{"name": "Kueue"}]}


@pytest.mark.django_db(transaction=True)
def test_a_queue_lets_a_run_begin_and_its_deadline_counts_from_there(
    real_cluster: Cluster, principal: Principal, project: Project
) -> None:
    Cluster.objects.update(check_report=KUEUE)
    wish = WISH | {"cluster": real_cluster.name, "command": ["sh", "-c", "sleep 30"]}
    run = services.launch_runs(principal=principal, project=project, wishes=[wish])[0]
    follow(run, RunState.QUEUED, reasons=("Suspended",))
    assert "It is in queue team-a." in run.message
    of_run = f"flotilla.dev/run={run.pk}"
    assert not connect(real_cluster).list("v1", "Pod", run.namespace, label_selector=of_run)
    known = cases.load(run.pk)
    assert known is not None and known.deadline_at is None, "the wait in a queue is not the run's own time"
    connect(real_cluster).merge_patch(
        "batch/v1", "Job", last(run).job_name, {"spec": {"suspend": False}}, run.namespace
    )
    follow(run, *SETTLED)
    assert (run.state, run.reason) == (RunState.FAILED, "DeadlineExceeded")


@pytest.mark.django_db
def test_a_queue_that_lets_nothing_run_is_refused(principal: Principal, project: Project) -> None:
    with_it, without, unknown = (factories.cluster(name, nodes=1) for name in ("with", "without", "unknown"))
    Cluster.objects.filter(pk=with_it.pk).update(check_report=KUEUE)
    Cluster.objects.filter(pk=without.pk).update(check_report={"engines": [{"name": "KServe"}]})

    def launch(**more: str) -> Run:
        return services.launch_runs(principal=principal, project=project, wishes=[WISH | more])[0]

    for more, said in (
        ({}, "team-a is a queue of one cluster."),
        ({"cluster": "without"}, "without has no Kueue, so team-a lets nothing run there."),
        ({"cluster": "with", "queue": "Team A"}, "'Team A' can't be the name of a queue."),
    ):
        with pytest.raises(Invalid) as refused:
            launch(**more)
        assert (str(refused.value), refused.value.field) == (said, "queue")
    assert {launch(cluster=name).spec["queue"] for name in ("with", unknown.name)} == {"team-a"}
