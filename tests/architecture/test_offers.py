"""A page offers what its reader may do, and nothing else.

From the overview every link of Flotilla is followed and every form is found, as a viewer, a developer and an admin of a
busy project: no link leads to "not allowed" or to what is gone, no address is only a part of a page for who opens it,
and no form, nor anything else that writes, is refused for the role.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from apps.core.models import Project
from apps.core.states import Role
from apps.deployments.models import Approval, Revision, Rollout, Target
from apps.experiments.models import RegisteredModel, Run
from tests import factories

pytestmark = pytest.mark.django_db

MOST_PAGES = 200
# One address of each kind is enough: rows look alike.
_KINDS = (
    (re.compile(r"/runs/[0-9a-f]{32}/"), "/runs/…/"),
    (re.compile(r"/targets/[^/]+/"), "/targets/…/"),
    (re.compile(r"\d+"), "9"),
)
WRITES = {"hx-post": "post", "hx-put": "put", "hx-patch": "patch", "hx-delete": "delete"}


@dataclass
class Page(HTMLParser):
    """What a page offers: `links` to follow and `writes`, each a method and an address."""

    url: str
    links: set[str] = field(default_factory=set)
    writes: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the addresses of links, forms, buttons and what HTMX fetches or sends."""
        values = {name: value or "" for name, value in attrs}
        if tag == "a" and "download" not in values:
            self._add(values.get("href", ""), self.links)
        for name in ("hx-get", "data-url"):
            self._add(values.get(name, ""), self.links)
        if tag == "form" and values.get("method", "get").lower() == "post":
            self.writes.add(("post", self._at(values.get("action", ""))))
        if "formaction" in values:
            self.writes.add(("post", self._at(values["formaction"])))
        self.writes |= {(WRITES[name], self._at(value)) for name, value in values.items() if name in WRITES}

    def _at(self, address: str) -> str:
        return urljoin(self.url, address)

    def _add(self, address: str, to: set[str]) -> None:
        target = urlsplit(self._at(address))
        if address and not target.scheme and not target.netloc:
            to.add(target.path + (f"?{target.query}" if target.query else ""))


def kind(address: str) -> str:
    address = urlsplit(address).path
    for pattern, sample in _KINDS:
        address = pattern.sub(sample, address)
    return address


def walk(client: Client) -> Iterator[tuple[Page, Any]]:
    """Every page that can be reached from the overview, one of each kind, with its answer."""
    waiting, seen = ["/"], {"/"}
    while waiting:
        address = waiting.pop()
        answer = client.get(address, follow=True)
        page = Page(answer.redirect_chain[-1][0] if answer.redirect_chain else address)
        if not answer.streaming and "text/html" in answer.headers.get("Content-Type", ""):
            page.feed(answer.content.decode())
        yield page, answer
        for link in sorted(page.links):
            # Signing out ends the walk; the stream does not end.
            if kind(link) not in seen and not link.startswith(("/logout", "/events", "/static/")):
                seen.add(kind(link))
                waiting.append(link)
        assert len(seen) < MOST_PAGES


def refused(client: Client, method: str, address: str) -> bool:
    """Whether the role is not enough to send this. What it would do is undone."""
    undone = transaction.atomic()
    undone._from_testcase = True  # type: ignore[attr-defined] - so that it is none across a call to a cluster
    with undone:
        answer = getattr(client, method)(address)
        transaction.set_rollback(True)
    return answer.status_code in {401, 403, 404, 405}


def is_part(answer: Any) -> bool:
    """Whether it is HTML, and no whole page."""
    html = not answer.streaming and "text/html" in answer.headers.get("Content-Type", "")
    return html and answer.status_code == 200 and b"<html" not in answer.content


def bare_parts(client: Client, page: Page, answer: Any) -> Iterator[str]:
    """The addresses that lead who opens them to no whole page: the page's, and one of its parts, which differ by
    `?part=` alone."""
    for address in [page.url] if is_part(answer) else sorted(link for link in page.links if "part=" in link)[:1]:
        if is_part(client.get(address, follow=True, headers={"Accept": "text/html"})):
            yield address


@pytest.fixture
def project() -> Project:
    made = factories.busy_project(size=1)
    run = Run.objects.earliest("id")
    home = made.deployments.get().places[0].target.cluster
    factories.run(run.experiment, kind="launched", state="Running", spec=run.spec, cluster=home)
    Target.objects.create(project=made, name="spare", cluster=home, namespace="spare", environment="test")
    factories.run(run.experiment, kind="launched", state="Failed", spec=run.spec)
    factories.recording(made.deployments.get())
    _what_is_gone(made, run)
    _what_waits(made)
    return made


def _what_waits(project: Project) -> None:
    """A rollout that somebody has to approve."""
    served = project.deployments.get()
    target = served.places[0].target
    plan = [{"do": "promote", "wave": 0, "targets": [target.name]}]
    rollout = Rollout.objects.create(deployment=served, to_revision=served.current, state="Paused", plan=plan)
    Approval.objects.create(rollout=rollout, target=target)


def _what_is_gone(project: Project, run: Run) -> None:
    """What pages still speak of after it has gone."""
    home = project.deployments.get().places[0].target.cluster
    for kind, name in (("Pod", "pod-that-went"), ("Node", "node-that-went"), ("Job", "job-that-went")):
        where = {"namespace": "" if kind == "Node" else "flotilla-demo", "project": "demo"}
        factories.event(home, "Killing", "It went.", involved_kind=kind, involved_name=name, **where)
    factories.pod(home, project, name="pod-of-node-that-went", node_name="node-that-went")
    deleted = factories.run(run.experiment, name="deleted", deleted_at=timezone.now())
    factories.run(run.experiment, kind="launched", rerun_of=deleted, spec=run.spec)
    away = factories.run(run.experiment, kind="launched", spec=run.spec, cluster=None)
    factories.attempt(away, cluster=None, pods=[{"name": "pod-that-went", "node": "node-that-went"}])
    model = RegisteredModel.objects.create(project=project, name="of-a-deleted-run")
    factories.version(model, deleted, alias="champion")
    went = factories.version(model, run)
    Revision.objects.filter(deployment__project=project).update(model_version=went)
    went.delete()


def offered(client: Client) -> tuple[list[str], set[tuple[str, str]], list[str]]:
    """Walk: the pages, what they offer to write, and what of it is refused or leads nowhere."""
    pages, wrong, writes = [], [], set[tuple[str, str]]()
    for page, answer in walk(client):
        pages.append(page.url)
        if answer.status_code in {401, 403, 404}:
            wrong.append(f"{page.url} is linked and answers {answer.status_code}")
        wrong += [f"{part} is a part of a page also for who opens it" for part in bare_parts(client, page, answer)]
        if answer.status_code == 200 and not answer.streaming and "curl -X POST" in answer.content.decode():
            writes.add(("curl", page.url))
        for method, address in page.writes - writes:
            writes.add((method, address))
            if "/logout" not in address and refused(client, method, address):
                wrong.append(f"{page.url} offers {method} {address}, which is refused")
    return pages, writes, wrong


@pytest.mark.parametrize("role", list(Role))
def test_an_empty_project_offers_what_its_reader_may_do(role: Role) -> None:
    """Where nothing is yet, pages say how the first comes to be: to those who may make it."""
    client = Client()
    client.force_login(factories.member(Project.objects.create(name="demo"), "ada", role))
    pages, writes, wrong = offered(client)
    assert not wrong, "\n".join(wrong)
    assert len(pages) > 8
    # The reference tells what the API can do at all; it offers nothing to this reader.
    writes -= {("curl", "/api/docs/")}
    made = {address for method, address in writes if method == "curl" or address.startswith("/p/")}
    assert bool(made) is (role is not Role.VIEWER), f"{role} is offered {sorted(made)}"


@pytest.mark.parametrize("role", list(Role))
def test_a_page_offers_what_its_reader_may_do(role: Role, project: Project) -> None:
    client = Client()
    client.force_login(factories.member(project, "ada", role))
    pages, writes, wrong = offered(client)
    assert not wrong, "\n".join(wrong)
    assert len(pages) > 25
    made = {address for _, address in writes if address.startswith("/p/")}
    assert bool(made) is (role is not Role.VIEWER), f"{role} is offered {sorted(made)}"
