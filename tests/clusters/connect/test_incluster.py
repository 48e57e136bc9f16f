"""The cluster that Flotilla runs in, by its pods' service account, on a live API server that enforces RBAC: the offered
role, a token that is bound to a pod and ends, and a kubelet that replaces it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from apps.clusters import services
from apps.clusters.connect import grants, incluster
from apps.clusters.connect.permissions import NEEDED
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.connection import Connection
from apps.clusters.models import Cluster, Pod
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.experiments import services as experiments
from apps.experiments.reconcile import reconcile_run
from apps.experiments.specs import parse_spec
from tests.clusters.conftest import eventually
from tests.clusters.test_api import Rest
from tests.clusters.watcher.test_faults import PATIENCE
from tests.clusters.watching import FAST, Watching
from tests.faulty import Faulty
from tests.role import apply_offered
from tests.stack import LocalCluster

pytestmark = pytest.mark.django_db(transaction=True)


class Home:
    """A live cluster, and this process as a pod in it: what a kubelet would mount and renew."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        access = cluster.access
        self.faults, self.folder, self.server = Faulty(cluster), folder, access.server
        self.kube = KubeClient(Connection(access.server, "127.0.0.1", access.ca, token=access.token))
        apply_offered(self.kube)
        (folder / "ca.crt").write_text(access.ca)
        self.token = self.renew()

    def renew(self) -> str:
        """Put a new token in place of the old one, at once for every reader, as the kubelet does; returns it."""
        path = f"/api/v1/namespaces/{grants.NAMESPACE}/serviceaccounts/{grants.NAME}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3607},
        }
        answer = yaml.safe_load(self.kube._transport.call("POST", path, body=request))
        self.token = str(answer["status"]["token"])
        (self.folder / "next").write_text(self.token)
        (self.folder / "next").replace(self.folder / "token")
        return self.token


@pytest.fixture(scope="module")
def live() -> Iterator[LocalCluster]:
    with LocalCluster.running("--hollow", "--hollow-nodes", "2", "--faults") as cluster:
        yield cluster


@pytest.fixture
def home(live: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    made = Home(live, tmp_path)
    host, port = re.fullmatch(r"https://(.+):(\d+)", made.server).groups()  # type: ignore[union-attr]
    monkeypatch.setattr(incluster, "FOLDER", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    yield made
    made.faults.mend()


def by_rest(user: User) -> None:
    answer = Rest(user)("POST", body={"name": "home", "in_cluster": True})
    assert answer.status_code == 201 and answer.json()["authentication"] == "in-cluster"


def by_admin(user: User) -> None:
    client = Client()
    client.force_login(user)
    answer = client.post("/admin/clusters/cluster/add/", {"name": "home", "labels": "", "in_cluster": "on"})
    assert answer.status_code == 302, answer.content.decode()[:2000]


@pytest.fixture
def watching() -> Iterator[Watching]:
    # Watches that end soon, as they do on every real cluster, so that each has to be taken up with the new token.
    made = Watching(replace(FAST, watch=1))
    yield made
    made.stop()


def state() -> str:
    return Cluster.objects.get().state


def pod(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["sleep", "600"]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


@pytest.mark.parametrize("register", [by_rest, by_admin])
def test_it_becomes_healthy_and_outlives_the_tokens_that_the_kubelet_replaces(
    home: Home, admin_user: User, watching: Watching, register: Callable[[User], None]
) -> None:
    register(admin_user)
    eventually(lambda: state() == "Healthy", "the watcher finds it Healthy", PATIENCE)
    assert "is not shown" not in str(Cluster.objects.get().conditions), "the role lets everything be watched"
    pooled = services.connect(Cluster.objects.get())
    for turn in ("first", "second"):
        old, new = home.token, home.renew()
        home.faults.switch("ExpireToken", token=old)
        name = f"{register.__name__.replace('_', '-')}-{turn}"
        home.kube.create(pod(name))
        states: set[str] = set()

        def follows(name: str = name, states: set[str] = states) -> bool:
            states.add(state())
            return Pod.objects.filter(name=name).exists()

        eventually(follows, "watches go on with the new token", PATIENCE)
        assert states == {"Healthy"} and old != new
        assert pooled.access_review("list", "", "pods"), "a worker's open client reads the new one, too"
        home.kube.delete("v1", "Pod", name, "default", grace_seconds=0)
    assert Cluster.objects.get().generation == 1


def test_the_check_page_is_all_green(home: Home, admin: Principal, admin_user: User, client: Client) -> None:
    cluster = services.register_in_cluster(principal=admin, name="home")
    report = services.check_connection(principal=admin, cluster=cluster)
    assert report.ok and not report.findings and all(check.ok for check in report.permissions), report.sentence
    client.force_login(admin_user)
    page = " ".join(client.get("/clusters/home/check/").content.decode().split())
    assert "Everything works" in page and "renews itself" in page and home.token not in page
    assert f"All {len(NEEDED)} are granted" in page and "<mark>" not in page


def test_a_token_that_nobody_replaces_is_told_and_mended_by_the_next_one(
    home: Home, admin: Principal, watching: Watching
) -> None:
    services.register_in_cluster(principal=admin, name="home")
    eventually(lambda: state() == "Healthy", "the watcher finds it Healthy", PATIENCE)
    home.faults.switch("ExpireToken", token=home.token)
    eventually(lambda: state() == "Degraded", "the refused credential is told", PATIENCE)
    assert Cluster.objects.get().reason == "CredentialRefused"
    home.renew()
    eventually(lambda: state() == "Healthy", "the new token is found without anybody's help", PATIENCE)


def test_the_smallest_role_launches_a_run_and_cancels_it(home: Home, admin: Principal) -> None:
    project = Project.objects.create(name="demo")
    Membership.objects.create(project=project, user=admin.user, role="admin")
    services.register_in_cluster(principal=admin, name="home")
    experiment = experiments.create_experiment(principal=admin, project=project, name="digits")
    spec = parse_spec({"image": "busybox", "command": ["sleep", "600"]})
    run = experiments.launch_run(principal=admin, experiment=experiment, spec=spec)

    def is_now(*states: str) -> bool:
        reconcile_run(run.pk)
        run.refresh_from_db()
        return run.state in states

    eventually(lambda: is_now("Running"), "its container runs", PATIENCE)
    experiments.cancel_run(principal=admin, run=run)
    eventually(lambda: is_now("Canceled"), "it is cancelled", PATIENCE)
