"""List, get, pages, selectors, tables, discovery, and who may ask.

The facts are those of https://kubernetes.io/docs/reference/using-api/api-concepts/ unless a docstring says otherwise.
"""

import urllib3

from tests.localcluster.served import Served, pod, serve

PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def test_a_request_without_or_with_a_wrong_token_is_refused_as_a_status(api: Served) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/authentication/: 401 for what can't be authenticated."""
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic dGVzdC10b2tlbg=="}):
        for path in ("/api/v1/pods", "/api", "/metrics", "/openapi/v3", "/nowhere"):
            reply = urllib3.request("GET", api.url + path, headers=headers, retries=False)
            assert reply.status == 401
            assert reply.json()["reason"] == "Unauthorized"


def test_unknown_paths_and_methods_answer_with_a_status(api: Served) -> None:
    for path in ("/nowhere", "/api/v1/foos", "/apis/apps/v2/deployments", f"{PODS}/a/nothing", "/apis/nope.example/v1"):
        assert api.get(path).json["reason"] == "NotFound", path
    assert api.request("PUT", PODS, {}).status == 405
    missing = api.get(f"{PODS}/missing")
    assert missing.status == 404
    assert missing.json["message"] == 'pods "missing" not found'
    assert missing.json["details"] == {"name": "missing", "kind": "pods"}


def test_pages_cover_everything_once_and_carry_the_version_of_the_first(api: Served) -> None:
    """ "Retrieving large results sets in chunks": limit, continue, remainingItemCount, one resourceVersion."""
    for number in range(5):
        api.create("pods", pod(f"p{number}"))
    first = api.get(f"{PODS}?limit=2")
    api.create("pods", pod("p3b"))
    names, page = list(first.names), first
    assert first.json["metadata"]["remainingItemCount"] == 3
    while token := page.json["metadata"].get("continue"):
        page = api.get(f"{PODS}?limit=2&continue={token}")
        names += page.names
        assert page.json["metadata"]["resourceVersion"] == first.json["metadata"]["resourceVersion"]
    assert names == ["p0", "p1", "p2", "p3", "p3b", "p4"]
    assert "remainingItemCount" not in page.json["metadata"]


def test_a_continue_token_older_than_the_kept_history_is_410_expired() -> None:
    """ "410 Gone ... the continue token is too old": the client lists again."""
    with serve(ring=3) as api:
        for number in range(4):
            api.create("pods", pod(f"p{number}"))
        token = api.get(f"{PODS}?limit=2").json["metadata"]["continue"]
        for number in range(8):
            api.create("pods", pod(f"q{number}"))
        reply = api.get(f"{PODS}?limit=2&continue={token}")
        assert (reply.status, reply.json["reason"]) == (410, "Expired")
        assert api.get(f"{PODS}?continue=rubbish").status == 400


def test_a_list_at_version_0_is_served_and_one_from_the_future_is_refused(api: Served) -> None:
    """ "Semantics for get and list": 0 means any version; one that is not reached yet gives 504."""
    api.create("pods", pod("a"))
    assert api.get(f"{PODS}?resourceVersion=0").names == ["a"]
    assert api.get(f"{PODS}?resourceVersion=999999").json["reason"] == "Timeout"


def test_label_and_field_selectors_filter_lists(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/"""
    api.create("pods", pod("a", app="x", tier="front"))
    api.create("pods", pod("b", app="y"))
    api.create("pods", pod("c"))
    for selector, names in (
        ("app=x", ["a"]),
        ("app!=x", ["b", "c"]),
        ("app in (x,y)", ["a", "b"]),
        ("app,!tier", ["b"]),
        ("app notin (x)", ["b", "c"]),
    ):
        assert api.get(f"{PODS}?labelSelector={selector.replace(' ', '%20')}").names == names, selector
    assert api.get(f"{PODS}?fieldSelector=metadata.name=b,status.phase=Pending").names == ["b"]
    assert api.get(f"{PODS}?fieldSelector=metadata.name!=b").names == ["a", "c"]
    assert api.get(f"{PODS}?fieldSelector=spec.bogus=b").status == 400
    assert api.get(f"{PODS}?labelSelector=a==b==c").status == 400


def test_all_namespaces_are_listed_without_one(api: Served) -> None:
    api.post("/api/v1/namespaces", {"metadata": {"name": "other"}})
    api.create("pods", pod("a"))
    api.create("pods", pod("a"), namespace="other")
    assert api.get("/api/v1/pods").names == ["a", "a"]
    assert api.get("/api/v1/namespaces/other/pods").names == ["a"]


def test_tables_have_the_columns_that_kubectl_prints(api: Served) -> None:
    """ "Receiving resources as Tables"."""
    api.create("pods", pod("a"))
    table = api.get(PODS, accept=TABLE).json
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"] if not column["priority"]] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
    ]
    assert table["rows"][0]["cells"][:4] == ["a", "0/1", "Pending", "0"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    only = api.get(f"{PODS}/a?includeObject=Object", accept=TABLE).json
    assert only["rows"][0]["object"]["kind"] == "Pod"


def test_metadata_alone_can_be_asked_for(api: Served) -> None:
    api.create("pods", pod("a"))
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    answer = api.get(PODS, accept=accept).json
    assert answer["kind"] == "PartialObjectMetadataList"
    assert set(answer["items"][0]) == {"kind", "apiVersion", "metadata"}
    assert api.get(PODS, accept="application/vnd.kubernetes.protobuf").status == 406
    assert api.get(PODS, accept="application/vnd.kubernetes.protobuf,application/json").status == 200


def test_discovery_names_every_resource_in_both_forms(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api"""
    groups = {group["name"] for group in api.get("/apis").json["groups"]}
    assert {"apps", "batch", "discovery.k8s.io", "metrics.k8s.io", "authorization.k8s.io"} <= groups
    resources = {each["name"]: each for each in api.get("/apis/apps/v1").json["resources"]}
    assert resources["deployments"]["shortNames"] == ["deploy"]
    assert resources["deployments/scale"]["kind"] == "Scale"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for path in ("/api", "/apis"):
        reply = api.get(path, accept=accept)
        assert "APIGroupDiscoveryList" in reply.headers["content-type"]
        for group in reply.json["items"]:
            for version in group["versions"]:
                for resource in version["resources"]:
                    base = f"/apis/{group['metadata']['name']}" if path == "/apis" else "/api"
                    if "list" in resource["verbs"]:
                        url = f"{base}/{version['version']}/{resource['resource']}"
                        assert api.get(url).status == 200, url


def test_health_version_and_openapi_answer(api: Served) -> None:
    """https://kubernetes.io/docs/reference/using-api/health-checks/"""
    for path in ("/healthz", "/livez", "/readyz"):
        assert api.get(path).body == b"ok"
    assert api.get("/version").json["gitVersion"].startswith("v1.")
    paths = api.get("/openapi/v3").json["paths"]
    document = api.get(paths["apis/apps/v1"]["serverRelativeURL"]).json
    schema = document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "apps", "version": "v1", "kind": "Deployment"}]
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


def test_the_administrator_may_do_everything(api: Served) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access"""
    review = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    reply = api.post(path, review)
    assert (reply.status, reply.json["status"]["allowed"]) == (201, True)
    assert api.post(path, {"spec": {}}).status == 422
