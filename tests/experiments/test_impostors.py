"""A run on a real local cluster whose address somebody else answers: a proxy, another cluster, an old back-up."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters import services as clusters
from apps.clusters.kube import identity, pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.models import Cluster
from apps.clusters.observed import absence
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.work import Away
from apps.experiments import services
from apps.experiments.models import Attempt, Run
from apps.experiments.reconcile import reconcile_run
from apps.experiments.specs import parse_spec
from controlplane.embedded import ports
from controlplane.embedded.processes import spawn
from controlplane.embedded.waiting import wait_for
from tests.faulty import Faulty
from tests.stack import LocalCluster

pytestmark = pytest.mark.django_db(transaction=True)
STATE = "state.sqlite"


class Machine:
    """A local cluster that can be started again on the same address, with the same certificates, and another store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = LocalCluster.start(directory, "--faults")
        self.faults = Faulty(self.cluster)

    def again(self, change: Callable[[], None]) -> None:
        self.cluster.stop()
        change()
        self.cluster.process = spawn(self.cluster.command, self.directory / "localcluster.log")
        wait_for(lambda: not ports.is_free(self.cluster.port), "the local cluster to listen", timeout=30)
        pool._forget_all()

    def put_away(self, name: str) -> None:
        """Move the store to a folder of that name."""
        (self.directory / name).mkdir()
        for file in self.directory.glob(f"{STATE}*"):
            file.rename(self.directory / name / file.name)

    def copy(self, name: str) -> None:
        (self.directory / name).mkdir()
        for file in self.directory.glob(f"{STATE}*"):
            shutil.copy2(file, self.directory / name)

    def bring_back(self, name: str) -> None:
        for file in self.directory.glob(f"{STATE}*"):
            file.unlink()
        for file in (self.directory / name).iterdir():
            shutil.copy2(file, self.directory)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    directory = Path(tempfile.mkdtemp(prefix="flotilla-impostor-"))
    made = Machine(directory)
    yield made
    made.cluster.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def cluster(machine: Machine, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    # Asked each time: a test is quicker than the seconds for which an answer speaks.
    monkeypatch.setattr(identity, "FRESH_SECONDS", 0.0)
    root = Principal(user=User.objects.create_superuser("root"))
    text = machine.cluster.kubeconfig.read_text()
    yield clusters.register(principal=root, name="local", kubeconfig_text=text)
    machine.faults.mend()
    pool._forget_all()


@pytest.fixture
def run(principal: Principal, project: Project, cluster: Cluster) -> Iterator[Run]:
    experiment = services.create_experiment(principal=principal, project=project, name="e")
    spec = parse_spec({"image": "busybox", "command": ["sleep", "1000"]})
    made = services.launch_run(principal=principal, experiment=experiment, spec=spec)
    wait_for(lambda: state_after_a_round(made) == "Running", "the run to be Running", timeout=30)
    yield made
    clusters.connect(Cluster.objects.get()).delete("batch/v1", "Job", f"run-{made.pk}-1", made.namespace)


def state_after_a_round(run: Run) -> str:
    reconcile_run(run.pk)
    run.refresh_from_db()
    return run.state


def job(run: Run, client: KubeClient) -> dict[str, Any]:
    return client.get("batch/v1", "Job", f"run-{run.pk}-1", run.namespace)


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 404},
        {"code": 403, "body": "<html>no</html>", "contentType": "text/html"},
        {"code": 200, "body": "<html>log in</html>", "contentType": "text/html"},
        {"code": 200, "body": "{}", "contentType": "application/json"},
    ],
)
def test_a_proxy_loses_no_run(machine: Machine, cluster: Cluster, run: Run, answer: dict[str, Any]) -> None:
    before = job(run, clusters.connect(cluster))
    machine.faults.switch("Proxy", **answer)
    for _ in range(3):
        assert isinstance(reconcile_run(run.pk), Away)
        run.refresh_from_db()
        assert run.state == "Running" and run.ended_at is None
    machine.faults.mend()
    assert state_after_a_round(run) == "Running"
    assert job(run, clusters.connect(cluster))["metadata"]["uid"] == before["metadata"]["uid"]


def test_another_cluster_at_the_address_loses_no_run_and_gets_none(
    machine: Machine, cluster: Cluster, run: Run, principal: Principal
) -> None:
    uid = job(run, clusters.connect(cluster))["metadata"]["uid"]
    waiting = services.rerun(principal=principal, run=run)
    machine.again(lambda: machine.put_away("registered"))
    try:
        for each in (run, waiting):
            outcome = reconcile_run(each.pk)
            assert isinstance(outcome, Away) and "another cluster" in str(outcome)
            each.refresh_from_db()
        assert (run.state, waiting.state) == ("Running", "Pending")
        stranger = KubeClient(clusters.connection_of(cluster))
        assert stranger.list("batch/v1", "Job") == [] and stranger.uid() != Cluster.objects.get().identity
    finally:
        machine.again(lambda: machine.bring_back("registered"))
    # Its process ended with the machine, which is no failure of its own: it waits for another try.
    wait_for(lambda: state_after_a_round(run) == "Pending", "the run's attempt to end as its Job did", timeout=30)
    assert run.attempts.get(number=1).cause == "interrupted"
    assert job(run, clusters.connect(cluster))["metadata"]["uid"] == uid
    wait_for(lambda: state_after_a_round(waiting) == "Running", "the other run to be launched", timeout=30)


def test_an_older_back_up_says_in_good_faith_that_a_job_is_not_there(
    machine: Machine, cluster: Cluster, principal: Principal, project: Project
) -> None:
    """So `absent` is one saying, `observed.absence` wants two, and a run that was lost is taken up again."""
    machine.again(lambda: machine.copy("older"))
    experiment = services.create_experiment(principal=principal, project=project, name="e")
    spec = parse_spec({"image": "busybox", "command": ["sleep", "1000"]})
    run = services.launch_run(principal=principal, experiment=experiment, spec=spec)
    wait_for(lambda: state_after_a_round(run) == "Running", "the run to be Running", timeout=30)
    registered = Cluster.objects.get().identity
    where = ("batch/v1", "Job", f"run-{run.pk}-1", run.namespace)
    assert not clusters.connect(cluster).absent(*where)
    machine.again(lambda: (machine.put_away("newer"), machine.bring_back("older"))[0])
    client = clusters.connect(Cluster.objects.get())
    assert client.uid() == registered and client.absent(*where)
    assert state_after_a_round(run) == "Running", "said once"
    Attempt.objects.filter(run=run).update(missing_since=timezone.now() - absence.AGAIN)
    assert state_after_a_round(run) == "Lost", "said twice, a while apart"
    machine.again(lambda: machine.bring_back("newer"))
    assert not clusters.connect(Cluster.objects.get()).absent(*where)
    # The right store is back, and with it the Job: the run is what its Job is.
    assert state_after_a_round(run) in ("Running", "Pending")
    assert job(run, clusters.connect(cluster))["metadata"].get("deletionTimestamp") is None
