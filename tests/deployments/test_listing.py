"""What narrows a list of deployments: the same names on the page, in its matrix and by REST; all of them combine."""

import html
import re
from collections.abc import Iterator

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.models import Project
from apps.core.states import Role
from apps.deployments import services
from apps.deployments.models import Deployment
from apps.experiments.models import ModelVersion
from tests import factories
from tests.deployments.places import arrive
from tests.deployments.test_placements import SPEC, revise

pytestmark = pytest.mark.django_db
PAGE = "/p/demo/deployments/"
CANARY = {"kind": "canary", "steps": [{"set_weight": 50}, {"pause": {}}]}


@pytest.fixture
def fleet(developer: Principal, root: Principal, demo: Project) -> dict[str, Deployment]:
    """`here` serves on eu; `both` on eu and in staging on us, where its canary is paused; `bad` on us."""
    for cluster, environment in (("eu", "production"), ("us", "staging")):
        factories.cluster(cluster)
        services.create_target(
            principal=root, project=demo, name=f"on-{cluster}", cluster=cluster, environment=environment
        )
    made = {}
    for name, targets, strategy in (
        ("here", ["on-eu"], {}), ("both", ["on-eu", "on-us"], {"strategy": CANARY}), ("bad", ["on-us"], {}),
    ):  # fmt: skip
        asked = services.NewDeployment(name=name, targets=targets, replicas=2, spec=SPEC | strategy)
        made[name] = services.create_deployment(principal=developer, project=demo, asked=asked)
        arrive(made[name])
    Deployment.objects.filter(name="bad").update(health="Degraded")
    revise(developer, made["both"], "2")
    services.pause(principal=developer, deployment=made["both"])
    return made


def reader(demo: Project) -> Client:
    client = Client()
    client.force_login(factories.member(demo, "reader", Role.VIEWER))
    return client


def shown(client: Client, query: str) -> Iterator[set[str]]:
    """The names that match by each door."""
    yield {row["name"] for row in client.get(f"/api/v1/deployments?{query}").json()["results"]}
    for view in ("", "&view=matrix"):
        page = client.get(f"{PAGE}?{query}{view}").content.decode()
        yield set(re.findall(r'class="name" href="/p/demo/deployments/([a-z]+)/', page))


FOUND: tuple[tuple[str, set[str]], ...] = (
    ("q=B", {"both", "bad"}),
    ("health=Degraded", {"bad"}),
    ("cluster=eu", {"here", "both"}),
    ("target=on-us", {"both", "bad"}),
    ("environment=staging", {"both", "bad"}),
    ("rollout=UnderWay", {"both"}),
    ("rollout=Paused", {"both"}),
    ("rollout=RollingBack", set()),
    ("strategy=canary", {"both"}),
    ("strategy=rolling", {"here", "bad"}),
    ("cluster=us&health=Degraded&q=a&environment=staging", {"bad"}),
    ("cluster=us&environment=production", set()),
    ("cluster=eu&target=on-us", set()),
    ("q=&health=&cluster=&rollout=", {"here", "both", "bad"}),
)


def test_every_door_finds_the_same(fleet: dict[str, Deployment], demo: Project) -> None:
    client = reader(demo)
    for query, found in FOUND:
        assert list(shown(client, query)) == [found] * 3, query


def test_where_nothing_matches_it_says_what_to_clear(fleet: dict[str, Deployment], demo: Project) -> None:
    client = reader(demo)
    asked = "view=matrix&cluster=us&environment=staging&health=Degraded&rollout=Paused"
    page = client.get(f"{PAGE}?{asked}").content.decode()
    [ways] = re.findall(r'<ul class="ways".*?</ul>', page, re.DOTALL)
    links = [(html.unescape(url), words) for url, words in re.findall(r'href="([^"]+)">([^<]+)</a>', ways)]
    assert [words for _, words in links] == ["Clear health Degraded", "Clear rollout paused"]
    for url, _ in links:
        assert "Nothing matches" not in client.get(url).content.decode() and "view=matrix" in url
    assert re.findall(r"(\d) match", ways) == ["1", "1"]
    # Where one alone brings nothing, each can be cleared.
    page = client.get(f"{PAGE}?q=nobody&cluster=mars").content.decode()
    assert "Clear the name “nobody”" in page and "Clear cluster mars" in page and "match without" not in page
    assert '<option value="mars" selected>mars</option>' in page, "what is asked for is shown as chosen"


def test_what_is_no_state_or_strategy_is_refused_by_rest(fleet: dict[str, Deployment], demo: Project) -> None:
    client = reader(demo)
    for name in ("rollout", "strategy"):
        answer = client.get(f"/api/v1/deployments?{name}=maybe")
        assert (answer.status_code, answer.json()["field"]) == (400, name)


def test_the_matrix_has_the_targets_that_are_asked_for(fleet: dict[str, Deployment], demo: Project) -> None:
    client = reader(demo)
    heads = r'<th scope="col"><span class="cut">([^<]+)</span><span class="sub">([^<]+)</span>'
    everything = client.get(f"{PAGE}?view=matrix").content.decode()
    assert re.findall(heads, everything) == [("on-eu", "eu · production"), ("on-us", "us · staging")]
    assert re.findall(heads, client.get(f"{PAGE}?view=matrix&cluster=us").content.decode()) == [
        ("on-us", "us · staging")
    ]


def test_a_model_is_found_by_the_name_that_is_shown_also_when_its_version_is_deleted(
    digits: Deployment, demo: Project
) -> None:
    client = reader(demo)
    assert list(shown(client, "model=digits")) == [{"digits"}] * 3
    ModelVersion.objects.all().delete()
    assert list(shown(client, "model=digits")) == [{"digits"}] * 3
    assert list(shown(client, "model=other")) == [set()] * 3
