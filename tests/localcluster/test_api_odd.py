"""What no client of good faith sends: it is refused with 400 or 422, and nothing of it is stored to stumble over."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from localcluster import KUBERNETES_MINOR, KUBERNETES_VERSION, schema
from localcluster.api import watch as watching
from localcluster.api.watch import Watch, WatchOptions
from localcluster.catalog import Catalog
from localcluster.registry import Registry
from localcluster.schema import build
from localcluster.store import Change, Store
from tests.kube.support import wait_until
from tests.localcluster.served import TOKEN, Object, Reply, Served, deployment, pod, serve
from tests.localcluster.test_api_access import RBAC, account, bind, refused, rule

HERE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
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


UNKNOWN_OPTIONS: list[tuple[str, str, Any, int]] = [
    ("DELETE", f"{HERE}/pods/p", {"dryRun": ["Maybe"]}, 422),
    ("DELETE", f"{HERE}/pods/p", {"dryRun": ["All", "all"]}, 422),
    ("DELETE", f"{HERE}/pods/p", {"dryRun": [""]}, 422),
    ("DELETE", f"{HERE}/pods/p", {"dryRun": [None]}, 422),
    ("DELETE", f"{HERE}/pods/p", {"dryRun": "All"}, 400),
    ("DELETE", f"{HERE}/pods/p?dryRun=Maybe", None, 422),
    ("DELETE", f"{HERE}/pods/p?dryRun=", None, 422),
    ("DELETE", f"{HERE}/pods/p?dryRun=All&dryRun=None", None, 422),
    ("DELETE", f"{HERE}/pods?dryRun=all", None, 422),
    ("DELETE", f"{HERE}/pods/p", {"propagationPolicy": "foreground"}, 422),
    ("DELETE", f"{HERE}/pods/p?propagationPolicy=Sideways", None, 422),
    ("DELETE", f"{HERE}/pods/p?orphanDependents=perhaps", None, 400),
    ("DELETE", f"{HERE}/pods/p", {"orphanDependents": True, "propagationPolicy": "Orphan"}, 422),
    ("DELETE", f"{HERE}/pods/p?gracePeriodSeconds=1_0", None, 400),
    ("DELETE", f"{HERE}/pods/p?gracePeriodSeconds=%D9%A5", None, 400),  # ٥
    ("DELETE", f"{HERE}/pods/p?gracePeriodSeconds=%205", None, 400),
    ("DELETE", f"{HERE}/pods/p?gracePeriodSeconds=", None, 400),
    ("DELETE", f"{HERE}/pods/p?gracePeriodSeconds={2**63}", None, 400),
    ("DELETE", f"{HERE}/pods/p", {"gracePeriodSeconds": 2**63}, 400),
    ("DELETE", f"{HERE}/pods?resourceVersionMatch=Roughly&resourceVersion=1", None, 422),
    ("POST", f"{HERE}/pods/p/eviction", {"deleteOptions": {"dryRun": ["Maybe"]}}, 422),
    ("POST", f"{HERE}/pods/p/eviction?dryRun=Maybe", {}, 422),
    ("POST", f"{HERE}/pods/p/binding?dryRun=Maybe", {"target": {"name": "n"}}, 422),
    ("POST", f"{HERE}/configmaps?dryRun=Maybe", {"metadata": {"name": "n"}}, 422),
    ("POST", f"{HERE}/configmaps?fieldValidation=strict", {"metadata": {"name": "n"}}, 422),
    ("POST", f"{HERE}/configmaps?fieldManager={'m' * 129}", {"metadata": {"name": "n"}}, 422),
    ("POST", f"{HERE}/configmaps?fieldManager=a%0Ab", {"metadata": {"name": "n"}}, 422),
    ("PATCH", f"{HERE}/pods/p?dryRun=Maybe", {"metadata": {"labels": {"new": "yes"}}}, 422),
    ("PATCH", f"{HERE}/pods/p?force=true", {"metadata": {"labels": {"new": "yes"}}}, 422),
    ("PATCH", f"{HERE}/pods/p?force=perhaps", {"metadata": {"labels": {"new": "yes"}}}, 400),
    ("PATCH", f"{APPS}/deployments/d/scale?dryRun=Maybe", {"spec": {"replicas": 7}}, 422),
    ("GET", f"{HERE}/pods?watch=perhaps", None, 400),
    ("GET", f"{HERE}/pods?limit=1e3", None, 400),
    ("GET", f"{HERE}/pods?timeoutSeconds=1e9", None, 400),
    ("GET", f"{HERE}/pods?allowWatchBookmarks=yes", None, 400),
    ("DELETE", f"{HERE}/pods?timeoutSeconds=soon", None, 400),
    ("GET", f"{HERE}/pods?resourceVersion=abc", None, 400),
    ("GET", f"{HERE}/pods?resourceVersion=-1", None, 400),
    ("GET", f"{HERE}/pods?resourceVersionMatch=exact&resourceVersion=1", None, 422),
    ("GET", f"{HERE}/pods?resourceVersionMatch=Exact", None, 422),
    ("GET", f"{HERE}/pods?resourceVersionMatch=Exact&resourceVersion=0", None, 422),
    ("GET", f"{HERE}/pods?sendInitialEvents=true", None, 422),
    ("GET", f"{HERE}/pods?watch=true&sendInitialEvents=true", None, 422),
    ("GET", f"{HERE}/pods?watch=true&allowWatchBookmarks=yes", None, 400),
    ("GET", f"{HERE}/pods?watch=true&timeoutSeconds=soon", None, 400),
    ("GET", f"{HERE}/pods?watch=true&resourceVersion=now", None, 400),
    ("GET", f"{HERE}/pods/p/log?follow=perhaps", None, 400),
    ("GET", f"{HERE}/pods/p/log?sinceSeconds=0", None, 422),
]


def test_an_option_that_is_not_exactly_known_is_refused_and_changes_nothing(api: Served) -> None:
    """Taken as off, a dry run would be none."""
    api.create("pods", pod("p"))
    api.create("deployments", deployment("d"))
    before = api.registry.store.version
    for method, path, body, status in UNKNOWN_OPTIONS:
        type_ = "application/merge-patch+json" if method == "PATCH" else ""
        reply = api.request(method, path, body, type_=type_)
        assert (reply.status, reply.json["kind"]) == (status, "Status"), (method, path, body, reply.body)
        assert api.registry.store.version == before, (method, path, body)


def test_what_is_given_as_on_is_on(api: Served) -> None:
    """A dry run, by each of its doors; where a DELETE has a body, that says it all."""
    api.create("pods", pod("p"))
    api.create("deployments", deployment("d"))
    before = api.registry.store.version
    dry: list[tuple[str, str, Any]] = [
        ("DELETE", f"{HERE}/pods/p?dryRun=All", None),
        ("DELETE", f"{HERE}/pods/p", {"dryRun": ["All"]}),
        ("DELETE", f"{HERE}/pods?dryRun=All", None),
        ("POST", f"{HERE}/pods/p/eviction", {"deleteOptions": {"dryRun": ["All"]}}),
        ("POST", f"{HERE}/pods/p/eviction?dryRun=All", {}),
        ("POST", f"{HERE}/pods/p/binding?dryRun=All", {"target": {"name": "n"}}),
        ("POST", f"{HERE}/configmaps?dryRun=All", {"metadata": {"name": "n"}}),
        ("PATCH", f"{HERE}/pods/p?dryRun=All", {"metadata": {"labels": {"new": "yes"}}}),
        ("PATCH", f"{APPS}/deployments/d/scale?dryRun=All", {"spec": {"replicas": 7}}),
    ]
    for method, path, body in dry:
        reply = api.request(method, path, body, type_="application/merge-patch+json" if method == "PATCH" else "")
        assert reply.status in (200, 201), (method, path, body, reply.body)
        assert api.registry.store.version == before, (method, path, body)
    assert api.request("DELETE", f"{HERE}/pods/p?gracePeriodSeconds={2**62}").status == 200


def _service(name: str, target: int | str = 80) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80, "targetPort": target}]}}


def _annotated(*sizes: int) -> Object:
    return {"metadata": {"name": "big", "annotations": {f"k{number}": "x" * size for number, size in enumerate(sizes)}}}


def _rolling(**rolling: Any) -> Object:
    made = deployment("d")
    made["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return made


def _asking(quantity: Any, **spec: Any) -> Object:
    made = pod("p")
    made["spec"]["containers"][0]["resources"] = {"requests": {"memory": quantity}}
    made["spec"].update(spec)
    return made


VALUES: list[tuple[str, Object, str]] = [
    (f"{HERE}/configmaps", _annotated(200_000, 62_140), ""),
    (f"{HERE}/configmaps", _annotated(200_000, 62_141), "Too long: may not be more than 262144 bytes"),
    (f"{HERE}/configmaps", _annotated(*[1] * 70_000), "Too long"),
    (f"{HERE}/services", _service("a1"), ""),
    (f"{HERE}/services", _service("1a"), "a DNS-1035 label must"),
    (f"{HERE}/services", _service("a" * 64), "must be no more than 63 characters"),
    (f"{HERE}/services", _service("s1", "http-8080"), ""),
    (f"{HERE}/services", _service("s2", "٣"), "must contain only alpha-numeric characters (a-z, 0-9)"),
    (f"{HERE}/services", _service("s3", "8080"), "must contain at least one letter (a-z)"),
    (f"{HERE}/services", _service("s4", "sixteen-letters-"), "must be no more than 15 characters"),
    (f"{HERE}/services", _service("s5", "a--b"), "must not contain consecutive hyphens"),
    (f"{HERE}/services", _service("s6", 65536), "must be between 1 and 65535, inclusive"),
    ("/api/v1/namespaces", {"metadata": {"name": "1a"}}, ""),
    (f"{APPS}/deployments", _rolling(maxSurge="25%", maxUnavailable=0), ""),
    (f"{APPS}/deployments", _rolling(maxSurge="300%", maxUnavailable="100%"), ""),
    (f"{APPS}/deployments", _rolling(maxSurge="25"), "a valid percent string must be a numeric string"),
    (f"{APPS}/deployments", _rolling(maxSurge="2.5%"), "a valid percent string must be a numeric string"),
    (f"{APPS}/deployments", _rolling(maxSurge="-5%"), "a valid percent string must be a numeric string"),
    (f"{APPS}/deployments", _rolling(maxSurge="٥%"), "a valid percent string must be a numeric string"),
    (f"{APPS}/deployments", _rolling(maxSurge=f"{'9' * 5000}%"), "a valid percent string must be a numeric string"),
    (f"{APPS}/deployments", _rolling(maxSurge=-1), "must be greater than or equal to 0"),
    (f"{APPS}/deployments", _rolling(maxUnavailable="101%"), "must not be greater than 100%"),
    (f"{APPS}/deployments", _rolling(maxSurge="00%", maxUnavailable=0), "may not be 0 when `maxSurge` is 0"),
    (f"{HERE}/pods", _asking("1e999999999"), ""),
    (f"{HERE}/pods", _asking("1e-999999999"), ""),
    (f"{HERE}/pods", _asking(10**30), ""),
    (f"{HERE}/pods", _asking("9" * 5000), ""),
    (f"{HERE}/pods", _asking("1e99999999999999999999"), "quantities must match the regular expression"),
    (f"{HERE}/pods", _asking("٥"), "quantities must match the regular expression"),
    (f"{HERE}/pods", _asking(" 1Gi"), "quantities must match the regular expression"),
    (f"{HERE}/pods", _asking("1Gi", activeDeadlineSeconds=2**40), "must be between 1 and 2147483647"),
    (f"{HERE}/pods", _asking("1Gi", terminationGracePeriodSeconds=2**62), ""),
    (f"{HERE}/pods", _asking("1Gi", terminationGracePeriodSeconds=2**63), "of type int64"),
    (f"{HERE}/pods", _asking("1Gi", priority=2**31), "of type int32"),
    (f"{APPS}/deployments", {**deployment("d"), "spec": {**deployment("d")["spec"], "replicas": 10**20}}, "int32"),
]


def test_values_are_taken_and_refused_as_by_a_real_api_server(api: Served) -> None:
    for path, body, said in VALUES:
        reply, name = api.post(path, body), body["metadata"]["name"]
        assert reply.status in ((400, 422) if said else (201,)), (str(body)[:300], reply.body[:300])
        assert said in reply.body.decode()
        assert (name in api.get(path).names) is not bool(said)
        if not said:
            assert api.get(path, accept="application/json;as=Table;v=v1;g=meta.k8s.io").status == 200
            assert api.request("DELETE", f"{path}/{name}").status == 200


def test_a_template_s_annotations_count_as_a_pod_s(api: Served) -> None:
    made = deployment("d")
    made["spec"]["template"]["metadata"]["annotations"] = {"a": "x" * 262_144}
    reply = api.post(f"{APPS}/deployments", made)
    assert (reply.status, reply.json["details"]["causes"][0]["field"]) == (
        422, "spec.template.metadata.annotations",
    )  # fmt: skip


def test_it_is_the_release_that_it_says(api: Served) -> None:
    """Its definitions and its protobuf are of that release, and a Service's name is what it was before 1.34."""
    version = api.get("/version").json
    assert version["gitVersion"] == KUBERNETES_VERSION == f"v{build.RELEASE}+localcluster"
    assert f"{version['major']}.{version['minor']}" == KUBERNETES_MINOR
    assert f"release {KUBERNETES_MINOR} " in (schema.__doc__ or "")
    assert int(version["minor"]) < 34


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
    (namespaces,) = (each for each in api.get("/api/v1").json["resources"] if each["name"] == "namespaces")
    assert "deletecollection" not in namespaces["verbs"]


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


def test_a_body_that_breaks_off_is_no_body(api: Served) -> None:
    """Half of a YAML document is one, too."""
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  whole: 'yes'\n"
    head = (
        f"PATCH {HERE}/configmaps/c?fieldManager=m HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/apply-patch+yaml\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = api.url.removeprefix("http://").split(":")
    before = api.registry.store.version
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + body[: body.index(b"\ndata:") + 1])
        # Served by the same loop, after the head has been read.
        assert api.get("/readyz").status == 200
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536) == b""
    assert api.get(f"{HERE}/configmaps/c").status == 404
    assert api.registry.store.version == before


def test_yaml_that_json_cannot_say_is_refused_and_dates_are_text(api: Served) -> None:
    def apply(annotation: bytes) -> Reply:
        head = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  annotations:\n    a: "
        return api.patch(f"{HERE}/configmaps/c?fieldManager=m", head + annotation, "application/apply-patch+yaml")

    for odd in (b".nan", b"!!set {x}", b"!!binary aGk=", b"!!timestamp x", b"!!int x", b"&x [*x]", b"[" * 5000, b"5"):
        reply = apply(odd)
        assert (reply.status, reply.json["kind"]) == (400, "Status"), (odd, reply.body)
    assert apply(b"2026-01-02").json["metadata"]["annotations"] == {"a": "2026-01-02"}


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
