"""What holds of every page with many rows: none lists everything, and what tells of a state follows it."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Node
from apps.core.models import ApiToken, AuditEntry, Membership, Project
from apps.core.states import Role
from apps.deployments.models import Approval, Deployment, MetricsSource, Placement, Revision, Target
from apps.experiments.models import Experiment, ModelVersion, RegisteredModel, Run
from tests.architecture import world
from tests.architecture.calls import FORMS, PAGES

pytestmark = pytest.mark.django_db
MANY = 130
MOST = 100
# Kubernetes says how many pods a node has, and a page of it shows them all.
BOUNDED_ELSEWHERE = re.compile(r"^/clusters/[^/]+/nodes/")


def fill(made: world.World) -> None:
    """Many of all that pages list, beside what there is."""
    project, person = made.project, made.person
    names = [f"many-{number:03}" for number in range(MANY)]
    home = Cluster.objects.get(name="demo-cluster")
    source = MetricsSource.objects.get()
    version, served = ModelVersion.objects.earliest("id"), project.deployments.get(name="digits")
    place = served.places[0]
    shared = {"project": project}
    Experiment.objects.bulk_create(Experiment(**shared, name=name) for name in names)
    Run.objects.bulk_create(
        Run(experiment=made.first.experiment, state="Failed", name=name, ended_at=timezone.now()) for name in names
    )
    RegisteredModel.objects.bulk_create(RegisteredModel(**shared, name=name) for name in names)
    ModelVersion.objects.bulk_create(
        ModelVersion(model=version.model, version=1000 + number, run=made.first, artifact_path="model")
        for number in range(MANY)
    )
    targets = Target.objects.bulk_create(
        Target(**shared, name=name, cluster=home, namespace=name, environment="test") for name in names
    )
    rollout = Approval.objects.get().rollout
    Approval.objects.bulk_create(Approval(rollout=rollout, target=target) for target in targets)
    MetricsSource.objects.bulk_create(MetricsSource(**shared, name=name, address=source.address) for name in names)
    more = Deployment.objects.bulk_create(Deployment(**shared, name=name, current=served.current) for name in names)
    Placement.objects.bulk_create(Placement(deployment=each, target=place.target) for each in more)
    Revision.objects.bulk_create(
        Revision(deployment=served, number=1000 + number, digest=f"{number}", spec=served.current.spec)
        for number in range(MANY)
    )
    Node.objects.bulk_create(
        Node(cluster=home, uid=name, name=name, ready=True, observed_at=timezone.now()) for name in names
    )
    others = Project.objects.bulk_create(Project(name=name) for name in names)
    Membership.objects.bulk_create(Membership(project=other, user=person, role=Role.ADMIN) for other in others)
    ApiToken.objects.bulk_create(ApiToken(user=person, name=name, digest=name, prefix=name[:8]) for name in names)
    AuditEntry.objects.bulk_create(
        AuditEntry(actor="ada", **shared, action="target.create", object_type="target", object_name=name)
        for name in names
    )


@pytest.fixture
def pages() -> dict[str, str]:
    """Every page with many rows, by its address. Rendered once."""
    if not RENDERED:
        made = world.small()
        fill(made)
        client = Client()
        client.force_login(made.person)
        for path in (made.fill(ask.path) for ask in PAGES if "?" not in ask.path or "view=" in ask.path):
            answer = client.get(path)
            assert answer.status_code in (200, 302), path
            RENDERED[path] = answer.content.decode()
        RENDERED["one"] = client.get("/p/demo/targets/?q=many-077").content.decode()
    return RENDERED


RENDERED: dict[str, str] = {}


def rows_of(html: str) -> int:
    """The rows of the longest table of a page, or its cards, if there are more."""
    tables = [part.count("<tr") for part in re.findall(r"<tbody.*?</tbody>", html, re.DOTALL)]
    return max([*tables, html.count('<section class="card')])


def test_no_page_lists_everything(pages: dict[str, str]) -> None:
    lengths = {path: rows_of(html) for path, html in pages.items() if not BOUNDED_ELSEWHERE.match(path)}
    assert {path: rows for path, rows in lengths.items() if rows > MOST} == {}
    assert max(lengths.values()) > 40, "there is something to list"
    approvals = pages["/p/demo/approvals/"]
    assert f"<h1>{MANY + 1} approvals wait for you</h1>" in approvals and "81 more wait" in approvals
    for path in ("/p/demo/targets/", "/settings/"):
        assert 'rel="next"' in pages[path], path
    assert pages["one"].count("many-077</b>") == 2 and "many-078</b>" not in pages["one"]


class Cards(HTMLParser):
    """The cards of a page, each with its heading, and whether it fetches itself again when something has changed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cards: list[list[Any]] = []
        self._open: list[tuple[str, bool]] = []
        self._in_heading = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag not in VOID:
            late = "load" in (said.get("hx-trigger") or "")  # what comes then is asked for by itself
            self._open.append((tag, "data-live" in said or late))
        if tag == "section" and "card" in (said.get("class") or "").split():
            self.cards.append([said.get("aria-label") or "", any(live for _, live in self._open)])
        self._in_heading = tag == "h2" or (self._in_heading and tag != "section")

    def handle_endtag(self, tag: str) -> None:
        self._in_heading = self._in_heading and tag != "h2"
        if tag in {name for name, _ in self._open}:
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._in_heading and self.cards and not self.cards[-1][0]:
            self.cards[-1][0] = data.strip()


VOID = frozenset({"br", "img", "input", "meta", "link", "hr", "path", "use", "circle", "line", "rect", "polyline"})
# Cards whose words no change of state makes untrue.
STILL = {
    "Launched as": "never changes",
    "Run id": "never changes",
    "Log": "follows by itself",
    "As YAML": "revisions never change",
    "Changes": "each line is of its own time",
    "Where it would go": "what is in it is asked for every half minute",
    "What would be made": "what is in it is asked for as the form is filled in",
    "Use it": "never changes",
    "Your projects": "a list of names and roles",
    "API tokens": "a list of one's own, which nobody else changes",
    "How it scales": "explains",
    "How it works": "explains",
    "What is never held": "explains",
    "What a Gateway changes": "explains",
    "What may be said": "explains",
    "What happens when it moves": "explains",
    "A canary": "an example",
    "A blue-green": "an example",
}


def test_what_a_card_says_follows_what_changes(pages: dict[str, str]) -> None:
    """A card is live, or says nothing of a state, or holds a form: what is typed must stay."""
    stale = []
    for path, html in pages.items():
        main = html.partition("<main")[2].partition("</main>")[0]
        parts = re.split(r"(?=<section [^>]*class=\"card)", main)
        has_form = {re.sub(r"<[^>]+>", "", part)[:40].strip() for part in parts if "<form" in part}
        for heading, live in Cards(main).cards:
            if not live and heading not in STILL and not any(text.startswith(heading) for text in has_form):
                stale.append((path, heading))
    assert stale == [], stale
    assert sum(len(Cards(html).cards) for html in pages.values()) > 80


def test_the_address_of_a_button_that_is_opened_leads_to_its_page() -> None:
    made = world.small()
    client = Client(headers={"Accept": "text/html"})
    client.force_login(made.person)
    told = 0
    for path in {made.fill(ask.path) for ask in FORMS if not ask.platform} | {"/logout/"}:
        if (opened := client.get(path)).status_code == 302:
            page = client.get(opened["Location"], follow=True)
            assert (page.status_code, path.startswith(opened["Location"])) == (200, True), (path, opened["Location"])
            told += "Nothing was done" in page.content.decode()
        else:
            assert opened.status_code == 200, path
    assert told > 10
