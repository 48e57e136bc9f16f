"""Every page holds the longest names that are legal: nothing hangs off the screen, and what is cut is said whole."""

import re
from collections.abc import Iterator
from html import unescape
from itertools import chain
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, expect

from apps.core.states import Role
from apps.deployments.models import Placement, Target
from apps.experiments.models import Trace
from tests import factories, worst
from tests.architecture.urls import every_url
from tests.worst import Worst

# Text that leaves the screen, text that is cut without a sign of it, and cells that are wider than a screen.
MEASURE = """() => {
  const said = (e) => `${e.tagName} ${e.className}: ${e.textContent.trim().slice(0, 30)}`;
  const bad = [];
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) bad.push(`the page is ${wide} px too wide`);
  for (const e of document.querySelectorAll("#tokens td button")) {
    if (e.getBoundingClientRect().right > innerWidth) bad.push(`to be scrolled for: ${said(e)}`);
  }
  for (const e of document.querySelectorAll(".scroll:has(> :is(.activity, .folding))")) {
    if (e.scrollWidth > e.clientWidth + 1) bad.push(`scrolls sideways: ${said(e)}`);
  }
  for (const e of document.querySelectorAll(".scroll > table")) {
    const row = e.querySelector("tbody tr"), left = e.parentElement.clientWidth - (row ? row.offsetWidth : 1e9);
    if (left > 1) bad.push(`leaves ${left} px of its card empty: ${said(e)}`);
  }
  for (const e of document.querySelectorAll("main *, .top *, .rail *")) {
    if (!(e instanceof HTMLElement) || e.closest(".sr-only, pre, select, .chart")) continue;
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (!box.width || style.visibility === "hidden") continue;
    const ended = getComputedStyle(e.parentElement).textOverflow === "ellipsis";
    const beyond = box.right > innerWidth + 1 && !ended;
    if (beyond && !e.closest(".scroll, .tabs, .rail")) bad.push(`off the screen: ${said(e)}`);
    if (e.matches("td, th") && box.width > innerWidth) bad.push(`wider than the screen: ${said(e)}`);
    const text = [...e.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const cut = text && style.overflowX === "hidden" && e.scrollWidth > e.clientWidth + 1;
    if (cut && style.textOverflow !== "ellipsis" && style.webkitLineClamp === "none") bad.push(`cut off: ${said(e)}`);
    const open = text && style.overflowX === "visible" && style.display !== "inline" && e.clientWidth;
    if (open && e.scrollWidth > e.clientWidth + 2) bad.push(`over the edge: ${said(e)}`);
  }
  return bad;
}"""

HTML = "text/html; charset=utf-8"
NO_PAGES = {"core:events", "core:home", "core:login", "core:logout"}


def addresses(made: Worst) -> Iterator[tuple[str, str]]:
    """Each page of the dashboard, by name, about what is worst."""
    run, deployment = made.runs[0], made.project.deployments.get()
    model = made.project.registered_models.get()
    shared = {"project": made.project.name}
    about: dict[str, dict[str, Any]] = {
        "core": {**shared, "pk": 1},
        "clusters": {"name": made.pod.cluster.name, "node": made.pod.node_name, "namespace": made.pod.namespace}
        | {"pod": made.pod.name},
        "deployments": {**shared, "name": deployment.name, "pod": made.pod.name, "revision": 1}
        | {"word": "promote", "pk": 1, "target": "t", "number": deployment.revisions.latest("number").number},
        "experiments": {**shared, "uid": made.runs[1].uid, "name": run.experiment.name, "path": "model/MLmodel"}
        | {"model": "m", "alias": "a", "ident": "0" * 32},
    }
    compare = reverse("experiments:compare", args=[made.project.name])
    for url in every_url():
        space = url.name.partition(":")[0]
        if space in about and url.name not in NO_PAGES:
            values = {name: about[space][name] for name in url.params}
            if url.name.startswith("experiments:model") and "name" in values:
                values["name"] = model.name
            if url.name == "experiments:trace":
                values["uid"] = Trace.objects.get().uid
            yield url.name, reverse(url.name, kwargs=values)
    yield "experiments:run, with everything", reverse("experiments:run", args=[made.project.name, run.uid])
    yield "clusters:detail, unreachable", reverse("clusters:detail", args=[made.cluster.name])
    yield "experiments:compare, of two", compare + "?" + "&".join(f"run={each.uid}" for each in made.runs[:2])
    yield "core:search, with results", reverse("core:search") + f"?q={worst.WIDE * 2}"


def with_late_parts(client: Client, html: str) -> tuple[str, int]:
    """The page with the parts that it fetches once it is there, each before the element that fetches it."""
    late = 0
    for tag in re.findall(r"<[a-z]+ [^>]*hx-trigger=\"load[^>]*>", html):
        address = re.search(r'hx-get="([^"]*)"', tag)
        assert address is not None, tag
        answer = client.get(unescape(address[1]), headers={"HX-Request": "true"})
        assert answer.status_code == 200, address[1]
        html = html.replace(tag, answer.content.decode() + tag, 1)
        late += 1
    return html, late


def lost(made: Worst, reader: Client) -> Iterator[tuple[str, str, Client, int]]:
    """The overview once more, as soon as it is asked for: where one of two targets of what serves can't be asked."""
    target = Target.objects.create(
        project=made.project, name="lost", cluster=made.cluster, namespace="lost", environment="production"
    )
    served = made.project.deployments.get()
    Placement.objects.create(deployment=served, target=target, health="Unknown", desired_replicas=1, ready_replicas=1)
    yield "a lost target", reverse("core:overview", args=[made.project.name]), reader, 200


@pytest.fixture
def made(transactional_db: None) -> Worst:
    return worst.longest()


def test_the_longest_names_fit_on_every_page(browser: Browser, web: str, made: Worst) -> None:
    client = Client()
    client.force_login(made.person)
    # What scripts add is not longer, and takes most of the time.
    context = browser.new_context(base_url=web, java_script_enabled=False)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": web}])
    page = context.new_page()
    served: dict[str, str] = {}
    page.route(
        lambda url: url in served, lambda route: route.fulfill(body=served[route.request.url], content_type=HTML)
    )
    wrong, seen, late = [], 0, 0
    viewer = Client()
    viewer.force_login(factories.member(made.project, role=Role.VIEWER))
    asked = [(name, address, client, 200) for name, address in addresses(made)]
    asked.append(("refused", reverse("experiments:launch", args=[made.project.name]) + "?", viewer, 403))
    for name, address, reader, status in chain(asked, lost(made, client)):
        answer = reader.get(address)
        if answer.status_code != status or answer.streaming or b"<html" not in answer.content:
            assert status == 200, name
            continue
        html, parts = with_late_parts(reader, answer.content.decode())
        late += parts
        page.set_viewport_size({"width": 1440, "height": 900})
        served[urljoin(web, address)] = html
        page.goto(address)
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            wrong += [f"{name} at {width}: {each}" for each in page.evaluate(MEASURE)]
        seen += 1
    assert not wrong, "\n".join(wrong)
    assert seen >= 25
    assert late >= 8
    context.close()


def test_what_is_cut_says_itself_whole_to_keyboard_and_touch(browser: Browser, web: str, made: Worst) -> None:
    client = Client()
    client.force_login(made.person)
    context = browser.new_context(base_url=web, has_touch=True, viewport={"width": 390, "height": 900})
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": web}])
    page = context.new_page()
    page.goto(reverse("experiments:list", args=[made.project.name]))
    name = made.runs[0].experiment.name
    row, tip = page.locator("tbody tr").first, page.locator(".tip")
    link = row.get_by_role("link").first
    page.keyboard.press("Tab")
    link.focus()
    expect(tip).to_contain_text(name)
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.goto(reverse("core:settings"))
    page.locator("#tokens td.one").first.tap()
    expect(tip).to_contain_text(worst.wide(100))
    context.close()
