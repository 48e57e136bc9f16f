"""What the fleet and node pages decide, by tables: filters of the address, order, groups, totals, sentences."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.http import QueryDict

from apps.clusters.models import Cluster
from apps.clusters.pages import fleet, nodes, verdicts
from apps.clusters.selectors import Asked, Brief, ClusterRow, Free, GpuUse, Room
from apps.clusters.selectors.squares import Square, draw, word
from apps.clusters.selectors.sums import together
from apps.core.pages.overview import Capacity
from apps.core.text.wording import moment_text

NOW = datetime(2026, 11, 25, 14, 2, tzinfo=UTC)


def cluster(name: str, state: str = "Healthy", **labels: str) -> Cluster:
    return Cluster(name=name, state=state, labels=labels, last_seen_at=NOW, conditions=[])


def row(name: str, state: str = "Healthy", *, asked: int = 0, total: int = 10, gpus: dict[str, int] | None = None,
        bad: int = 0, **labels: str) -> ClusterRow:  # fmt: skip
    uses = tuple(GpuUse(kind, Capacity(0, 0, count)) for kind, count in (gpus or {}).items())
    room = Room(nodes=1, nodes_ready=1, pods_bad=bad, cpu=Capacity(0, asked, total, "cpu"), gpus=uses)
    return ClusterRow(cluster(name, state, **labels), room)


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("", ["a", "b", "c"]),
        ("label=region=eu", ["a", "b"]),
        ("label=region=eu&label=provider=gcp", ["b"]),
        ("label=accelerator", ["c"]),
        ("state=Degraded", ["b"]),
        ("state=Nonsense", ["a", "b", "c"]),
        ("q=GCP", ["b"]),
        ("q=eu+a", ["a"]),
        ("label==&label=", ["a", "b", "c"]),
        ("label=region=nowhere", []),
    ],
)
def test_the_address_says_which_clusters(address: str, names: list[str]) -> None:
    rows = [
        cluster("a", region="eu", provider="aws"),
        cluster("b", "Degraded", region="eu", provider="gcp"),
        cluster("c", region="us", accelerator=""),
    ]
    query = fleet.parse(QueryDict(address))
    assert [one.name for one in rows if query.matches(one)] == names


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("", ["gone", "poor", "new", "a", "b", "off"]),
        ("name", ["a", "b", "gone", "new", "off", "poor"]),
        ("-name", ["poor", "off", "new", "gone", "b", "a"]),
        ("-cpu", ["b", "a", "gone", "new", "off", "poor"]),
        ("-failing", ["b", "a", "gone", "new", "off", "poor"]),
    ],
)
def test_trouble_comes_first_unless_another_order_is_asked_for(sort: str, names: list[str]) -> None:
    rows = [
        *(row("off", "Disabled"), row("a", asked=5), row("new", "Pending"), row("poor", "Degraded")),
        *(row("b", asked=9, bad=3), row("gone", "Unreachable")),
    ]
    assert [each.cluster.name for each in fleet.in_order(rows, sort)] == names


def test_groups_are_by_value_and_those_without_the_label_come_last() -> None:
    groups = fleet.grouped([row("a", region="us"), row("b"), row("c", region="eu"), row("d", region="us")], "region")
    assert [(group.value, [each.cluster.name for each in group.rows]) for group in groups] == [
        ("eu", ["c"]),
        ("us", ["a", "d"]),
        (None, ["b"]),
    ]


def test_most_is_free_where_one_pod_gets_most_of_it() -> None:
    rows = [row("gone", "Unreachable", total=100), row("many"), row("roomy", gpus={"amd.com/gpu": 4}), row("full")]
    for pk, one in enumerate(rows):
        one.cluster.pk = pk
    free = {
        0: {"cpu": Free(90, 90)},
        1: {"cpu": Free(50, 5)},
        2: {"cpu": Free(8, 8), "amd.com/gpu": Free(4, 2)},
        3: {"cpu": Free(0, 0), "memory": Free(0, 0)},
    }
    by_key = {total.key: total for total in fleet.totals(rows, together(one.room for one in rows), free)}
    assert by_key["cpu"].capacity.total == 130 and by_key["cpu"].roomiest is rows[2]
    assert by_key["cpu"].free == (8, 8), "small gaps are no room, nor is what can't be reached"
    assert by_key["amd.com/gpu"].label == "GPU amd" and by_key["amd.com/gpu"].free.on_one_node == 2
    assert by_key["memory"].roomiest is None, "nobody has any"


def test_slices_are_no_gpus() -> None:
    both = {"nvidia.com/gpu": 2, "nvidia.com/mig-1g.5gb": 14, "amd.com/gpu": 1, "nvidia.com/gpu.shared": 8}
    assert row("a", gpus=both).gpu.total == 3
    assert row("a", gpus={"nvidia.com/mig-1g.5gb": 14, "nvidia.com/mig-2g.10gb": 4}).gpu.total == 14
    assert row("a").gpu.total == 0


@pytest.mark.parametrize(
    ("states", "failing", "wanted"),
    [
        ({}, {}, ("Idle", "No cluster is registered yet")),
        ({"Disabled": ["a"]}, {}, ("Disabled", "Every cluster is disabled")),
        ({"Pending": ["a"]}, {}, ("Pending", "One cluster waits for the first look")),
        ({"Healthy": ["a"]}, {}, ("Healthy", "The cluster is healthy")),
        ({"Healthy": ["a", "b"], "Disabled": ["c"]}, {}, ("Healthy", "Both clusters are healthy")),
        ({"Healthy": ["a"], "Pending": ["b"]}, {}, ("Healthy", "1 of 2 clusters are healthy")),
        ({"Degraded": ["a"], "Healthy": ["b"]}, {}, ("Degraded", "One cluster needs attention")),
        ({"Unreachable": ["a", "b"], "Degraded": ["c"]}, {}, ("Unreachable", "Two clusters can't be reached")),
    ],
)
def test_the_fleet_in_a_sentence(states: dict[str, list[str]], failing: dict[str, int], wanted: Any) -> None:
    assert verdicts.fleet(states, failing, {})[:2] == wanted


def test_the_detail_names_some_and_counts_the_rest() -> None:
    states = {"Unreachable": ["a", "b", "c", "d"], "Degraded": ["e"], "Healthy": ["f"]}
    said = verdicts.fleet(states, {"e": 2, "f": 1}, {})
    assert said.detail == "a, b, c and 1 more · 1 degraded · 1 of 6 healthy · 3 pods fail on 2 clusters"
    assert verdicts.fleet({"Healthy": ["f"]}, {"f": 1}, {}).detail == "1 pod fails on f"
    waits = verdicts.fleet({"Healthy": ["f", "g"]}, {"f": 1}, {"f": 2, "g": 3})
    assert waits.detail == "1 pod fails on f · 5 pods wait for a node on 2 clusters"


def test_nothing_is_claimed_of_pods_that_are_not_known() -> None:
    new = verdicts.fleet({"Healthy": ["f"], "Pending": ["g"]}, {}, {})
    assert new.detail == "1 pending"
    assert verdicts.fleet({"Healthy": ["f"]}, {}, {}).detail == "no pod fails or waits for a node"
    assert [verdicts.calm_pods(failed, known=True) for failed in (0, 1, 2)] == [
        *("none fails", "1 more has failed", "2 more have failed")
    ]
    assert verdicts.calm_pods(0, known=False) == verdicts.calm_pods(2, known=False) == "not all are known now"


def test_reasons_are_counted_the_most_frequent_first() -> None:
    assert verdicts.reasons({"OOMKilled": 1, "CrashLoopBackOff": 8}) == "8 CrashLoopBackOff, 1 OOMKilled"
    assert verdicts.reasons({"A": 4, "B": 3, "C": 2, "D": 1, "E": 1}) == "4 A, 3 B, 2 C and 2 more"


TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("node", "taints", "sentence"),
    [
        (("Healthy", "Ready", "The node is ready."), [], "It takes new pods."),
        (
            ("Healthy", "Ready", "The node is ready."),
            [TAINT],
            "It takes only pods that tolerate its taint nvidia.com/gpu=present:NoSchedule.",
        ),
        (("Healthy", "Ready", "x"), [{"key": "soft", "effect": "PreferNoSchedule"}], "It takes new pods."),
        (
            ("Suspended", "Cordoned", "The node takes no new pods."),
            [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}],
            "The node takes no new pods.",
        ),
        (
            ("Degraded", "MemoryPressure", "The node reports MemoryPressure."),
            [{"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}],
            "The node reports MemoryPressure. Tainted node.kubernetes.io/memory-pressure:NoSchedule.",
        ),
    ],
)
def test_a_node_in_a_sentence(node: tuple[str, str, str], taints: list[dict[str, str]], sentence: str) -> None:
    assert verdicts.node(*node, taints=taints) == sentence


def test_which_new_pods_a_node_takes() -> None:
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    assert verdicts.new_pods(True, [{"key": "spot", "effect": "PreferNoSchedule"}]) == "all that fit"
    assert verdicts.new_pods(True, [{"key": "gpu", "effect": "NoExecute"}]) == "only those that tolerate its taints"
    assert verdicts.new_pods(False, [cordon]) == "none, it is cordoned"


def test_cut_off_since_the_last_answer_with_the_day_where_it_is_another() -> None:
    gone = cluster("gone", "Unreachable")
    assert fleet.cut_off_since(gone) == NOW and fleet.cut_off_since(cluster("here")) is None
    assert moment_text(NOW, NOW.replace(hour=20)) == "14:02 UTC"
    assert moment_text(NOW, NOW.replace(day=27)) == "25 Nov 14:02 UTC"
    never = cluster("never", "Unreachable")
    never.last_seen_at = None
    never.conditions = [{"type": "Reachable", "status": "False", "last_transition_time": NOW.isoformat()}]
    assert fleet.cut_off_since(never) == NOW
    refused = cluster("refused", "Degraded")
    refused.last_seen_at = NOW.replace(hour=20)
    refused.conditions = [{"type": "Authorized", "status": "False", "last_transition_time": NOW.isoformat()}]
    assert fleet.cut_off_since(refused) == NOW, "since it refuses us, though it answers each time"
    refused.synced_at = NOW.replace(hour=12)
    assert fleet.cut_off_since(refused) == refused.synced_at, "what is shown was seen before"


def test_sums_are_as_old_as_the_oldest_look_at_what_is_watched() -> None:
    old, gone = cluster("old"), cluster("gone", "Unreachable")
    old.last_seen_at, gone.last_seen_at = NOW.replace(minute=1), NOW.replace(minute=0)
    assert fleet.as_of([cluster("a"), old, gone]) == old.last_seen_at
    assert fleet.as_of([gone]) is None


def brief(name: str, reason: str = "Ready", health: str = "Healthy", **labels: str) -> Brief:
    return Brief(1, name, health, reason, NOW, labels, 1000, 1000, 0)


def test_nodes_that_are_not_well_come_first_and_are_counted_by_state() -> None:
    rows = [brief("a"), brief("c", "NodeStatusUnknown", "Unknown"), brief("b", "MemoryPressure", "Degraded")]
    assert [node.name for node in nodes.in_order(rows, "", {})] == ["b", "c", "a"]
    assert nodes.state_counts(rows) == [
        ("MemoryPressure", "Degraded", 1),
        ("NodeStatusUnknown", "NotReady", 1),
        ("Ready", "Ready", 1),
    ]


def test_nodes_in_the_order_of_what_is_asked_of_them() -> None:
    rows = [brief("a"), brief("b"), brief("c")]
    asked = {"b": Asked(pods=3, cpu=900), "c": Asked(pods=1, cpu=100)}
    assert [node.name for node in nodes.in_order(rows, "-cpu", asked)] == ["b", "c", "a"]
    assert [node.name for node in nodes.in_order(rows, "pods", asked)] == ["a", "c", "b"]


def test_labels_that_every_node_has_its_own_of_are_no_choice() -> None:
    many = [brief(f"n{number}", zone="abc"[number % 3], serial=str(number)) for number in range(30)]
    assert nodes.label_choices(many) == {"zone": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("reason", "health", "wanted"),
    [("Running", "Healthy", "Ready"), ("OOMKilled", "Degraded", "OOMKilled"), ("Strange", "Degraded", "Degraded")],
)
def test_the_word_of_a_square(reason: str, health: str, wanted: str) -> None:
    assert word(reason, health) == wanted


def test_squares_escape_what_a_cluster_says_and_hide_what_is_not_the_viewers() -> None:
    html = draw([Square(7, "Ready", "n1", '"><b>', "<i>", "demo", "<u>"), Square(8, "OOMKilled", "n2")], "gke-eu")
    assert "<b>" not in html and "<i>" not in html and "<u>" not in html
    assert "/clusters/gke-eu/pods/%3Ci%3E/%22%3E%3Cb%3E/" in html
    assert 'id="pod-8"' in html and "a pod of another project: OOMKilled" in html and html.count("<a ") == 1


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("ConnectionRefused", "See that its API server runs"),
        ("ServiceUnavailable", "See that its API server runs"),
        ("NameNotResolved", "resolve its name"),
        ("AddressRefused", "FLOTILLA_CLUSTER_ALLOWED_NETWORKS"),
        ("CredentialUnusable", "a new credential"),
        ("PlainHttp", ""),
        ("NotTheApiServer", ""),
        ("BadCertificate", ""),
        ("CertificateInvalid", ""),
    ],
)
def test_a_cluster_that_is_cut_off_has_one_next_step_that_fits_its_reason(reason: str, step: str) -> None:
    """Where the message tells it, as that of plain HTTP does, no other one contradicts it."""
    cut = verdicts.cut_off("Unreachable", reason, "It is so.", locked_out=False, known=True)
    assert cut is not None and step in cut.next_step and bool(cut.next_step) == bool(step)
