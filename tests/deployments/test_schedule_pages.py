"""Schedules on pages and by REST: what is told of them, the form that changes them, and what does not go with them."""

import html
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.core.access import Principal
from apps.core.errors import Conflict, Invalid
from apps.core.models import AuditEntry
from apps.deployments import services
from apps.deployments.models import Deployment, Placement, Target
from tests.deployments.places import reread
from tests.deployments.test_pages import PAGE, browser, words

pytestmark = pytest.mark.django_db
WEEKEND = "fri 18:00 to mon 08:00 Europe/Berlin = 0 # weekend"
NIGHT: dict[str, Any] = {"name": "night", "from": "20:00", "until": "06:00", "min": 1, "max": 2}


@pytest.fixture
def page(developer: Principal) -> Client:
    return browser(developer.user)


def now_asleep() -> dict[str, str | int]:
    """A window that is in force for a while."""
    year = timezone.now().year
    return {"name": "holidays", "from": f"{year - 1}-01-01 00:00", "until": f"{year + 2}-01-01 00:00", "replicas": 0}


def test_the_form_takes_lines_and_the_page_says_what_is_in_force(page: Client, digits: Deployment) -> None:
    form = f"{PAGE}schedule"
    assert 'id="schedule"' not in page.get(PAGE).content.decode()
    assert page.post(form, {"schedule": f"{WEEKEND}\n\n20:00 to 06:00 = 1-2"}).status_code == 302
    # One of the windows is in force, or none, whenever this runs.
    text = words(page.get(PAGE)).replace("weekend now", "weekend").replace("window now", "window")
    assert "weekend 0 fri 18:00 – mon 08:00 Europe/Berlin" in text and "window 1–2 20:00 – 06:00 UTC" in text, text
    shown = html.unescape(page.get(form).content.decode())
    assert WEEKEND in shown and "20:00 to 06:00 UTC = 1-2" in shown
    refused = page.post(form, {"schedule": "20:00 to mon 06:00 = 1"})
    assert refused.status_code == 400 and "begins daily and ends weekly" in words(refused)
    assert page.post(form, {"schedule": ""}).status_code == 302
    assert (reread(digits).schedule, AuditEntry.objects.filter(action="deployment.schedule").count()) == ([], 2)


def test_what_sleeps_says_until_when(page: Client, digits: Deployment, developer: Principal) -> None:
    services.set_schedule(principal=developer, deployment=digits, schedule=[now_asleep()])
    Placement.objects.update(scaled_to=0, scaled_by="Schedule")
    Deployment.objects.update(
        scaled_to=0, scaled_by="Schedule", ready_replicas=0, health="Suspended", reason="Asleep",
        message="Asleep until Fri.",
    )  # fmt: skip
    text = words(page.get(PAGE))
    assert "asleep until" in text and "the schedule wants 0" in text
    assert "Asleep until Fri. Nothing answers meanwhile." in text
    assert "Its schedule says 0 now; this number holds outside of its windows." in text
    services.set_autoscaling(principal=developer, deployment=digits, autoscaling={"min": 2, "max": 8})
    assert "0 of 0" in words(page.get(PAGE)) and "Asleep until" in words(page.get(PAGE))
    Placement.objects.update(scaled_by="Autoscaler digits")
    services.stop_autoscaling(principal=developer, deployment=digits)
    assert reread(digits).places[0].desired_replicas == 3, "it wakes up to the number that it had"


def test_rest_takes_it_when_it_is_made_and_later(api: Client, digits: Deployment) -> None:
    url, body = "/api/v1/deployments/digits/schedule", {"schedule": [NIGHT]}
    answer = api.put(url, body, content_type="application/json")
    assert (answer.status_code, answer.json()["schedule"]) == (200, [NIGHT | {"time_zone": "UTC"}])
    bad = api.put(url, {"schedule": [NIGHT, {}]}, content_type="application/json")
    assert bad.status_code == 400 and "schedule[1].from" in str(bad.json())
    assert api.delete(url).json()["schedule"] == []
    made = {"project": "demo", "name": "more", "target": "local-production", "image": "a:1", **body}
    answer = api.post("/api/v1/deployments", made, content_type="application/json")
    assert (answer.status_code, answer.json()["schedule"][0]["max"]) == (201, 2)
    scaled = made | {"name": "odd", "autoscaling": {"max": 4}, "schedule": [NIGHT | {"min": 0}]}
    refused = api.post("/api/v1/deployments", scaled, content_type="application/json")
    assert refused.status_code == 400 and "can't scale to zero" in str(refused.json())


def test_it_does_not_go_with_a_spread_and_counts_against_quotas(digits: Deployment, developer: Principal) -> None:
    def plan(**window: Any) -> None:
        services.set_schedule(principal=developer, deployment=digits, schedule=[NIGHT | window] if window else [])

    services.set_spread(principal=developer, deployment=digits, spread={})
    with pytest.raises(Conflict, match="spread over its targets"):
        plan(max=2)
    services.set_spread(principal=developer, deployment=digits, spread=None)
    plan(max=2)
    with pytest.raises(Conflict, match="has a schedule"):
        services.set_spread(principal=developer, deployment=digits, spread={})
    Target.objects.update(policy={"quota": {"replicas": 5}})
    with pytest.raises(Conflict, match="quota of 5 replicas"):
        plan(min=6, max=6)
    plan(min=5, max=5)
    Placement.objects.update(scaled_to=0, scaled_by="Schedule")
    with pytest.raises(Conflict, match="quota of 5 replicas"):
        services.scale(principal=developer, deployment=digits, replicas=6)
    plan(min=1, max=2)
    services.set_autoscaling(principal=developer, deployment=digits, autoscaling={"max": 5})
    with pytest.raises(Conflict, match="quota of 5 replicas"):
        plan(min=1, max=6)
    with pytest.raises(Invalid, match="can't scale to zero"):
        plan(min=0, max=2)
