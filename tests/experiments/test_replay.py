"""Killed anywhere, repeated anytime: one Job an attempt, one token, one end.

A cluster in memory takes the place of the API server, because a real one can't be told to fail between two lines.
"""

import base64
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.clusters.kube.errors import Forbidden, Invalid, KubeError, NotFound, RefusedOnce, Unauthorized, Unreachable
from apps.clusters.models import Cluster
from apps.clusters.observed.clusterstate import derive
from apps.clusters.observed.observation import Observation
from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.errors import Unavailable
from apps.core.models import ApiToken, Project
from apps.core.secrets.tokens import find_token
from apps.core.work import Away, Retry
from apps.experiments import reconcile, selectors, services
from apps.experiments.models import Attempt, Run
from apps.experiments.pages.whys import how_it_failed
from apps.experiments.reconcile import reconcile_run
from apps.experiments.reconcile.following import follow_cluster
from apps.experiments.states import AttemptState, RunState
from tests import factories
from tests.experiments.memory import Api, Killed
from tests.experiments.rounds import last

pytestmark = pytest.mark.django_db(transaction=True)

PREEMPTED = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "by prod/x"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api()
    monkeypatch.setattr(reconcile, "connect", lambda cluster: made)
    yield made


@pytest.fixture
def run(principal: Principal, project: Project) -> Run:
    factories.cluster("home", nodes=0)
    return launched(principal, project)


def launched(principal: Principal, project: Project, **more: Any) -> Run:
    wish = {"experiment": "digits", "image": "busybox", "command": ["true"], **more}
    return services.launch_runs(principal=principal, project=project, wishes=[wish])[0]


def settle(run: Run, rounds: int = 4) -> Run:
    for _ in range(rounds):
        reconcile_run(run.pk)
    run.refresh_from_db()
    return run


def pass_time(run: Run, seconds: float = 400) -> None:
    """As if so long had passed: what was noted to be due is."""
    span = timedelta(seconds=seconds)
    for row in Run.objects.filter(pk=run.pk, retry_at__isnull=False):
        Run.objects.filter(pk=run.pk).update(retry_at=(row.retry_at or timezone.now()) - span)
    for attempt in Attempt.objects.filter(run=run):
        since = attempt.missing_since - span if attempt.missing_since else None
        Attempt.objects.filter(pk=attempt.pk).update(created_at=attempt.created_at - span, missing_since=since)


def valid_tokens(run: Run) -> int:
    return ApiToken.objects.filter(run_uid=run.uid, revoked_at=None).count()


def secret_of(api: Api, run: Run) -> dict[str, Any]:
    return api.objects["Secret", f"run-{run.pk}"]


def use_token(api: Api, run: Run) -> ApiToken | None:
    return find_token(base64.b64decode(secret_of(api, run)["data"]["token"]).decode())


def check_one_launch(api: Api, run: Run) -> None:
    assert api.made("Job") == [f"run-{run.pk}-1"]
    token = use_token(api, run)
    assert token is not None and token.run_uid == run.uid, "the Secret holds the one valid token"
    assert valid_tokens(run) == 1


def test_repeating_changes_nothing(api: Api, run: Run) -> None:
    settle(run)
    check_one_launch(api, run)
    assert run.state == RunState.QUEUED and last(run).job_uid
    api.end(last(run).job_name, 0)
    settle(run)
    assert run.state == RunState.SUCCEEDED and last(run).log == "last words"
    history = [row.to_state for row in transitions.transitions_of(run)]
    assert history == ["Pending", "Queued", "Succeeded"]
    assert valid_tokens(run) == 0 and ("Secret", f"run-{run.pk}") not in api.objects
    calls = len(api.calls)
    settle(run)
    assert len(api.calls) == calls, "a run that has ended asks its cluster nothing"


def test_a_launch_costs_two_calls_and_a_run_seven_more(api: Api, run: Run) -> None:
    api.namespaces.add(run.namespace)
    with CaptureQueriesContext(connection) as queries:
        reconcile_run(run.pk)
    assert api.calls == ["create Secret", "create Job"]
    assert len(queries) <= 20, [query["sql"] for query in queries]
    api.end(last(run).job_name, 0)
    reconcile_run(run.pk)
    assert api.calls[2:] == ["get Job", "list Pod", "log", "delete Secret"]


def test_the_namespace_is_made_where_it_is_missing(api: Api, run: Run) -> None:
    reconcile_run(run.pk)
    assert api.calls == ["create Secret", "apply Namespace", "create Secret", "create Job"]
    check_one_launch(api, run)


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("step", range(5))
def test_killed_at_any_step_of_the_launch(api: Api, run: Run, step: int, after: bool) -> None:
    api.fail_at, api.after = step, after
    with contextlib.suppress(Killed):
        reconcile_run(run.pk)
    api.fail_at = None
    settle(run)
    check_one_launch(api, run)
    assert run.state == RunState.QUEUED


@pytest.mark.parametrize("step", range(5))
def test_killed_at_any_step_of_the_end(api: Api, run: Run, step: int) -> None:
    settle(run)
    api.end(last(run).job_name, 1)
    api.fail_at = step
    with contextlib.suppress(Killed):
        reconcile_run(run.pk)
    api.fail_at = None
    settle(run)
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, "Error", 1)
    assert [row.to_state for row in transitions.transitions_of(run)].count("Failed") == 1
    assert len(api.made("Job")) == 1 and valid_tokens(run) == 0


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("step", range(9))
def test_killed_at_any_step_from_one_attempt_to_the_next(
    api: Api, principal: Principal, project: Project, step: int, after: bool
) -> None:
    factories.cluster("home", nodes=0)
    run = settle(launched(principal, project, retries=1))
    use_token(api, run)
    token = secret_of(api, run)["data"]["token"]
    api.end(last(run).job_name, 137, conditions=[PREEMPTED])
    api.fail_at, api.after = step, after
    for _ in range(3):
        with contextlib.suppress(Killed):
            reconcile_run(run.pk)
        pass_time(run)
    api.fail_at = None
    settle(run)
    assert run.state == RunState.QUEUED
    assert api.made("Job") == [f"run-{run.pk}-1", f"run-{run.pk}-2"], "exactly one Job an attempt"
    assert [each.number for each in run.attempts.order_by("number")] == [1, 2]
    assert secret_of(api, run)["data"]["token"] == token and valid_tokens(run) == 1
    api.end(last(run).job_name, 0)
    assert settle(run).state == RunState.SUCCEEDED
    assert valid_tokens(run) == 0 and ("Secret", f"run-{run.pk}") not in api.objects


def test_a_preempted_attempt_is_followed_by_another_and_a_failed_one_only_as_often_as_asked(
    api: Api, principal: Principal, project: Project
) -> None:
    factories.cluster("home", nodes=0)
    run = settle(launched(principal, project, retries=1))
    api.end(last(run).job_name, 137, conditions=[PREEMPTED])
    settle(run)
    assert (run.state, run.reason, run.ended_at) == (RunState.PENDING, "PreemptionByScheduler", None)
    assert run.retry_at is not None and 9 < (run.retry_at - timezone.now()).total_seconds() < 13
    assert len(api.made("Job")) == 1, "not before its pause is over"
    for code in (1, 2):
        pass_time(run)
        assert settle(run).state == RunState.QUEUED and run.retry_at is None
        api.end(last(run).job_name, code)
        settle(run)
    assert (run.state, run.exit_code) == (RunState.FAILED, 2)
    attempts = [(each.number, each.state, each.cause, each.exit_code) for each in run.attempts.order_by("number")]
    assert attempts == [(1, "Failed", "interrupted", 137), (2, "Failed", "error", 1), (3, "Failed", "error", 2)]
    history = [row.to_state for row in transitions.transitions_of(run)]
    assert history == ["Pending", "Queued", "Pending", "Queued", "Pending", "Queued", "Failed"]


def test_a_preemption_is_known_also_when_its_pod_is_gone_before_the_job_says_so(api: Api, run: Run) -> None:
    settle(run)
    name = last(run).job_name
    api.pods = [api.pod(name, phase="Running", conditions=[PREEMPTED])]
    settle(run, 1)
    api.end(name, 1)
    api.pods = []
    settle(run)
    assert (run.state, run.reason, last(run).cause) == (RunState.PENDING, "PreemptionByScheduler", "interrupted")


def test_a_preemption_that_only_the_watcher_saw_is_known_by_its_row(api: Api, run: Run) -> None:
    settle(run)
    name = last(run).job_name
    api.end(name, 1)
    api.pods = []
    assert run.cluster is not None
    pod = factories.pod(
        run.cluster, run.experiment.project, run=str(run.pk), owner_name=name, phase="Running", exit_code=None,
        status={"conditions": [PREEMPTED]}, deleted_at=timezone.now(), namespace=run.namespace,
    )  # fmt: skip
    settle(run)
    assert (run.state, run.reason, last(run).pods[0]["name"]) == (RunState.PENDING, "PreemptionByScheduler", pod.name)


def test_a_job_that_was_deleted_after_its_pod_had_ended_has_succeeded(api: Api, run: Run) -> None:
    settle(run)
    name, at = last(run).job_name, timezone.now()
    del api.objects["Job", name]
    assert run.cluster is not None
    factories.pod(
        run.cluster, run.experiment.project, run=str(run.pk), owner_name=name, phase="Succeeded", exit_code=0,
        reason="Completed", ended_at=at, deleted_at=at, namespace=run.namespace,
        status={"deleting_since": (at + timedelta(seconds=2)).isoformat()},
    )  # fmt: skip
    settle(run)
    pass_time(run)
    settle(run)
    assert (run.state, run.exit_code, run.ended_at) == (RunState.SUCCEEDED, 0, at)


def test_canceling_between_two_attempts_works_at_once(api: Api, run: Run, principal: Principal) -> None:
    settle(run)
    api.end(last(run).job_name, 137, conditions=[PREEMPTED])
    settle(run)
    services.cancel_run(principal=principal, run=run)
    assert settle(run, 1).state == RunState.CANCELED and valid_tokens(run) == 0
    pass_time(run)
    settle(run)
    assert len(api.made("Job")) == 1 and run.state == RunState.CANCELED


def test_a_lost_log_is_never_a_failed_run(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(run)
    api.end(last(run).job_name, 0)

    def gone(*_: Any, **__: Any) -> str:
        raise NotFound(404, "NotFound", "the pod is gone")

    monkeypatch.setattr(api, "pod_log", gone)
    settle(run)
    assert (run.state, last(run).log) == (RunState.SUCCEEDED, "")


def test_a_canceled_run_keeps_its_last_lines_and_those_of_its_end(api: Api, run: Run, principal: Principal) -> None:
    settle(run)
    api.pods = [api.pod(last(run).job_name, phase="Running")]
    settle(run)
    services.cancel_run(principal=principal, run=run)
    api.lingering = True
    settle(run, 1)
    assert run.state == RunState.CANCELING and last(run).log == "last words", "read before the Job goes"
    api.log = "last words\nSIGTERM: saving"
    settle(run, 1)
    api.finish_deleting()
    assert settle(run, 1).state == RunState.CANCELED
    assert last(run).log == "last words\nSIGTERM: saving"


@pytest.mark.parametrize("step", range(6))
def test_killed_at_any_step_of_a_cancel(api: Api, run: Run, principal: Principal, step: int) -> None:
    settle(run)
    api.pods = [api.pod(last(run).job_name, phase="Running")]
    settle(run)
    services.cancel_run(principal=principal, run=run)
    api.fail_at, api.after = step, True
    with contextlib.suppress(Killed):
        reconcile_run(run.pk)
    api.fail_at = None
    settle(run, 2)
    pass_time(run)
    settle(run)
    assert run.state == RunState.CANCELED and last(run).log == "last words"
    assert ("Job", last(run).job_name) not in api.objects and valid_tokens(run) == 0


def test_a_run_past_its_deadline_keeps_its_last_lines(api: Api, principal: Principal, project: Project) -> None:
    factories.cluster("home", nodes=0)
    run = settle(launched(principal, project, deadline_seconds=60, retries=5))
    name = last(run).job_name
    assert api.objects["Job", name]["spec"]["activeDeadlineSeconds"] == 120, "the net under our own"
    api.pods = [api.pod(name, phase="Running")]
    assert settle(run).state == RunState.RUNNING
    pass_time(run, 61)
    settle(run)
    assert (run.state, run.reason, last(run).log) == (RunState.FAILED, "DeadlineExceeded", "last words")
    assert ("Job", name) not in api.objects and last(run).cause == "deadline"


def test_an_attempt_that_can_not_start_is_stopped_and_says_why(api: Api, run: Run) -> None:
    settle(run)
    name = last(run).job_name
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "name": "run"}
    api.pods = [api.pod(name, phase="Pending", containerStatuses=[waiting], created="2026-01-01T00:00:00Z")]
    settle(run)
    assert (run.state, run.reason, last(run).cause) == (RunState.FAILED, "ErrImagePull", "start")
    assert run.message == "Can't start: the image of container run can't be pulled: no such image."
    assert ("Job", name) not in api.objects


NO_MEMORY = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox: OCI runtime create "
    "failed: runc create failed: container init was OOM-killed (memory limit too low?): unknown"
)


def test_an_attempt_whose_sandbox_can_not_be_made_is_stopped_and_says_why(api: Api, run: Run) -> None:
    """No container says so: only the events of its pod do."""
    settle(run)
    name = last(run).job_name
    waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}, "name": "run"}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timezone.now().isoformat()}
    status = {"containerStatuses": [waiting], "conditions": [placed]}
    pod = api.pod(name, phase="Pending", created="2026-01-01T00:00:00Z", **status)
    api.pods = [pod]
    settle(run)
    assert (run.state, run.reason) == (RunState.STARTING, "ContainerCreating")
    metadata = pod["metadata"]
    told = {"namespace": run.namespace, "involved_name": metadata["name"], "involved_uid": metadata["uid"]}
    assert run.cluster is not None
    factories.event(run.cluster, "FailedCreatePodSandBox", NO_MEMORY, **told)
    settle(run)
    assert (run.state, run.reason) == (RunState.STARTING, "FailedCreatePodSandBox"), "it may yet come to something"
    assert run.message == "Can't start: its memory limit is too low to start with."
    placed["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    later = factories.event(run.cluster, "Pulling", "Pulling image", type="Normal", **told)
    settle(run)
    assert (run.state, run.reason) == (RunState.STARTING, "ContainerCreating"), "the sandbox is there by now"
    later.delete()
    settle(run)
    assert (run.state, run.reason, last(run).cause) == (RunState.FAILED, "FailedCreatePodSandBox", "start")
    assert ("Job", name) not in api.objects
    why = how_it_failed(run, last(run))
    assert why is not None and (why.sentence, why.next_step) == (run.message, "Raise its memory limit.")


def test_a_cluster_that_does_not_answer_delays_and_changes_nothing_else(api: Api, run: Run) -> None:
    settle(run)
    api.error = Unreachable(0, "Timeout", "no answer")
    api.fail_at = 0
    assert isinstance(reconcile_run(run.pk), Away)
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.QUEUED, "ClusterUnreachable")
    assert run.message == "home: no answer"
    api.end(last(run).job_name, 0)
    assert settle(run).state == RunState.SUCCEEDED


def test_a_cluster_that_refuses_the_credential_is_said_in_the_words_of_its_page(
    api: Api, run: Run, principal: Principal, project: Project
) -> None:
    settle(run)
    api.error, api.fail_at = Unauthorized(401, "Unauthorized", "expired"), 0
    assert isinstance(reconcile_run(run.pk), Away)
    told = Run.objects.get(pk=run.pk)
    message = "The API server refuses Flotilla's credential. It says: expired. Give the cluster a new credential."
    assert (told.state, told.reason, told.message) == (RunState.QUEUED, "CredentialRefused", f"home: {message}")
    assert run.cluster is not None
    _, reason, words = derive(Observation(ever_seen=True, authorized=False, error_message="expired"))
    run.cluster.state, run.cluster.reason, run.cluster.message = "Degraded", reason, words
    run.cluster.conditions = [{"type": "Authorized", "status": "False"}]
    run.cluster.save()
    Run.objects.filter(pk=run.pk).update(reason="", message="")
    follow_cluster(run.cluster)
    followed = Run.objects.get(pk=run.pk)
    assert (followed.reason, followed.message) == (told.reason, told.message)
    later = launched(principal, project, cluster="home")
    assert (later.state, later.reason, later.message) == (RunState.PENDING, told.reason, told.message), "no round says"
    Run.objects.filter(pk=later.pk).update(reason="", message="")
    api.error = None
    run.cluster.state, run.cluster.reason, run.cluster.message, run.cluster.conditions = "Healthy", "", "", []
    run.cluster.save()
    assert settle(later).reason != told.reason, "its first round knows better"


def test_a_spec_that_this_version_does_not_understand_is_no_fault_of_the_cluster(api: Api, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(spec={**run.spec, "retries": "until it works"})
    assert isinstance(reconcile_run(run.pk), Retry), "its cluster's other work goes on"
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.PENDING, "Invalid") and "retries" in run.message


def test_a_cluster_to_which_there_is_no_connection_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def disabled(cluster: Cluster) -> None:
        raise Unavailable("Cluster home is disabled.")

    monkeypatch.setattr(reconcile, "connect", disabled)
    assert isinstance(reconcile_run(run.pk), Away)
    run.refresh_from_db()
    assert run.reason == "ClusterUnreachable" and "disabled" in run.message
    Cluster.objects.update(state="Disabled")
    assert isinstance(reconcile_run(run.pk), Away)
    run.refresh_from_db()
    assert run.reason == "ClusterDisabled", "nobody tried to reach it"


@pytest.mark.parametrize("error", [Forbidden(403, "Forbidden", "no"), KubeError(503, "HTTP503", "<html>")])
@pytest.mark.parametrize("step", [0, 1])
def test_no_failure_to_ask_is_an_absence(api: Api, run: Run, error: KubeError, step: int) -> None:
    settle(run)
    job = api.objects.pop(("Job", last(run).job_name))
    api.error = error
    for _ in range(3):
        api.fail_at = step
        reconcile_run(run.pk)
        pass_time(run)
    assert last(run).missing_since is None and Run.objects.get(pk=run.pk).state == RunState.QUEUED
    api.objects["Job", last(run).job_name] = job
    api.fail_at = None
    assert settle(run).state == RunState.QUEUED


def test_a_job_that_only_a_read_does_not_find_is_there(api: Api, run: Run) -> None:
    settle(run)
    api.blind = True
    for _ in range(3):
        settle(run, 1)
        pass_time(run)
    assert run.state == RunState.QUEUED and last(run).missing_since is None


def test_a_lost_run_whose_job_lives_is_taken_up_again_and_nothing_of_it_is_deleted(api: Api, run: Run) -> None:
    settle(run)
    name = last(run).job_name
    api.pods = [api.pod(name, phase="Running")]
    assert settle(run).state == RunState.RUNNING
    job = api.objects.pop(("Job", name))
    pods, api.pods = api.pods, []
    assert settle(run).state == RunState.RUNNING, "said once only"
    pass_time(run, 16)
    assert settle(run).state == RunState.LOST and valid_tokens(run) == 0
    then = timezone.now() - timedelta(days=2)
    for rows in (Run.objects.filter(pk=run.pk), Attempt.objects.filter(run=run)):
        rows.update(ended_at=then)
    ApiToken.objects.filter(run_uid=run.uid).update(revoked_at=then)
    settle(run)
    assert run.state == RunState.LOST
    # The proxy that said so is mended: the Job has been there all the time.
    api.objects["Job", name], api.pods = job, pods
    settle(run)
    assert (run.state, run.ended_at, run.reason) == (RunState.RUNNING, None, "")
    assert use_token(api, run) is not None, "its program's token is valid again"
    assert not [call for call in api.calls if call.startswith("delete")]
    api.end(name, 0)
    assert settle(run).state == RunState.SUCCEEDED
    assert len(api.made("Job")) == 1 and valid_tokens(run) == 0


def test_a_job_killed_before_it_was_noted_is_not_made_again_once_it_has_run(api: Api, run: Run) -> None:
    api.after, api.fail_at = True, 2
    with pytest.raises(Killed):
        reconcile_run(run.pk)
    name = f"run-{run.pk}-1"
    assert ("Job", name) in api.objects and last(run).job_uid == ""
    use_token(api, run)  # its program logs…
    del api.objects["Job", name]  # …and somebody deletes the Job before anybody looks again
    settle(run)
    pass_time(run, 16)
    settle(run)
    assert (run.state, run.reason) == (RunState.LOST, "JobVanished")
    assert len(api.made("Job")) == 1


def test_a_job_of_that_name_which_another_flotilla_made_is_left_alone(api: Api, run: Run, principal: Principal) -> None:
    marks = {"labels": {"flotilla.dev/run": str(run.pk)}, "annotations": {"flotilla.dev/run-uid": "f" * 32}}
    theirs = {"kind": "Job", "metadata": {"name": f"run-{run.pk}-1", "uid": "theirs", **marks}}
    api.objects["Job", f"run-{run.pk}-1"] = theirs
    settle(run)
    assert (run.state, run.reason, last(run).cause) == (RunState.FAILED, "NameTaken", "refused")
    # Nor does a person's cancel of ours touch it.
    Run.objects.filter(pk=run.pk).update(state=RunState.CANCELED)
    settle(run)
    assert api.objects["Job", f"run-{run.pk}-1"] is theirs


def test_what_the_api_server_refuses_fails_with_its_words(api: Api, run: Run) -> None:
    api.error = Invalid(422, "Invalid", "spec.template: image is forbidden by policy")
    api.fail_at = 3
    reconcile_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason, last(run).cause) == (RunState.FAILED, "Invalid", "refused")
    assert "forbidden by policy" in run.message and valid_tokens(run) == 0
    assert ("Secret", f"run-{run.pk}") not in api.objects


def test_a_missing_permission_is_said_and_waited_for(api: Api, run: Run) -> None:
    api.error = Forbidden(403, "Forbidden", "may not create jobs")
    api.fail_at = 3
    reconcile_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason, run.message) == (RunState.PENDING, "Forbidden", "may not create jobs")
    assert settle(run).state == RunState.QUEUED


def test_a_refusal_that_is_said_once_says_nothing(api: Api, run: Run) -> None:
    api.error = RefusedOnce(Forbidden(403, "Forbidden", "may not create jobs"))
    api.fail_at = 3
    assert reconcile_run(run.pk) == Retry("RefusedOnce")
    run.refresh_from_db()
    assert (run.state, run.reason, run.message) == (RunState.PENDING, "", "")


def test_cancelled_before_it_was_launched(api: Api, run: Run, principal: Principal) -> None:
    services.cancel_run(principal=principal, run=run)
    assert settle(run).state == RunState.CANCELED
    assert api.calls == []


def test_a_job_made_late_for_a_cancelled_run_is_removed(api: Api, run: Run, principal: Principal) -> None:
    settle(run)
    name = last(run).job_name
    job = api.objects["Job", name]
    services.cancel_run(principal=principal, run=run)
    assert settle(run).state == RunState.CANCELED
    api.objects["Job", name] = job
    settle(run)
    assert ("Job", name) not in api.objects and run.state == RunState.CANCELED


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.SUCCEEDED, RunState.LOST])
def test_only_what_a_person_canceled_is_ever_deleted_afterwards(api: Api, run: Run, state: str) -> None:
    settle(run)
    Run.objects.filter(pk=run.pk).update(state=state, ended_at=timezone.now())
    Attempt.objects.filter(run=run).update(state=state, ended_at=timezone.now())
    settle(run)
    assert ("Job", last(run).job_name) in api.objects
    assert not [call for call in api.calls if call.startswith("delete")]


def test_the_resync_finds_what_has_not_ended_and_what_was_lost_and_is_seen(api: Api, run: Run) -> None:
    assert selectors.unsettled_launched() == [(run.pk, run.cluster_id)]
    settle(run)
    api.end(last(run).job_name, 0)
    settle(run)
    assert selectors.unsettled_launched() == []
    Run.objects.filter(pk=run.pk).update(state=RunState.LOST)
    assert selectors.unsettled_launched() == []
    assert run.cluster is not None
    factories.pod(run.cluster, run.experiment.project, run=str(run.pk))
    assert selectors.unsettled_launched() == [(run.pk, run.cluster_id)]


def test_a_run_whose_cluster_is_removed_is_lost_with_its_attempt(api: Api, run: Run) -> None:
    settle(run)
    Run.objects.filter(pk=run.pk).update(cluster=None)
    settle(run)
    assert (run.state, run.reason) == (RunState.LOST, "ClusterRemoved") and valid_tokens(run) == 0
    assert last(run).state == AttemptState.LOST
