"""Usage through the doors that people use: the page, the cards, REST, the admin panel."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.clusters.models import Cluster, Pod
from apps.clusters.usage import charts, history, namespaces, partitions, rollup
from apps.clusters.usage.consumption import Consumption
from apps.clusters.usage.history import Span
from apps.clusters.usage.levels import DAY, LEVELS, RAW, floor
from apps.clusters.usage.models import UsagePlace, UsagePrice, UsageSeries
from apps.clusters.usage.spending import By, Period, spending
from apps.core.access import Principal
from apps.core.models import AuditEntry, Project, User
from apps.core.states import Role
from tests import factories
from tests.clusters import usage_history

pytestmark = pytest.mark.django_db

GIB = 1024**3


@pytest.fixture(autouse=True)
def empty_tables(db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(level.table for level in LEVELS)}")
    yield


@pytest.fixture
def now() -> datetime:
    return partitions.clock()


def old_project(name: str) -> Project:
    """A project as old as its history."""
    made = Project.objects.create(name=name)
    Project.objects.filter(pk=made.pk).update(created_at=timezone.now() - timedelta(days=1))
    return made


@pytest.fixture
def project() -> Project:
    return old_project("search")


@pytest.fixture
def cluster(project: Project) -> Cluster:
    """Two replicas and a run of `search`, one pod of `secret`, one of nobody's; two hours of history."""
    made = factories.cluster("eu", nodes=2, has_metrics=True)
    for _ in range(2):
        factories.pod(made, project, deployment="ranker", requests_cpu_m=4000, used_cpu_m=500, requests_gpu=1)
    factories.pod(made, project, run="17", name="trial")
    factories.pod(made, old_project("secret"), deployment="spy", name="spy-1")
    factories.pod(made, None, namespace="kube-system", name="dns")
    return made


@pytest.fixture
def measured(cluster: Cluster, now: datetime) -> Cluster:
    for minutes in range(121, 0, -3):
        usage_history.sample_now(cluster, now - timedelta(minutes=minutes))
    rollup.run(now)
    usage_history.sample_now(cluster, now)
    return cluster


@pytest.fixture
def viewer(client: Client, project: Project) -> Client:
    client.force_login(factories.member(project, "vera", Role.VIEWER))
    return client


@pytest.fixture
def root(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


# The page


def test_a_curve_is_headed_by_what_its_newest_sample_measured(now: datetime) -> None:
    def latest(*used: float | None) -> float | None:
        asked = (4000.0, 4000.0, None)
        at = [now + number * timedelta(seconds=30) for number in range(3)]
        return history.Curve(Span.HOUR, now, now, at, {"asked_cpu_m": asked, "used_cpu_m": used}).latest("used_cpu_m")

    assert latest(100.0, 250.0, None) == 250.0, "nothing was sampled in the last bin"
    assert latest(100.0, None, None) is None, "the newest sample did not measure it"
    assert history.Curve(Span.HOUR, now, now).latest("used_cpu_m") is None


def test_the_page_says_first_who_asks_for_much_and_uses_little(viewer: Client, measured: Cluster) -> None:
    text = viewer.get("/usage/?by=deployment").content.decode()
    assert "<h1>ranker asks for" in text and "not measured" not in text
    assert ">spy<" not in text and "secret" not in text
    assert 'data-chart="asked-and-used-figure"' in text and "no price set" in text


def test_a_platform_administrator_sees_every_project(root: Client, measured: Cluster) -> None:
    text = root.get("/usage/").content.decode()
    assert ">search</a>" in text and ">secret</a>" in text
    only = root.get("/usage/?by=deployment&project=secret").content.decode()
    assert ">spy<" in only and "ranker" not in only


def test_a_project_that_one_can_t_see_is_not_found(viewer: Client, measured: Cluster) -> None:
    assert viewer.get("/usage/?project=secret").status_code == 404
    assert viewer.get("/api/v1/usage?project=secret").status_code == 404


def test_the_empty_page_says_what_will_come(viewer: Client) -> None:
    text = viewer.get("/usage/").content.decode()
    assert "Nothing measured yet" in text and "<table" not in text


def test_without_metrics_what_is_asked_for_is_still_told(viewer: Client, cluster: Cluster, now: datetime) -> None:
    Pod.objects.update(used_cpu_m=None, used_memory_b=None)
    for minutes in range(10, 0, -1):
        usage_history.sample_now(cluster, now - timedelta(minutes=minutes))
    rollup.run(now)
    text = viewer.get("/usage/").content.decode()
    assert "no metrics-server answers" in text and "not measured" in text


def test_words_that_mean_nothing_are_the_default(viewer: Client, measured: Cluster) -> None:
    assert viewer.get("/usage/?by=x&period=y&sort=z").status_code == 200


@pytest.mark.parametrize("part", ["verdict", "body"])
def test_each_part_is_a_fragment(viewer: Client, measured: Cluster, part: str) -> None:
    text = viewer.get(f"/usage/?part={part}").content.decode()
    assert "<html" not in text and 'hx-trigger="hint"' in text


# Consumption


def admin() -> Principal:
    return Principal(user=User.objects.get_or_create(username="boss", is_superuser=True)[0])


def test_hours_are_those_that_were_sampled(measured: Cluster, now: datetime) -> None:
    spent = spending(admin(), by=By.DEPLOYMENT, now=now)
    ranker = next(row for row in spent.rows if row.name == "ranker")
    # Forty samples of 15 s, whatever lies between them.
    samples = 41
    assert ranker.cpu.asked == pytest.approx(8 * samples * 15 / 3600, rel=0.04)
    assert ranker.cpu.used == pytest.approx(1 * samples * 15 / 3600, rel=0.04)
    assert ranker.gpu_hours == pytest.approx(2 * samples * 15 / 3600, rel=0.04)
    assert ranker.memory.asked == pytest.approx(0.5 * samples * 15 / 3600, rel=0.04)


@pytest.mark.parametrize("minutes", [10, 55, 61, 300, 1425])
def test_who_came_two_hours_ago_has_not_been_idle_since_midnight(cluster: Cluster, now: datetime, minutes: int) -> None:
    """At any time of a day: a day that has just ended is kept as one row, which begins at its midnight."""
    end = floor(now, DAY.step) - DAY.step + timedelta(minutes=minutes)
    for before in range(120, -1, -10):
        usage_history.sample_now(cluster, end - timedelta(minutes=before))
    rollup.run(end)
    for period in Period:
        since = spending(admin(), by=By.DEPLOYMENT, period=period, now=end).since
        assert since is not None and end - timedelta(hours=3) < since, period


def test_consumption_survives_pods_nodes_and_clusters(measured: Cluster, now: datetime) -> None:
    before = spending(admin(), by=By.DEPLOYMENT, now=now).rows
    Cluster.objects.all().delete()
    assert not Pod.objects.exists()
    assert spending(admin(), by=By.DEPLOYMENT, now=now).rows == before


def test_a_new_project_does_not_see_what_one_of_its_name_had(
    client: Client, measured: Cluster, project: Project, now: datetime
) -> None:
    project.delete()
    gone = next(row for row in spending(admin(), now=now).rows if row.name == "search")
    assert gone.cpu.asked and gone.url == "", "who pays still sees it, without a link to nowhere"
    client.force_login(factories.member(Project.objects.create(name="search"), "nora"))
    text = client.get("/usage/?by=deployment").content.decode()
    assert "No deployment held anything" in text and "ranker" not in text


def test_a_run_counts_for_its_experiment(cluster: Cluster, project: Project, now: datetime) -> None:
    from apps.experiments.models import Experiment

    run = factories.run(Experiment.objects.create(project=project, name="digits"))
    foreign = factories.run(Experiment.objects.create(project=Project.objects.create(name="other"), name="theirs"))
    Pod.objects.filter(name="trial").update(run=str(run.pk))
    factories.pod(cluster, project, run=str(foreign.pk), name="forged")
    for minutes in (3, 2):
        usage_history.sample_now(cluster, now - timedelta(minutes=minutes))
    rollup.run(now)
    rows = {row.name: row for row in spending(admin(), by=By.EXPERIMENT, now=now).rows}
    assert set(rows) == {"digits", "deleted experiments"}, "a label does not make a run another project's"
    assert rows["digits"].url == "/p/search/experiments/digits/"


def test_a_deployment_that_is_gone_has_no_link(viewer: Client, measured: Cluster) -> None:
    text = viewer.get("/usage/?by=deployment").content.decode()
    assert ">ranker</span>" in text and "/p/search/deployments/ranker/" not in text


def test_a_period_of_days_begins_at_midnight(now: datetime) -> None:
    assert Period.WEEK.start(now).hour == 0 and now - Period.WEEK.start(now) >= timedelta(days=7)
    assert timedelta(hours=24) <= now - Period.DAY.start(now) < timedelta(hours=25)


# Prices


def price_form(**values: str) -> dict[str, str]:
    return {
        "name": "a100", "labels": "pool=a100", "cpu_core_hour": "0.04", "memory_gib_hour": "0.005", "gpu_hour": "2",
        "currency": "EUR",
    } | values  # fmt: skip


def test_an_administrator_sets_a_price_and_costs_appear(root: Client, measured: Cluster) -> None:
    UsagePlace.objects.update(labels={"pool": "a100"})
    answer = root.post(reverse("admin:clusters_usageprice_add"), price_form())
    assert answer.status_code == 302, answer.content.decode()[:2000]
    assert UsagePrice.objects.get().labels == {"pool": "a100"}
    entry = AuditEntry.objects.get(action="price.set")
    assert entry.after["gpu_hour"] == "2" and entry.before is None
    assert "EUR" in root.get("/usage/?by=deployment").content.decode()

    price = UsagePrice.objects.get()
    changed = root.post(reverse("admin:clusters_usageprice_change", args=[price.pk]), price_form(gpu_hour="3"))
    assert changed.status_code == 302
    entry = AuditEntry.objects.filter(action="price.set").latest("id")
    assert Decimal(entry.before["gpu_hour"]) == 2 and Decimal(entry.after["gpu_hour"]) == 3
    root.post(reverse("admin:clusters_usageprice_delete", args=[price.pk]), {"post": "yes"})
    assert not UsagePrice.objects.exists() and AuditEntry.objects.filter(action="price.delete").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gpu_hour": "-1"}, "A price is a number from 0 on."),
        ({"currency": "12"}, "Which currency?"),
        ({"labels": "pool"}, "is not of the form name=value"),
        ({"name": "again"}, "is there already for these nodes"),
    ],
)
def test_what_is_no_price_is_said_beside_the_field(root: Client, values: dict[str, str], said: str) -> None:
    root.post(reverse("admin:clusters_usageprice_add"), price_form())
    answer = root.post(
        reverse("admin:clusters_usageprice_add"),
        price_form(**({"name": "n", "labels": ""} | values)) if "name" not in values else price_form(**values),
    )
    assert answer.status_code == 200 and said in answer.content.decode()
    assert UsagePrice.objects.count() == 1


def test_only_platform_administrators_see_prices(viewer: Client) -> None:
    User.objects.update(is_staff=True)
    assert viewer.get(reverse("admin:clusters_usageprice_changelist")).status_code == 403


# REST


def test_rest_gives_the_same_rows(viewer: Client, measured: Cluster) -> None:
    answer = viewer.get("/api/v1/usage?by=deployment&period=7d&ordering=-idle").json()
    assert answer["by"] == "deployment" and answer["period"] == "7d" and answer["since"] < answer["until"]
    [row] = answer["results"]
    assert (row["project"], row["name"], row["costs"], row["unpriced"]) == ("search", "ranker", {}, True)
    assert row["cpu"]["requested_hours"] == pytest.approx(8 * 41 * 15 / 3600, rel=0.04) and row["cpu"][
        "share"
    ] == pytest.approx(0.125)


@pytest.mark.parametrize("query", ["by=x", "period=1y", "ordering=taste"])
def test_rest_refuses_words_that_mean_nothing(viewer: Client, query: str) -> None:
    answer = viewer.get(f"/api/v1/usage?{query}")
    said = " ".join(str(answer.json().get(key)) for key in ("detail", "hint"))
    assert answer.status_code == 400 and "one of" in said.lower(), said


# Cards


@pytest.mark.parametrize(
    "path",
    ["/clusters/eu/usage/", "/clusters/eu/nodes/eu-node-1/usage/", "/clusters/eu/pods/flotilla-search/trial/usage/"],
)
@pytest.mark.parametrize("span", ["1h", "24h", "30d"])
def test_a_card_draws_curves_with_their_table(viewer: Client, measured: Cluster, path: str, span: str) -> None:
    text = viewer.get(f"{path}?span={span}").content.decode()
    assert 'id="usage"' in text and "<html" not in text
    assert 'data-chart="usage-cpu-figure"' in text and 'data-chart="usage-memory-figure"' in text
    assert "As a table" in text and ">requested</th>" in text


def test_a_pod_that_one_can_t_see_has_no_card(viewer: Client, measured: Cluster) -> None:
    assert viewer.get("/clusters/eu/pods/flotilla-secret/spy-1/usage/").status_code == 404
    assert viewer.get("/clusters/eu/nodes/nowhere/usage/").status_code == 404


def test_cards_say_what_is_missing(root: Client, cluster: Cluster, now: datetime) -> None:
    assert "Nothing measured yet" in root.get("/clusters/eu/usage/").content.decode()
    Cluster.objects.update(has_metrics=False, synced_at=now)
    cluster.nodes.update(used_cpu_m=None, used_memory_b=None)
    usage_history.sample_now(cluster, now)
    assert "eu has no metrics-server" in root.get("/clusters/eu/usage/").content.decode()
    usage_history.sample_now(cluster, now + timedelta(seconds=15))
    assert "no history of its own" in root.get("/clusters/eu/pods/kube-system/dns/usage/").content.decode()


def test_cards_of_a_cluster_that_is_cut_off_are_grey_and_say_since_when(viewer: Client, measured: Cluster) -> None:
    Cluster.objects.update(state="Unreachable")
    for path in ("/clusters/eu/usage/", "/clusters/eu/namespaces/"):
        text = viewer.get(path).content.decode()
        assert 'class="card stale"' in text and "as of" in text


def test_a_gap_stays_a_gap(cluster: Cluster, now: datetime) -> None:
    for minutes in (50, 49, 10, 9):
        usage_history.sample_now(cluster, now - timedelta(minutes=minutes))
    curve = history.of_cluster(cluster, Span.HOUR, now)
    asked = curve.values["asked_cpu_m"]
    assert len(curve.at) == 83 and sum(value is not None for value in asked) == 4
    assert asked[0] == asked[-1] == 8750 and asked[40] is None


def test_namespaces_by_what_they_hold(measured: Cluster, project: Project, now: datetime) -> None:
    rows = namespaces.namespaces_of(measured, admin(), now)
    assert [row.name for row in rows] == ["flotilla-search", "flotilla-secret", "kube-system"]
    assert (rows[0].project, rows[0].pods, rows[0].asked_cpu_m, rows[0].used_cpu_m) == ("search", 3, 8250, 1100)
    assert rows[0].asked_hours == pytest.approx(8.25 * 41 * 15 / 3600, rel=0.04)
    mine = namespaces.namespaces_of(measured, Principal(user=factories.member(project, "eve")), now)
    assert [(row.name, row.count, row.pods) for row in mine] == [("flotilla-search", 1, 3), ("", 2, 2)]


def test_a_namespace_that_holds_nothing_any_more_is_listed_for_a_day(measured: Cluster, now: datetime) -> None:
    Pod.objects.filter(project="secret").delete()
    rows = namespaces.namespaces_of(measured, admin(), now)
    assert [(row.name, row.project, row.pods) for row in rows][-1] == ("flotilla-secret", "secret", 0)
    assert rows[-1].asked_hours > 0
    assert len(namespaces.namespaces_of(measured, admin(), now + timedelta(days=2))) == 2


def test_names_in_the_chart_are_no_markup_and_leave_room_for_the_bars() -> None:
    made = charts.asked_and_used([Consumption("search", "<b>digits</b>")])
    assert made.layout.yaxis.ticktext == ("&lt;b&gt;digits&lt;/b&gt;",) == made.data[0].customdata
    long = "a-deployment-with-quite-a-long-name"
    made = charts.asked_and_used([Consumption("search", long)])
    assert made.layout.yaxis.ticktext == ("a-deploymen…a-long-name",) and made.data[0].customdata == (long,)


def test_the_card_of_namespaces_names_only_what_the_viewer_may_see(viewer: Client, measured: Cluster) -> None:
    text = viewer.get("/clusters/eu/namespaces/").content.decode()
    assert "flotilla-search" in text and "2 others" in text
    assert "secret" not in text and "kube-system" not in text


def test_a_filled_history_covers_every_level(measured: Cluster, now: datetime) -> None:
    written = usage_history.fill(now=now, step_factor=20)
    assert all(written.values()), written
    assert UsageSeries.objects.exists() and RAW.table in written
