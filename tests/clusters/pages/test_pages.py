"""Pages, through the door that people use."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.clusters import services
from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.clusters.observed import rows
from apps.clusters.pages import cluster_views
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.text.wording import moment_text
from tests import factories
from tests.clusters import fakeapi
from tests.clusters.fakeapi import FakeApi

pytestmark = pytest.mark.django_db


def observe(cluster: Cluster, *, nodes: int = 2, pods: int = 3) -> None:
    """Rows as the watcher would write them."""
    now = datetime.now(UTC)
    for number in range(nodes):
        node = fakeapi.node(f"n{number}", gpu="2")
        node["metadata"]["uid"] = f"node-{cluster.pk}-{number}"
        Node.objects.create(cluster=cluster, **rows.node_row(node, now))
    for number in range(pods):
        for project in ("demo", "secret"):
            pod = fakeapi.pod(f"{project}-pod-{number}", namespace=f"flotilla-{project}", project=project)
            pod["spec"]["nodeName"] = f"n{number % max(nodes, 1)}"
            pod["metadata"]["uid"] = f"pod-{cluster.pk}-{project}-{number}"
            Pod.objects.create(cluster=cluster, **rows.pod_row(pod, now))
            event = fakeapi.event("e", about=pod)
            event["metadata"]["uid"] = f"event-{cluster.pk}-{project}-{number}"
            event["message"] = f"Back-off of {project}-pod-{number}"
            KubeEvent.objects.create(cluster=cluster, project=project, **rows.event_row(event, now))
    Cluster.objects.filter(pk=cluster.pk).update(state="Healthy", last_seen_at=now, message="All nodes are ready.")


@pytest.fixture
def cluster(api: FakeApi, admin: Principal) -> Cluster:
    made = services.register(
        principal=admin, name="gke-eu", labels={"provider": "gcp", "region": "eu"}, kubeconfig_text=api.kubeconfig
    )
    observe(made)
    return Cluster.objects.get(pk=made.pk)


@pytest.fixture
def viewer(client: Client, viewer_user: User) -> Client:
    project = Project.objects.create(name="demo")
    Project.objects.create(name="secret")
    Membership.objects.create(project=project, user=viewer_user, role="viewer")
    client.force_login(viewer_user)
    return client


@pytest.fixture
def root(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


PAGES = [
    ("clusters:list", []),
    ("clusters:detail", ["gke-eu"]),
    ("clusters:node", ["gke-eu", "n0"]),
    ("clusters:events", ["gke-eu"]),
    ("clusters:pod", ["gke-eu", "flotilla-demo", "demo-pod-0"]),
    ("clusters:pod-log", ["gke-eu", "flotilla-demo", "demo-pod-0"]),
]


@pytest.mark.parametrize(("name", "args"), PAGES)
def test_a_stranger_is_sent_to_the_login(client: Client, name: str, args: list[str]) -> None:
    response = client.get(reverse(name, args=args))
    assert response.status_code == 302 and "/login/" in response["Location"]


def test_the_list_shows_state_room_and_version(viewer: Client, cluster: Cluster) -> None:
    text = viewer.get("/clusters/").content.decode()
    assert "gke-eu" in text and "Healthy" in text and "gcp" in text
    assert "requested 3 of 8" in text, "six pods of half a core on two nodes of four"


def test_the_fleet_says_the_verdict_the_room_and_who_uses_it(viewer: Client, cluster: Cluster) -> None:
    text = viewer.get("/clusters/").content.decode()
    assert "The cluster is healthy" in text and "no pod fails" in text
    assert 'id="sum-nvidia.com/gpu"' in text and "GPU nvidia" in text, "each kind of GPU has its sum"
    assert 'id="use-demo"' in text and "all others" in text and "secret" not in text


@pytest.mark.parametrize(
    ("state", "synced", "failed", "note"),
    [
        ("Healthy", "True", 0, "none fails"),
        ("Healthy", "True", 2, "2 more have failed"),
        ("Healthy", "Unknown", 2, "not all are known now"),
        ("Degraded", "False", 0, "not all are known now"),
        ("Unreachable", "True", 0, "not all are known now"),
        ("Healthy", None, 0, "not all are known now"),
    ],
)
def test_none_fails_is_said_only_where_every_pod_is_known(
    viewer: Client, cluster: Cluster, state: str, synced: str | None, failed: int, note: str
) -> None:
    """Pods that have ended are squares as the others are, and are no part of the number."""
    conditions = [{"type": "Synced", "status": synced}] if synced else []
    Cluster.objects.filter(pk=cluster.pk).update(state=state, conditions=conditions)
    ended = Pod.objects.order_by("pk").values("pk")[:failed]
    Pod.objects.filter(pk__in=ended).update(phase="Failed", health="Degraded", reason="Error")
    facts = viewer.get("/clusters/gke-eu/?part=facts").content.decode()
    pods = facts[facts.index(">Pods<") :]
    assert pods[: pods.index("</div>")].endswith(f'<span class="v">{6 - failed}</span><span class="note">{note}</span>')
    squares = viewer.get("/clusters/gke-eu/?part=pods").content.decode()
    assert squares.count("<li id=") == 6 and ("; 2 of 6 have ended" in squares) == (failed == 2)
    assert ("ended</span>" in squares) == bool(failed)


@pytest.mark.parametrize("state", ["Pending", "Disabled"])
def test_a_cluster_that_is_not_watched_is_not_counted_as_well(viewer: Client, cluster: Cluster, state: str) -> None:
    assert "Every cluster answers, and no pod fails" in viewer.get("/clusters/").content.decode()
    Cluster.objects.filter(pk=cluster.pk).update(state=state)
    text = viewer.get("/clusters/").content.decode()
    assert "Nothing is known to be wrong" in text and "Every cluster answers" not in text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("label=region=eu", {"gke-eu"}),
        ("label=region=us&label=provider=aws", {"eks-us"}),
        ("state=Degraded", {"eks-us"}),
        ("q=eks", {"eks-us"}),
        ("label=region=moon", set()),
        ("group=region&sort=-cpu", {"gke-eu", "eks-us"}),
    ],
)
def test_the_address_filters_sorts_and_groups_the_fleet(
    viewer: Client, cluster: Cluster, api: FakeApi, admin: Principal, address: str, shown: set[str]
) -> None:
    labels = {"provider": "aws", "region": "us"}
    other = services.register(principal=admin, name="eks-us", labels=labels, kubeconfig_text=api.kubeconfig, again=True)
    Cluster.objects.filter(pk=other.pk).update(state="Degraded", message="2 of 3 nodes are not ready.")
    text = viewer.get(f"/clusters/?part=fleet&{address}").content.decode()
    table = text[text.index('id="rows"') :]
    assert {name for name in ("gke-eu", "eks-us") if f'href="/clusters/{name}/"' in table} == shown
    assert ("Nothing matches" in text) == (not shown)
    assert ("label=region%3Dus" in table) == ("eks-us" in shown), "labels are links that filter"


def test_what_is_wrong_comes_first(viewer: Client, cluster: Cluster, api: FakeApi, admin: Principal) -> None:
    gone = services.register(principal=admin, name="zz-gone", kubeconfig_text=api.kubeconfig, again=True)
    seen = datetime.now(UTC) - timedelta(minutes=12)
    message = "The API server did not answer in time."
    Cluster.objects.filter(pk=gone.pk).update(state="Unreachable", last_seen_at=seen, message=message)
    Pod.objects.filter(cluster=cluster, name="demo-pod-0").update(health="Degraded", reason="OOMKilled")
    text = viewer.get("/clusters/").content.decode()
    assert "One cluster can&#x27;t be reached" in text
    assert text.index(f'id="cluster-{gone.pk}"') < text.index(f'id="cluster-{cluster.pk}"')
    assert f"since {moment_text(seen, datetime.now(UTC))}" in text and f'id="cluster-{gone.pk}" class="stale"' in text
    assert "gke-eu: 1 pod fails" in text and "1 OOMKilled" in text


def test_pods_that_no_node_takes_are_wrong_too(viewer: Client, cluster: Cluster) -> None:
    said = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    message = f"{said} preemption: 0/2 nodes are available: 2 No preemption victims found."
    waiting = {"node_name": "", "phase": "Pending", "health": "Progressing", "reason": "Unschedulable"}
    Pod.objects.filter(cluster=cluster, name__in=["demo-pod-0", "demo-pod-1"]).update(**waiting, message=message)
    text = viewer.get("/clusters/").content.decode()
    assert "2 pods wait for a node on gke-eu" in text
    assert "gke-eu: 2 pods wait for a node" in text and said in text and "preemption" not in text
    assert 'href="/clusters/gke-eu/?pod=Unschedulable"' in text
    Cluster.objects.filter(pk=cluster.pk).update(state="Unreachable")
    assert "wait for a node" not in viewer.get("/clusters/").content.decode(), "nobody knows whether they still do"


def test_what_the_scheduler_says_of_hidden_pods_is_not_told(viewer: Client, cluster: Cluster) -> None:
    waiting = {"node_name": "", "phase": "Pending", "health": "Progressing", "reason": "Unschedulable"}
    said = 'persistentvolumeclaim "weights-of-{}" not found'
    Pod.objects.filter(name="secret-pod-0").update(**waiting, message=said.format("secret"))
    text = viewer.get("/clusters/").content.decode()
    assert "1 pod waits for a node" in text and "secret" not in text
    assert "They are of projects that you can&#x27;t see." in text
    Pod.objects.filter(name="demo-pod-0").update(**waiting, message=said.format("demo"))
    text = viewer.get("/clusters/").content.decode()
    assert "2 pods wait for a node" in text and "weights-of-demo" in text and "secret" not in text


def test_pods_that_wait_are_in_the_row_of_their_cluster_and_sort(viewer: Client, cluster: Cluster) -> None:
    Pod.objects.filter(name__in=["demo-pod-0", "secret-pod-0"]).update(node_name="", phase="Pending")
    row = viewer.get("/clusters/?sort=-waiting").content.decode().partition(f'id="cluster-{cluster.pk}"')[2]
    assert "2 waiting" in row


REFUSED = [{"type": "Authorized", "status": "False"}, {"type": "Synced", "status": "False"}]


@pytest.mark.parametrize(
    ("changes", "title", "says"),
    [
        ({"state": "Unreachable", "reason": "Timeout", "message": "No answer."}, "can&#x27;t be reached", "See that"),
        (
            {"state": "Unreachable", "reason": "CertificateInvalid", "message": "Not trusted. Do so."},
            "reached",
            "Do so.",
        ),
        ({"state": "Degraded", "conditions": REFUSED, "message": "Give it one."}, "refuses Flotilla", "Give it"),
        ({"state": "Disabled", "enabled": False, "message": "Disabled."}, "is disabled", "Enable it"),
        ({"state": "Pending", "reason": "NotWatched", "message": "No."}, "is not watched", "watch_clusters"),
        ({"state": "Pending", "reason": "Connecting", "message": ""}, " look", "connection is being made"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_cluster_that_is_cut_off_has_one_state_with_the_next_step(
    viewer: Client, cluster: Cluster, changes: dict[str, Any], title: str, says: str, known: bool
) -> None:
    KubeEvent.objects.all().delete()
    if not known:
        Pod.objects.all().delete()
        Node.objects.all().delete()
    Cluster.objects.update(**changes)
    parts = [viewer.get("/clusters/gke-eu/").content.decode()]
    parts += [viewer.get(f"/clusters/gke-eu/{name}/").content.decode() for name in ("usage", "namespaces")]
    shown = " ".join(re.sub(r"<section[^>]* hidden .*?</section>", "", part, flags=re.DOTALL) for part in parts)
    titles = re.findall(r'data-empty="(\w+)".*?class="title">(.*?)</p>', shown, flags=re.DOTALL)
    assert len(titles) == 1 and "well" not in {kind for kind, _ in titles}, titles
    assert title in titles[0][1]
    assert ("not watched" in shown) == ("not watched" in title)
    assert says in shown and "No warnings" not in shown
    assert ('id="cut" hidden' in viewer.get("/clusters/gke-eu/").content.decode()) is False
    Cluster.objects.update(state="Healthy", enabled=True, conditions=[])
    assert 'id="cut" hidden' in viewer.get("/clusters/gke-eu/?part=cut").content.decode()


def test_since_when_a_cluster_is_in_trouble_is_not_when_it_was_seen_last(viewer: Client, cluster: Cluster) -> None:
    now = datetime.now(UTC)
    since, other = now - timedelta(days=3), now - timedelta(days=9)
    conditions = [
        {"type": kind, "status": "False", "reason": reason, "message": "m", "last_transition_time": at.isoformat()}
        for kind, reason, at in (("NodesReady", "NoNodes", other), ("Authorized", "CredentialRefused", since))
    ]
    values = {"state": "Degraded", "reason": "CredentialRefused", "conditions": conditions, "last_seen_at": now}
    Cluster.objects.update(**values)
    shown = f'datetime="{since.isoformat()[:16]}'
    for path in ("/p/demo/?part=attention", "/clusters/?part=fleet", "/clusters/gke-eu/?part=conditions"):
        text = viewer.get(path).content.decode()
        assert shown in text, path
        assert ("NoNodes" in text) == (f'datetime="{other.isoformat()[:16]}' in text)


def test_a_cluster_that_refuses_the_credential_is_as_old_as_its_last_watch(viewer: Client, cluster: Cluster) -> None:
    now = datetime.now(UTC)
    watched = now - timedelta(minutes=9)
    refused = [{"type": "Authorized", "status": "False"}, {"type": "Synced", "status": "False"}]
    Cluster.objects.update(state="Degraded", conditions=refused, last_seen_at=now, synced_at=watched)
    since = f"since {moment_text(watched, now)}"
    text = viewer.get("/clusters/").content.decode()
    assert f'id="cluster-{cluster.pk}" class="stale"' in text and since in text
    assert "1 cluster as last seen" in text and "nothing is free" in text
    for path in ("/clusters/gke-eu/", "/clusters/gke-eu/nodes/n0/"):
        text = viewer.get(path).content.decode()
        assert f"cut off {since}" in text and "stale" in text and watched.isoformat()[:16] in text, path
    assert "when it was heard of last" in text and "It takes new pods" not in text
    pod = Pod.objects.get(name="demo-pod-0")
    text = viewer.get(f"/clusters/gke-eu/pods/{pod.namespace}/{pod.name}/").content.decode()
    head = text[text.index('id="verdict"') :][:400]
    assert "Unknown" in head and "Ready" not in head
    # Of yesterday it is said with its day.
    assert re.search(rf"As of (\d+ \w+, )?{watched:%H:%M} UTC", text) and "asked now" in text


@pytest.mark.parametrize(
    "address",
    [
        *("gke-eu/?q=%00", "gke-eu/?pod=%00", "gke-eu/events/?text=%00"),
        *("gke-eu/events/?reason=%00", "gke-eu/events/?kind=%00&namespace=%00", "gke%00/", "gke-eu/nodes/%00/"),
        *("gke-eu/pods/%00/x/", "gke-eu/pods/default/%00/", "gke-eu/events/%00"),
    ],
)
def test_an_address_with_what_postgres_cant_hold_breaks_no_page(viewer: Client, cluster: Cluster, address: str) -> None:
    response = viewer.get(f"/clusters/{address}")
    assert response.status_code in {400, 404} and "traceback" not in response.content.decode().lower()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "?sort=nonsense&state=nonsense&page=nonsense&group=nonsense",
            "?label=%00&q=%00&group=%00",
            "?page=-1&sort=-",
        ),
        *("gke-eu/?sort=nonsense&state=nonsense&page=99&pods=nonsense", f"gke-eu/?pod={'x' * 3000}&q={'y' * 3000}"),
        "gke-eu/?label==&label=&label=%3D%3D&label=%00&label=a%3D%00",
        f"gke-eu/events/?text={'z' * 3000}&page=nonsense&type=nonsense",
    ],
)
def test_an_odd_address_is_a_page_all_the_same(viewer: Client, cluster: Cluster, address: str) -> None:
    assert viewer.get(f"/clusters/{address}").status_code == 200


def test_filtering_one_list_leaves_the_others_as_they_are(viewer: Client, cluster: Cluster) -> None:
    address = "pod=demo&q=n&sort=-cpu&events=all&label=a%3D1"
    text = viewer.get(f"/clusters/gke-eu/?{address}").content.decode()
    pods, nodes = (text.partition(f'id="{part}"')[2].partition("</form>")[0] for part in ("pods", "nodes"))
    hidden = '<input type="hidden" name="{}" value="{}">'
    for form, kept in (
        (pods, {"q": "n", "sort": "-cpu", "events": "all", "label": "a=1"}),
        (nodes, {"pod": "demo", "events": "all", "sort": "-cpu"}),
    ):
        assert all(hidden.format(name, value) in form for name, value in kept.items()), form
    assert 'href="?pod=demo&amp;sort=-cpu&amp;events=all"' in nodes, "all nodes, and the rest as it is"


def test_all_others_are_shown_however_many_projects_there_are(
    viewer: Client, viewer_user: User, cluster: Cluster
) -> None:
    for number in range(8):
        project = Project.objects.create(name=f"p{number}")
        Membership.objects.create(project=project, user=viewer_user, role="viewer")
        pod = fakeapi.pod("a", namespace=f"flotilla-p{number}", project=project.name)
        pod["metadata"]["uid"] = f"use-{number}"
        Pod.objects.create(cluster=cluster, **rows.pod_row(pod, datetime.now(UTC)))
    text = viewer.get("/clusters/").content.decode()
    users = text.partition('id="users"')[2].partition("</section>")[0]
    assert "all others" in users and "4 more projects" in users and users.count('id="use-') == 6


def test_what_a_check_found_to_be_done_is_told_with_the_way_to_the_check(viewer: Client, cluster: Cluster) -> None:
    kind, title = "PermissionsMissing", "permissions are missing"
    finding = {"kind": kind, "title": title, "message": "It may not list pods.", "noun": "check", "reason": "x"}
    Cluster.objects.filter(pk=cluster.pk).update(
        check_report={"generation": cluster.generation, "findings": [finding]}, checked_at=datetime.now(UTC)
    )
    text = viewer.get("/clusters/").content.decode()
    assert "gke-eu: permissions are missing" in text and "It may not list pods." in text
    assert 'href="/clusters/gke-eu/check/"' in text


def test_the_detail_names_only_the_pods_that_the_viewer_may_see(viewer: Client, cluster: Cluster) -> None:
    text = viewer.get("/clusters/gke-eu/").content.decode()
    assert "demo-pod-0" in text and "a pod of another project" in text
    assert "secret" not in text
    assert "3×" in text and "in projects that you can't see" in text, "warnings of hidden pods are counted, not told"


def test_warnings_of_others_push_out_none_that_the_viewer_may_read(viewer: Client, cluster: Cluster) -> None:
    newer = KubeEvent.objects.filter(project="secret")
    KubeEvent.objects.filter(project="demo").update(last_at=datetime.now(UTC) - timedelta(hours=2))
    for number in range(cluster_views.EVENTS_SHOWN):
        event = newer[0]
        event.pk, event.uid = None, f"noise-{number}"
        event.save()
    text = viewer.get("/clusters/gke-eu/?part=events").content.decode()
    assert "Back-off of demo-pod-0" in text and "secret" not in text
    assert "11×" in text and text.count("in projects that you can't see") == 1
    KubeEvent.objects.filter(project="demo").delete()
    assert "No warnings" not in viewer.get("/clusters/gke-eu/?part=events").content.decode()


def test_a_platform_administrator_sees_every_name(root: Client, cluster: Cluster) -> None:
    assert "secret-pod-0" in root.get("/clusters/gke-eu/").content.decode()


@pytest.mark.parametrize("part", ["verdict", "facts", "nodes", "pods", "events", "conditions"])
def test_each_part_of_the_detail_is_a_fragment(viewer: Client, cluster: Cluster, part: str) -> None:
    response = viewer.get(f"/clusters/gke-eu/?part={part}")
    text = response.content.decode()
    assert response.status_code == 200
    assert f'id="{part}"' in text and "<html" not in text and "secret" not in text


def test_a_part_that_is_not_there_is_not_found(viewer: Client, cluster: Cluster) -> None:
    assert viewer.get("/clusters/gke-eu/?part=nonsense").status_code == 404


def test_an_unreachable_cluster_still_renders_with_its_age(viewer: Client, cluster: Cluster) -> None:
    Cluster.objects.update(state="Unreachable", message="The API server did not answer in time.")
    text = viewer.get("/clusters/gke-eu/").content.decode()
    assert "did not answer in time" in text and "as of" in text and "stale" in text and "demo-pod-0" in text


def test_pods_are_found_by_every_word_and_those_of_others_by_their_state_only(viewer: Client, cluster: Cluster) -> None:
    def squares(text: str) -> int:
        return viewer.get("/clusters/gke-eu/", {"part": "pods", "pod": text}).content.decode().count("<li id=")

    assert squares("") == 6 and squares("demo-pod-1") == 1 and squares("demo ready n0") == 2
    assert squares("secret") == 0, "a name that must not be known is not found"
    assert squares("ready") == 6 and squares("n1") == 2


def test_squares_are_paged_and_say_how_many_are_not_shown(
    viewer: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_views, "SQUARES_A_PAGE", 4)
    Pod.objects.filter(name="demo-pod-2").update(health="Degraded", reason="OOMKilled")
    text = viewer.get("/clusters/gke-eu/?part=pods").content.decode()
    assert text.count("<li id=") == 4 and "1–4 of 6" in text
    assert text.index("OOMKilled") < text.index("demo-pod-0"), "what needs somebody comes first"
    assert viewer.get("/clusters/gke-eu/?part=pods&pods=2").content.decode().count("<li id=") == 2


def test_a_node_says_what_it_has_and_who_asks_for_it(viewer: Client, cluster: Cluster) -> None:
    Node.objects.filter(name="n0").update(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])
    text = viewer.get("/clusters/gke-eu/nodes/n0/").content.decode()
    assert "It takes only pods that tolerate its taint gpu=yes:NoSchedule." in text
    assert "only those that tolerate its taints" in text
    assert 'id="room-nvidia.com/gpu"' in text and "nvidia.com/gpu" in text
    assert "demo-pod-0" in text and "demo-pod-2" in text and "demo-pod-1" not in text
    assert "2 pods of other projects" in text and "secret" not in text
    assert ">4 of at most 110</span>" in text
    Pod.objects.filter(name="demo-pod-0").update(phase="Succeeded", health="Healthy", reason="Completed")
    text = viewer.get("/clusters/gke-eu/nodes/n0/?part=pods").content.decode()
    assert ">3 of at most 110, and 1 that has ended</span>" in text


def test_the_pods_of_a_node_come_a_page_at_a_time(
    viewer: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_views, "PODS_A_PAGE", 1)
    mine = set(Pod.objects.filter(cluster=cluster, node_name="n0", project="demo").values_list("pk", flat=True))
    shown: list[int] = []
    for number in range(1, len(mine) + 1):
        text = viewer.get(f"/clusters/gke-eu/nodes/n0/?page={number}").content.decode()
        shown += [int(pk) for pk in re.findall(r'<tr id="pod-(\d+)"', text)]
        assert f"{number}–{number} of {len(mine)}" in text
        assert ("of other projects" in text) == (number == len(mine)), "counted at the end"
    assert len(mine) > 1 and sorted(shown) == sorted(mine)


def test_a_node_that_is_lost_says_so_of_its_pods(viewer: Client, cluster: Cluster) -> None:
    words = "Kubelet stopped posting node status."
    condition = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": words}
    lost = {"ready": False, "health": "Degraded", "reason": "NodeStatusUnknown", "message": words}
    Node.objects.filter(name="n0").update(**lost, conditions=[condition])
    waiting = {"ready": False, "health": "Progressing", "reason": "NotReady", "message": "Not ready yet."}
    Pod.objects.filter(name="demo-pod-0").update(**waiting)
    text = viewer.get("/clusters/gke-eu/nodes/n0/?part=pods").content.decode()
    assert "n0 stopped answering" in text and "Not ready yet." not in text


@pytest.mark.parametrize("part", ["verdict", "room", "pods", "events", "conditions"])
def test_each_part_of_a_node_is_a_fragment(viewer: Client, cluster: Cluster, part: str) -> None:
    text = viewer.get(f"/clusters/gke-eu/nodes/n0/?part={part}").content.decode()
    assert f'id="{part}"' in text and "<html" not in text and "secret" not in text


def test_names_that_no_cluster_should_have_break_no_page(root: Client, cluster: Cluster) -> None:
    Node.objects.filter(name="n0").update(name="a/b <x>")
    Pod.objects.filter(name="demo-pod-1").update(name="c/d", namespace="")
    KubeEvent.objects.filter(involved_name="demo-pod-1").update(namespace="", involved_name="c/d")
    for path in ("/clusters/", "/clusters/gke-eu/", "/clusters/gke-eu/nodes/n1/", "/clusters/gke-eu/events/"):
        assert root.get(path).status_code == 200, path
    assert "a/b &lt;x&gt;" in root.get("/clusters/gke-eu/").content.decode()


def test_a_node_that_is_not_there_is_not_found(viewer: Client, cluster: Cluster) -> None:
    assert viewer.get("/clusters/gke-eu/nodes/n9/").status_code == 404


def test_events_of_a_node_are_everyones(viewer: Client, cluster: Cluster) -> None:
    node = fakeapi.node("n0")
    node["metadata"]["uid"] = "n0"
    event = fakeapi.event("e", about=node, kind="Node") | {"reason": "NodeHasDiskPressure", "message": "disk is full"}
    event["metadata"]["uid"] = "of-node"
    KubeEvent.objects.create(cluster=cluster, **rows.event_row(event, datetime.now(UTC)))
    assert "disk is full" in viewer.get("/clusters/gke-eu/nodes/n0/").content.decode()
    assert "disk is full" in viewer.get("/clusters/gke-eu/events/").content.decode()
    assert "disk is full" not in viewer.get("/clusters/gke-eu/nodes/n1/").content.decode()


def test_events_are_filtered_and_those_of_others_only_counted(viewer: Client, root: Client, cluster: Cluster) -> None:
    viewer.force_login(User.objects.get(username="vera"))
    text = viewer.get("/clusters/gke-eu/events/").content.decode()
    assert "3 events, and 3 of other projects" in text and "secret" not in text
    one = viewer.get("/clusters/gke-eu/events/?text=demo-pod-1&type=Warning&kind=Pod").content.decode()
    assert "demo-pod-1" in one and "demo-pod-0" not in one
    assert "Nothing matches" in viewer.get("/clusters/gke-eu/events/?reason=Nope").content.decode()
    assert "Nothing matches" in viewer.get("/clusters/gke-eu/events/?namespace=flotilla-secret").content.decode()


def test_search_leads_to_nodes_and_pods(viewer: Client, cluster: Cluster) -> None:
    assert "/clusters/gke-eu/nodes/n0/" in viewer.get("/search?q=n0").content.decode()
    text = viewer.get("/search?q=pod-0").content.decode()
    assert "/clusters/gke-eu/pods/flotilla-demo/demo-pod-0/" in text and "secret" not in text


def test_a_pod_of_another_project_is_not_found(viewer: Client, cluster: Cluster) -> None:
    assert viewer.get("/clusters/gke-eu/pods/flotilla-secret/secret-pod-0/").status_code == 404
    assert viewer.get("/clusters/gke-eu/pods/flotilla-secret/secret-pod-0/log/").status_code == 404


def test_a_pod_says_how_its_container_ended(viewer: Client, cluster: Cluster) -> None:
    pod = fakeapi.pod("demo-oom")
    pod["metadata"]["uid"] = "oom"
    ended = {"reason": "OOMKilled", "exitCode": 137}
    pod["status"]["conditions"] = []
    pod["status"]["containerStatuses"] = [
        {
            "name": "main",
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": ended},
        }
    ]
    Pod.objects.create(cluster=cluster, **rows.pod_row(pod, datetime.now(UTC)))
    text = viewer.get("/clusters/gke-eu/pods/flotilla-demo/demo-oom/").content.decode()
    assert "ran out of memory" in text and "OOMKilled" in text and "exit code 137" in text


def test_an_empty_list_says_how_to_begin(root: Client) -> None:
    text = root.get("/clusters/").content.decode()
    assert "No cluster is registered yet" in text and "/api/v1/clusters" in text


def test_no_page_asks_more_of_postgres_when_there_is_more(
    viewer: Client, cluster: Cluster, admin: Principal, api: FakeApi
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def counts() -> list[int]:
        asked = []
        for path in ("/clusters/", "/clusters/gke-eu/", "/clusters/gke-eu/?sort=-gpu", "/clusters/gke-eu/events/"):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert viewer.get(path).status_code == 200
            asked.append(len(queries))
        return asked

    before = counts()
    for number in range(5):
        other = services.register(principal=admin, name=f"c{number}", kubeconfig_text=api.kubeconfig, again=True)
        observe(other, nodes=3, pods=4)
    Pod.objects.filter(cluster=cluster).update(node_name="n0")
    observe_more(cluster)
    assert counts() == before


def observe_more(cluster: Cluster) -> None:
    now = datetime.now(UTC)
    for number in range(40):
        pod = fakeapi.pod(f"more-{number}")
        pod["metadata"]["uid"] = f"more-{number}"
        Pod.objects.create(cluster=cluster, **rows.pod_row(pod, now))


def test_a_replicas_pod_leads_to_its_deployment(viewer: Client, cluster: Cluster) -> None:
    pod = fakeapi.pod("digits-r1-x", deployment="digits", revision="1")
    pod["metadata"]["uid"] = "replica"
    Pod.objects.create(cluster=cluster, **rows.pod_row(pod, datetime.now(UTC)))
    text = viewer.get("/clusters/gke-eu/pods/flotilla-demo/digits-r1-x/").content.decode()
    assert "/p/demo/deployments/digits/" in text and "revision 1" in text


def test_the_overview_shows_room_where_there_is_some(root: Client) -> None:
    project = Project.objects.create(name="alone")
    factories.cluster("a-gone", state="Unreachable")
    factories.cluster("b-refusing", state="Degraded", conditions=[{"type": "Authorized", "status": "False"}])
    full = factories.cluster("c-full", nodes=1)
    factories.pod(full, project, requests_cpu_m=3500, node_name="c-full-node-1")
    factories.cluster("d-empty", nodes=1)
    shown = root.get("/p/alone/").content.decode()
    assert re.findall(r'id="room-([a-z-]+)"', shown) == ["d-empty", "c-full", "a-gone", "b-refusing"]
    assert re.findall(r'id="room-([a-z-]+)"[^>]* class="stale"', shown) == ["a-gone", "b-refusing"]
    assert "1 unreachable, 1 degraded" in shown
