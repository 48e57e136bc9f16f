"""Autoscaling on pages and by REST: what it says, the form that changes it, and how it is turned off."""

import html
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Workload
from apps.core.access import Principal
from apps.core.models import AuditEntry
from apps.deployments import services
from apps.deployments.models import Deployment, Placement
from tests.deployments.places import reread
from tests.deployments.test_pages import PAGE, browser, words
from tests.deployments.test_scaling import status

pytestmark = pytest.mark.django_db
POLICY = {"min": 2, "max": 8, "cpu_percent": 70}


@pytest.fixture
def page(developer: Principal) -> Client:
    return browser(developer.user)


def says(digits: Deployment, **fields: Any) -> None:
    """As if the watcher had seen its autoscaler."""
    target = digits.places[0].target
    Workload.objects.update_or_create(
        cluster=target.cluster, namespace=target.namespace, name="digits", kind="HorizontalPodAutoscaler",
        defaults={"uid": "hpa", "status": fields, "observed_at": timezone.now()},
    )  # fmt: skip


def test_the_page_says_how_many_there_are_and_why(
    page: Client, digits: Deployment, developer: Principal, cluster: Cluster
) -> None:
    assert "Autoscaler" not in words(page.get(PAGE)) and "Scale" in words(page.get(PAGE))
    services.set_autoscaling(principal=developer, deployment=digits, autoscaling=POLICY)
    text = words(page.get(PAGE))
    assert "2–8 replicas by CPU 70 %" in text and "not seen on the cluster yet" in text
    assert 'id="scale"' not in page.get(PAGE).content.decode()
    says(digits, **status(3, 4, "82%"))
    text = words(page.get(PAGE))
    assert "3 → 4 replicas 2–8 allowed CPU 82 % of 70 %: scaling up to 4." in text
    assert 'id="scaler"' in page.get(f"{PAGE}?part=scaler").content.decode()
    assert "CPU 82 % of 70 %: scaling up to 4. It only adds while the rollout is under way." in text
    Cluster.objects.update(state="Unreachable", message="No answer.")
    assert "can't be reached: it scales there by itself." in html.unescape(words(page.get(PAGE)))


def test_the_form_changes_it_and_turns_it_off(page: Client, digits: Deployment) -> None:
    form = f"{PAGE}autoscaling"
    assert 'value="8"' not in page.get(PAGE).content.decode()
    assert "Turn it off" not in words(page.get(form))
    refused = page.post(form, {"min": 5, "max": 4})
    assert refused.status_code == 400 and "“At most” is 4, and “At least” is 5." in words(refused)
    Cluster.objects.update(check_report={"engines": []})
    refused = page.post(form, {"min": 1, "max": 4, "requests_per_replica": 9})
    assert refused.status_code == 400 and "Install prometheus-adapter" in words(refused)
    assert page.post(form, POLICY).status_code == 302
    assert reread(digits).autoscaling == POLICY | {"scale_down_stabilization_seconds": 300}
    assert "Turn it off" in words(page.get(form))
    Placement.objects.update(scaled_to=6, scaled_by="Autoscaler digits")
    assert page.post(f"{form}/off").status_code == 302
    assert (reread(digits).autoscaling, digits.places[0].desired_replicas) == ({}, 6)
    assert AuditEntry.objects.filter(action="deployment.autoscaling").count() == 2


def test_rest_takes_a_policy_when_it_is_made_and_says_what_to_do_instead_of_scaling(
    api: Client, digits: Deployment
) -> None:
    url = "/api/v1/deployments/digits"
    answer = api.put(f"{url}/autoscaling", POLICY, content_type="application/json")
    assert (answer.status_code, answer.json()["autoscaling"]["max"]) == (200, 8)
    refused = api.post(f"{url}/scale", {"replicas": 3}, content_type="application/json")
    assert refused.status_code == 409
    assert "autoscaled, from 2 to 8 replicas" in refused.json()["detail"]
    assert "Change these bounds" in refused.json()["hint"]
    off = api.delete(f"{url}/autoscaling")
    assert (off.status_code, off.json()["autoscaling"], off.json()["replicas"]) == (200, None, 3)
    body = {"project": "demo", "name": "more", "target": "local-production", "image": "a:1", "autoscaling": {"max": 4}}
    preview = api.post("/api/v1/deployments?dry_run=true", body, content_type="application/json").json()
    assert [each["kind"] for each in preview["objects"]] == ["Deployment", "Service", "HorizontalPodAutoscaler"]
    made = api.post("/api/v1/deployments", body, content_type="application/json")
    assert (made.status_code, made.json()["autoscaling"]["cpu_percent"]) == (201, 80)
    bad = api.put(f"{url}/autoscaling", {"max": 0}, content_type="application/json")
    assert bad.status_code == 400 and "autoscaling.max" in str(bad.json())


def test_the_form_of_a_new_deployment_asks_who_says_how_many(page: Client, digits: Deployment) -> None:
    form, asked = (
        "/p/demo/deployments/new",
        {"target": ["local-production"], "image": "a:1", "cpu": "1", "memory": "1Gi"},
    )

    def made(name: str, **fields: Any) -> Deployment:
        answer = page.post(form, asked | {"name": name, **fields})
        assert answer.status_code == 302, words(answer)
        return Deployment.objects.get(name=name)

    # What belongs to another choice is not looked at.
    each = made("by-number", replicas=3, max=-7, grace_seconds="soon", triggers="{")
    assert (each.desired_replicas, each.autoscaling, each.spread) == (3, {}, None)
    over = made("over-all", how="all", replicas=5, grace_seconds=60, return_after_seconds="")
    assert over.spread == {"replicas": 5, "grace_seconds": 60, "return_after_seconds": 600}
    load = made("by-load", how="load", replicas=2, min=2, max=6, cpu_percent=70, memory_percent="")
    assert load.autoscaling == {"min": 2, "max": 6, "cpu_percent": 70, "scale_down_stabilization_seconds": 300}
    for fields, at in (
        ({"how": "load", "replicas": 2, "min": 7, "max": 6}, "max"),
        ({"how": "load", "replicas": 2, "max": ""}, "max"),
        ({"how": "load", "replicas": 2, "max": 6, "triggers": "- type: odd"}, "triggers"),
        ({"how": "all", "replicas": 2, "grace_seconds": "-7"}, "grace_seconds"),
        ({"how": "all", "replicas": ""}, "replicas"),
    ):
        refused = page.post(form, asked | {"name": "no", "cpu": "750m", **fields})
        shown = refused.content.decode()
        focused = shown.partition(" autofocus")[0].rpartition("<")[2]
        assert refused.status_code == 400 and f'name="{at}"' in focused and 'value="750m"' in shown, (fields, focused)
        assert re.search(rf'value="{fields["how"]}"[^>]* checked', shown)
    assert "open" in page.post(form, asked | {"name": "no", "how": "load", "max": 6, "triggers": "{"}).content.decode()
