"""Launched runs on a real local cluster: from the wish to the end, by the reconcile alone."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from apps.clusters import services as cluster_services
from apps.clusters.kube import pool
from apps.clusters.models import Cluster
from apps.core import transitions
from apps.core.access import Principal
from apps.core.models import ApiToken, Project, User
from apps.experiments import services
from apps.experiments.models import Experiment, Run
from apps.experiments.reconcile import reconcile_run
from apps.experiments.specs import parse_spec
from apps.experiments.states import SETTLED, RunState
from tests.stack import LocalCluster

pytestmark = pytest.mark.django_db(transaction=True)

# It ends when it is asked to; without a handler a first process is killed when its grace period is over.
WAITS = ("sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait")
TRAIN = """
import mlflow
with mlflow.start_run():
    mlflow.log_param("alpha", 1)
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_text("done", "note.txt")
print("trained")
"""


@pytest.fixture
def cluster(local_cluster: LocalCluster, db: None) -> Iterator[Cluster]:
    admin = Principal(user=User.objects.create_superuser("root", password="a-long-password-1"))
    yield cluster_services.register(principal=admin, name="local", kubeconfig_text=local_cluster.kubeconfig.read_text())
    pool._forget_all()


@pytest.fixture
def experiment(project: Project, principal: Principal, cluster: Cluster) -> Experiment:
    return services.create_experiment(principal=principal, project=project, name="digits")


def launch(principal: Principal, experiment: Experiment, *command: str, image: str = "busybox", **more: Any) -> Run:
    spec = parse_spec({"image": image, "command": list(command), **more})
    return services.launch_run(principal=principal, experiment=experiment, spec=spec)


def follow(run: Run, *states: str, seconds: float = 40.0) -> Run:
    """Reconcile as the watcher would ask for it, until the run is in one of the states."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reconcile_run(run.pk)
        run.refresh_from_db()
        if run.state in states:
            return run
        time.sleep(0.1)
    raise AssertionError(f"{run.state} ({run.reason}: {run.message}), not one of {states}, after {seconds} s")


def test_a_run_that_trains_and_logs_by_its_own_token(
    principal: Principal, experiment: Experiment, web_server: str, settings: Any
) -> None:
    settings.PUBLIC_URL = web_server
    run = launch(principal, experiment, "python", "-c", TRAIN, image="python:3.11")
    assert run.state == RunState.PENDING
    follow(run, *SETTLED)
    assert (run.state, run.exit_code, run.client_status) == (RunState.SUCCEEDED, 0, "FINISHED"), run.log_tail
    assert "trained" in run.log_tail
    assert run.pod_name.startswith(f"run-{run.pk}-") and run.node_name
    assert run.started_at is not None and run.ended_at is not None and run.ended_at >= run.started_at
    assert {metric.key: metric.value for metric in run.latest_metrics.all()}["loss"] == pytest.approx(1 / 3)
    assert run.artifacts.get().path == "note.txt"
    token = ApiToken.objects.get(run_uid=run.uid)
    assert token.revoked_at is not None
    history = [row.to_state for row in transitions.transitions_of(run)]
    assert history[0] == RunState.PENDING and history[-1] == RunState.SUCCEEDED
    assert len(history) == len(set(history))


def test_an_emoji_in_the_environment_arrives(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "sh", "-c", 'echo "$NOTE"', env={"NOTE": "🚀 für 東京"})
    follow(run, *SETTLED)
    assert run.state == RunState.SUCCEEDED and "🚀 für 東京" in run.log_tail


def test_a_run_that_fails_says_why(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "sh", "-c", "echo about to fail; exit 3")
    follow(run, *SETTLED)
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, "Error", 3)
    assert "about to fail" in run.log_tail


def test_an_image_that_does_not_exist_is_visible_and_can_be_cancelled(
    principal: Principal, experiment: Experiment
) -> None:
    run = launch(principal, experiment, "true", image="nobody/has-this:1")
    follow(run, RunState.STARTING)
    end = time.monotonic() + 20
    while run.reason not in ("ErrImagePull", "ImagePullBackOff") and time.monotonic() < end:
        reconcile_run(run.pk)
        run.refresh_from_db()
        time.sleep(0.1)
    assert run.reason in ("ErrImagePull", "ImagePullBackOff")
    assert "nobody/has-this:1" in run.message
    services.cancel_run(principal=principal, run=run)
    follow(run, RunState.CANCELED)


def test_a_run_that_fits_nowhere_says_so(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "true", resources={"gpu": 99})
    follow(run, RunState.QUEUED)
    end = time.monotonic() + 20
    while run.reason != "Unschedulable" and time.monotonic() < end:
        reconcile_run(run.pk)
        run.refresh_from_db()
        time.sleep(0.1)
    assert "Insufficient nvidia.com/gpu" in run.message
    services.cancel_run(principal=principal, run=run)
    follow(run, RunState.CANCELED)


def test_cancel_ends_the_pod_and_is_confirmed_by_absence(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, *WAITS)
    follow(run, RunState.RUNNING)
    services.cancel_run(principal=principal, run=run)
    assert run.state == RunState.CANCELING
    follow(run, *SETTLED)
    assert run.state == RunState.CANCELED
    client = cluster_services.connect(run.cluster)
    assert client.list("v1", "Pod", run.namespace, label_selector=f"flotilla.dev/run={run.pk}") == []
    assert not client.exists("v1", "Secret", run.job_name, run.namespace)


def test_a_job_that_somebody_deleted_is_lost_and_never_made_again(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, *WAITS)
    follow(run, RunState.RUNNING)
    client = cluster_services.connect(run.cluster)

    def hold(*finalizers: str) -> None:
        patch = {"metadata": {"finalizers": list(finalizers)}}
        client.merge_patch("batch/v1", "Job", run.job_name, patch, run.namespace)

    hold("example.com/hold")
    client.delete("batch/v1", "Job", run.job_name, run.namespace)
    reconcile_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason, run.message) == (RunState.RUNNING, "Deleting", "Somebody is deleting the Job.")
    hold()
    follow(run, *SETTLED)
    assert (run.state, run.reason) == (RunState.LOST, "JobVanished")
    reconcile_run(run.pk)
    assert not client.exists("batch/v1", "Job", run.job_name, run.namespace)


def test_a_rerun_repeats_the_spec_as_a_run_of_its_own(principal: Principal, experiment: Experiment) -> None:
    spec = parse_spec({"image": "busybox", "command": ["true"]})
    first = services.launch_run(principal=principal, experiment=experiment, spec=spec, params={"alpha": 2})
    again = services.rerun(principal=principal, run=first)
    assert again.pk != first.pk and again.rerun_of_id == first.pk and again.job_name != first.job_name
    assert again.spec == first.spec
    assert again.params.get().value == "2"
    follow(again, RunState.SUCCEEDED)
