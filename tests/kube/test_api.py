"""What any Kubernetes API server answers, as Flotilla relies on it."""

import itertools

import pytest
from kubernetes import client, watch

from tests.kube.conftest import Rest
from tests.kube.support import deployment, pod, wait_until

APPLY = "application/apply-patch+yaml"


def test_nobody_without_a_good_token_reads_pods(rest: Rest) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/authentication/#anonymous-requests"""
    assert rest.anonymous("/api/v1/pods") in (401, 403)
    assert rest.anonymous("/api/v1/pods", token="nobody-issued-this") == 401


def test_the_server_tells_its_version_and_that_it_is_ready(connection: client.ApiClient, rest: Rest) -> None:
    """https://kubernetes.io/docs/reference/using-api/health-checks/"""
    assert client.VersionApi(connection).get_code().git_version.startswith("v1.")
    assert rest("GET", "/readyz") == (200, "ok")


def test_permissions_can_be_asked_for(connection: client.ApiClient, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access"""
    attributes = {"verb": "create", "group": "apps", "resource": "deployments", "namespace": namespace}
    review = client.AuthorizationV1Api(connection).create_self_subject_access_review(
        {"spec": {"resourceAttributes": attributes}}
    )
    assert review.status.allowed is True


def test_lists_come_in_pages_and_filtered(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks"""
    for number in range(5):
        body = {"metadata": {"name": f"c{number}", "labels": {"even": str(number % 2 == 0).lower()}}}
        core.create_namespaced_config_map(namespace, body)
    names: list[str] = []
    token = ""
    while True:
        page = core.list_namespaced_config_map(namespace, limit=2, _continue=token, label_selector="even")
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert names == [f"c{number}" for number in range(5)]
    even = core.list_namespaced_config_map(namespace, label_selector="even=true", resource_version="0")
    assert len(even.items) == 3
    one = core.list_namespaced_config_map(namespace, field_selector="metadata.name=c3")
    assert [item.metadata.name for item in one.items] == ["c3"]


def test_a_watch_goes_on_where_a_list_ended(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes"""
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    core.patch_namespaced_config_map("a", namespace, {"data": {"x": "y"}})
    core.delete_namespaced_config_map("a", namespace)
    stream = watch.Watch().stream(
        core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=30
    )
    seen = [(event["type"], event["object"].metadata.name) for event in itertools.islice(stream, 3)]
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_an_ancient_version_is_gone(core: client.CoreV1Api, rest: Rest, namespace: str) -> None:
    """410: https://kubernetes.io/docs/reference/using-api/api-concepts/#410-gone-responses"""
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    events = rest.watch(f"{path}?watch=true&resourceVersion=1&timeoutSeconds=1")
    if not events or events[0]["type"] != "ERROR":
        pytest.skip("this cluster still keeps its whole history since version 1")
    assert [event["object"]["code"] for event in events] == [410]


def test_server_side_apply_shares_an_object_by_fields(rest: Rest, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    wanted = deployment("web", 0)
    assert rest("PATCH", f"{path}?fieldManager=one", wanted, type_=APPLY)[0] == 201
    again, body = rest("PATCH", f"{path}?fieldManager=one", wanted, type_=APPLY)
    assert again == 200
    assert [entry["manager"] for entry in body["metadata"]["managedFields"] if entry["operation"] == "Apply"] == ["one"]
    other = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"two": "here"}},
        "spec": {"minReadySeconds": 3},
    }
    assert rest("PATCH", f"{path}?fieldManager=two", other, type_=APPLY)[0] == 200
    other["spec"] = {"minReadySeconds": 3, "replicas": 1}
    status, body = rest("PATCH", f"{path}?fieldManager=two", other, type_=APPLY)
    assert (status, body["reason"]) == (409, "Conflict")
    assert body["details"]["causes"][0]["field"] == ".spec.replicas"
    assert body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    other["spec"] = {"replicas": 0}
    status, body = rest("PATCH", f"{path}?fieldManager=two&force=true", other, type_=APPLY)
    assert (status, body["spec"].get("minReadySeconds", 0)) == (200, 0)


def test_a_name_twice_is_already_exists_and_an_old_version_a_conflict(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions"""
    made = core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    with pytest.raises(client.ApiException) as twice:
        core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}})
    assert (twice.value.status, "AlreadyExists" in twice.value.body) == (409, True)
    core.patch_namespaced_config_map("a", namespace, {"data": {"x": "y"}})
    made.data = {"x": "z"}
    with pytest.raises(client.ApiException) as old:
        core.replace_namespaced_config_map("a", namespace, made)
    assert old.value.status == 409


def test_a_lease_has_one_holder(connection: client.ApiClient, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/architecture/leases/: who renews with an old version has lost it.

    A MicroTime is written with all six digits, which the client leaves out where they are zero: so here they are not.
    """
    leases = client.CoordinationV1Api(connection)
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000001Z"}
    made = leases.create_namespaced_lease(namespace, {"metadata": {"name": "l"}, "spec": spec})
    renewed = {**spec, "renewTime": "2026-01-01T00:00:10.500000Z", "leaseTransitions": 0}
    leases.patch_namespaced_lease("l", namespace, {"spec": renewed})
    late = {"name": "l", "resourceVersion": made.metadata.resource_version}
    with pytest.raises(client.ApiException) as lost:
        leases.replace_namespaced_lease("l", namespace, {"metadata": late, "spec": {**spec, "holderIdentity": "two"}})
    assert lost.value.status == 409
    lease = leases.read_namespaced_lease("l", namespace)
    assert (lease.spec.holder_identity, lease.spec.renew_time.microsecond) == ("one", 500000)


def test_dependents_are_collected_with_their_owner(
    apps: client.AppsV1Api, core: client.CoreV1Api, namespace: str
) -> None:
    """https://kubernetes.io/docs/concepts/architecture/garbage-collection/#foreground-deletion"""
    apps.create_namespaced_deployment(namespace, deployment("web", 1))
    wait_until("a pod", lambda: core.list_namespaced_pod(namespace).items)
    apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")

    def nothing_left() -> bool:
        return not (
            apps.list_namespaced_deployment(namespace).items
            or apps.list_namespaced_replica_set(namespace).items
            or core.list_namespaced_pod(namespace).items
        )

    wait_until("the deployment, its replica sets and pods to go", nothing_left)


def test_orphans_stay(apps: client.AppsV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/architecture/garbage-collection/#orphaned-dependents"""
    apps.create_namespaced_deployment(namespace, deployment("web", 0))
    wait_until("a replica set", lambda: apps.list_namespaced_replica_set(namespace).items)
    apps.delete_namespaced_deployment("web", namespace, propagation_policy="Orphan")
    wait_until("the deployment to go", lambda: not apps.list_namespaced_deployment(namespace).items)
    left = apps.list_namespaced_replica_set(namespace).items
    assert [each.metadata.owner_references for each in left] == [None]


def test_a_pod_that_fits_nowhere_says_why(core: client.CoreV1Api, namespace: str) -> None:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler/"""
    greedy = pod("greedy", "true")
    greedy["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100k"}}
    core.create_namespaced_pod(namespace, greedy)

    def unschedulable() -> str | None:
        conditions = core.read_namespaced_pod("greedy", namespace).status.conditions or []
        return next((each.message for each in conditions if each.reason == "Unschedulable"), None)

    assert "Insufficient cpu" in wait_until("the scheduler's verdict", unschedulable)
