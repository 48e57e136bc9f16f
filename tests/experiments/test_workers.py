"""Several workers of a run meet by the variables that torch reads, on a real local cluster."""

import sys

import pytest
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import Attempt, Run
from apps.experiments.reconcile import reconcile_run
from apps.experiments.specs import parse_spec
from apps.experiments.states import SETTLED, RunState
from tests.experiments.rounds import follow, last

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.real_process,
    pytest.mark.skipif(sys.platform != "linux", reason="the local cluster's pods have names on Linux"),
]

# As torch's TCPStore: the first listens where all others look for it, and tries again until it is there. In the first
# attempt the second worker fails once all have met.
MEET = """
import os, socket, sys, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
assert os.environ["PET_RDZV_ENDPOINT"] == "%s:%d" % where and socket.gethostname() == os.environ["HOSTNAME"]
if rank == 0:
    server = socket.create_server((socket.gethostbyname(socket.gethostname()), where[1]))
    others = [server.accept()[0] for _ in range(size - 1)]
    met = sorted(each.recv(9).decode() for each in others)
    for each in others:
        each.sendall(b"met")
    print("met", *met, flush=True)
else:
    while True:
        try:
            peer = socket.create_connection(where, timeout=5)
            break
        except OSError:
            time.sleep(0.1)
    peer.sendall(str(rank).encode())
    assert peer.recv(3) == b"met"
    if rank == 1 and os.environ["MASTER_ADDR"].endswith("-1"):
        sys.exit(9)
"""
SMALL = {"cpu": "100m", "memory": "64Mi", "gpu": 0}


@pytest.fixture
def run(project: Project, principal: Principal, real_cluster: Cluster) -> Run:
    experiment = services.create_experiment(principal=principal, project=project, name="nodes")
    asked = {"image": "python:3.11", "command": ["python", "-c", MEET], "workers": 3, "resources": SMALL, "retries": 1}
    return services.launch_run(principal=principal, experiment=experiment, spec=parse_spec(asked))


def test_workers_meet_and_all_begin_anew_where_one_fails(run: Run) -> None:
    follow(run, RunState.PENDING, reasons=("Error",))
    [first] = Attempt.objects.filter(run=run)
    assert first.exit_code == 9 and first.message.startswith(f"run-{run.pk}-1-1-")
    Run.objects.filter(pk=run.pk).update(retry_at=timezone.now())
    follow(run, *SETTLED)
    assert (run.state, last(run).number, last(run).log) == (RunState.SUCCEEDED, 2, "met 1 2\n")
    client = connect(run.cluster)
    service = client.get("v1", "Service", f"run-{run.pk}-2", run.namespace)
    [owner] = service["metadata"]["ownerReferences"]
    assert owner["uid"] == last(run).job_uid
    client.delete("batch/v1", "Job", f"run-{run.pk}-2", run.namespace, propagation="Background")


def test_they_meet_although_their_service_was_made_by_another_round_than_their_job(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(sys.modules["apps.experiments.reconcile.launch"], "let_meet", _end)
        with pytest.raises(KeyboardInterrupt):
            reconcile_run(run.pk)
    assert last(run).job_uid == "", "it ended between the two"
    follow(run, RunState.PENDING, reasons=("Error",))


def _end(*_: object) -> None:
    raise KeyboardInterrupt
