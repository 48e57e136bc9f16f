""" "Why?" for runs, on their page and on the overview; and that a lost log is never a failed run."""

import html
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.selectors.visibility import Visibility
from apps.clusters.why.facts import INDEX
from apps.core.models import Transition
from apps.experiments.decision import Facts, decide, see
from apps.experiments.models import Attempt, Experiment, Run
from apps.experiments.pages.whys import how_it_failed, why_of, whys_of
from apps.experiments.selectors import attempts_of, newest_attempts
from apps.experiments.services.away import SILENCES
from apps.experiments.states import RunKind, RunState
from tests import factories
from tests.clusters.observed.test_health import CASES

pytestmark = pytest.mark.django_db

GPU = "nvidia.com/gpu"
MESSAGE = f"0/1 nodes are available: 1 Insufficient {GPU}. preemption: 0/1 nodes are available: 1 No victims."
SPEC = {"image": "team/train:3", "resources": {"cpu": "1", "memory": "2Gi", "gpu": 4}}


@pytest.fixture
def cluster(db: None) -> Cluster:
    made = factories.cluster("gke-eu", nodes=1)
    Node.objects.filter(cluster=made).update(name="gpu-1", allocatable_gpus={GPU: 8})
    factories.pod(made, None, node_name="gpu-1", requests_gpus={GPU: 6})
    return made


def launched(experiment: Experiment, cluster: Cluster, state: str = RunState.QUEUED, **fields: Any) -> Run:
    values = {
        "kind": RunKind.LAUNCHED,
        "cluster": cluster,
        "namespace": "flotilla-demo",
        "spec": SPEC,
        "ended_at": None,
    }
    log, nodes = fields.pop("log", ""), fields.pop("nodes", [])
    run = factories.run(experiment, state=state, **(values | fields))
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=5))
    run.refresh_from_db()
    factories.attempt(run, log=log, nodes=nodes)
    return run


def waiting_pod(run: Run, cluster: Cluster) -> Pod:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": MESSAGE}
    status = {"conditions": [condition], "resources": {"run": {"limits": {GPU: "4"}}}}
    return factories.pod(
        cluster, run.experiment.project, run=str(run.pk), phase="Pending", ready=False, node_name="",
        requests_gpus={GPU: 4}, health="Progressing", reason="Unschedulable", message=MESSAGE, started_at=None,
        status=status,
    )  # fmt: skip


def refusal(run: Run) -> None:
    message = (
        f'Error creating: pods "run-{run.pk}-1-x" is forbidden: exceeded quota: team, requested: requests.{GPU}=4, '
        f"used: requests.{GPU}=6, limited: requests.{GPU}=8"
    )
    now = timezone.now()
    KubeEvent.objects.create(
        cluster=run.cluster, uid=factories.uid(), namespace=run.namespace, involved_kind="Job",
        involved_name=f"run-{run.pk}-1", type="Warning", reason="FailedCreate", message=message, first_at=now,
        last_at=now,
    )  # fmt: skip


def page_of(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return " ".join(html.unescape(answer.content.decode()).split())


def test_a_run_that_waits_says_the_same_as_its_pod_here_and_on_the_overview(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = launched(experiment, cluster, message=MESSAGE)
    waiting_pod(run, cluster)
    sentence = "Waiting: no node has 4 free nvidia.com/gpu; the largest gap is 2 on gpu-1."
    page = page_of(browser, f"/p/demo/runs/{run.uid}/")
    assert sentence in page and "Ask for at most 2 nvidia.com/gpu" in page and "kube-scheduler" in page
    pods = page_of(browser, f"/p/demo/runs/{run.uid}/pods/")
    assert f"/clusters/gke-eu/pods/flotilla-demo/{Pod.objects.get(run=str(run.pk)).name}/" in pods
    overview = page_of(browser, "/p/demo/")
    assert f'class="because">{sentence}' in overview, "among what needs somebody"
    assert "Nothing runs now" in overview, "what waits does not run"


def test_of_several_workers_it_is_told_how_many_run_and_which_wait_and_none_waits_for_its_own_job(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = launched(experiment, cluster, spec={**SPEC, "workers": 3})
    shared = {"run": str(run.pk), "owner_kind": "Job", "owner_name": f"run-{run.pk}-1", "labels": {INDEX: "0"}}
    runs = factories.pod(cluster, experiment.project, node_name="gpu-1", requests_gpus={GPU: 2}, **shared)
    waits = waiting_pod(run, cluster)
    Pod.objects.filter(pk=waits.pk).update(**shared | {"labels": {INDEX: "1"}})
    other = factories.cluster("other", nodes=1)
    Node.objects.filter(cluster=other).update(allocatable_gpus={GPU: 8}, allocatable_gpu=8)
    sentence = f"Of 3 workers 1 runs and 2 wait ({waits.name}). Waiting: no node has 4 free nvidia.com/gpu"
    page = page_of(browser, f"/p/demo/runs/{run.uid}/")
    assert f"{sentence}; none is free on gke-eu." in page and "would fit" not in page
    Pod.objects.filter(pk=runs.pk).update(requests_gpus={GPU: 4})
    assert f"Let fewer of its pods run at once: one of them, {runs.name}, holds 4" in page_of(
        browser, f"/p/demo/runs/{run.uid}/"
    )
    assert f'class="because">{sentence}' in page_of(browser, "/p/demo/")


def test_a_run_whose_pod_is_refused_by_a_quota_says_so(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = launched(experiment, cluster)
    refusal(run)
    page = page_of(browser, f"/p/demo/runs/{run.uid}/")
    assert "the pod of its Job can't be made: quota team allows 8 nvidia.com/gpu, 6 are used" in page
    assert "quota team allows" in page_of(browser, "/p/demo/")
    # The same where it had a pod that is gone.
    waiting_pod(run, cluster)
    Pod.objects.filter(run=str(run.pk)).update(deleted_at=timezone.now())
    assert "quota team allows" in page_of(browser, f"/p/demo/runs/{run.uid}/")
    assert "quota team allows" in page_of(browser, "/p/demo/")


def test_a_run_whose_job_is_suspended_says_who_resumes_it(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    message = "Waiting: its Job is suspended, and starts no pod until it is resumed. It is in queue team-a."
    run = launched(experiment, cluster, reason="Suspended", message=message)
    page = page_of(browser, f"/p/demo/runs/{run.uid}/")
    assert message in page and "a queue such as Kueue does when there is quota" in page
    assert message in page_of(browser, "/p/demo/")
    assert browser.get(f"/api/v1/runs/{run.uid}").json()["message"] == message


@pytest.mark.parametrize("reason", sorted(SILENCES))
def test_the_remains_of_a_suspended_run_do_not_explain_it_while_its_cluster_is_away(
    experiment: Experiment, cluster: Cluster, reason: str
) -> None:
    """It ran before it was suspended: its pod was killed for that, and its row is kept for a day."""
    run = launched(experiment, cluster, reason=reason, message="gke-eu: The API server is silent.")
    Attempt.objects.filter(run=run).update(reason="Suspended", message="Waiting: its Job is suspended.")
    killed = {"name": "run", "state": {"terminated": {"exitCode": 137, "reason": "Error"}}}
    factories.pod(
        cluster, experiment.project, run=str(run.pk), phase="Failed", health="Degraded", reason="Error", exit_code=137,
        status={"containers": [killed]}, deleted_at=timezone.now(),
    )  # fmt: skip
    sight, pods = Visibility(True, frozenset()), list(Pod.objects.filter(run=str(run.pk)))
    alone, listed = why_of(run, attempts_of(run), pods, sight), whys_of([run], sight)[run.pk]
    assert alone == listed
    assert alone.sentence == "As last seen: Waiting: its Job is suspended. gke-eu: The API server is silent."


@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("cause", ["suspended", "unschedulable", "refused", "away"])
def test_since_when_a_run_waits_is_one_time_on_its_page_and_in_every_list(
    browser: Client, experiment: Experiment, cluster: Cluster, cause: str, ran: bool
) -> None:
    now = timezone.now()
    fields = {"reason": "Suspended", "message": "Its Job is suspended."} if cause == "suspended" else {}
    run = launched(experiment, cluster, started_at=now - timedelta(minutes=4) if ran else None, **fields)
    since = now - timedelta(minutes=2) if ran else run.created_at
    if ran:
        moved = Transition.objects.create(
            object_type="experiments.run", object_id=run.pk, from_state=RunState.RUNNING, to_state=RunState.QUEUED
        )
        Transition.objects.filter(pk=moved.pk).update(at=since)
    if cause == "unschedulable":
        waiting_pod(run, cluster)
    elif cause == "refused":
        refusal(run)
    elif cause == "away":
        waiting_pod(run, cluster)
        Cluster.objects.filter(pk=cluster.pk).update(state="Unreachable", message="The API server is silent.")
        run.refresh_from_db()
    sight = Visibility(True, frozenset())
    pods = list(Pod.objects.filter(run=str(run.pk)))
    alone, listed = why_of(run, attempts_of(run), pods, sight), whys_of([run], sight)[run.pk]
    assert alone is not None and alone.at == listed.at == since
    said = f'datetime="{since.isoformat()}" title="{since:%Y-%m-%d %H:%M:%S} UTC" data-tick="since"'
    assert said in page_of(browser, f"/p/demo/runs/{run.uid}/")
    # Where its cluster is away the overview tells of the cluster, and of how many runs wait because of it.
    assert cause == "away" or said in page_of(browser, "/p/demo/")


def test_a_pod_elsewhere_that_carries_the_runs_number_explains_nothing(
    experiment: Experiment, cluster: Cluster
) -> None:
    run = launched(experiment, cluster)
    waiting_pod(run, factories.cluster("other", nodes=0))
    assert whys_of([run], Visibility(True, frozenset())) == {}


def test_out_of_memory_is_said_also_when_the_pod_is_gone(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    fields = {"reason": "OOMKilled", "exit_code": 137, "message": "staged", "ended_at": timezone.now()}
    run = launched(experiment, cluster, RunState.FAILED, log="epoch 1\nloading all of it\n", **fields)
    page = page_of(browser, f"/p/demo/runs/{run.uid}/")
    assert "Failed: exit code 137, OOMKilled" in page
    assert "Container run ran out of memory: it used more than its limit of 2 GiB (exit code 137)." in page
    assert "Last line of its log" in page and "loading all of it" in page


@pytest.mark.parametrize(
    ("reason", "message", "exit_code", "sentence"),
    [
        ("Error", "staged", 1, "Container run ended with exit code 1."),
        ("ContainerStatusUnknown", "staged", 137, "how it ended is not known."),
        ("DeadlineExceeded", "Job was active longer than specified deadline", None, "Stopped: it ran longer than"),
        ("Evicted", "The node was low on resource: memory. ", 137, "Evicted from gpu-1: the node was low on memory."),
        (
            "ImagePullBackOff",
            'Back-off pulling image "team/train:3": ErrImagePull: rpc error: code = NotFound desc = not found',
            None,
            "Can't start: the image team/train:3 can't be pulled; the registry does not have it.",
        ),
        (
            "StartError",
            "Container run can't start: its memory limit is too low to start with.",
            128,
            "Can't start: container run has a memory limit that is too low to start with.",
        ),
        ("SomethingNew", "It did a new thing.", None, "It did a new thing."),
    ],
)
def test_what_was_recorded_is_told_in_the_same_words(
    experiment: Experiment, cluster: Cluster, reason: str, message: str, exit_code: int | None, sentence: str
) -> None:
    fields = {"reason": reason, "message": message, "exit_code": exit_code, "nodes": ["gpu-1"]}
    run = launched(experiment, cluster, RunState.FAILED, **fields)
    why = how_it_failed(run, newest_attempts([run])[run.pk])
    assert why is not None and sentence in why.sentence


# One of each reason: a door that says another sentence says it of all.
FAILED = list({case[3]: case for case in CASES if case[1].get("status", {}).get("phase") == "Failed"}.values())


@pytest.mark.parametrize("deadline", [False, True])
def test_a_failed_run_says_one_sentence_at_every_door(
    browser: Client, experiment: Experiment, cluster: Cluster, deadline: bool
) -> None:
    reason = "DeadlineExceeded" if deadline else "BackoffLimitExceeded"
    over = {"type": "Failed", "status": "True", "reason": reason, "message": "Job has reached the limit"}
    job = {"metadata": {"uid": "u1"}, "status": {"conditions": [over]}}
    for name, pod, *_ in FAILED[:1] if deadline else FAILED:
        owned = {**pod, "metadata": {"name": f"{experiment.name}-1", "ownerReferences": [{"uid": "u1"}]}}
        seen = see(job, [owned])
        told = decide(Facts("Running", launched=True), seen, timezone.now())
        ended = {"reason": told.reason, "message": told.message, "exit_code": told.exit_code}
        run = launched(experiment, cluster, RunState.FAILED, ended_at=timezone.now(), **ended)
        pods = [each.to_json() for each in seen.pods]
        Attempt.objects.filter(run=run).update(state="Failed", pods=pods, ended_at=run.ended_at, **ended)
        answer = browser.get(f"/api/v1/runs/{run.uid}").json()
        shown = page_of(browser, f"/p/demo/runs/{run.uid}/")
        assert told.message and answer["message"] == told.message, name
        first = answer["attempts"][0]
        assert first["message"] == told.message and (deadline or first["pods"][0]["message"] == told.message), name
        assert told.message in shown, (name, told.message)
        assert told.message in page_of(browser, "/p/demo/"), (name, "the overview")
        assert "words" not in first["pods"][0], "Kubernetes' own are no field of REST"
        run.delete()


def test_a_run_whose_node_was_lost_says_so_and_not_how_its_pod_was_removed(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    message = "Node gpu-1 was lost, and Kubernetes gave the run up. How far it came is not known."
    run = launched(experiment, cluster, RunState.FAILED, reason="NodeLost", message=message, ended_at=timezone.now())
    evicted = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "taint"}
    factories.pod(
        cluster, experiment.project, run=str(run.pk), phase="Failed", ready=False, health="Degraded",
        status={"conditions": [evicted]}, deleted_at=timezone.now(),
    )  # fmt: skip
    text = browser.get(f"/p/{experiment.project.name}/runs/{run.uid}/").content.decode()
    assert message in text and "Launch it again" in text and "a taint that it does not tolerate" not in text


def test_a_log_that_is_lost_changes_nothing_about_its_run(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    run = launched(experiment, cluster, RunState.SUCCEEDED, log="epoch 1\nepoch 2\n", ended_at=timezone.now())
    pod = factories.pod(cluster, experiment.project, run=str(run.pk), phase="Succeeded", ready=False)
    Cluster.objects.update(state="Unreachable")
    answer = browser.get(f"/p/demo/runs/{run.uid}/log")
    assert answer.status_code == 200 and answer.content == b"epoch 1\nepoch 2\n" and answer["X-Log-End"] == "1"
    assert unquote(answer["X-Log-Note"]) == "The last lines, kept" and "X-Log-Timed" not in answer
    # Who has followed the pod itself keeps what is shown, which is more.
    followed = browser.get(f"/p/demo/runs/{run.uid}/log?after=2026-11-25T10:00:00Z&seen=1")
    assert followed.content == b"" and followed["X-Log-End"] == "1"
    pod.delete()
    assert browser.get(f"/p/demo/runs/{run.uid}/log").content == b"epoch 1\nepoch 2\n"
    assert Run.objects.get(pk=run.pk).state == RunState.SUCCEEDED


def test_a_download_of_a_kept_log_is_a_file(browser: Client, experiment: Experiment, cluster: Cluster) -> None:
    run = launched(experiment, cluster, RunState.SUCCEEDED, log="epoch 1\n", name="first try")
    answer = browser.get(f"/p/demo/runs/{run.uid}/log?download=1")
    assert answer["Content-Disposition"] == 'attachment; filename="first-try.log"'
    assert answer.content == b"epoch 1\n[Flotilla: The last lines, kept]\n"


def test_many_waiting_runs_cost_as_many_queries_as_few(experiment: Experiment, cluster: Cluster) -> None:
    sight = Visibility(True, frozenset())

    def cost(runs: list[Run]) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert len(whys_of(runs, sight)) == len(runs)
        return len(queries)

    def pair() -> list[Run]:
        runs = [launched(experiment, cluster), launched(experiment, cluster)]
        waiting_pod(runs[0], cluster)
        refusal(runs[1])
        return runs

    few = cost(pair())
    assert cost([run for _ in range(6) for run in pair()]) == few
