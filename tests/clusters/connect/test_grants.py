"""The role that the check page offers, on a cluster that enforces RBAC: it is enough, and nothing in it is too much."""

from collections.abc import Iterator

import pytest

from apps.clusters import services
from apps.clusters.connect import grants
from apps.clusters.kube.client import KubeClient
from apps.clusters.models import Cluster
from apps.core.access import Principal
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import kubeconfig as kubeconfig_of
from tests.deployments import keda
from tests.role import RBAC, administrator, offered_token
from tests.stack import LocalCluster

pytestmark = pytest.mark.django_db


@pytest.fixture
def kube(local_cluster: LocalCluster) -> KubeClient:
    """The cluster's administrator."""
    return administrator(local_cluster)


@pytest.fixture
def token(kube: KubeClient) -> Iterator[str]:
    """The token of the ServiceAccount, after everything that the page offers was applied."""
    yield offered_token(kube)
    kube._transport.call("DELETE", f"/apis/{RBAC}/clusterrolebindings/{grants.NAME}")
    kube.delete(RBAC, "ClusterRole", grants.NAME)
    kube.delete("v1", "Namespace", grants.NAMESPACE, propagation="Background")


def register(admin: Principal, local_cluster: LocalCluster, token: str) -> Cluster:
    access = local_cluster.access
    text = kubeconfig_of(access.server, access.ca.encode(), {"token": token})
    return services.register(principal=admin, name="by-role", kubeconfig_text=text)


def test_the_offered_role_is_all_that_is_needed(
    local_cluster: LocalCluster, kube: KubeClient, token: str, admin: Principal
) -> None:
    cluster = register(admin, local_cluster, token)
    report = services.check_connection(principal=admin, cluster=cluster)
    assert report.ok, report.sentence
    assert all(check.ok for check in report.permissions) and report.version
    client = services.connect(cluster)
    assert not client.access_review("create", "", "nodes") and not client.access_review("*", "*", "*")
    assert not client.access_review("get", "rbac.authorization.k8s.io", "clusterroles")


def test_what_a_role_lacks_is_named_and_marked(
    local_cluster: LocalCluster, kube: KubeClient, token: str, admin: Principal
) -> None:
    cluster = register(admin, local_cluster, token)
    role = kube.get(RBAC, "ClusterRole", grants.NAME)
    rules = [rule for rule in role["rules"] if rule["resources"] != ["pods/log"]]
    for rule in rules:
        if rule["resources"] == ["jobs"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "delete"]
    kube.merge_patch(RBAC, "ClusterRole", grants.NAME, {"rules": rules})
    report = services.check_connection(principal=admin, cluster=cluster)
    missing = {(check.group, check.resource): check.missing for check in report.permissions if check.missing}
    assert missing == {("", "pods/log"): ("get",), ("batch", "jobs"): ("delete",)} and not report.ok
    lines = grants.lines(grants.missing_of(report.as_dict()["permissions"]))
    assert sum(line.missing for line in lines) == 6


def test_engines_are_found_on_a_cluster_that_serves_their_definitions(
    local_cluster: LocalCluster, kube: KubeClient, token: str, admin: Principal
) -> None:
    cluster = register(admin, local_cluster, token)
    before = services.check_connection(principal=admin, cluster=cluster).engines or ()
    assert [each.name for each in before] == ["Gateway API"], "what the local cluster brings"
    with keda.installed(kube):
        eventually(lambda: "keda.sh" in kube.groups(), "the group is served")
        report = services.check_connection(principal=admin, cluster=cluster)
        more = [(each.name, each.served) for each in report.engines or () if each not in before]
        assert more == [("KEDA", ("keda.sh/v1alpha1",))]
