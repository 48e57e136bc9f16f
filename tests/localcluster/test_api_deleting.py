"""Deletion: finalizers, grace, propagation, preconditions, collections, namespaces.

https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from tests.localcluster.served import Served, deployment, pod

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"


def bind(api: Served, name: str) -> None:
    reply = api.post(f"{PODS}/{name}/binding", {"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}})
    assert reply.status == 201


def test_a_pod_on_a_node_gets_its_grace_period_and_goes_when_the_kubelet_says_so(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"""
    api.create("pods", pod("a"))
    bind(api, "a")
    going = api.request("DELETE", f"{PODS}/a").json
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.get(f"{PODS}/a").json["metadata"]["deletionTimestamp"] == going["metadata"]["deletionTimestamp"]
    sooner = api.request("DELETE", f"{PODS}/a?gracePeriodSeconds=5").json
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    later = api.request("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 60}).json
    assert later["metadata"]["deletionGracePeriodSeconds"] == 5
    api.request("DELETE", f"{PODS}/a?gracePeriodSeconds=0")
    assert api.get(f"{PODS}/a").status == 404


def test_a_pod_that_no_node_has_goes_at_once(api: Served) -> None:
    api.create("pods", pod("a"))
    assert api.request("DELETE", f"{PODS}/a").json["kind"] == "Pod"
    assert api.get(f"{PODS}/a").status == 404


def test_an_object_with_a_finalizer_stays_until_it_is_removed(api: Served) -> None:
    made = deployment("web")
    made["metadata"]["finalizers"] = ["example.org/keep"]
    api.create("deployments", made)
    going = api.request("DELETE", f"{DEPLOYMENTS}/web").json
    assert going["metadata"]["deletionTimestamp"]
    assert api.get(f"{DEPLOYMENTS}/web").status == 200
    api.patch(f"{DEPLOYMENTS}/web", {"metadata": {"finalizers": None}}, MERGE)
    assert api.get(f"{DEPLOYMENTS}/web").status == 404


def test_propagation_becomes_a_finalizer_for_the_garbage_collector(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion"""
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        api.create("deployments", deployment(policy.lower()))
        reply = api.request("DELETE", f"{DEPLOYMENTS}/{policy.lower()}?propagationPolicy={policy}")
        assert reply.json["metadata"]["finalizers"] == [finalizer]
    api.create("deployments", deployment("web"))
    status = api.request("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"}).json
    assert (status["kind"], status["status"], status["details"]["name"]) == ("Status", "Success", "web")
    assert api.request("DELETE", f"{DEPLOYMENTS}/foreground?propagationPolicy=Sideways").status == 422


def test_preconditions_guard_against_deleting_another(api: Served) -> None:
    made = api.create("deployments", deployment("web"))
    wrong = api.request("DELETE", f"{DEPLOYMENTS}/web", {"preconditions": {"uid": "another"}})
    assert (wrong.status, wrong.json["reason"]) == (409, "Conflict")
    assert api.request("DELETE", f"{DEPLOYMENTS}/web", {"preconditions": {"resourceVersion": "1"}}).status == 409
    right = {"preconditions": {"uid": made["metadata"]["uid"]}}
    assert api.request("DELETE", f"{DEPLOYMENTS}/web", right).status == 200


def test_a_collection_is_deleted_by_selector(api: Served) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        api.create("pods", pod(name, app=app))
    deleted = api.request("DELETE", f"{PODS}?labelSelector=app%3Dx")
    assert deleted.names == ["a", "c"]
    assert api.get(PODS).names == ["b"]


def test_an_eviction_deletes_the_pod(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/"""
    api.create("pods", pod("a"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    assert api.post(f"{PODS}/a/eviction", eviction).status == 201
    assert api.get(f"{PODS}/a").status == 404


def test_a_namespace_that_is_being_deleted_takes_nothing_new(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/"""
    api.post("/api/v1/namespaces", {"metadata": {"name": "team"}})
    assert api.get("/api/v1/namespaces/team/serviceaccounts").names == ["default"]
    going = api.request("DELETE", "/api/v1/namespaces/team").json
    assert going["status"]["phase"] == "Terminating"
    refused = api.post("/api/v1/namespaces/team/pods", pod("a"))
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    emptied = api.get("/api/v1/namespaces/team").json
    emptied["spec"]["finalizers"] = []
    api.request("PUT", "/api/v1/namespaces/team/finalize", emptied)
    assert api.get("/api/v1/namespaces/team").status == 404
    assert api.request("DELETE", "/api/v1/namespaces/default").status == 403


def test_a_pod_is_bound_to_one_node_only(api: Served) -> None:
    api.create("pods", pod("a"))
    bind(api, "a")
    again = api.post(f"{PODS}/a/binding", {"metadata": {"name": "a"}, "target": {"name": "n2"}})
    assert again.status == 409
    assert api.get(f"{PODS}/a").json["spec"]["nodeName"] == "n1"
