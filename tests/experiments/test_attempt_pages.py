"""A run's page and its logs where there are several attempts or pods."""

import html
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Pod
from apps.experiments.models import Experiment, Run
from apps.experiments.states import RunKind, RunState
from tests import factories
from tests.experiments.runpage import whole

pytestmark = pytest.mark.django_db

SPEC = {
    "image": "team/train:3",
    "resources": {"cpu": "1", "memory": "2Gi", "gpu": 1},
    "command": ["python", "train.py"],
}
PREEMPTED = {
    "reason": "PreemptionByScheduler", "cause": "interrupted", "exit_code": 143,
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}  # fmt: skip


def launched(experiment: Experiment, cluster: Cluster, state: str, **fields: Any) -> Run:
    values = {"kind": RunKind.LAUNCHED, "cluster": cluster, "namespace": "flotilla-demo", "ended_at": None}
    return factories.run(experiment, state=state, **(values | {"spec": SPEC} | fields))


def pod(name: str, state: str, node: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "index": None, "node": node, "state": state, "exit_code": None, "reason": "", **more}


def tried_three_times(experiment: Experiment, cluster: Cluster) -> Run:
    """Preempted, then out of memory, now under way."""
    now = timezone.now()
    run = launched(experiment, cluster, RunState.RUNNING, name="resnet-large", spec={**SPEC, "retries": 2,
                   "retry_on": ["error", "out-of-memory"]}, started_at=now - timedelta(minutes=48))  # fmt: skip
    first, second, third = (f"run-{run.pk}-{number}-x" for number in (1, 2, 3))
    factories.attempt(
        run, number=1, state="Failed", nodes=["gpu-1"], log="epoch 1\nepoch 2\n",
        started_at=now - timedelta(minutes=48), ended_at=now - timedelta(minutes=31), **PREEMPTED,
        pods=[pod(first, "Failed", "gpu-1", disrupted=True, **PREEMPTED)],
    )  # fmt: skip
    memory = {"reason": "OOMKilled", "exit_code": 137, "message": "Container run used more memory than its limit."}
    factories.attempt(
        run, number=2, state="Failed", nodes=["gpu-2"], started_at=now - timedelta(minutes=30), cause="out-of-memory",
        ended_at=now - timedelta(minutes=12), pods=[pod(second, "Failed", "gpu-2", **memory)], log="epoch 1\nloading\n",
        **memory,
    )  # fmt: skip
    factories.attempt(
        run, number=3, state="Running", nodes=["gpu-1"], started_at=now - timedelta(minutes=10), reason="", message="",
        pods=[pod(third, "Running", "gpu-1")],
    )  # fmt: skip
    factories.pod(cluster, experiment.project, run=str(run.pk), name=third, owner_name=f"run-{run.pk}-3",
                  namespace="flotilla-demo", node_name="gpu-1")  # fmt: skip
    return run


def several_workers(experiment: Experiment, cluster: Cluster) -> Run:
    """Four at once, of which the third has failed."""
    now = timezone.now()
    failed = {"reason": "Error", "exit_code": 7, "message": "Container run ended with exit code 7."}
    run = launched(experiment, cluster, RunState.FAILED, name="llm-ddp", started_at=now - timedelta(minutes=9),
                   spec={**SPEC, "workers": 4}, ended_at=now, **failed)  # fmt: skip
    pods = [pod(f"run-{run.pk}-1-{index}-abcde", "Failed", f"gpu-{index % 2 + 1}", exit_code=143, reason="Error")
            | {"index": index} for index in range(4)]  # fmt: skip
    pods[2] |= failed | {"log": True}
    factories.attempt(run, nodes=["gpu-1", "gpu-2"], pods=pods, cause="error", log="rank 2: NCCL error\n")
    return run


def canceled_with_log(experiment: Experiment, cluster: Cluster) -> Run:
    now = timezone.now()
    run = launched(experiment, cluster, RunState.CANCELED, name="tune-7", started_at=now - timedelta(minutes=4),
                   ended_at=now, reason="Canceled")  # fmt: skip
    name = f"run-{run.pk}-1-x"
    factories.attempt(run, nodes=["gpu-1"], pods=[pod(name, "Deleted", "gpu-1")],
                      log="epoch 1 loss 0.52\nepoch 2 loss 0.41\nSIGTERM: saving a checkpoint\n")  # fmt: skip
    return run


@pytest.fixture
def cluster(db: None) -> Cluster:
    return factories.cluster("gke-eu", nodes=1)


def page_of(browser: Client, run: Run, query: str = "") -> str:
    if not query:
        return " ".join(html.unescape(whole(browser, run)).split())
    answer = browser.get(f"/p/demo/runs/{run.uid}/{query}")
    assert answer.status_code == 200
    return " ".join(html.unescape(answer.content.decode()).split())


def test_attempts_are_listed_with_why_each_ended(browser: Client, experiment: Experiment, cluster: Cluster) -> None:
    run = tried_three_times(experiment, cluster)
    page = page_of(browser, run)
    assert "one run, tried 3 times" in page
    spots = [page.index(f'id="attempt-{number}"') for number in (3, 2, 1)]
    assert spots == sorted(spots), "the newest first"
    assert "it had to make room for a pod of higher priority" in page and "Not counted as a failure." in page
    assert "ran out of memory" in page
    assert 'id="attempt-2"' in page_of(browser, run, "pods/?part=pods")
    assert "Log of attempt 1" in page_of(browser, run, "logs/?attempt=1")


def test_many_events_are_folded_and_ordinary_ones_are_no_success(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = tried_three_times(experiment, cluster)
    pod = Pod.objects.get(run=str(run.pk))
    for _ in range(9):
        factories.warning(cluster, pod, "Killing", "Stopping container run")
    KubeEvent.objects.update(type="Normal")
    events = page_of(browser, run).partition('id="events"')[2].partition("</section>")[0]
    assert (events.partition("Earlier ones")[0].count('id="event-'), events.count('id="event-')) == (6, 9)
    assert "status ok" not in events, "a pod that is killed is none"


def test_each_attempt_and_pod_has_its_log(browser: Client, experiment: Experiment, cluster: Cluster) -> None:
    run = tried_three_times(experiment, cluster)
    first = browser.get(f"/p/demo/runs/{run.uid}/log?attempt=1")
    assert first.content == b"epoch 1\nepoch 2\n", "kept, while the run goes on"
    assert browser.get(f"/p/demo/runs/{run.uid}/log?attempt=4").status_code == 404
    assert browser.get(f"/p/demo/runs/{run.uid}/log?pod=somebody-elses").status_code == 404
    workers = several_workers(experiment, cluster)
    kept = browser.get(f"/p/demo/runs/{workers.uid}/log?pod=run-{workers.pk}-1-2-abcde")
    assert kept.content == b"rank 2: NCCL error\n"
    # The card says whose it is, and so does each answer: between two attempts it goes on with another pod's.
    assert f"Log of run-{workers.pk}-1-2-abcde" in page_of(browser, workers)
    assert browser.get(f"/p/demo/runs/{workers.uid}/log")["X-Log-Of"] == f"run-{workers.pk}-1-2-abcde"
    assert first["X-Log-Of"] == "attempt%201" and "Log of attempt 3" in page_of(browser, run)
    other = browser.get(f"/p/demo/runs/{workers.uid}/log?pod=run-{workers.pk}-1-0-abcde")
    assert other.content == b"" and other["X-Log-Note"].startswith("No%20log%20was%20kept%20but%20that%20of")
    one = canceled_with_log(experiment, cluster)
    assert "X-Log-Of" not in browser.get(f"/p/demo/runs/{one.uid}/log")


def test_the_log_of_a_run_on_a_silent_cluster_says_what_is_kept(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = tried_three_times(experiment, cluster)
    heard = timezone.now() - timedelta(minutes=3)
    Cluster.objects.update(state="Unreachable", message="No answer.", last_seen_at=heard, synced_at=heard)
    answer = browser.get(f"/p/demo/runs/{run.uid}/log")
    note = unquote(answer["X-Log-Note"])
    assert note.startswith(f"Cluster {cluster.name} has not answered since ") and note.endswith(": No answer")
    kept = unquote(answer["X-Log-Kept"])
    assert kept.startswith("Of attempts 1 and 2 the last lines are kept. This one is on the cluster's node"), kept
    told = browser.get(f"/api/v1/runs/{run.uid}/logs").json()["note"]
    assert told.startswith(note) and "Flotilla keeps no copy" in told


def test_several_pods_are_listed_and_one_is_not(browser: Client, experiment: Experiment, cluster: Cluster) -> None:
    page = page_of(browser, several_workers(experiment, cluster))
    assert "4 workers" in page and page.count('-abcde">Log<') == 4 and "exit code 7" in page
    assert 'id="attempt-1"' not in page_of(browser, canceled_with_log(experiment, cluster))


def test_between_two_attempts_the_page_says_that_another_follows(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = launched(
        experiment, cluster, RunState.PENDING, retry_at=timezone.now() + timedelta(seconds=9), reason="Evicted"
    )
    message = "The node was low on resource: memory. "
    factories.attempt(run, state="Failed", reason="Evicted", message=message, cause="interrupted", nodes=["gpu-1"])
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=1))
    for path in (f"/p/demo/runs/{run.uid}/", "/p/demo/"):
        page = " ".join(html.unescape(browser.get(path).content.decode()).split())
        assert "Attempt 1 ended, the next one follows at" in page and "the node was low on memory" in page, path


def test_a_canceled_run_shows_its_last_lines(browser: Client, experiment: Experiment, cluster: Cluster) -> None:
    assert "SIGTERM: saving a checkpoint" in page_of(browser, canceled_with_log(experiment, cluster))
