"""Killed anywhere, repeated anytime: one Job, one token, one end.

A cluster in memory takes the place of the API server, because a real one can't be told to fail between two lines.
"""

import base64
import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from apps.clusters.kube.errors import Forbidden, Invalid, NotFound, RefusedOnce, Unreachable
from apps.core import transitions
from apps.core.access import Principal
from apps.core.models import ApiToken, Project
from apps.core.tokens import find_token
from apps.core.work import Away, Retry
from apps.experiments import reconcile, selectors, services
from apps.experiments.models import Run
from apps.experiments.reconcile import reconcile_run
from apps.experiments.states import RunState
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """What a SIGKILL is to the code: nothing after it runs, nothing catches it."""


class Api:
    """Objects by kind and name; `fail_at` counts calls down to an error."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.created: list[str] = []
        self.log = "last words"
        self.fail_at: int | None = None
        self.error: BaseException = Killed()
        self.after = False

    def _step(self) -> None:
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                raise self.error

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        self._step()
        if (kind, name) not in self.objects:
            raise NotFound(404, "NotFound", name)
        return self.objects[kind, name]

    def list(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self._step()
        return self.pods

    def apply(self, obj: dict[str, Any]) -> dict[str, Any]:
        if not self.after:
            self._step()
        key = (obj["kind"], obj["metadata"]["name"])
        if key not in self.objects:
            self.created.append(obj["kind"])
            obj = {**obj, "metadata": {**obj["metadata"], "uid": uuid.uuid4().hex}}
            if "stringData" in obj:
                obj["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in obj["stringData"].items()}
            self.objects[key] = obj
        if self.after:
            self._step()
        return self.objects[key]

    def delete(self, api_version: str, kind: str, name: str, namespace: str, **_: Any) -> bool:
        self._step()
        return self.objects.pop((kind, name), None) is not None

    def pod_log(self, *_: Any, **__: Any) -> str:
        self._step()
        return self.log

    def end(self, run: Run, code: int) -> None:
        """Let the Job's pod end with an exit code."""
        job = self.objects["Job", run.job_name]
        kind = "Complete" if code == 0 else "Failed"
        job["status"] = {"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded"}]}
        ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
        self.pods = [
            {
                "metadata": {"name": "run-x", "ownerReferences": [{"uid": job["metadata"]["uid"]}]},
                "spec": {"nodeName": "n1"},
                "status": {
                    "phase": "Failed" if code else "Succeeded",
                    "containerStatuses": [{"name": "run", "state": {"terminated": ended}}],
                },
            }
        ]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    made = Api()
    monkeypatch.setattr(reconcile, "connect", lambda cluster: made)
    yield made


@pytest.fixture
def run(principal: Principal, project: Project) -> Run:
    factories.cluster("home", nodes=0)
    wish = {"experiment": "digits", "image": "busybox", "command": ["true"]}
    return services.launch_wish(principal=principal, project=project, wish=wish)


def settle(run: Run, rounds: int = 4) -> Run:
    for _ in range(rounds):
        reconcile_run(run.pk)
    run.refresh_from_db()
    return run


def valid_tokens(run: Run) -> int:
    return ApiToken.objects.filter(run_uid=run.uid, revoked_at=None).count()


def check_one_launch(api: Api, run: Run) -> None:
    assert api.created.count("Job") == 1
    secret = api.objects["Secret", run.job_name]
    token = find_token(base64.b64decode(secret["data"]["token"]).decode())
    assert token is not None and token.run_uid == run.uid, "the Secret holds the one valid token"
    assert valid_tokens(run) == 1


def test_repeating_changes_nothing(api: Api, run: Run) -> None:
    settle(run)
    check_one_launch(api, run)
    assert run.state == RunState.QUEUED and run.job_uid
    api.end(run, 0)
    settle(run)
    assert run.state == RunState.SUCCEEDED and run.log_tail == "last words"
    history = [row.to_state for row in transitions.transitions_of(run)]
    assert history == ["Pending", "Queued", "Succeeded"]
    assert valid_tokens(run) == 0 and ("Secret", run.job_name) not in api.objects


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("step", range(7))
def test_killed_at_any_step_of_the_launch(api: Api, run: Run, step: int, after: bool) -> None:
    api.fail_at, api.after = step, after
    with contextlib.suppress(Killed):
        reconcile_run(run.pk)
    api.fail_at = None
    settle(run)
    check_one_launch(api, run)
    assert run.state == RunState.QUEUED


@pytest.mark.parametrize("step", range(6))
def test_killed_at_any_step_of_the_end(api: Api, run: Run, step: int) -> None:
    settle(run)
    api.end(run, 1)
    api.fail_at = step
    with contextlib.suppress(Killed):
        reconcile_run(run.pk)
    api.fail_at = None
    settle(run)
    assert (run.state, run.reason, run.exit_code) == (RunState.FAILED, "Error", 1)
    assert [row.to_state for row in transitions.transitions_of(run)].count("Failed") == 1
    assert api.created.count("Job") == 1 and valid_tokens(run) == 0


def test_a_lost_log_is_never_a_failed_run(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(run)
    api.end(run, 0)

    def gone(*_: Any, **__: Any) -> str:
        raise NotFound(404, "NotFound", "the pod is gone")

    monkeypatch.setattr(api, "pod_log", gone)
    settle(run)
    assert (run.state, run.log_tail) == (RunState.SUCCEEDED, "")


def test_a_cluster_that_does_not_answer_delays_and_changes_nothing_else(api: Api, run: Run) -> None:
    settle(run)
    api.error = Unreachable(0, "Timeout", "no answer")
    api.fail_at = 0
    assert isinstance(reconcile_run(run.pk), Away)
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.QUEUED, "ClusterUnreachable")
    api.end(run, 0)
    assert settle(run).state == RunState.SUCCEEDED


def test_a_job_killed_before_it_was_noted_is_not_made_again_once_it_has_run(api: Api, run: Run) -> None:
    api.after, api.fail_at = True, 4
    with pytest.raises(Killed):
        reconcile_run(run.pk)
    assert ("Job", run.job_name) in api.objects
    run.refresh_from_db()
    assert run.job_uid == ""
    secret = api.objects["Secret", run.job_name]
    find_token(base64.b64decode(secret["data"]["token"]).decode())  # its program logs…
    del api.objects["Job", run.job_name]  # …and somebody deletes the Job before anybody looks again
    settle(run)
    assert (run.state, run.reason) == (RunState.LOST, "JobVanished")
    assert api.created.count("Job") == 1


def test_what_the_api_server_refuses_fails_with_its_words(api: Api, run: Run) -> None:
    api.error = Invalid(422, "Invalid", "spec.template: image is forbidden by policy")
    api.fail_at = 4
    reconcile_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.FAILED, "Invalid")
    assert "forbidden by policy" in run.message and valid_tokens(run) == 0


def test_a_missing_permission_is_said_and_waited_for(api: Api, run: Run) -> None:
    api.error = Forbidden(403, "Forbidden", "may not create jobs")
    api.fail_at = 4
    reconcile_run(run.pk)
    run.refresh_from_db()
    assert (run.state, run.reason, run.message) == (RunState.PENDING, "Forbidden", "may not create jobs")
    assert settle(run).state == RunState.QUEUED


def test_a_refusal_that_is_said_once_says_nothing(api: Api, run: Run) -> None:
    api.error = RefusedOnce(Forbidden(403, "Forbidden", "may not create jobs"))
    api.fail_at = 4
    assert reconcile_run(run.pk) == Retry("RefusedOnce")
    run.refresh_from_db()
    assert (run.state, run.reason, run.message) == (RunState.PENDING, "", "")


def test_cancelled_before_it_was_launched(api: Api, run: Run, principal: Principal) -> None:
    services.cancel_run(principal=principal, run=run)
    assert settle(run).state == RunState.CANCELED
    assert api.created == []


def test_a_job_made_late_for_a_cancelled_run_is_removed(api: Api, run: Run, principal: Principal) -> None:
    settle(run)
    job = api.objects["Job", run.job_name]
    services.cancel_run(principal=principal, run=run)
    assert settle(run).state == RunState.CANCELED
    api.objects["Job", run.job_name] = job
    settle(run)
    assert ("Job", run.job_name) not in api.objects and run.state == RunState.CANCELED


def test_the_resync_finds_what_has_not_ended(api: Api, run: Run) -> None:
    assert selectors.unsettled_launched() == [(run.pk, run.cluster_id)]
    settle(run)
    api.end(run, 0)
    settle(run)
    assert selectors.unsettled_launched() == []
