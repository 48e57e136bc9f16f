"""Analyses that ask Prometheus: a real one; and who may not be asked, or does not answer as one does."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.core.access import Principal
from apps.core.errors import Conflict, FlotillaError, Invalid, NotAllowed
from apps.core.models import AuditEntry, Project
from apps.core.secrets import rotation
from apps.core.work import DONE
from apps.core.work.models import Gate, Work
from apps.deployments import selectors, services
from apps.deployments.models import AnalysisRun, Deployment, MetricsSource, Rollout
from apps.deployments.reconcile import measuring, querying
from apps.deployments.rollout.asked import parse_analysis
from apps.deployments.rollout.figures import by_prometheus
from apps.deployments.rollout.promql import PLACEHOLDERS, Names, Series, Silent, filled_in, series_in
from apps.deployments.rollout.verdicts import Outcome
from controlplane.embedded.waiting import wait_for
from tests.deployments.places import place_of
from tests.deployments.prometheus import Answer, real_prometheus, serving
from tests.deployments.test_measuring import canary

OK, BAD, SILENT = Outcome.SUCCESSFUL, Outcome.FAILED, Outcome.INCONCLUSIVE
NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
NAMES = Names("demo", "production", "eu", "gke-eu", "flotilla-demo", "digits", 2, 1)
EXPOSITION = """
# TYPE failed_ratio gauge
failed_ratio{namespace="flotilla-demo",pod="digits-r1-6c5f-abcde"} 0.01
failed_ratio{namespace="flotilla-demo",pod="digits-r2-7d9c-fghij"} 0.2
failed_ratio{namespace="flotilla-demo",pod="digits-r2-x-r1-7d9c-fghij"} 0.9
failed_ratio{namespace="flotilla-other",pod="digits-r2-7d9c-klmno"} 0.7
"""


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ('x{namespace="{{namespace}}"}', 'x{namespace="flotilla-demo"}'),
        ('x{pod=~"{{ pods }}"}', 'x{pod=~"digits-r2-[a-z0-9]+-[a-z0-9]+"}'),
        ('{pod=~"{{earlier_pods}}", r="{{earlier_revision}}"}', '{pod=~"digits-r1-[a-z0-9]+-[a-z0-9]+", r="1"}'),
        ("{{revision}}{{target}}{{cluster}}{{environment}}", "2eugke-euproduction"),
        ("sum(rate(x[1m])) > 0", "sum(rate(x[1m])) > 0"),
    ],
)
def test_placeholders_stand_for_names(query: str, says: str) -> None:
    assert filled_in(query, NAMES) == says


def test_a_placeholder_can_neither_end_a_string_nor_name_nobody() -> None:
    evil = Names("a", "b", 'x"} or vector(0) or y{z="', "c", "d", "e", 2)
    assert filled_in('x{target="{{target}}"}', evil).count('"') == 2
    with pytest.raises(Silent, match="No revision served before"):
        filled_in("{{earlier_pods}}", evil)
    assert set(PLACEHOLDERS) > {"namespace", "pods", "revision"}


def answer(result: Any, kind: str = "vector", **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, answer([]), "The query gives nothing"),
        (200, answer([[0, "1"]], "matrix"), "gives a matrix: an instant vector or a scalar"),
        (200, answer([{"metric": {}, "value": [0, "1"]}] * 101), "more than 100 series"),
        (200, b"<html>", "prod answers 200, and not as Prometheus' HTTP API does"),
        (200, b"[" * 100_000, "not as Prometheus"),
        (200, b'{"status":"success","data":[]}', "not as Prometheus"),
        (404, b"404 page not found", "prod answers 404"),
        (302, b"", "prod answers 302"),
        (401, b"", "prod refuses the token (401)"),
        (400, b'{"status":"error","errorType":"bad_data","error":"parse error"}',
         "prod refuses the query, bad_data: parse error"),
        (503, json.dumps({"status": "error", "error": "x" * 999}).encode(), "…"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_said_in_a_sentence(status: int, body: bytes, says: str) -> None:
    with pytest.raises(Silent) as caught:
        series_in(status, body, "prod")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("seen", "outcome", "says"),
    [
        ([("", Series("", 0.01))], OK, "errors is 0.01, at most 0.05, as wanted."),
        ([("", Series("", 0.1))], BAD, "errors is 0.1: at most 0.05 is allowed."),
        ([("", Series("", float("nan")))], SILENT, "errors is no number."),
        ([("", Series("", float("inf")))], SILENT, "errors is no number."),
        ([("eu", Series("", 0.01)), ("us", Series("", 0.1))], BAD, "errors (us) is 0.1"),
        ([("eu", Series("code=500", 0.1)), ("us", Series("", float("nan")))], BAD, "errors (eu, code=500) is 0.1"),
        ([("eu", Series("", 0.01)), ("us", Series("", float("nan")))], SILENT, "errors (us) is no number."),
        ([], SILENT, "Nothing could be asked."),
    ],
)
def test_each_series_has_to_hold_and_the_worst_is_told(
    seen: list[tuple[str, Series]], outcome: Outcome, says: str
) -> None:
    measurement = by_prometheus({"name": "errors", "max": 0.05}, seen, NOW)
    assert (measurement.outcome, says in measurement.message) == (outcome, True), measurement.message
    json.dumps(measurement.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"query": "up", "max": 1}, "a.source"),
        ({"source": "prod", "max": 1}, "a.query"),
        ({"source": "prod", "query": "up"}, "a"),
        ({"source": "prod", "query": "{{pod}}", "max": 1}, "a.query"),
        ({"source": "prod", "query": "{{ {{pods}} }}", "max": 1}, "a.query"),
        ({"source": "prod", "query": "x" * 4001, "max": 1}, "a.query"),
        ({"source": "prod", "query": "up", "max": 1, "better": "less"}, "a.better"),
        ({"source": "prod", "query": "up", "max": 1, "token": "hush"}, "a.token"),
    ],
)
def test_what_is_wrong_with_a_query_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_analysis({"provider": "prometheus", **said}, "a")
    assert caught.value.field == field


@pytest.fixture(scope="module")
def prometheus() -> Iterator[str]:
    with real_prometheus(EXPOSITION) as address:
        yield address


SLOW = 0.5
ERRORS = 'max(failed_ratio{namespace="{{namespace}}", pod=~"{{pods}}"})'
ASKED: dict[str, Any] = {"provider": "prometheus", "source": "prod", "name": "errors", "interval_seconds": 1}


def begun(developer: Principal, digits: Deployment, **asked: Any) -> AnalysisRun:
    """An analysis whose first look is due."""
    rollout = canary(developer, digits, {**ASKED, **asked})
    AnalysisRun.objects.filter(rollout=rollout).update(started_at=timezone.now() - timedelta(seconds=5))
    run = selectors.analysis(AnalysisRun.objects.get(rollout=rollout).pk)
    assert run is not None
    return run


@pytest.mark.django_db
@pytest.mark.real_process
def test_a_real_prometheus_tells_a_bad_version_which_is_taken_back(
    root: Principal, developer: Principal, demo: Project, digits: Deployment, prometheus: str
) -> None:
    source = services.create_source(principal=root, project=demo, name="prod", address=prometheus)
    wait_for(lambda: len(_series(source)) == 4, "Prometheus to scrape")
    run = begun(developer, digits, query=ERRORS, max=0.05, count=2)
    places = run.rollout.deployment.places
    for query, outcome, says in (
        ("scalar(vector(0.05))", OK, "errors is 0.05, at most 0.05"),
        ("vector(0) / 0", SILENT, "errors is no number."),
        ("absent_metric", SILENT, "The query gives nothing"),
        ("sum(rate(", SILENT, "prod refuses the query, bad_data: invalid parameter"),
        ("failed_ratio[1m]", SILENT, "matrix"),
    ):
        run.asked["query"] = query
        measurement = querying.look(run, places)
        assert (measurement.outcome, says in measurement.message) == (outcome, True), measurement.message
    assert measuring.measure(run.pk) == DONE
    rollout = Rollout.objects.get(pk=run.rollout_id)
    assert rollout.state == "RollingBack"
    assert "errors is 0.2: at most 0.05 is allowed." in rollout.message
    assert measuring.measure(run.pk) == DONE, "it is over"
    with pytest.raises(Conflict, match="asked by the analyses of digits"):
        services.delete_source(principal=root, source=source)


def _series(source: MetricsSource) -> list[Series]:
    try:
        return querying.ask(source, "failed_ratio")
    except Silent:
        return []


@pytest.mark.django_db
def test_a_source_that_is_slow_takes_the_threads_of_no_cluster(
    root: Principal, developer: Principal, demo: Project, digits: Deployment
) -> None:
    source = services.create_source(principal=root, project=demo, name="prod", address="http://127.0.0.1:9")
    run = begun(developer, digits, query="up", max=1)
    assert Work.objects.get(kind="analysis", object_id=run.pk).cluster == -source.pk
    assert not Gate.objects.exists()
    assert run.pk in dict(selectors.probing())
    MetricsSource.objects.all().delete()
    assert "no metrics source prod any more" in querying.look(run, run.rollout.deployment.places).message


def misbehaving(path: str, headers: dict[str, str]) -> Answer:
    said = answer([{"metric": {"__name__": "up"}, "value": [0, "1"]}])
    if path.startswith("/moved"):
        return 302, {"Location": path.removeprefix("/moved")}, b""
    if path.startswith("/large"):
        return 200, {}, said + b" " * 2_000_000
    if path.startswith("/slow"):
        time.sleep(2 * SLOW)
    if path.startswith("/token") and headers.get("Authorization") != "Bearer hush-hush":
        return 403, {}, b""
    return 200, {}, said


@pytest.mark.django_db
@pytest.mark.real_process
def test_whom_it_asks_and_what_it_says_of_who_does_not_answer(
    root: Principal, demo: Project, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "READ_SECONDS", SLOW)
    made = iter(range(99))

    def said(address: str, **more: str) -> str:
        name = f"s{next(made)}"
        source = services.create_source(principal=root, project=demo, name=name, address=address, **more)
        try:
            return str([(each.labels, each.value) for each in querying.ask(source, "up")])
        except Silent as why:
            assert "127.0.0.1" not in str(why) and "hush" not in str(why), "words that all of the project read"
            return str(why).replace(name, "it")

    with serving(misbehaving) as (plain, _), serving(misbehaving, tls=True) as (secure, ca):
        assert said(plain) == said(f"{plain}/prefix/") == said(secure, ca=ca) == "[('', 1.0)]"
        assert said(f"{secure}/token", ca=ca, token="hush-hush") == "[('', 1.0)]"
        assert said(f"{secure}/token", ca=ca, token="hush") == (
            "it refuses the token (403): make the metrics source anew with one that may read."
        )
        assert said(f"{plain}/moved") == "it answers 302, and not as Prometheus' HTTP API does: is its address right?"
        assert said(f"{plain}/large") == "it can't be asked: its answer is larger than 1024 KiB."
        assert said(f"{plain}/slow") == "it can't be asked: it did not answer in time."
        assert said(secure) == (
            "it can't be asked: its certificate is not trusted. Make it anew with the CA that signed it."
        )
        assert "plain HTTP" in said(plain.replace("http", "https"))
        assert "can't be resolved" in said("http://prometheus.invalid:9090")
        settings.CLUSTER_ALLOWED_NETWORKS = []
        port = plain.rpartition(":")[2]
        assert said(f"http://localhost:{port}") == (
            "Flotilla may not connect to the address that the name of it points to."
        )
    assert "hush" not in str(list(AuditEntry.objects.values()))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"address": "prometheus:9090"}, "address"),
        ({"address": "ftp://prometheus"}, "address"),
        ({"address": "file:///etc/passwd"}, "address"),
        ({"address": "http://user:secret@prometheus"}, "address"),
        ({"address": "http://prometheus/?query=x"}, "address"),
        ({"address": "http://prometheus/a/../b"}, "address"),
        ({"address": "http://prometheus:99999"}, "address"),
        ({"address": "http://[::1"}, "address"),
        ({"address": "http://prome theus"}, "address"),
        ({"address": "http://169.254.169.254"}, "address"),
        ({"address": "http://[fd00:ec2::254]"}, "address"),
        ({"address": "http://10.1.2.3"}, "address"),
        ({"name": "Prod"}, "name"),
        ({"token": "abc", "address": "http://prometheus"}, "token"),
        ({"token": "a b"}, "token"),
        ({"token": "a\r\nHost: x"}, "token"),
        ({"ca": "nonsense"}, "ca"),
    ],
)
def test_an_address_that_flotilla_may_not_ask_is_refused(
    root: Principal, demo: Project, settings: Any, said: dict[str, str], field: str
) -> None:
    settings.CLUSTER_ALLOWED_NETWORKS = []
    with pytest.raises(Invalid) as caught:
        services.create_source(
            principal=root, project=demo, **{"name": "prod", "address": "https://prometheus", **said}
        )
    assert caught.value.field == field
    assert not MetricsSource.objects.exists()


@pytest.mark.django_db
def test_a_source_is_its_admins_and_its_token_nobodys(
    api: Client, root: Principal, developer: Principal, demo: Project, digits: Deployment
) -> None:
    with pytest.raises(NotAllowed):
        services.create_source(principal=developer, project=demo, name="prod", address="http://prometheus")
    wish = {"kind": "canary", "steps": [{"set_weight": 50}, {"analyse": {**ASKED, "query": "up", "max": 1}}]}
    with pytest.raises(FlotillaError, match="no metrics source 'prod'") as caught:
        services.set_strategy(principal=developer, deployment=digits, strategy=wish)
    assert getattr(caught.value, "field", "") == "strategy.steps[1].analyse.source"
    services.create_source(principal=root, project=demo, name="prod", address="https://prometheus", token="hush-hush")
    with pytest.raises(Conflict):
        services.create_source(principal=root, project=demo, name="prod", address="http://other")
    services.set_strategy(principal=developer, deployment=digits, strategy=wish)
    one = [{"targets": [place_of(digits).target.name], "steps": wish["steps"]}]
    wave = {"kind": "canary", "steps": [{"set_weight": 50}], "waves": one}
    services.set_strategy(principal=developer, deployment=digits, strategy=wave)
    with pytest.raises(Conflict, match="is asked by the analyses of digits"):
        services.delete_source(principal=root, source=MetricsSource.objects.get(name="prod"))
    with pytest.raises(FlotillaError, match="no metrics source 'dev'") as caught:
        elsewhere = json.loads(json.dumps(wave).replace('"prod"', '"dev"'))
        services.set_strategy(principal=developer, deployment=digits, strategy=elsewhere)
    assert getattr(caught.value, "field", "") == "strategy.waves[0].steps[1].analyse.source"
    seen = api.get("/api/v1/metrics-sources/prod/")
    assert (seen.json()["has_token"], seen.json()["address"]) == (True, None)
    assert "hush" not in seen.content.decode()
    assert (MetricsSource, "token_encrypted") in rotation.columns()
