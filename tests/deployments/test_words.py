"""A deployment is called by one word by pages, REST, the overview and the search, and found by it."""

import itertools
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.pages.overview import Scope
from apps.core.states import Health
from apps.deployments import selectors
from apps.deployments.health import WORDS
from apps.deployments.models import Deployment, Placement, Rollout, Target
from apps.deployments.pages.overview import find
from apps.deployments.pages.servingcard import serving
from apps.deployments.states import DeploymentState, RolloutState

pytestmark = pytest.mark.django_db

ROLLOUTS = ["", "Progressing", "Paused", "RollingBack"]


def named(health: str, rollout: str) -> str:
    return f"{health}-{rollout or 'none'}".lower()


@pytest.fixture
def words(demo: Project, target: Target, digits: Deployment) -> dict[str, str]:
    """A deployment for each health with each state of a rollout that is under way: its name, and the word for it."""
    assert digits.current is not None and digits.under_way is not None
    said = {"digits": "Progressing"}
    for health, rollout in itertools.product(Health, ROLLOUTS):
        made = Deployment.objects.create(
            project=demo, name=named(health, rollout), state=DeploymentState.ACTIVE, health=health
        )
        first, second = (
            made.revisions.create(number=number, digest=f"{number}", spec=digits.current.spec) for number in (1, 2)
        )
        made.stable, made.current = first, second if rollout else first
        made.save()
        Placement.objects.create(
            deployment=made, target=target, state=DeploymentState.ACTIVE, health=health, stable=first
        )
        if rollout:
            Rollout.objects.create(deployment=made, to_revision=second, state=rollout)
        still = rollout in ("Paused", "RollingBack") and health == Health.PROGRESSING
        said[made.name] = rollout if still else health.value
    return said


def first_word(html: str) -> str:
    """The first status in it, as REST spells it."""
    status = re.search(r"</svg>\s*([A-Za-z ]+)", html)
    assert status, html
    return status[1].title().replace(" ", "")


def cells(page: str, start: str) -> dict[str, str]:
    """The name and the first status of each row of a page."""
    rows = re.findall(rf'<tr id="{start}-\d+">(.*?)</tr>', page, re.S)
    return {re.findall(r'class="name"[^>]*>([^<]+)<', row)[0]: first_word(row) for row in rows}


def test_pages_and_rest_call_every_deployment_by_the_same_word(
    words: dict[str, str], demo: Project, api: Client, developer: Principal
) -> None:
    browser = Client()
    assert isinstance(developer.user, User)
    browser.force_login(developer.user)
    assert set(words.values()) == set(WORDS)
    listed = api.get("/api/v1/deployments?limit=100").json()["results"]
    assert {row["name"]: row["health"] for row in listed} == words
    assert cells(browser.get("/p/demo/deployments/").content.decode(), "deployment") == words
    hits = {hit.label: hit.sub.partition(" ·")[0] for hit in find(developer, "", 100)}
    assert hits == words
    rows = serving(Scope(developer, demo))
    assert {row.name: row.state for row in rows} == {row.name: words[row.name] for row in rows}
    one_each = {word: name for name, word in words.items()}
    for word, name in one_each.items():
        detail = api.get(f"/api/v1/deployments/{name}").json()
        assert (detail["health"], detail["placements"][0]["health"]) == (word, word)
        head = browser.get(f"/p/demo/deployments/{name}/").content.decode().partition('id="verdict"')[2]
        assert first_word(head) == word
        [deployment] = selectors.matrix(project=demo, name=name)
        assert deployment.places[0].word == word


def test_each_word_finds_what_is_called_so(words: dict[str, str], api: Client, developer: Principal) -> None:
    browser = Client()
    assert isinstance(developer.user, User)
    browser.force_login(developer.user)
    for word in WORDS:
        called = {name for name, said in words.items() if said == word}
        told = api.get(f"/api/v1/deployments?limit=100&health={word}").json()["results"]
        assert {row["name"] for row in told} == called
        page = browser.get(f"/p/demo/deployments/?health={word}").content.decode()
        assert set(cells(page, "deployment")) == called
        assert f'<option value="{word}" selected>{word}</option>' in page
    refused = api.get("/api/v1/deployments?health=Well")
    assert (refused.status_code, "Paused" in refused.json()["detail"]) == (400, True)


def test_a_target_that_waits_for_its_wave_is_called_as_the_rollout(words: dict[str, str]) -> None:
    row = Deployment.objects.get(name=named("Progressing", RolloutState.PAUSED))
    place = row.places[0]
    assert place.word == "Paused"
    place.stable_id = row.current_id
    assert place.word == "Progressing", "what has come there does not wait"


def test_what_is_paused_is_so_since_its_rollout_came_to_its_step(words: dict[str, str], client: Client) -> None:
    client.force_login(User.objects.get(username="root"))
    now = timezone.now()
    Deployment.objects.update(health_since=now - timedelta(hours=3))
    Rollout.objects.update(step_since=now - timedelta(minutes=7))
    for rollout, since in (("Paused", "for 7 min"), ("Progressing", "for 3 h")):
        page = client.get(f"/p/demo/deployments/{named(Health.PROGRESSING, rollout)}/").content.decode()
        assert since in re.sub(r"<[^>]+>", "", page.partition('id="summary"')[2])[:900], rollout
