"""Launched runs on a real local cluster: from the wish to the end, by the reconcile alone."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters import services as cluster_services
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.models import ApiToken, Project
from apps.experiments import services
from apps.experiments.models import Attempt, Experiment, Run
from apps.experiments.pages.whys import how_it_failed
from apps.experiments.reconcile import reconcile_run
from apps.experiments.specs import parse_spec
from apps.experiments.states import SETTLED, RunState
from tests.experiments.rounds import follow, last, wait_for_line

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
def experiment(project: Project, principal: Principal, real_cluster: Cluster) -> Experiment:
    return services.create_experiment(principal=principal, project=project, name="digits")


def launch(principal: Principal, experiment: Experiment, *command: str, image: str = "busybox", **more: Any) -> Run:
    spec = parse_spec({"image": image, "command": list(command), **more})
    return services.launch_run(principal=principal, experiment=experiment, spec=spec)


def test_a_run_that_trains_and_logs_by_its_own_token(
    principal: Principal, experiment: Experiment, web_server: str, settings: Any
) -> None:
    settings.PUBLIC_URL, settings.LIST_PACKAGES = web_server, True
    run = launch(principal, experiment, "python", "-c", TRAIN, image="python:3.11")
    assert run.state == RunState.PENDING
    follow(run, *SETTLED)
    assert (run.state, run.exit_code, run.client_status) == (RunState.SUCCEEDED, 0, "FINISHED"), last(run).log
    assert "trained" in last(run).log
    assert last(run).pods[0]["name"].startswith(f"run-{run.pk}-1-") and last(run).nodes
    assert run.started_at is not None and run.ended_at is not None and run.ended_at >= run.started_at
    assert {metric.key: metric.value for metric in run.latest_metrics.all()}["loss"] == pytest.approx(1 / 3)
    assert {file.path for file in run.artifacts.all()} == {"note.txt", "environment/requirements.txt"}
    assert run.packages.whole and {"python", "mlflow-skinny"} <= set(run.packages.versions)
    token = ApiToken.objects.get(run_uid=run.uid)
    assert token.revoked_at is not None
    history = [row.to_state for row in transitions.transitions_of(run)]
    assert history[0] == RunState.PENDING and history[-1] == RunState.SUCCEEDED
    assert len(history) == len(set(history))


def test_a_command_runs_as_it_was_written_and_an_emoji_arrives(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "sh", "-c", 'echo "$NOTE"', env={"NOTE": "🚀 für 東京"})
    line = """echo "$NOTE" | cat && test -n "$$" && echo "$(echo 'two  words')" '$(NOTE)' | cat"""
    shell = launch(principal, experiment, command_line=line, env={"NOTE": "🚀 für 東京"})
    words = launch(principal, experiment, "echo", "$HOME", "&&", "two  words", "$(NOTE)", env={"NOTE": "für"})
    for each in (run, shell, words):
        follow(each, *SETTLED)
        assert each.state == RunState.SUCCEEDED, last(each).log
    assert "🚀 für 東京" in last(run).log
    # The shell reads its line as it is, quotes, pipes and `$(…)` included; words are taken as words.
    assert last(shell).log.splitlines()[-2:] == ["🚀 für 東京", "two  words $(NOTE)"]
    assert last(words).log.splitlines()[-1] == "$HOME && two  words für"


def test_a_run_that_fails_says_why(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "sh", "-c", "echo about to fail; exit 3")
    missing = launch(principal, experiment, "no-such-program")
    follow(run, *SETTLED)
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, "Error", 3)
    assert "about to fail" in last(run).log
    follow(missing, *SETTLED)
    assert (missing.state, missing.reason, missing.started_at) == (RunState.FAILED, "StartError", None)
    assert missing.ended_at is not None, "when it ended is known; it took no time"
    assert run.message == "Container run ended with exit code 3."
    assert missing.message == "Can't start: the command no-such-program is not in the image of container run."
    for each in (run, missing):
        why = how_it_failed(each, last(each))
        assert why is not None and why.sentence == each.message, "REST and the page say the same"


def test_an_image_that_does_not_exist_is_visible_and_can_be_cancelled(
    principal: Principal, experiment: Experiment
) -> None:
    run = launch(principal, experiment, "true", image="nobody/has-this:1")
    follow(run, RunState.STARTING, reasons=("ErrImagePull", "ImagePullBackOff"))
    assert "nobody/has-this:1" in run.message
    services.cancel_run(principal=principal, run=run)
    follow(run, RunState.CANCELED)


def test_a_run_that_fits_nowhere_says_so(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "true", resources={"gpu": 99})
    follow(run, RunState.QUEUED, reasons=("Unschedulable",))
    assert "Insufficient nvidia.com/gpu" in run.message
    services.cancel_run(principal=principal, run=run)
    follow(run, RunState.CANCELED)


def test_cancel_ends_the_pod_and_is_confirmed_by_absence(principal: Principal, experiment: Experiment) -> None:
    program = "trap 'echo saved; exit 1' TERM; echo begun; sleep 300 & wait"
    run = launch(principal, experiment, "sh", "-c", program)
    follow(run, RunState.RUNNING)
    wait_for_line(run, "begun")
    assert services.cancel_run(principal=principal, run=run).state == RunState.CANCELING
    follow(run, *SETTLED)
    assert run.state == RunState.CANCELED and last(run).log.startswith("begun")
    client = cluster_services.connect(run.cluster)
    assert client.list("v1", "Pod", run.namespace, label_selector=f"flotilla.dev/run={run.pk}") == []
    assert not client.exists("v1", "Secret", f"run-{run.pk}", run.namespace)


def test_a_job_that_somebody_deleted_is_lost_and_never_made_again(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, *WAITS)
    follow(run, RunState.RUNNING)
    client = cluster_services.connect(run.cluster)
    name = last(run).job_name

    def hold(*finalizers: str) -> None:
        patch = {"metadata": {"finalizers": list(finalizers)}}
        client.merge_patch("batch/v1", "Job", name, patch, run.namespace)

    hold("example.com/hold")
    client.delete("batch/v1", "Job", name, run.namespace)
    reconcile_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason, run.message) == (RunState.RUNNING, "Deleting", "Somebody is deleting the Job.")
    hold()
    follow(run, *SETTLED)
    assert (run.state, run.reason) == (RunState.LOST, "JobVanished")
    reconcile_run(run.pk)
    assert not client.exists("batch/v1", "Job", name, run.namespace)


def test_a_rerun_repeats_the_spec_as_a_run_of_its_own(principal: Principal, experiment: Experiment) -> None:
    spec = parse_spec({"image": "busybox", "command": ["true"]})
    first = services.launch_run(principal=principal, experiment=experiment, spec=spec, params={"alpha": 2})
    again = services.rerun(principal=principal, run=first)
    assert again.pk != first.pk and again.rerun_of_id == first.pk
    assert again.spec == first.spec
    assert again.params.get().value == "2"
    follow(again, RunState.SUCCEEDED)


def next_try(run: Run) -> None:
    """As if the pause between two attempts were over."""
    Run.objects.filter(pk=run.pk).update(retry_at=timezone.now())


def test_a_failure_is_tried_again_as_often_as_asked(principal: Principal, experiment: Experiment) -> None:
    program = 'echo "try $MLFLOW_RUN_ID"; exit 5'
    run = launch(principal, experiment, "sh", "-c", program, retries=1)
    follow(run, RunState.QUEUED, RunState.STARTING, RunState.RUNNING)
    follow(run, RunState.PENDING)
    assert (run.reason, run.ended_at) == ("Error", None) and run.retry_at is not None
    next_try(run)
    follow(run, *SETTLED)
    assert (run.state, run.exit_code) == (RunState.FAILED, 5)
    attempts = list(run.attempts.order_by("number"))
    assert [(each.job_name, each.cause) for each in attempts] == [
        (f"run-{run.pk}-1", "error"),
        (f"run-{run.pk}-2", "error"),
    ]
    assert {each.log.strip() for each in attempts} == {f"try {run.uid}"}, "one MLflow run for all"


def test_an_evicted_pod_is_followed_by_another_attempt_uncounted(principal: Principal, experiment: Experiment) -> None:
    run = launch(principal, experiment, "sh", "-c", "trap 'sleep 2; exit 1' TERM; sleep 300 & wait")
    follow(run, RunState.RUNNING)
    client = cluster_services.connect(run.cluster)
    name = last(run).pods[0]["name"]
    review = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": run.namespace}}
    path = f"/api/v1/namespaces/{run.namespace}/pods/{name}/eviction"
    client._transport.call("POST", path, body=review)
    follow(run, RunState.PENDING)
    first = last(run)
    assert (first.state, first.cause) == ("Failed", "interrupted"), (first.reason, first.message)
    assert first.reason == "EvictionByEvictionAPI"
    next_try(run)
    follow(run, RunState.RUNNING)
    assert [each.number for each in run.attempts.order_by("number")] == [1, 2]
    services.cancel_run(principal=principal, run=run)
    follow(run, RunState.CANCELED)


def test_several_workers_run_at_once_and_the_one_that_failed_explains(
    principal: Principal, experiment: Experiment
) -> None:
    program = 'echo "worker $JOB_COMPLETION_INDEX"; trap "exit 143" TERM; '
    program += 'test "$JOB_COMPLETION_INDEX" = 1 || { sleep 300 & wait; }; sleep 3; exit 7'
    run = launch(
        principal, experiment, "sh", "-c", program, workers=3, resources={"cpu": "100m", "memory": "64Mi", "gpu": 0}
    )
    follow(run, *SETTLED)
    attempt = last(run)
    assert (run.state, run.exit_code) == (RunState.FAILED, 7)
    assert [pod["index"] for pod in attempt.pods] == [0, 1, 2]
    assert attempt.pods[1]["exit_code"] == 7 and attempt.log.strip() == "worker 1"
    assert run.message.startswith(attempt.pods[1]["name"])


def test_a_run_past_its_deadline_is_stopped_and_keeps_its_last_lines(
    principal: Principal, experiment: Experiment
) -> None:
    run = launch(
        principal, experiment, "sh", "-c", "echo begun; trap 'exit 143' TERM; sleep 300 & wait", deadline_seconds=600
    )
    follow(run, RunState.RUNNING)
    wait_for_line(run, "begun")
    Attempt.objects.filter(run=run).update(created_at=timezone.now() - timedelta(seconds=600))
    follow(run, *SETTLED)
    assert (run.state, run.reason, last(run).log) == (RunState.FAILED, "DeadlineExceeded", "begun\n")
