"""What is not known of a cluster, and what does not count, is so at every door alike."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from apps.clusters import services
from apps.clusters.models import Cluster
from apps.clusters.observed.conditions import conditions, merge
from apps.clusters.observed.observation import Observation
from apps.core.access import Principal
from apps.core.models import Project, User
from tests import factories
from tests.clusters import usage_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def test_what_was_never_seen_of_a_cluster_is_not_known_at_any_door(root: Client) -> None:
    """A cluster that refuses Flotilla from the start has neither no nodes nor no GPUs, and measures use or does not."""
    Project.objects.create(name="alone")
    at = datetime.now(UTC)
    whole = {"reason": "", "message": "", "last_transition_time": at.isoformat()}
    refused = [{"type": kind, "status": "False"} | whole for kind in ("Authorized", "Synced")]
    cluster = factories.cluster("gke-eu", nodes=0, state="Degraded", conditions=refused)
    usage_history.sample_now(cluster, at)
    told = root.get("/api/v1/clusters/gke-eu/").json()
    sums = {name: told[name] for name in ("nodes", "nodes_ready", "pods", "pods_degraded", "gpus", "has_metrics")}
    assert set(sums.values()) == {None}
    assert {amount for name in ("cpu", "memory", "gpu") for amount in told[name].values()} == {None}
    pages = ("/clusters/", "/p/alone/", "/clusters/gke-eu/", "/clusters/gke-eu/usage/", "/clusters/?group=provider")
    shown = {path: root.get(path).content.decode() for path in pages}
    for path in ("/clusters/", "/p/alone/", "/clusters/gke-eu/"):
        assert "not known yet" in shown[path], path
    said = re.sub(r"<section[^>]* hidden .*?</section>", "", " ".join(shown.values()), flags=re.DOTALL)
    for untrue in ("0 nodes", "0 of 0", ">none<", "no metrics-server", ">0 B"):
        assert untrue not in said, untrue
    Cluster.objects.update(synced_at=at)
    assert root.get("/api/v1/clusters/gke-eu/").json()["nodes"] == 0, "what was seen to be empty is empty"


def test_what_was_true_of_a_cluster_until_it_was_disabled_is_said_no_more(root: Client, admin_user: User) -> None:
    at = datetime.now(UTC)
    well = merge([], conditions(Observation(ever_seen=True, streams={"Node": ""}, nodes=3, nodes_ready=3)), at)
    cluster = factories.cluster("gke-eu", conditions=well)
    assert "The API server answers" in root.get("/clusters/gke-eu/").content.decode()
    services.update_cluster(principal=Principal(user=admin_user), cluster=cluster, enabled=False)
    told = root.get("/api/v1/clusters/gke-eu/").json()["conditions"]
    assert {each["status"] for each in told} == {"Unknown"} and len(told) == 5
    text = root.get("/clusters/gke-eu/").content.decode()
    assert "The API server answers" not in text and "Not known while the cluster is disabled." in text
    assert "Everything below is as it was last seen." in text
    node = root.get("/clusters/gke-eu/nodes/gke-eu-node-1/").content.decode()
    assert "gke-eu is disabled: what is shown is as it was last seen" in node and "It takes new pods" not in node
    assert "all that fit" not in node


def test_a_disabled_cluster_is_in_no_sum(root: Client) -> None:
    """What it has nobody can use: the fleet, the groups of its table, and the overview count alike."""
    alone = Project.objects.create(name="alone")
    on = factories.cluster("gke-eu", nodes=2)
    factories.pod(on, Project.objects.create(name="demo"))
    off = factories.cluster("off", state="Disabled", enabled=False)
    Cluster.objects.filter(pk=off.pk).update(labels={"region": "elsewhere"})
    factories.pod(off, alone)
    text = root.get("/clusters/?group=region").content.decode()
    assert "2 of 2 nodes ready · 1 pod · 1 disabled is not counted" in text
    assert f'id="cluster-{off.pk}"' in text and 'id="use-alone"' not in text
    there = re.search(r'id="group-elsewhere".*?</tr>', text, re.DOTALL)
    assert there is not None and there[0].count("1 cluster<") == 1 and " of 3" not in there[0]
    tile = re.search(r"GPUs in use.*?</a>", root.get("/p/alone/").content.decode(), re.DOTALL)
    assert tile is not None and "of 2" in tile[0]
