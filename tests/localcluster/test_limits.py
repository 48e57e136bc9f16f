"""Bodies that are small and cost much, and numbers that Go's types do not hold: refused as by a real API server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster.api.documents import MAX_DEPTH, parse_document
from localcluster.errors import StatusError
from localcluster.patches import json_patch
from localcluster.resources import RESOURCES
from localcluster.schema.check import fit, prune
from localcluster.schema.types import INT_OR_STRING, Type, type_of, type_of_resource
from tests.localcluster.served import Object, Served, deployment, pod
from tests.localcluster.test_api_odd import APPS, DEFINITIONS, HERE, THINGS, definition

YAML, JSON = "application/yaml", "application/json"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
BOUNDS = {"int32": 2**31, INT_OR_STRING: 2**31, "int64": 2**63}


def numbers(type_: Type, seen: set[int]) -> Iterator[tuple[list[str], int]]:
    """Every field of a type that holds a whole number: the steps to it, and the first number that is too large.

    What is `seen` (pods are within many kinds) is not walked again.
    """
    if id(type_.node) in seen:
        return
    seen.add(id(type_.node))
    if bound := BOUNDS.get((type_.node or {}).get("format", "")):
        yield [], bound
    for name in type_.fields:
        yield from (([name, *steps], bound) for steps, bound in numbers(type_.field(name), seen))
    if (type_.node or {}).get("additionalProperties"):
        yield from ((["any", *steps], bound) for steps, bound in numbers(type_.field("any"), seen))
    if "array" in type_.json_types:
        yield from ((["[]", *steps], bound) for steps, bound in numbers(type_.item(), seen))


def holding(steps: list[str], number: int) -> Any:
    value: Any = number
    for step in reversed(steps):
        value = [value] if step == "[]" else {step: value}
    return value


def test_every_whole_number_of_every_kind_has_its_bounds() -> None:
    fields, seen = 0, set[int]()
    for row in RESOURCES:
        for steps, bound in numbers(type_of_resource(row), seen):
            for held in (bound - 1, -bound):
                prune(holding(steps, held), row)
            for beyond in (bound, -bound - 1, 10**30):
                with pytest.raises(
                    StatusError, match=r"cannot unmarshal number -?\d+ into Go .* of type int"
                ) as caught:
                    prune(holding(steps, beyond), row)
                assert caught.value.code == 400, (row.kind, steps)
            fields += 1
    assert fields > 100
    for definition_ in ("meta.v1.DeleteOptions", "autoscaling.v1.Scale", "authentication.v1.TokenRequest"):
        name = f"io.k8s.{'apimachinery.pkg.apis' if definition_.startswith('meta') else 'api'}.{definition_}"
        for steps, bound in numbers(type_of(name), set()):
            with pytest.raises(StatusError, match="cannot unmarshal number"):
                fit(holding(steps, bound), name)


def test_a_number_that_is_too_large_is_refused_by_every_door(api: Served) -> None:
    api.create("deployments", deployment("d"))
    before = api.registry.store.version
    large = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 10**12}}}}
    named = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    selector = {"matchLabels": {"a": "b"}}
    budget = {"metadata": {"name": "b"}, "spec": {"maxUnavailable": 10**12, "selector": selector}}
    doors: list[tuple[str, str, Object, str]] = [
        ("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget, JSON),
        ("POST", f"{APPS}/deployments", deployment("e") | large, JSON),
        ("PUT", f"{APPS}/deployments/d", deployment("d") | large, JSON),
        ("PATCH", f"{APPS}/deployments/d", large, MERGE),
        ("PATCH", f"{APPS}/deployments/d", large, STRATEGIC),
        ("PATCH", f"{APPS}/deployments/d?fieldManager=m", named | large, APPLY),
        ("PUT", f"{APPS}/deployments/d/scale", {"metadata": {"name": "d"}, "spec": {"replicas": 2**31}}, JSON),
        ("PATCH", f"{APPS}/deployments/d/scale", {"spec": {"replicas": 2**31}}, MERGE),
        ("PATCH", f"{APPS}/deployments/d/scale", {"spec": {"replicas": 1.5}}, MERGE),
        ("PATCH", f"{APPS}/deployments/d/scale", {"spec": {"replicas": True}}, MERGE),
    ]
    for method, path, body, type_ in doors:
        reply = api.request(method, path, body, type_=type_)
        assert (reply.status, reply.json["reason"]) == (400, "BadRequest"), (method, path, reply.body)
        assert "cannot unmarshal" in reply.json["message"]
    assert api.registry.store.version == before


ODD_DELETIONS: list[tuple[Any, int]] = [
    ({"kind": "Pod", "apiVersion": "v1"}, 400),
    ({"kind": "deleteoptions"}, 400),
    ({"kind": "CreateOptions", "dryRun": ["All"]}, 400),
    ({"kind": 5}, 400),
    ({"kind": ["DeleteOptions"]}, 400),
    ({"apiVersion": 5}, 400),
    ([], 400),
    ("now", 400),
    (5, 400),
    (None, 400),
    ({"gracePeriodSeconds": 1.5}, 400),
    ({"gracePeriodSeconds": True}, 400),
    ({"gracePeriodSeconds": [1]}, 400),
    ({"gracePeriodSeconds": -(2**63) - 1}, 400),
    ({"preconditions": []}, 400),
    ({"preconditions": {"uid": 5}}, 400),
    ({"preconditions": {"uid": "another"}}, 409),
    ({"orphanDependents": "true"}, 400),
    ({"propagationPolicy": 5}, 400),
    ({"dryRun": {}}, 400),
]


def test_a_deletion_with_an_odd_body_deletes_nothing(api: Served) -> None:
    api.create("pods", pod("p"))
    before = api.registry.store.version
    for body, status in ODD_DELETIONS:
        for path in (f"{HERE}/pods/p", f"{HERE}/pods"):
            reply = api.request("DELETE", path, json.dumps(body).encode())
            assert (reply.status, reply.json["kind"]) == (status, "Status"), (path, body, reply.body)
            assert api.registry.store.version == before, (path, body)


@pytest.mark.parametrize(
    ("body", "grace"),
    [
        ({"kind": "DeleteOptions", "apiVersion": "v1"}, 30),
        ({"kind": "DeleteOptions", "apiVersion": "apps/v1"}, 30),
        ({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "unknown": 1}, 30),
        ({"kind": "", "gracePeriodSeconds": None}, 30),
        ({"gracePeriodSeconds": -5}, 1),
        ({"gracePeriodSeconds": -(2**63)}, 1),
        ({"gracePeriodSeconds": 2**63 - 1}, 2**63 - 1),
    ],
)
def test_a_deletion_takes_the_grace_that_a_real_one_takes(api: Served, body: Object, grace: int) -> None:
    """https://github.com/kubernetes/apiserver/blob/master/pkg/registry/rest/delete.go: a negative one is a second."""
    api.create("pods", pod("p"))
    assert api.post(f"{HERE}/pods/p/binding", {"target": {"name": "n1"}}).status == 201
    going = api.request("DELETE", f"{HERE}/pods/p", body)
    assert going.status == 200 and going.json["metadata"]["deletionGracePeriodSeconds"] == grace
    assert api.get(f"{HERE}/pods/p").json["metadata"]["deletionTimestamp"]
    assert api.request("DELETE", f"{HERE}/pods/p", {"gracePeriodSeconds": 0}).status == 200
    assert api.get(f"{HERE}/pods/p").status == 404


def laughs(links: int, width: int = 10, *, merges: bool = False) -> bytes:
    """A billion laughs: each line holds the one before so many times."""
    first = "a0: &a0 {k: v}" if merges else "a0: &a0 [lol]"
    lines = [first]
    for number in range(1, links):
        before = ", ".join([f"*a{number - 1}"] * width)
        lines.append(f"a{number}: &a{number} {{<<: [{before}]}}" if merges else f"a{number}: &a{number} [{before}]")
    return "\n".join(lines).encode()


COSTLY: dict[str, tuple[bytes, str, str]] = {
    "a billion laughs": (laughs(10), YAML, "excessive aliasing"),
    "a million laughs": (laughs(7), YAML, "excessive aliasing"),
    "laughs by merged keys": (laughs(10, merges=True), YAML, "excessive aliasing"),
    "one long text, many times": (
        b"a: &a " + b"x" * 200_000 + b"\nb: [" + b"*a," * 99 + b"]",
        YAML,
        "excessive aliasing",
    ),
    "an alias of itself": (b"a: &a [*a]", YAML, "contains itself"),
    "a key that holds itself": (b"a: &a\n  b: {c: *a}", YAML, "contains itself"),
    "brackets": (b"[" * 500_000, YAML, "max depth"),
    "brackets that are closed": (b"[" * 3000 + b"]" * 3000, YAML, "max depth"),
    "braces": (b"{a: " * 3000, YAML, "max depth"),
    "dashes": (b"- " * 3000 + b"a", YAML, "max depth"),
    "indents": (b"".join(b" " * each + b"a:\n" for each in range(600)), YAML, "max depth"),
    "JSON's brackets": (b"[" * 500_000, JSON, "max depth"),
    "JSON's brackets that are closed": (b"[" * 900 + b"]" * 900, JSON, "max depth"),
    "JSON's braces": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), JSON, "max depth"),
    "JSON by the name of YAML": (b"[" * 900 + b"]" * 900, YAML, "max depth"),
    "digits": (b'{"a":' + b"9" * 5000 + b"}", JSON, "integer string conversion"),
}


@pytest.mark.parametrize(("body", "type_", "why"), COSTLY.values(), ids=COSTLY)
def test_a_body_that_is_dearer_than_it_looks_is_refused(body: bytes, type_: str, why: str) -> None:
    with pytest.raises(StatusError, match=why) as caught:
        parse_document(body, type_)
    assert (caught.value.code, caught.value.reason) == (400, "BadRequest")


def test_aliases_and_depth_within_reason_are_taken() -> None:
    assert parse_document(laughs(3), YAML)["a2"] == [[["lol"]] * 10] * 10
    merged = parse_document(b"base: &b {a: 1, c: 2}\nmore: {<<: *b, c: 3}\nsame: *b\n", YAML)
    assert merged == {"base": {"a": 1, "c": 2}, "more": {"a": 1, "c": 3}, "same": {"a": 1, "c": 2}}
    many = parse_document(b"a: &a {x: 1}\nb: [" + b"*a, " * 90 + b"]\n", YAML)
    assert many["b"] == [{"x": 1}] * 90
    deepest = parse_document(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, JSON)
    assert deepest == parse_document(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b" # YAML", YAML)


def test_what_is_as_deep_as_is_taken_is_stored_read_and_changed_and_grows_no_deeper(api: Served) -> None:
    api.post(DEFINITIONS, definition())
    deepest: Any = "end"
    for _ in range(MAX_DEPTH - 1):
        deepest = {"a": deepest}
    named = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    assert api.post(THINGS, named | {"a": deepest}).status == 201
    assert api.patch(f"{THINGS}/t", {"b": deepest}, MERGE).status == 200
    assert api.patch(f"{THINGS}/t?fieldManager=m&force=true", named | {"c": deepest}, APPLY).status == 200
    path = "/a" * (MAX_DEPTH // 2)
    grown = api.patch(f"{THINGS}/t", [{"op": "add", "path": path, "value": deepest}], "application/json-patch+json")
    assert grown.status == 400 and "max depth" in grown.json["message"]
    assert api.get(f"{THINGS}/t").json["c"] == deepest
    assert api.request("DELETE", f"{THINGS}/t").status == 200


def test_a_json_patch_copies_no_more_than_a_body_may_hold() -> None:
    document = {"a": {"text": "x" * 1000}}
    double = [{"op": "copy", "from": "/a", "path": f"/a/{number}"} for number in range(40)]
    assert len(json_patch(document, double[:5])["a"]) == 6
    with pytest.raises(StatusError, match="copies make more than") as caught:
        json_patch(document, double)
    assert caught.value.code == 422
    with pytest.raises(StatusError, match="maximum operations in a JSON patch is 10000, got 10001") as caught:
        json_patch(document, [{"op": "test", "path": "/a/text", "value": "x"}] * 10_001)
    assert caught.value.code == 413
