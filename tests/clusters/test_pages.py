"""Pages, through the door that people use."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from apps.clusters import rows, services
from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
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


def test_the_detail_names_only_the_pods_that_the_viewer_may_see(viewer: Client, cluster: Cluster) -> None:
    text = viewer.get("/clusters/gke-eu/").content.decode()
    assert "demo-pod-0" in text and "a pod of another project" in text
    assert "secret" not in text
    assert "in another project" in text, "the warning of a hidden pod is counted, not told"


def test_a_platform_administrator_sees_every_name(root: Client, cluster: Cluster) -> None:
    assert "secret-pod-0" in root.get("/clusters/gke-eu/").content.decode()


@pytest.mark.parametrize("part", ["verdict", "facts", "nodes", "pods", "events", "conditions"])
def test_each_part_of_the_detail_is_a_fragment(viewer: Client, cluster: Cluster, part: str) -> None:
    response = viewer.get(f"/clusters/gke-eu/?part={part}")
    text = response.content.decode()
    assert response.status_code == 200
    assert f'id="{part}"' in text and "<html" not in text and "secret" not in text


def test_an_unreachable_cluster_still_renders_with_its_age(viewer: Client, cluster: Cluster) -> None:
    Cluster.objects.update(state="Unreachable", message="The API server did not answer in time.")
    text = viewer.get("/clusters/gke-eu/").content.decode()
    assert "did not answer in time" in text and "as of" in text and "stale" in text and "demo-pod-0" in text


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


def test_only_platform_administrators_test_the_connection(viewer: Client, cluster: Cluster) -> None:
    assert viewer.post("/clusters/gke-eu/test/").status_code == 403


def test_the_connection_test_names_what_is_missing(root: Client, api: FakeApi, cluster: Cluster) -> None:
    assert "Everything works" in root.post("/clusters/gke-eu/test/").content.decode()
    api.allowed = False
    text = root.post("/clusters/gke-eu/test/").content.decode()
    assert "Permissions missing" in text and "pods/log" in text


def test_no_page_asks_more_of_postgres_when_there_is_more(
    viewer: Client, cluster: Cluster, admin: Principal, api: FakeApi
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def counts() -> list[int]:
        found = []
        for path in ("/clusters/", "/clusters/gke-eu/"):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert viewer.get(path).status_code == 200
            found.append(len(queries))
        return found

    before = counts()
    for number in range(5):
        other = services.register(principal=admin, name=f"c{number}", kubeconfig_text=api.kubeconfig)
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
