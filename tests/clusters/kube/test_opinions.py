"""A refusal is believed when it is said twice, a while apart: an API server that has just started refuses all."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.clusters import services
from apps.clusters.connect.checks import is_doubtful
from apps.clusters.kube import pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.kube.errors import Forbidden, Invalid, RefusedOnce, Subject, Unauthorized, Unreachable
from apps.clusters.kube.opinions import FORGOTTEN_SECONDS, MAX_REMEMBERED, Opinions
from apps.clusters.models import Cluster, Workload
from apps.clusters.services import checking
from apps.core.access import Principal
from apps.core.models import Transition
from apps.core.work import Again
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import TOKEN, FakeApi, error_event, node
from tests.clusters.watching import FAST, Watching

PODS, JOBS = Subject("", "pods", "n", "p"), Subject("batch", "jobs", "n", "j")
FORBIDDEN, UNAUTHORIZED = Forbidden(403, "Forbidden", "m"), Unauthorized(401, "Unauthorized", "m")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_is_believed_when_it_is_said_again_later(clock: Clock) -> None:
    opinions = Opinions(15.0, clock)
    for seconds in (0.0, 5.0, 9.9):
        clock.now = 1000.0 + seconds
        assert isinstance(opinions.judge("GET", PODS, FORBIDDEN), RefusedOnce)
    clock.now = 1015.0
    assert opinions.judge("GET", replace(PODS, name="another"), FORBIDDEN) is FORBIDDEN
    assert isinstance(opinions.judge("GET", JOBS, FORBIDDEN), RefusedOnce), "that is another question"
    assert isinstance(opinions.judge("DELETE", PODS, FORBIDDEN), RefusedOnce)


@pytest.mark.parametrize(
    ("said", "is_believed"),
    [
        ('deployments.apps "a" is forbidden: exceeded quota: few, requested: count/x=1, used: count/x=1', True),
        ('admission webhook "rules.example.com" denied the request: no latest tags', True),
        (
            "deployments.apps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
            True,
        ),
        # As just after its start.
        ('deployments.apps "a" is forbidden: User "flotilla" cannot patch resource "deployments"', False),
        ('pods "a" is forbidden: not yet ready to handle request', False),
    ],
)
def test_what_admission_says_of_an_object_is_believed_at_once(clock: Clock, said: str, is_believed: bool) -> None:
    error = Forbidden(403, "Forbidden", said)
    assert (Opinions(15.0, clock).judge("PATCH", PODS, error) is error) is is_believed


def test_an_answer_in_between_or_a_long_time_makes_it_another_occasion(clock: Clock) -> None:
    opinions = Opinions(15.0, clock)
    opinions.judge("GET", PODS, FORBIDDEN)
    opinions.accepted("GET", PODS)
    clock.now += 20
    assert isinstance(opinions.judge("GET", PODS, FORBIDDEN), RefusedOnce)
    clock.now += FORGOTTEN_SECONDS + 1
    assert isinstance(opinions.judge("GET", PODS, FORBIDDEN), RefusedOnce)


def test_a_credential_is_one_question_and_a_public_path_no_answer_to_it(clock: Clock) -> None:
    opinions = Opinions(15.0, clock)
    opinions.judge("GET", PODS, UNAUTHORIZED)
    opinions.accepted("GET", Subject())
    clock.now += 15
    assert opinions.judge("DELETE", JOBS, UNAUTHORIZED) is UNAUTHORIZED
    opinions.accepted("GET", JOBS)
    assert isinstance(opinions.judge("GET", PODS, UNAUTHORIZED), RefusedOnce)


def test_what_is_known_to_be_refused_is_believed_at_once_until_it_is_accepted(clock: Clock) -> None:
    opinions = Opinions(15.0, clock)
    opinions.refused = True
    opinions.accepted("GET", Subject())
    assert opinions.judge("GET", PODS, UNAUTHORIZED) is UNAUTHORIZED
    opinions.accepted("GET", PODS)
    assert isinstance(opinions.judge("GET", PODS, UNAUTHORIZED), RefusedOnce)


def test_other_errors_are_none_of_its_business(clock: Clock) -> None:
    error = Invalid(422, "Invalid", "m")
    assert Opinions(15.0, clock).judge("GET", PODS, error) is error


@given(st.lists(st.tuples(st.sampled_from("ra"), st.integers(0, 40)), max_size=30))
def test_whatever_happens_two_refusals_a_while_apart_come_first(steps: list[tuple[str, int]]) -> None:
    clock, opinions = Clock(), Opinions(15.0, Clock())
    opinions._clock = clock
    first: float | None = None
    for what, seconds in steps:
        clock.now += seconds
        if what == "a":
            opinions.accepted("GET", PODS)
            first = None
            continue
        first = clock.now if first is None else first
        believed = opinions.judge("GET", PODS, FORBIDDEN) is FORBIDDEN
        assert believed == (clock.now - first >= 15)


def test_what_is_remembered_is_bounded(clock: Clock) -> None:
    opinions = Opinions(15.0, clock)
    for number in range(2 * MAX_REMEMBERED):
        opinions.judge("GET", Subject("", "pods", f"n{number}"), FORBIDDEN)
    assert len(opinions._refusals) == MAX_REMEMBERED


def test_the_adapter_s_client_waits_for_it_and_one_with_a_budget_does_not(api: FakeApi) -> None:
    api.token = "another"
    connection = Connection(f"https://127.0.0.1:{api.port}", "127.0.0.1", api.ca.decode(), token=TOKEN)
    with pytest.raises(RefusedOnce, match="asked again") as caught:
        KubeClient(connection).list("v1", "Pod")
    assert isinstance(caught.value.refused, Unauthorized)
    assert not isinstance(caught.value, Unauthorized | Forbidden | Unreachable)
    with pytest.raises(Unauthorized):
        KubeClient(connection, budget=5.0).list("v1", "Pod")


@pytest.mark.django_db
def test_what_the_watcher_knows_to_be_refused_is_believed_at_once_by_every_process(
    admin: Principal, api: FakeApi
) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    services.connect(cluster).list("v1", "Pod")
    api.token = "another"
    with pytest.raises(RefusedOnce):
        services.connect(cluster).list("v1", "Pod")
    Cluster.objects.update(conditions=[{"type": "Authorized", "status": "False"}])
    pool._forget_all()  # another process
    with pytest.raises(Unauthorized):
        services.connect(Cluster.objects.get()).list("v1", "Pod")
    Cluster.objects.update(conditions=[])
    with pytest.raises(RefusedOnce):
        services.connect(Cluster.objects.get()).list("v1", "Pod")


@pytest.mark.django_db(transaction=True)
def test_a_server_that_has_just_started_changes_nothing(admin: Principal, api: FakeApi) -> None:
    api.put("nodes", node("n1"))
    labels = {"flotilla.dev/run": "7"}
    api.put("services", {"metadata": {"name": "s", "namespace": "n", "labels": labels}, "spec": {}})
    services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    watching = Watching(replace(FAST, opinion=60.0))
    try:
        eventually(lambda: Cluster.objects.get().state == "Healthy", "the cluster is Healthy")
        eventually(lambda: Workload.objects.exists(), "its service is shown")
        known = Transition.objects.count()
        api.refuse_all = True
        asked = api.count("GET")
        for plural in api.objects:
            api.send_raw(plural, error_event(410, "Expired"))
        eventually(lambda: api.count("GET") > asked + 40, "everything was refused, again and again")
        assert Cluster.objects.get().condition("Authorized") == "True" and Workload.objects.exists()
        api.refuse_all = False
        eventually(lambda: Cluster.objects.get().condition("Synced") == "True", "all is watched again")
        assert "CredentialRefused" not in Transition.objects.values_list("reason", flat=True)[known:]
    finally:
        watching.stop()


@pytest.mark.django_db
@pytest.mark.parametrize("for_good", [True, False])
def test_a_check_of_the_queue_holds_no_thread_while_it_waits_for_the_second_opinion(
    admin: Principal, api: FakeApi, monkeypatch: pytest.MonkeyPatch, for_good: bool
) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    monkeypatch.setattr(checking, "SECOND_OPINION_SECONDS", 5.0)
    monkeypatch.setattr(checking, "time", None)  # it can't sleep
    api.allowed = False
    again = checking.check_now(cluster.pk)
    assert isinstance(again, Again) and 4 < again.after <= 5
    soon = checking.check_now(cluster.pk)
    assert isinstance(soon, Again) and soon.after < again.after, "it does not begin to wait anew"
    assert Cluster.objects.get().checked_at is None, "nothing is said of it yet"
    Cluster.objects.update(doubted_at=timezone.now() - timedelta(seconds=6))
    api.allowed = not for_good
    later = checking.check_now(cluster.pk)
    assert isinstance(later, Again) and later.after > 500
    told = Cluster.objects.get()
    assert (told.check_report["reason"] == "PermissionsMissing") is for_good and told.doubted_at is None


@pytest.mark.django_db
def test_a_refusal_of_long_ago_is_another_occasion(
    admin: Principal, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    monkeypatch.setattr(checking, "SECOND_OPINION_SECONDS", 5.0)
    api.allowed = False
    Cluster.objects.update(doubted_at=timezone.now() - timedelta(minutes=5))
    again = checking.check_now(cluster.pk)
    assert isinstance(again, Again) and again.after > 4


@pytest.mark.django_db
def test_a_check_asks_again_before_it_says_that_permissions_are_missing(
    admin: Principal, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = services.register(principal=admin, name="gke-eu", kubeconfig_text=api.kubeconfig)
    api.allowed = False

    def role_is_known_now(seconds: float) -> None:
        api.allowed = True

    monkeypatch.setattr(checking, "time", SimpleNamespace(sleep=role_is_known_now))
    assert services.check_connection(principal=admin, cluster=cluster).ok
    api.allowed = False
    monkeypatch.setattr(checking, "time", SimpleNamespace(sleep=lambda seconds: None))
    report = services.check_connection(principal=admin, cluster=Cluster.objects.get())
    assert report.reason == "PermissionsMissing"
    assert not is_doubtful(report, Cluster.objects.get().check_report), "what is known is not asked twice"
