"""The pages of clusters live in a real browser: what the watcher writes shows up in place, and squares fade."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone
from playwright.sync_api import Page, expect

from apps.clusters import services
from apps.clusters.kube import pool
from apps.clusters.models import Cluster, Node, Pod
from apps.core import hints
from apps.core.access import Principal
from apps.core.models import Project, User
from tests import factories
from tests.clusters import fakeapi
from tests.clusters.fakeapi import FakeApi
from tests.clusters.watching import FAST, Watching
from tests.frontend.conftest import Opener

LIVE = "[data-live-switch]"
NODE = "/clusters/demo-cluster/nodes/demo-cluster-node-1/"
PAGES = ["/clusters/", "/clusters/?group=provider", "/clusters/demo-cluster/", NODE, "/clusters/demo-cluster/events/"]
NARROW = {"width": 390, "height": 844}


@pytest.fixture
def cluster(project: Project) -> Cluster:
    return Cluster.objects.get(name="demo-cluster")


def changed(cluster: Cluster) -> None:
    """Tell pages, as the watcher does after it has written."""
    hints.publish([("clusters", None), (f"cluster:{cluster.pk}", None)])


def is_live(page: Page) -> None:
    expect(page.locator(LIVE)).to_have_attribute("data-state", "live")
    # Upon the stream's hello everything is fetched once.
    page.wait_for_load_state("networkidle")
    page.evaluate("window.marker = true")


def not_reloaded(page: Page) -> None:
    assert page.evaluate("window.marker === true"), "the page was loaded anew"


def cut_off(cluster: Cluster) -> None:
    seen = timezone.now() - timedelta(minutes=7)
    message = "The API server did not answer within 5 s."
    Cluster.objects.filter(pk=cluster.pk).update(state="Unreachable", last_seen_at=seen, message=message)
    changed(cluster)


def test_the_fleet_shows_a_cluster_that_is_cut_off_grey_with_since(open_page: Opener, cluster: Cluster) -> None:
    page = open_page("/clusters/")
    is_live(page)
    row = page.locator(f"#cluster-{cluster.pk}")
    expect(row.locator(".status").first).to_have_text("Healthy")
    cut_off(cluster)
    expect(page.get_by_role("heading", level=1)).to_have_text("One cluster can't be reached")
    expect(row).to_have_class("stale")
    expect(row).to_contain_text("since")
    expect(row).to_contain_text("7 min")
    expect(page).to_have_title("One cluster can't be reached · Clusters · Flotilla")
    not_reloaded(page)


def test_the_fleet_counts_a_pod_that_appears_and_one_that_fails(
    open_page: Opener, cluster: Cluster, project: Project
) -> None:
    page = open_page("/clusters/")
    is_live(page)
    pods = page.locator(f"#cluster-{cluster.pk} td").nth(3)
    before = int(pods.inner_text().split()[0])
    factories.pod(cluster, project, health="Degraded", reason="OOMKilled", ready=False)
    changed(cluster)
    expect(pods).to_contain_text(str(before + 1))
    expect(pods).to_contain_text("failing")
    expect(page.locator("#troubles")).to_contain_text("OOMKilled")
    not_reloaded(page)


def test_a_pod_appears_and_changes_on_the_page_of_its_cluster(
    open_page: Opener, cluster: Cluster, project: Project
) -> None:
    page = open_page("/clusters/demo-cluster/")
    is_live(page)
    pod = factories.pod(cluster, project, name="newcomer", health="Progressing", reason="ContainerCreating")
    changed(cluster)
    square = page.locator(f"#pod-{pod.pk} a")
    expect(square).to_have_attribute("title", "flotilla-demo/newcomer: ContainerCreating")
    Pod.objects.filter(pk=pod.pk).update(health="Healthy", reason="Running")
    changed(cluster)
    expect(square).to_have_attribute("title", "flotilla-demo/newcomer: Ready")
    Pod.objects.filter(pk=pod.pk).update(deleted_at=timezone.now())
    changed(cluster)
    expect(square).to_have_count(0)
    not_reloaded(page)


def test_the_page_of_a_cluster_says_why_a_pod_fails_and_stops_when_it_is_well(
    open_page: Opener, cluster: Cluster, project: Project
) -> None:
    status = {"containers": [{"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
    pod = factories.pod(
        cluster, project, name="newcomer", health="Degraded", reason="ImagePullBackOff", ready=False, status=status
    )
    page = open_page("/clusters/demo-cluster/")
    why = page.locator("#whys .why", has_text="newcomer")
    expect(why).to_contain_text("image")
    is_live(page)
    Pod.objects.filter(pk=pod.pk).update(health="Healthy", reason="Running", ready=True)
    changed(cluster)
    expect(why).to_have_count(0)
    not_reloaded(page)


def test_a_cluster_that_is_cut_off_greys_out_and_says_since_when(open_page: Opener, cluster: Cluster) -> None:
    page = open_page("/clusters/demo-cluster/")
    is_live(page)
    cut_off(cluster)
    expect(page.locator("#verdict")).to_contain_text("cut off since")
    for part in ("facts", "pods", "nodes", "events"):
        expect(page.locator(f"#{part}.stale")).to_have_count(1)
        expect(page.locator(f"#{part} time.old").first).to_contain_text("as of 7 min ago")
    assert page.locator("#pods .pods").evaluate("list => getComputedStyle(list).filter") == "grayscale(1)"
    not_reloaded(page)


def test_a_node_shows_its_state_and_pods_live(open_page: Opener, cluster: Cluster, project: Project) -> None:
    page = open_page(NODE)
    is_live(page)
    pod = factories.pod(cluster, project, name="guest", requests_cpu_m=1000)
    changed(cluster)
    expect(page.locator(f"#pod-{pod.pk}")).to_contain_text("guest")
    message = "The kubelet has disk pressure."
    Node.objects.filter(name="demo-cluster-node-1").update(health="Degraded", reason="DiskPressure", message=message)
    changed(cluster)
    expect(page.locator("#verdict")).to_contain_text(message)
    not_reloaded(page)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()
    pool._forget_all()


def test_what_an_api_server_tells_comes_to_the_page(open_page: Opener, person: User, api: FakeApi) -> None:
    Cluster.objects.update(enabled=False)  # made by factories: there is no API server behind it
    for name in ("n1", "n2"):
        api.put("nodes", fakeapi.node(name))
    services.register(principal=Principal(user=person), name="staged", kubeconfig_text=api.kubeconfig)
    watching = Watching(FAST)
    try:
        page = open_page("/clusters/staged/")
        expect(page.locator("#verdict .status")).to_have_text("Healthy")
        is_live(page)
        for number in range(3):
            api.put("pods", fakeapi.pod(f"quick-{number}"))
            expect(page.locator(f'#pod-squares a[title^="flotilla-demo/quick-{number}:"]')).to_be_visible()
        api.remove("pods", "quick-2")
        expect(page.locator('#pod-squares a[title^="flotilla-demo/quick-2:"]')).to_have_count(0)
        api.answer_nothing = True
        expect(page.locator("#verdict")).to_contain_text("cut off since")
        expect(page.locator("#pods.stale")).to_have_count(1)
        api.answer_nothing = False
        expect(page.locator("#pods.stale")).to_have_count(0)
        not_reloaded(page)
    finally:
        api.answer_nothing = False
        watching.stop()


def test_squares_fade_while_one_types_and_stay_faded_through_updates(
    open_page: Opener, cluster: Cluster, project: Project
) -> None:
    wanted = factories.pod(cluster, project, name="needle-1")
    page = open_page("/clusters/demo-cluster/")
    is_live(page)
    squares = page.locator("#pod-squares li")
    total = squares.count()
    page.locator("#pods-filter").press_sequentially("demo NEEDLE")
    expect(page.locator("#pod-squares li.faded")).to_have_count(total - 1)
    expect(page.locator(f"#pod-{wanted.pk}")).not_to_have_class("faded")
    expect(page.get_by_text(f"1 of {total} shown matches")).to_be_visible()
    factories.pod(cluster, project, name="needle-2")
    changed(cluster)
    expect(page.get_by_text(f"2 of {total + 1} shown match")).to_be_visible()
    expect(page.locator("#pods-filter")).to_have_value("demo NEEDLE")
    expect(page.locator("#pods-filter")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/clusters/demo-cluster/?pod=demo+NEEDLE")
    expect(squares).to_have_count(2)
    expect(page.locator("#pod-squares li.faded")).to_have_count(0)


def test_squares_are_one_stop_and_the_arrows_move_among_them(
    open_page: Opener, cluster: Cluster, project: Project
) -> None:
    for number in range(3):
        factories.pod(cluster, project, name=f"walk-{number}")
    page = open_page("/clusters/demo-cluster/")
    is_live(page)
    page.locator("#pods-filter").press_sequentially("walk-")
    focused = "document.activeElement.title.split(':')[0]"
    page.evaluate("document.querySelector('#pod-squares a[tabindex=\"0\"]').focus()")
    assert page.evaluate(focused) == "flotilla-demo/walk-0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "flotilla-demo/walk-2", "those that faded are passed over"
    page.keyboard.press("Home")
    assert page.evaluate(focused) == "flotilla-demo/walk-0"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#pod-squares') === null"), "all of them are one stop"


def test_choosing_a_label_filters_and_the_chip_takes_it_away(open_page: Opener, cluster: Cluster) -> None:
    for number in range(4):
        factories.cluster(f"other-{number}", nodes=1)
    Cluster.objects.filter(pk=cluster.pk).update(labels={"region": "eu"})
    page = open_page("/clusters/")
    page.get_by_label("Filter by label").select_option("region=eu")
    page.wait_for_url("**/clusters/?label=region%3Deu")
    expect(page.locator("table.fleet a.name")).to_have_text(["demo-cluster"])
    page.get_by_label("No longer filter by region=eu").click()
    expect(page.locator("#rows table.fleet a.name")).to_have_count(5)


def test_a_flood_of_changes_is_one_fetch_a_second_for_each_panel(open_page: Opener, cluster: Cluster) -> None:
    page = open_page("/clusters/demo-cluster/")
    is_live(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "part=" in request.url else None)
    started = time.monotonic()
    while time.monotonic() < started + 3:
        changed(cluster)
        page.wait_for_timeout(10)
    seconds = time.monotonic() - started
    for part in ("verdict", "facts", "nodes", "events", "conditions"):
        count = sum(f"part={part}" in url for url in asked)
        assert 1 <= count <= seconds + 2, f"{part} was fetched {count} times in {seconds:.1f} s"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_pages_of_clusters(open_page: Opener, cluster: Cluster, scheme: str) -> None:
    factories.cluster("gone", state="Unreachable")
    page = open_page(PAGES[0], color_scheme=scheme, reduced_motion="reduce")
    for path in [*PAGES, "/clusters/gone/"]:
        page.goto(path, wait_until="domcontentloaded")
        expect(page.locator(LIVE)).to_have_attribute("data-state", "live")
        broken = Axe().run(page).response["violations"]
        said = [f"{one['id']}: {node['html'][:160]}" for one in broken for node in one["nodes"]]
        assert said == [], f"{path} in {scheme}"


def test_a_copy_button_covers_nothing_of_the_command_on_a_narrow_screen(open_page: Opener) -> None:
    page = open_page("/_gallery", viewport=NARROW)
    boxes = page.locator(".code")
    expect(boxes.first).to_be_visible()
    for box in boxes.all():
        text, button = box.locator("pre").bounding_box(), box.get_by_role("button", name="Copy").bounding_box()
        assert text and button
        assert button["x"] >= text["x"] + text["width"], "the button stands beside what scrolls"
        assert button["x"] + button["width"] <= NARROW["width"]


def test_no_page_of_clusters_is_cut_off_on_a_narrow_screen(open_page: Opener, cluster: Cluster) -> None:
    page = open_page(PAGES[0], viewport=NARROW)
    for path in PAGES:
        page.goto(path, wait_until="domcontentloaded")
        expect(page.locator(LIVE)).to_have_attribute("data-state", "live")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
