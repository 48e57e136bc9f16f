"""What no client of good faith sends: it is refused with 400 or 422, and nothing of it is stored to stumble over."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from localcluster.api import watch as watching
from localcluster.api.watch import Watch, WatchOptions
from localcluster.catalog import Catalog
from localcluster.registry import Registry
from localcluster.store import Change, Store
from tests.kube.support import wait_until
from tests.localcluster.served import Object, Served, deployment, pod, serve
from tests.localcluster.test_api_access import RBAC, account, bind, refused, rule

HERE = "/api/v1/namespaces/default"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/example.com/v1/namespaces/default/things"
SELECTOR = {"matchExpressions": [{"key": "a", "operator": "Like"}]}


def definition(group: str = "example.com", plural: str = "things", kind: str = "Thing", **version: Any) -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    whole = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
    names = {"plural": plural, "kind": kind}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [whole]}
    return {"metadata": {"name": f"{plural}.{group}"}, "spec": spec}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{HERE}/resourcequotas", {"spec": {"hard": {"cpu": "abc"}}}),
        (f"{HERE}/limitranges", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "abc"}}]}}),
        (f"{HERE}/configmaps", {"metadata": {"name": "x", "ownerReferences": [{}]}}),
        (f"{RBAC}/clusterroles", {"aggregationRule": {"clusterRoleSelectors": [SELECTOR]}}),
        (f"{RBAC}/clusterroles", {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
        (f"{RBAC}/namespaces/default/roles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        (f"{RBAC}/clusterrolebindings", {"roleRef": {"kind": "Role", "name": "x"}}),
        (DEFINITIONS, definition(subresources={"scale": {}})),
    ],
)
def test_what_cannot_be_read_later_is_not_stored(api: Served, path: str, body: Object) -> None:
    reply = api.post(path, {"metadata": {"name": "x"}, **body})
    assert (reply.status, reply.json["reason"]) == (422, "Invalid")
    assert "x" not in api.get(path).names


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{HERE}/serviceaccounts/default/token", {"spec": {"expirationSeconds": "soon"}}),
        ("POST", f"{HERE}/serviceaccounts/default/token", {"spec": {"boundObjectRef": "p"}}),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": [1]}),
        ("POST", f"{HERE}/pods/p/eviction", {"deleteOptions": "a"}),
        ("POST", f"{HERE}/pods/p/binding", {"target": "a"}),
        ("DELETE", f"{HERE}/pods/p", {"gracePeriodSeconds": "x"}),
        ("POST", f"{HERE}/configmaps", b'{"metadata":{"name":"n"},"data":{"a":NaN}}'),
        ("POST", f"{HERE}/configmaps", b"[" * 200_000),
    ],
)
def test_bodies_of_the_wrong_type_are_bad_requests(api: Served, method: str, path: str, body: Any) -> None:
    api.create("pods", pod("p"))
    reply = api.request(method, path, body)
    assert (reply.status, reply.json["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "t", "finalizers": "abc"}},
        {"metadata": {"name": "t", "labels": 5}},
        {"metadata": {"name": 5}},
        {"metadata": "t"},
        b'{"metadata":{"name":"t"},"spec":{"much":1e999}}',
    ],
)
def test_the_metadata_of_custom_objects_has_its_types(api: Served, body: Any) -> None:
    assert api.post(DEFINITIONS, definition()).status == 201
    assert api.post(THINGS, body).status == 400
    assert api.get(THINGS).names == []


def test_custom_objects_are_not_replaced_blindly(api: Served) -> None:
    """As with a real API server: metadata.resourceVersion must be specified for an update."""
    api.post(DEFINITIONS, definition())
    made = api.post(THINGS, {"metadata": {"name": "t"}, "status": {"n": 1}}).json
    assert api.request("PUT", f"{THINGS}/t", {"metadata": {"name": "t"}}).status == 422
    # Without a status subresource, all changes but those of metadata count (the documentation, "Status subresource").
    changed = api.request("PUT", f"{THINGS}/t", {**made, "status": {"n": 2}})
    assert (changed.status, changed.json["metadata"]["generation"]) == (200, 2)


def test_no_finalizer_is_added_to_what_is_being_deleted(api: Served) -> None:
    held = {"metadata": {"name": "c", "finalizers": ["example.com/a"]}}
    api.create("configmaps", held)
    api.request("DELETE", f"{HERE}/configmaps/c")
    merge = "application/merge-patch+json"
    more = {"metadata": {"finalizers": ["example.com/a", "example.com/b"]}}
    reply = api.patch(f"{HERE}/configmaps/c", more, merge)
    assert (reply.status, reply.json["details"]["causes"][0]["field"]) == (422, "metadata.finalizers")
    assert api.patch(f"{HERE}/configmaps/c", {"metadata": {"finalizers": []}}, merge).status == 200


def test_a_definition_takes_no_path_from_a_built_in_kind(api: Served) -> None:
    api.post(DEFINITIONS, definition("apps", "deployments", "Deployment"))
    created = api.create("deployments", deployment("d"))
    assert created["spec"]["strategy"]["type"] == "RollingUpdate"
    api.request("DELETE", f"{DEFINITIONS}/deployments.apps")
    wait_until("the definition is gone", lambda: api.get(f"{DEFINITIONS}/deployments.apps").status == 404)
    assert api.get("/apis/apps/v1/deployments").status == 200


def test_a_name_in_a_selector_is_no_leave_to_delete_the_collection(api: Served) -> None:
    """RBAC: "You cannot restrict deletecollection … requests by their resource name"."""
    token = account(api)
    bind(api, rule("list deletecollection", "configmaps", "", "mine"))
    path = f"{HERE}/configmaps?fieldSelector=metadata.name%3Dmine"
    assert api.request("GET", path, token=token).status == 200
    refused(api.request("DELETE", path, token=token))


def test_namespaces_are_not_deleted_as_a_collection(api: Served) -> None:
    assert api.request("DELETE", "/api/v1/namespaces?labelSelector=a%3Db").status == 405
    (found,) = (each for each in api.get("/api/v1").json["resources"] if each["name"] == "namespaces")
    assert "deletecollection" not in found["verbs"]


def test_an_apply_whose_object_goes_while_its_body_comes_may_not_create(api: Served) -> None:
    """What is authorized is what is done: `patch` alone doesn't let anybody create."""
    token = account(api)
    bind(api, rule("patch get", "configmaps"))
    api.create("configmaps", {"metadata": {"name": "c"}})
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}'
    head = (
        f"PATCH {HERE}/configmaps/c?fieldManager=m HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/apply-patch+yaml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body[:10])
        # Served by the same loop, after the head has been read.
        assert api.get("/readyz").status == 200
        assert api.request("DELETE", f"{HERE}/configmaps/c").status == 200
        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 403")
    assert api.get(f"{HERE}/configmaps/c").status == 404


def test_a_quota_counts_what_a_service_becomes(api: Served) -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"services.nodeports": "1"}}}
    api.create("resourcequotas", quota)
    for name in ("a", "b"):
        api.create("services", {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    merge, wish = "application/merge-patch+json", {"spec": {"type": "NodePort"}}
    assert api.patch(f"{HERE}/services/a", wish, merge).status == 200
    assert "exceeded quota: q" in refused(api.patch(f"{HERE}/services/b", wish, merge))
    assert api.patch(f"{HERE}/services/a", {"metadata": {"labels": {"l": "v"}}}, merge).status == 200


def test_an_event_with_a_time_that_is_none_ends_with_its_creation(api: Served) -> None:
    api.create("events", {"metadata": {"name": "e"}, "involvedObject": {}, "lastTimestamp": "yesterday"})
    assert api.run(api.registry.expire_events) == 0


def test_what_was_stored_is_read_at_the_next_start(tmp_path: Path) -> None:
    with serve(path=tmp_path / "state.sqlite") as first:
        first.post(f"{HERE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "abc"}}})
        first.post(f"{HERE}/resourcequotas", {"metadata": {"name": "open"}})
    with serve(path=tmp_path / "state.sqlite") as again:
        assert again.get(f"{HERE}/resourcequotas").names == ["open"]
        labels = {"metadata": {"labels": {"a": "b"}}}
        assert again.patch(f"{HERE}/resourcequotas/open", labels, "application/merge-patch+json").status == 200


def _watch(store: Store, *, bookmarks: bool = True) -> Watch:
    registry = Registry(store)
    options = WatchOptions(None, "", bookmarks, False, 30.0)
    return Watch(registry, Catalog(store)["configmaps"], options, lambda _stored: True)


def _config(store: Store, name: str) -> None:
    store.put("configmaps", {"metadata": {"name": name, "namespace": "default"}})


def test_a_bookmark_never_overtakes_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts again from a bookmark must have seen all before it."""
    store = Store()

    class LateChange:
        """The timeout fires, and a change comes before the watch runs again."""

        def __init__(self, _seconds: float) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_error: object) -> None:
            _config(store, "late")
            raise TimeoutError

    async def main() -> bytes:
        lines = _watch(store).lines(lambda stored: stored.raw)
        assert await anext(lines) == b""
        monkeypatch.setattr(watching.asyncio, "timeout", LateChange)
        monkeypatch.setattr(watching.asyncio.Event, "wait", lambda _self: asyncio.sleep(0))
        seen = await anext(lines)
        await lines.aclose()
        return seen

    seen = asyncio.run(main())
    assert b"ADDED" in seen
    assert b'"late"' in seen


def test_who_does_not_read_keeps_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_BEHIND", 3)
    store = Store()
    behind = _watch(store)
    store.listen(("configmaps",), behind._put)
    for number in range(10):
        _config(store, f"c{number}")
    pending: list[Change] = list(behind._pending)
    assert [change.stored.obj["metadata"]["name"] for change in pending] == ["c0", "c1", "c2", "c3"]


def test_a_quota_that_was_stored_unchecked_keeps_no_cluster_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    """An older version took it; the quotas beside it still hold."""
    store = Store()
    for name, hard in (("odd", {"cpu": "lots"}), ("sound", {"pods": "0"})):
        store.put("resourcequotas", {"metadata": {"name": name, "namespace": "default"}, "spec": {"hard": hard}})
    quotas = Registry(store).admission.quotas
    assert "ResourceQuota default/odd limits nothing: 'lots' is not a quantity" in caplog.text
    one = pod("one") | {"metadata": {"name": "one", "namespace": "default"}}
    assert quotas.refusal(Catalog(store)["pods"], one).startswith("exceeded quota: sound")
    assert quotas.used("default", "odd") == {}
