"""What is said of a run that is being ended from outside: one sentence on its page, in REST, and of its pod."""

import html
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Node, Pod, Workload
from apps.clusters.observed.health import job_health
from apps.clusters.observed.owners import overran
from apps.clusters.observed.rows import pod_row
from apps.clusters.selectors.explain import explain_pods
from apps.experiments.decision import Facts, decide, remembered, see
from apps.experiments.models import Attempt, Experiment, Run
from apps.experiments.reconcile.observe import watched
from apps.experiments.states import RunState
from tests import factories
from tests.experiments.test_whys import GPU, MESSAGE, launched

pytestmark = pytest.mark.django_db

PREEMPTED = "Preempted: it had to make room for a pod of higher priority."
MOMENT = "Being deleted: its containers have a moment to end by themselves."
OVERRAN = "Stopped: it ran longer than its deadline allows."
FAILING = f"It has failed, and its pods are still being ended: {OVERRAN}"
SILENT = "Not heard of: node gpu-1 stopped answering"
UNCONFIRMED = "Being deleted, but node gpu-1 stopped answering"
READY = {"type": "Ready", "status": "True"}
TARGET = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "by x"}
LATE = {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active longer"}


@pytest.fixture
def cluster(db: None) -> Cluster:
    made = factories.cluster("gke-eu", nodes=1)
    Node.objects.filter(cluster=made).update(name="gpu-1")
    return made


@dataclass(frozen=True)
class Stage:
    """A moment of a run. `run` and `pod` are the sentences; a run's that ends with "…" goes on with how long."""

    run: str
    pod: str
    reason: str
    conditions: tuple[dict[str, Any], ...] = (READY,)
    deleting: bool = False
    job: tuple[dict[str, Any], ...] = ()
    node_ready: bool = True
    stopping: bool = False


STAGES = {
    "marked, and not deleted yet": Stage(PREEMPTED, PREEMPTED, "PreemptionByScheduler", (READY, TARGET)),
    "preempted, and being deleted": Stage(
        f"{PREEMPTED} {MOMENT}", f"{PREEMPTED} {MOMENT}", "PreemptionByScheduler", (READY, TARGET), deleting=True
    ),
    "deleted by hand": Stage(MOMENT, MOMENT, "Terminating", deleting=True),
    "its Job's deadline": Stage(FAILING, f"{OVERRAN} {MOMENT}", "FailureTarget", deleting=True, job=(LATE,)),
    "the run's deadline": Stage(OVERRAN, f"{OVERRAN} {MOMENT}", "DeadlineExceeded", deleting=True, stopping=True),
    "its node is silent": Stage(SILENT, SILENT, "NodeLost", ({**READY, "status": "False"},), node_ready=False),
    "deleted on a silent node": Stage(UNCONFIRMED, UNCONFIRMED, "NodeLost", deleting=True, node_ready=False),
}


def kube_pod(run: Run, stage: Stage) -> dict[str, Any]:
    now = timezone.now().replace(microsecond=0)
    deleting = {"deletionTimestamp": (now + timedelta(seconds=30)).isoformat(), "deletionGracePeriodSeconds": 31}
    owner = {"uid": "u1", "kind": "Job", "name": f"run-{run.pk}-1", "controller": True}
    began = (now - timedelta(minutes=1)).isoformat()
    container = {"name": "run", "ready": True, "state": {"running": {"startedAt": began}}, "restartCount": 0}
    return {
        "metadata": {
            "name": f"run-{run.pk}-1-x", "namespace": run.namespace, "uid": f"pod-{run.pk}", "ownerReferences": [owner],
            "creationTimestamp": began,
            "labels": {
                "app.kubernetes.io/managed-by": "flotilla", "app.kubernetes.io/part-of": "demo",
                "flotilla.dev/run": str(run.pk),
            },
            **(deleting if stage.deleting else {}),
        },
        "spec": {"nodeName": "gpu-1", "restartPolicy": "Never"},
        "status": {"phase": "Running", "conditions": list(stage.conditions), "containerStatuses": [container]},
    }  # fmt: skip


def watch(cluster: Cluster, pod: dict[str, Any], **gone: Any) -> None:
    """Store the pod as the watcher would."""
    row = pod_row(pod, timezone.now(), **gone)
    Pod.objects.update_or_create(cluster=cluster, uid=row.pop("uid"), defaults=row)


def because(browser: Client, path: str) -> str:
    """The sentence of a page's verdict."""
    text = browser.get(path).content.decode()
    card = text.partition('id="why"')[2]
    return html.unescape((re.search(r'class="what">([^<]*)<', card) or ["", ""])[1])


@pytest.mark.parametrize("name", STAGES)
def test_what_happens_to_a_run_is_one_sentence_at_every_door(
    browser: Client, experiment: Experiment, cluster: Cluster, name: str
) -> None:
    stage, now = STAGES[name], timezone.now()
    Node.objects.filter(name="gpu-1").update(ready=stage.node_ready, reason="NodeStatusUnknown")
    run = launched(experiment, cluster, RunState.RUNNING, started_at=now)
    pod = kube_pod(run, stage)
    watch(cluster, pod)
    job = {"metadata": {"uid": "u1"}, "status": {"conditions": list(stage.job)}}
    seen = see(job, [pod], silent={} if stage.node_ready else {"gpu-1": "NodeStatusUnknown"})
    facts = Facts(RunState.RUNNING, launched=True, deadline_at=now if stage.stopping else None)
    told = decide(facts, seen, now)
    words = {"reason": told.reason, "message": told.message}
    Attempt.objects.filter(run=run).update(
        **words, state=told.state or "Running", pods=[each.to_json() for each in seen.pods]
    )
    Run.objects.filter(pk=run.pk).update(**words)
    answer = browser.get(f"/api/v1/runs/{run.uid}").json()
    assert (answer["reason"], answer["attempts"][0]["reason"]) == (stage.reason, stage.reason)
    assert answer["message"].startswith(answer["attempts"][0]["message"].rstrip("."))
    assert answer["message"].startswith(stage.run)
    page = because(browser, f"/p/demo/runs/{run.uid}/")
    assert page == answer["message"]
    place = f"{run.namespace}/run-{run.pk}-1-x"
    of_pod = because(browser, f"/clusters/gke-eu/pods/{place}/")
    assert of_pod.startswith(stage.pod)
    (listed,) = (
        each for each in browser.get("/api/v1/clusters/gke-eu/pods").json()["results"] if each["run"] == str(run.pk)
    )
    assert listed["message"] == of_pod
    # A deadline is the run's; to its pod it is a deletion.
    of_run_alone = {"FailureTarget", "DeadlineExceeded"}
    assert listed["reason"] == ("Terminating" if stage.reason in of_run_alone else stage.reason)
    if stage.reason == "NodeLost":
        assert (listed["health"], listed["ready"]) == ("Unknown", False)
        assert re.search(
            r'id="verdict".*?>NodeLost<', browser.get(f"/clusters/gke-eu/pods/{place}/").content.decode(), re.S
        )
    # Of what was only so for a moment nothing is kept: neither where its end was seen, nor where it was not.
    kept = see(job, [], known=remembered(answer_pods(run))).pods[0]
    lasts = PREEMPTED if TARGET in stage.conditions else ""
    assert (kept.state, kept.message) == ("Deleted", lasts)
    watch(cluster, pod, deleted=True)
    assert [each.message for each in watched(Attempt.objects.get(run=run))] == [lasts]
    assert because(browser, f"/clusters/gke-eu/pods/{place}/") == (OVERRAN if OVERRAN in stage.pod else lasts)


def test_a_run_that_no_node_takes_is_told_of_in_one_sentence_at_every_door(
    browser: Client, experiment: Experiment, cluster: Cluster
) -> None:
    """The scheduler's own words are evidence: they are on the pages, below the sentence."""
    Node.objects.filter(name="gpu-1").update(allocatable_gpus={GPU: 8})
    factories.pod(cluster, None, node_name="gpu-1", requests_gpus={GPU: 6})
    run = launched(experiment, cluster, RunState.QUEUED, reason="Unschedulable", message=MESSAGE)
    pod = kube_pod(run, STAGES["deleted by hand"])
    del pod["metadata"]["deletionTimestamp"]
    pod["spec"] = {"containers": [{"name": "run", "resources": {"requests": {GPU: "4"}}}]}
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": MESSAGE}
    pod["status"] = {"phase": "Pending", "conditions": [refused]}
    watch(cluster, pod)
    said = f"no node has 4 free {GPU}"
    page = because(browser, f"/p/demo/runs/{run.uid}/")
    assert said in page and "preemption" not in page
    (of_run,) = (each for each in browser.get("/api/v1/runs").json()["results"] if each["run_id"] == run.uid)
    listed = browser.get("/api/v1/clusters/gke-eu/pods").json()["results"]
    (of_pod,) = (each for each in listed if each["run"] == str(run.pk))
    assert of_run["message"] == page == browser.get(f"/api/v1/runs/{run.uid}").json()["message"]
    assert of_pod["message"] == because(browser, f"/clusters/gke-eu/pods/{run.namespace}/run-{run.pk}-1-x/")
    assert said in of_pod["message"]


def answer_pods(run: Run) -> list[dict[str, Any]]:
    """The pods as the attempt keeps them."""
    pods: list[dict[str, Any]] = Attempt.objects.get(run=run).pods
    return pods


@pytest.mark.parametrize("reason", ["DeadlineExceeded", "FailureTarget", "Error"])
@pytest.mark.parametrize("ended_late", [True, False])
def test_a_pod_that_was_ended_for_its_runs_deadline_says_so(
    browser: Client, experiment: Experiment, cluster: Cluster, reason: str, ended_late: bool
) -> None:
    now = timezone.now()
    run = launched(experiment, cluster, RunState.FAILED, reason=reason, message=FAILING, ended_at=now)
    pod = kube_pod(run, STAGES["its Job's deadline"])
    over = now + timedelta(seconds=30 if ended_late else -30)
    killed = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": over.isoformat()}}
    pod["status"] |= {"phase": "Failed", "containerStatuses": [{"name": "run", "state": killed}]}
    watch(cluster, pod, deleted=True)
    says = because(browser, f"/clusters/gke-eu/pods/{run.namespace}/run-{run.pk}-1-x/")
    # What had ended by itself before was not ended for that.
    by_deadline = ended_late and reason != "Error"
    assert says == (OVERRAN if by_deadline else "Container run was killed by SIGKILL (exit code 137).")


@pytest.mark.parametrize(
    ("condition", "by_deadline"),
    [
        ({"type": "Failed", "reason": "DeadlineExceeded"}, True),
        ({"type": "FailureTarget", "message": "Job was active longer than specified deadline"}, True),
        ({"type": "Failed", "reason": "BackoffLimitExceeded"}, False),
    ],
)
def test_a_pod_that_was_ended_for_a_foreign_job_s_deadline_says_so(
    experiment: Experiment, cluster: Cluster, condition: dict[str, str], by_deadline: bool
) -> None:
    now = timezone.now()
    verdict = job_health({"status": {"conditions": [{**condition, "status": "True"}]}})
    Workload.objects.create(
        cluster=cluster, uid="u", kind="Job", namespace="batch", name="nightly", observed_at=now,
        health=verdict.health, reason=verdict.reason, message=verdict.message,
    )  # fmt: skip
    run = launched(experiment, cluster, RunState.RUNNING)
    pod = kube_pod(run, STAGES["its Job's deadline"])
    ended = {"exitCode": 137, "reason": "Error", "finishedAt": (now + timedelta(seconds=30)).isoformat()}
    pod["status"] |= {"phase": "Failed", "containerStatuses": [{"name": "run", "state": {"terminated": ended}}]}
    watch(cluster, pod, deleted=True)
    Pod.objects.update(namespace="batch", owner_kind="Job", owner_name="nightly", run="", project="")
    [why] = explain_pods(Pod.objects.all()).values()
    assert (why.sentence == OVERRAN) is by_deadline, why.sentence


def test_rows_of_another_run_with_a_deadline_say_nothing_of_a_pod(experiment: Experiment, cluster: Cluster) -> None:
    mine = launched(experiment, cluster, RunState.FAILED, reason="DeadlineExceeded", message=OVERRAN)
    other = launched(experiment, cluster, RunState.RUNNING)
    for run in (mine, other):
        watch(cluster, kube_pod(run, STAGES["deleted by hand"]))
    factories.pod(cluster, experiment.project, run="x", owner_kind="Job", owner_name="run-x-1")
    assert overran(Pod.objects.all()) == {f"pod-{mine.pk}"}
