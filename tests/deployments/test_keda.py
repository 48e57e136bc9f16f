"""A policy with triggers: what may be asked for, the ScaledObject that is made of it, and what KEDA says of that."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Workload
from apps.clusters.observed.rows import workload_row
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.deployments import scaling, services
from apps.deployments.manifests import Identity
from apps.deployments.models import Deployment, Placement
from apps.deployments.scaling.kedatelling import told_by_keda
from apps.deployments.scaling.policy import Bounds, parse_autoscaling
from tests.deployments.keda import PROMETHEUS, says
from tests.deployments.places import reread
from tests.deployments.test_pages import PAGE, browser, words
from tests.deployments.test_scaling import status

APP = Identity("demo", "digits", "flotilla-demo")
CRON = {"type": "cron", "time_zone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "replicas": 3}
ASKED = {"min": 0, "max": 8, "cpu_percent": 70, "triggers": [PROMETHEUS | {"activation_threshold": 2.5}, CRON]}
POLICY = parse_autoscaling(ASKED)


def test_the_policy_says_what_it_is_scaled_by() -> None:
    said = json.loads(json.dumps(POLICY.to_json()))
    assert parse_autoscaling(said) == POLICY and (POLICY.needs, POLICY.bounds) == (("KEDA",), Bounds(0, 8))
    assert said["triggers"] == [PROMETHEUS | {"threshold": 20.0, "activation_threshold": 2.5}, CRON]
    assert parse_autoscaling({"max": 4, "triggers": [CRON]}).cpu_percent is None, "a trigger is a target"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"triggers": {}}, ""),
        ({"triggers": "cron"}, "triggers"),
        ({"triggers": [7]}, "triggers[0]"),
        ({"triggers": [{"type": "kafka"}]}, "triggers[0].type"),
        ({"triggers": [CRON] * 11}, "triggers"),
        ({"triggers": [CRON | {"query": "up"}]}, "triggers[0].query"),
        ({"triggers": [CRON | {"start": "* * *"}]}, "triggers[0].start"),
        ({"triggers": [CRON | {"end": CRON["start"]}]}, "triggers[0].end"),
        ({"triggers": [CRON | {"time_zone": "Berlin"}]}, "triggers[0].time_zone"),
        ({"triggers": [CRON | {"replicas": None}]}, "triggers[0].replicas"),
        ({"triggers": [CRON, PROMETHEUS | {"server_address": "prom:9090"}]}, "triggers[1].server_address"),
        ({"triggers": [PROMETHEUS | {"server_address": "http://ada:secret@prom"}]}, "triggers[0].server_address"),
        ({"triggers": [PROMETHEUS | {"query": " "}]}, "triggers[0].query"),
        ({"triggers": [PROMETHEUS | {"threshold": 0}]}, "triggers[0].threshold"),
        ({"triggers": [PROMETHEUS | {"threshold": None}]}, "triggers[0].threshold"),
        ({"triggers": [CRON], "requests_per_replica": 3}, "requests_per_replica"),
        ({"min": 0}, "min"),
        ({"min": 0, "triggers": []}, "min"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_field(asked: dict[str, Any], field: str) -> None:
    if not field:
        assert parse_autoscaling({"max": 4} | asked).triggers == ()
        return
    with pytest.raises(Invalid) as refused:
        parse_autoscaling({"max": 4} | asked)
    assert refused.value.field == f"autoscaling.{field}"


def test_the_scaled_object_of_a_revision() -> None:
    made, _ = scaling.scaler(APP, 3, POLICY, POLICY.bounds)
    assert made == {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "digits", "namespace": "flotilla-demo", "labels": APP.labels()},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "digits-r3"},
            "minReplicaCount": 0,
            "maxReplicaCount": 8,
            "cooldownPeriod": 300,
            "advanced": {"horizontalPodAutoscalerConfig": {
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}}},
            "triggers": [
                {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
                {"type": "prometheus", "metadata": {
                    "serverAddress": "http://prom.x:9090", "query": "sum(up)", "threshold": "20",
                    "activationThreshold": "2.5"}},
                {"type": "cron", "metadata": {
                    "timezone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 20 * * 1-5",
                    "desiredReplicas": "3"}},
            ],
        },
    }  # fmt: skip


def test_while_it_holds_it_takes_nothing_away_and_while_it_sleeps_it_is_paused() -> None:
    held, _ = scaling.scaler(APP, 3, POLICY, POLICY.bounds, holds=True)
    config = held["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
    assert (held["spec"]["minReplicaCount"], config["behavior"]) == (1, {"scaleDown": {"selectPolicy": "Disabled"}})
    asleep, _ = scaling.scaler(APP, 3, POLICY, POLICY.bounds, sleeps=True)
    assert asleep["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    digests = [
        scaling.scaler(APP, number, policy, POLICY.bounds, holds=holds, sleeps=sleeps)[1]
        for number in (1, 2) for policy in (POLICY, parse_autoscaling(ASKED | {"max": 9}))
        for holds in (False, True) for sleeps in (False, True)
    ]  # fmt: skip
    assert len(set(digests)) == len(digests)


def seen(least: int = 0, **conditions: str) -> dict[str, Any]:
    return {"min": least, "max": 8, "conditions": says(**conditions), "paused_at": None}


@pytest.mark.parametrize(
    ("scaled", "scaler", "count", "state", "why"),
    [
        (None, None, 1, "Progressing", "Its ScaledObject is not seen on the cluster yet."),
        (seen(Ready="Unknown"), None, 1, "Progressing", "KEDA has not looked at it yet."),
        (seen(Ready="False"), None, 1, "Degraded", "KEDA can't scale it: why so."),
        (seen(Paused="True") | {"paused_at": 0}, None, 0, "Suspended", "KEDA is paused at 0."),
        (seen(Paused="True"), None, 2, "Suspended", "KEDA is paused."),
        (seen(Fallback="True"), status(2, 2), 2, "Warning", "A trigger fails, and KEDA falls back: why so."),
        (seen(Active="False"), None, 0, "Healthy", "Idle: no trigger is active. KEDA starts it when one is."),
        (seen(Active="False"), status(1, 1), 1, "Healthy", "No trigger is active: KEDA stops it when"),
        (seen(1, Active="False"), status(1, 1), 1, "Healthy", "1 is right."),
        (seen(), None, 1, "Progressing", "A trigger is active. KEDA's own autoscaler is not seen yet."),
        (seen(), status(3, 4, "82%"), 3, "Progressing", "CPU 82 % of 70 %: scaling up to 4."),
    ],
)
def test_what_keda_says_of_it(
    scaled: dict[str, Any] | None, scaler: dict[str, Any] | None, count: int, state: str, why: str
) -> None:
    told = told_by_keda(scaled, scaler, POLICY, count, has_metrics=True, rolls=False)
    assert told.state == state and told.why.startswith(why)
    assert [name for name, _ in told.conditions] == (["Ready", "Active", "Fallback", "Paused"] if scaled else [])


@pytest.mark.parametrize(
    ("conditions", "health", "reason"),
    [
        ([], "Progressing", "Starting"),
        (says(), "Healthy", "Active"),
        (says(Active="False"), "Healthy", "Inactive"),
        (says(Ready="False"), "Degraded", "Reason"),
        (says(Paused="True"), "Suspended", "Paused"),
        (says(Fallback="True"), "Degraded", "Fallback"),
    ],
)
def test_its_row_tells_how_it_is(conditions: list[dict[str, str]], health: str, reason: str) -> None:
    made, _ = scaling.scaler(APP, 3, POLICY, POLICY.bounds)
    made["metadata"]["uid"] = "so"
    row = workload_row("ScaledObject", made | {"status": {"conditions": conditions, "hpaName": "h"}}, timezone.now())
    assert (row["health"], row["reason"], row["status"]["min"], row["status"]["hpa"]) == (health, reason, 0, "h")
    assert (row["status"]["triggers"], row["wanted"]) == (["cpu", "prometheus", "cron"], None)


@pytest.mark.django_db
def test_the_form_takes_triggers_and_the_page_says_what_keda_says(digits: Deployment, developer: Principal) -> None:
    page, form = browser(developer.user), f"{PAGE}autoscaling"
    asked = {"min": 0, "max": 4, "triggers": "- {type: prometheus, server_address: 'http://p', query: up}"}
    refused = page.post(form, asked)
    assert refused.status_code == 400 and "“Triggers”[0].threshold is a number" in words(refused)
    assert 'name="triggers"' in refused.content.decode().partition('aria-invalid="true"')[0].rpartition("<")[2]
    assert "Triggers are a list" in words(page.post(form, asked | {"triggers": "type: cron"}))
    asked["triggers"] = asked["triggers"].replace("up", "up, threshold: 5")
    Cluster.objects.update(check_report={"engines": []})
    assert "has no KEDA" in words(page.post(form, asked))
    Cluster.objects.update(check_report={"engines": [{"name": "KEDA"}]})
    assert page.post(form, asked).status_code == 302
    assert "threshold: 5" in page.get(form).content.decode()
    services.set_schedule(
        principal=developer, deployment=reread(digits),
        schedule=[{"from": "20:00", "until": "06:00", "min": 0, "max": 1}],
    )  # fmt: skip
    Placement.objects.update(scaled_to=0, scaled_by="Autoscaler digits")
    Deployment.objects.update(scaled_to=0, ready_replicas=0, reason="Idle", message="Idle: no trigger is active.")
    target = digits.places[0].target
    Workload.objects.create(
        cluster=target.cluster, namespace=target.namespace, name="digits", kind="ScaledObject", uid="so",
        status=seen(Active="False"), observed_at=timezone.now(),
    )  # fmt: skip
    text = words(page.get(PAGE))
    assert "by Prometheus (5 each)" in text
    assert "KEDA: Ready True, Active False, Fallback False, Paused False" in text


@pytest.mark.django_db
def test_rest_takes_triggers(api: Client, digits: Deployment) -> None:
    answer = api.put("/api/v1/deployments/digits/autoscaling", ASKED, content_type="application/json")
    assert (answer.status_code, answer.json()["autoscaling"]["triggers"][1]) == (200, CRON)
    preview = {"project": "demo", "name": "more", "target": "local-production", "image": "a:1", "autoscaling": ASKED}
    rendered = api.post("/api/v1/deployments?dry_run=true", preview, content_type="application/json").json()
    assert [each["kind"] for each in rendered["objects"]] == ["Deployment", "Service", "ScaledObject"]
