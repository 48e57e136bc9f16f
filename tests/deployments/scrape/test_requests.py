"""Requests, errors and latency of a deployment: from the replicas' own metrics to the page and REST."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.clusters.kube import pool
from apps.clusters.models import Cluster, Pod
from apps.clusters.services import register
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.process.redisclient import redis_client
from apps.deployments import services
from apps.deployments.models import Deployment
from apps.deployments.scrape import asking, looks
from apps.deployments.scrape.exposition import parse
from apps.deployments.scrape.figures import Look, Span
from apps.deployments.scrape.requests import balance_of, compact, figures_of
from tests import factories
from tests.clusters.fakeapi import FakeApi
from tests.deployments.test_pages import browser, words

PAGE = "/p/demo/deployments/digits/"
REST = "/api/v1/deployments/digits/requests"


def http(ok: int, failed: int = 0, fast: int | None = None, path: str = "/infer") -> str:
    """Of one handler: requests that went well, that failed, and how many took at most 10 ms (the others up to 100)."""
    count = ok + failed
    of = f'handler="{path}"'
    return "\n".join(
        [
            f'http_requests_total{{{of},status="2xx"}} {ok}',
            f'http_requests_total{{{of},status="5xx"}} {failed}',
            f'http_request_duration_seconds_bucket{{{of},le="0.01"}} {count if fast is None else fast}',
            f'http_request_duration_seconds_bucket{{{of},le="0.1"}} {count}',
            f'http_request_duration_seconds_bucket{{{of},le="+Inf"}} {count}',
            f"http_request_duration_seconds_count{{{of}}} {count}",
        ]
    )


def span(before: str, after: str) -> Span:
    return Span(Look(0, compact(parse(before))), Look(10, compact(parse(after))))


KSERVE = 'request_predict_seconds_bucket{model_name="m",le="+Inf"} %d\nrequest_predict_seconds_count{model_name="m"} %d'
_VLLM = "vllm:e2e_request_latency_seconds"
VLLM = f'{_VLLM}_bucket{{le="2.0"}} %d\n{_VLLM}_bucket{{le="+Inf"}} %d\n{_VLLM}_count %d'


@pytest.mark.parametrize(
    ("before", "after", "per_second", "errors", "p50", "p95"),
    [
        (http(100), http(190, 10, fast=150), 10, 10, 10, 91),
        (http(100), http(100), 0, None, None, None),
        # Probes are no requests.
        (http(5), http(25) + "\n" + http(900, path="/v2/health/ready") + "\n" + http(9, path="/metrics"), 2, 0, 5, 9.5),
        # Two handlers are one server.
        (http(0) + "\n" + http(0, path="/b"), http(10) + "\n" + http(10, path="/b"), 2, 0, 5, 9.5),
        (KSERVE % (0, 0), KSERVE % (40, 40), 4, None, None, None),
        (VLLM % (0, 0, 0), VLLM % (10, 10, 10), 1, None, 1000, 1900),
    ],
)
def test_figures_are_read_off_what_servers_commonly_count(
    before: str, after: str, per_second: float, errors: float | None, p50: float | None, p95: float | None
) -> None:
    figures = figures_of([span(before, after)])
    assert figures is not None
    expected = {"per_second": per_second, "error_percent": errors, "p50_ms": p50, "p95_ms": p95}
    for name, value in expected.items():
        figure = getattr(figures, name)
        assert figure == value if value is None else figure == pytest.approx(value, rel=0.05), name


def test_a_server_that_counts_no_requests_has_no_figures() -> None:
    assert figures_of([span("up 1", "up 1")]) is None and figures_of([]) is None


@pytest.mark.parametrize(
    ("requests", "balanced", "words"),
    [
        ([], True, ""),
        ([100], True, ""),
        ([3, 9], True, ""),
        ([100, 110, 95], True, "evenly shared"),
        ([100, 100, 400], False, "the busiest gets 2.0 times its share"),
        ([100, 0, 100], False, "1 of 3 get nothing"),
        ([20, 8], True, "evenly shared"),
    ],
)
def test_balance_is_what_chance_does_not_explain(requests: list[float], balanced: bool, words: str) -> None:
    assert balance_of(requests) == (balanced, words)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()
    pool._forget_all()


@pytest.fixture
def cluster(root: Principal, api: FakeApi) -> Cluster:
    """In the place of a row alone: one that answers."""
    made = register(principal=root, name="local", kubeconfig_text=api.kubeconfig)
    Cluster.objects.filter(pk=made.pk).update(state="Healthy")
    return made


def replica(digits: Deployment, cluster: Cluster, name: str, revision: int = 1, **fields: Any) -> Pod:
    return factories.pod(
        cluster, digits.project, deployment="digits", name=name, revision=str(revision), ready=True, **fields
    )


def says(api: FakeApi, pod: Pod, text: str) -> None:
    """What the pod answers to /metrics."""
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}:8080/proxy/metrics"
    api.instead[path] = (text.encode(), {})


def forget(digits: Deployment) -> None:
    """As if nobody had looked for minutes."""
    looks._client().delete(looks._key(digits.pk))


def earlier(digits: Deployment) -> None:
    """As if the last look was twenty seconds ago."""
    aged = []
    for seen in looks.earlier(digits.pk):
        moved = {uid: Look(look.at - 20, look.samples) for uid, look in seen.looks.items()}
        aged.append(looks.Round(seen.at - 20, moved, seen.troubles))
    forget(digits)
    for seen in aged:
        looks.keep(digits.pk, seen, asking.MOST_LOOKS)


def test_each_replica_s_figures_are_shown_beside_the_others(
    digits: Deployment, developer: Principal, cluster: Cluster, api: FakeApi
) -> None:
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    page, card = browser(developer.user), f"{PAGE}requests"
    assert "No replica runs" in words(page.get(card))
    one, two, new = (replica(digits, cluster, *of) for of in (("r1-a", 1), ("r1-b", 1), ("r2-a", 2)))
    replica(digits, cluster, "r1-c", 1, phase="Pending")
    for pod in (one, two):
        says(api, pod, http(1000))
    first = page.get(card)
    assert "r1-a" in first.content.decode()  # r2-a serves no metrics, which is said at once
    assert "counting" in words(first) and "first figures come in a few seconds" in words(first)
    asked = len(api.requests)
    page.get(card)
    assert len(api.requests) == asked  # a look is everybody's for some seconds
    earlier(digits)
    says(api, one, http(1390, 10, fast=1300))
    says(api, two, http(1100))
    text = words(page.get(card))
    for said in ("Revision 2", "Revision 1", "the busiest gets 1.6 times its share", "2.5 %", "r1-b"):
        assert said in text, (said, text)
    assert asking.SERVE_METRICS in text and "r1-c" not in text
    asked = len(api.requests)
    opened = page.get(PAGE).content.decode()
    assert "2.5 %" in opened and len(api.requests) == asked, "a page comes with what was known last"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "why_silent", lambda cluster: "Nobody can ask it")
        earlier(digits)
        assert "No figures" in words(page.get(card))
    opened = page.get(PAGE).content.decode()
    assert "2.5 %" in opened, "that nobody could be asked is no figure, and is not so any more"
    # After a pause the first look can't be compared with anything: the last figures stay, with their age.
    for _ in range(5):
        earlier(digits)
    assert "2.5 %" in words(page.get(card)) and len(api.requests) > asked
    body = page.get(REST).json()
    assert [each["revision"] for each in body["revisions"]] == [2, 1]
    assert body["revisions"][1]["balanced"] is False
    rows = {each["name"]: each for each in body["revisions"][1]["replicas"]}
    assert rows["r1-a"]["figures"]["requests"] == 400 and rows["r1-a"]["figures"]["error_percent"] == 2.5
    assert rows["r1-b"]["figures"]["per_second"] == pytest.approx(5, rel=0.1)
    assert body["revisions"][0]["replicas"][0] == {
        "name": new.name, "target": "local-production", "ready": True, "figures": None, "trouble": asking.SERVE_METRICS,
    }  # fmt: skip


def test_queries_do_not_grow_and_only_so_many_replicas_are_asked(
    digits: Deployment, developer: Principal, cluster: Cluster, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = browser(developer.user)
    replica(digits, cluster, "r1-a")
    counts = []
    monkeypatch.setattr(asking, "MOST_REPLICAS", 5)
    for name in ("b", "c", "d", "e", "f", "g"):
        with CaptureQueriesContext(connection) as queries:
            page.get(f"{PAGE}requests")
        counts.append(len(queries))
        replica(digits, cluster, f"r1-{name}")
    assert len(set(counts[1:])) == 1, counts
    forget(digits)
    api.requests.clear()
    assert page.get(REST).json()["left_out"] == 2
    assert api.count("/proxy/metrics") == 5


def test_nothing_hangs_with_a_replica_that_does_not_answer(
    digits: Deployment, developer: Principal, cluster: Cluster, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LOOK_SECONDS", 0.3)
    page = browser(developer.user)
    pod = replica(digits, cluster, "r1-a")
    page.get(REST)  # the client is made
    forget(digits)
    api.hold_answers = True
    assert "No answer in 0.3 s." in words(page.get(f"{PAGE}requests"))
    api.hold_answers = False
    Cluster.objects.update(state="Unreachable")
    forget(digits)
    assert "local can&#x27;t be reached." in words(page.get(f"{PAGE}requests"))
    Cluster.objects.update(state="Healthy")
    for text, said in (
        ("<!doctype html><p>", "No replica counts its requests"),
        ("up 1", "No replica counts its requests"),
        ("x" * (asking.MOST_BYTES + 1), "larger than 2 MiB"),
    ):
        forget(digits)
        says(api, pod, text)
        assert said in words(page.get(f"{PAGE}requests"))


def test_without_redis_there_is_no_earlier_look_and_nothing_fails(
    digits: Deployment, developer: Principal, cluster: Cluster, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(looks, "_client", lambda: redis_client(0.2))
    says(api, replica(digits, cluster, "r1-a"), http(5))
    for _ in range(2):
        assert "first figures come in a few seconds" in words(browser(developer.user).get(f"{PAGE}requests"))


def test_who_may_not_see_the_deployment_sees_no_figures(digits: Deployment, demo: Project, api: FakeApi) -> None:
    stranger = browser(User.objects.create_user("stranger"))
    assert (stranger.get(f"{PAGE}requests").status_code, stranger.get(REST).status_code) == (404, 404)
    assert Client().get(REST).status_code == 401
