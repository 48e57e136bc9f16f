"""The check page in a browser: it runs and says so, changes in place, follows others' checks, and is accessible."""

from collections.abc import Iterator

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from apps.clusters import services
from apps.clusters.models import Cluster, Reach
from apps.core.access import Principal
from apps.core.models import User
from apps.core.work.kinds import Lane
from apps.core.work.worker import drain
from controlplane.embedded.waiting import wait_for
from tests.clusters.fakeapi import FakeApi
from tests.frontend.conftest import Opener
from tests.frontend.test_browser import NARROW, ready, violations

PAGE = "/clusters/gke-eu/check/"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()


@pytest.fixture
def cluster(person: User, api: FakeApi) -> Cluster:
    return services.register(principal=Principal(user=person), name="gke-eu", kubeconfig_text=api.kubeconfig)


def check() -> None:
    """What a worker does when the button has asked."""
    assert drain(Lane.PERSON)


def test_checking_again_changes_the_page_in_place(open_page: Opener, cluster: Cluster, api: FakeApi) -> None:
    page = open_page(PAGE)
    ready(page)
    expect(page.get_by_text("Not checked yet").first).to_be_visible()
    page.evaluate("window.sameDocument = true")
    api.denied = {("create", "jobs")}
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("Asking the cluster")).to_be_visible()
    check()
    # It did not know of that, and asks once more a while later.
    wait_for(lambda: drain(Lane.PERSON), "the second look", timeout=15)
    expect(page.locator("#verdict").get_by_text("Permissions missing")).to_be_visible(timeout=30_000)
    expect(page.locator("#permissions").get_by_text("create", exact=True)).to_be_visible()
    expect(page.locator("#role mark").filter(has_text="jobs")).to_have_count(1)
    assert page.evaluate("window.sameDocument") is True
    api.denied = set()
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("Asking the cluster")).to_be_visible()
    check()
    expect(page.locator("#verdict").get_by_text("Everything works")).to_be_visible(timeout=30_000)


def test_a_check_that_takes_long_says_that_it_asks(open_page: Opener, cluster: Cluster, api: FakeApi) -> None:
    page = open_page(PAGE)
    ready(page)
    api.answer_nothing = True
    again = page.get_by_role("button", name="Check again")
    again.click()
    expect(page.get_by_text("Asking the cluster")).to_be_visible()
    expect(again).to_be_disabled()
    check()
    expect(page.locator("#verdict").get_by_text("did not answer in time")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Asking the cluster")).to_be_hidden()
    expect(again).to_be_enabled()


def test_a_check_that_somebody_else_runs_arrives_by_itself(
    open_page: Opener, cluster: Cluster, api: FakeApi, person: User
) -> None:
    page = open_page(PAGE)
    ready(page)
    api.groups = {"kueue.x-k8s.io": ["v1beta1"]}
    services.check_connection(principal=Principal(user=person), cluster=cluster)
    expect(page.locator("#engines").get_by_text("Kueue", exact=True)).to_be_visible(timeout=30_000)
    expect(page.locator("#verdict").get_by_text("Everything works")).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    open_page: Opener, cluster: Cluster, api: FakeApi, person: User, scheme: str
) -> None:
    api.denied, api.clock_ahead, api.groups = {("create", "jobs")}, 60.0, {"keda.sh": ["v1alpha1"]}
    services.check_connection(principal=Principal(user=person), cluster=cluster)
    page = open_page(PAGE, color_scheme=scheme, reduced_motion="reduce", expect_errors=True)
    ready(page)
    assert violations(page) == []
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_whether_pods_reach_us_is_asked_by_a_button_and_arrives_by_itself(
    open_page: Opener, cluster: Cluster, api: FakeApi
) -> None:
    page = open_page(PAGE)
    ready(page)
    card, button = page.locator("#reach"), page.get_by_role("button", name="Ask from a pod")
    expect(card.get_by_text("A short Job on the cluster can ask it")).to_be_visible()
    api.answer_nothing = True
    button.click()
    expect(card.get_by_text("A pod asks")).to_be_visible()
    expect(button).to_be_disabled()
    assert drain(Lane.PERSON)
    expect(card.get_by_text("could not ask", exact=True)).to_be_visible(timeout=30_000)
    expect(card.get_by_text("did not answer in time")).to_be_visible()
    expect(button).to_be_enabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_came_of_asking_is_accessible_and_fits(open_page: Opener, cluster: Cluster, scheme: str) -> None:
    words = "URLError: <urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " + "x" * 200
    Reach.objects.create(
        cluster=cluster, number=1, url="https://flotilla.example", image="curlimages/curl:8.11.1", outcome="TlsFailed",
        words=words, asked_at=timezone.now(), ended_at=timezone.now(),
    )  # fmt: skip
    page = open_page(PAGE, color_scheme=scheme, reduced_motion="reduce", expect_errors=True)
    ready(page)
    expect(page.locator("#reach").get_by_text("TLS failed")).to_be_visible()
    assert violations(page) == []
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
