"""Tables of cases for the pure parts: selectors, patches, ages, statuses, paths, log windows, QoS."""

import base64
from typing import Any

import pytest

from localcluster.admission.usage import usage_of
from localcluster.api.http import parse_accept
from localcluster.api.proxy import parse_target_name
from localcluster.api.requestinfo import Target, parse_target
from localcluster.errors import StatusError
from localcluster.patches import json_patch, merge_patch, strategic_merge
from localcluster.printers import duration, pod_cells, pod_status
from localcluster.resources import BY_PLURAL
from localcluster.schema.types import type_of_resource
from localcluster.schema.wire import decode
from localcluster.selectors import format_label_selector, label_selector_matches, parse_fields, parse_labels
from localcluster.strategies import qos_class

LABELS = {"app": "web", "tier": "front", "version": "2"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app!=web", False),
        ("missing!=x", True),
        ("app in (web, api)", True),
        ("app notin (web)", False),
        ("missing notin (x)", True),
        ("app", True),
        ("!app", False),
        ("!missing", True),
        ("app in (a,b),tier", False),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"""
    assert parse_labels(selector)(LABELS) is matches


def test_selectors_that_make_no_sense_are_refused() -> None:
    for text in ("a=b=c", "=x", "a in b", "a>1"):
        with pytest.raises(StatusError):
            parse_labels(text)
    with pytest.raises(StatusError):
        parse_fields("spec.secret=x", BY_PLURAL["pods"])


@pytest.mark.parametrize(
    ("selector", "matches", "text"),
    [
        (None, False, "<none>"),
        ({}, True, "<none>"),
        ({"matchLabels": {"app": "web"}}, True, "app=web"),
        (
            {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["back", "front"]}]},
            True,
            "tier in (back,front)",
        ),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False, "!tier"),
    ],
)
def test_label_selector_objects(selector: Any, matches: bool, text: str) -> None:
    assert label_selector_matches(selector, LABELS) is matches
    assert format_label_selector(selector) == text


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(target: Any, patch: Any, result: Any) -> None:
    """The examples of RFC 7386, appendix A."""
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "x"}], {"foo": ["a", "x", "b"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": "x"}], {"foo": ["a", "x"]}),
        ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        ({"a/b": 1}, [{"op": "test", "path": "/a~1b", "value": 1}], {"a/b": 1}),
    ],
)
def test_json_patches(target: Any, operations: Any, result: Any) -> None:
    """RFC 6902, appendix A."""
    assert json_patch(target, operations) == result


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "remove", "path": "/none"}],
        [{"op": "replace", "path": "/none", "value": 1}],
        [{"op": "test", "path": "/a", "value": 2}],
        [{"op": "add", "path": "/none/deeper", "value": 1}],
        [{"op": "fly", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
    ],
)
def test_json_patches_that_cannot_be(operations: Any) -> None:
    with pytest.raises(StatusError):
        json_patch({"a": 1}, operations)


POD = type_of_resource(BY_PLURAL["pods"])


def containers(*items: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(items)}}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (
            containers({"name": "a", "image": "1"}, {"name": "b", "image": "2"}),
            containers({"name": "b", "image": "3"}),
            containers({"name": "a", "image": "1"}, {"name": "b", "image": "3"}),
        ),
        (
            containers({"name": "a"}, {"name": "b"}),
            containers({"name": "a", "$patch": "delete"}),
            containers({"name": "b"}),
        ),
        (
            containers({"name": "a"}, {"name": "b"}),
            containers({"$patch": "replace"}, {"name": "c"}),
            containers({"name": "c"}),
        ),
        (
            containers({"name": "a", "command": ["x", "y"]}),
            containers({"name": "a", "command": ["z"]}),
            containers({"name": "a", "command": ["z"]}),
        ),
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]}},
            {"metadata": {"finalizers": ["b", "c"]}},
        ),
        (
            containers({"name": "a"}, {"name": "b"}),
            {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}},
            containers({"name": "b"}, {"name": "a"}),
        ),
        ({"spec": {"nodeName": "x"}}, {"spec": {"nodeName": None}}, {"spec": {}}),
        ({"spec": {"a": 1, "b": 2}}, {"spec": {"$retainKeys": ["b"], "b": 3}}, {"spec": {"b": 3}}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 3}}, {"spec": {"b": 3}}),
    ],
)
def test_strategic_patches(target: Any, patch: Any, result: Any) -> None:
    """https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md"""
    assert strategic_merge(target, patch, POD) == result


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (185, "3m5s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600, "8h"),
        (50 * 3600, "2d2h"),
        (10 * 86400, "10d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(seconds: int, text: str) -> None:
    """k8s.io/apimachinery/pkg/util/duration, HumanDuration."""
    assert duration(seconds) == text


def status(**more: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running", **more}}


def leaving(**more: Any) -> dict[str, Any]:
    return {**status(**more), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


def state(**state_: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "a", "state": state_}]}


@pytest.mark.parametrize(
    ("pod", "word"),
    [
        (status(), "Running"),
        (status(**state(waiting={"reason": "CrashLoopBackOff"})), "CrashLoopBackOff"),
        (status(**state(terminated={"exitCode": 137, "reason": "OOMKilled"})), "OOMKilled"),
        (status(**state(terminated={"exitCode": 3})), "ExitCode:3"),
        (status(reason="Evicted", phase="Failed"), "Evicted"),
        (leaving(), "Terminating"),
        (leaving(phase="Succeeded", **state(terminated={"exitCode": 0, "reason": "Completed"})), "Completed"),
        (leaving(phase="Failed", **state(terminated={"exitCode": 1, "reason": "Error"})), "Error"),
        (leaving(reason="NodeLost"), "Unknown"),
        (
            {
                **status(initContainerStatuses=[{"name": "i", "state": {"running": {}}}]),
                "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]},
            },
            "Init:0/1",
        ),
    ],
)
def test_the_status_column(pod: dict[str, Any], word: str) -> None:
    """pkg/printers/internalversion/printers.go, printPod."""
    assert pod_status(pod) == word


def _state(name: str, ready: bool, restarts: int = 0, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "started": True, "restartCount": restarts, "state": state}


@pytest.mark.parametrize(
    ("inits", "mains", "initialized", "cells"),
    [
        ([_state("load", True, 3, terminated={"exitCode": 0}), _state("proxy", True, 2, running={})],
         [_state("main", True, 1, running={})], "True", ("2/2", "Running", "3")),
        ([_state("load", True, 3, terminated={"exitCode": 0}), _state("proxy", False, 2, terminated={"exitCode": 1})],
         [_state("main", True, 0, running={})], "True", ("1/2", "Running", "2")),
        ([_state("load", False, 3, running={}), _state("proxy", False, waiting={"reason": "PodInitializing"})],
         [_state("main", False, waiting={"reason": "PodInitializing"})], "False", ("0/2", "Init:0/2", "3")),
    ],
)  # fmt: skip
def test_a_sidecar_counts_among_the_containers_and_is_no_init_failure(
    inits: list[Any], mains: list[Any], initialized: str, cells: tuple[str, ...]
) -> None:
    spec = {
        "initContainers": [{"name": "load"}, {"name": "proxy", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }
    conditions = [{"type": "Initialized", "status": initialized}]
    states = {"initContainerStatuses": inits, "containerStatuses": mains, "conditions": conditions}
    pod = {"metadata": {"name": "p"}, "spec": spec, "status": {"phase": "Running", **states}}
    if initialized == "False":
        pod["status"]["phase"] = "Pending"
    assert tuple(pod_cells(pod)[1:4]) == cells


def test_a_sidecar_counts_against_quotas_beside_the_others() -> None:
    def asks(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}, **more}

    inits = [asks("1", restartPolicy="Always"), asks("3"), asks("500m", restartPolicy="Always")]
    used = usage_of("pods", "pods", "", {"spec": {"initContainers": inits, "containers": [asks("1")]}})
    assert used["requests.cpu"] == used["limits.cpu"] == used["cpu"] == 4, "the second init runs beside the first"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target("", "v1", "pods")),
        ("/api/v1/namespaces", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/a", Target("", "v1", "namespaces", None, "a")),
        ("/api/v1/namespaces/a/status", Target("", "v1", "namespaces", None, "a", "status")),
        ("/api/v1/namespaces/a/pods", Target("", "v1", "pods", "a")),
        ("/api/v1/namespaces/a/pods/", Target("", "v1", "pods", "a")),
        ("/apis/apps/v1/namespaces/a/deployments/b/scale", Target("apps", "v1", "deployments", "a", "b", "scale")),
        ("/api/v1/namespaces/a/pods/b:80/proxy/x/y", Target("", "v1", "pods", "a", "b:80", "proxy", "/x/y")),
        ("/api/v1/namespaces/a/pods/b/proxy/", Target("", "v1", "pods", "a", "b", "proxy", "/")),
        ("/api", None),
        ("/healthz", None),
    ],
)
def test_paths(path: str, target: Target | None) -> None:
    """https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris"""
    assert parse_target(path) == target


def test_proxy_targets_name_scheme_and_port() -> None:
    """https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/"""
    assert parse_target_name("a") == ("http", "a", "")
    assert parse_target_name("a:http") == ("http", "a", "http")
    assert parse_target_name("https:a:443") == ("https", "a", "443")
    with pytest.raises(StatusError):
        parse_target_name("ftp:a:21")


def test_accept_headers() -> None:
    accepted = parse_accept("application/json;as=Table;v=v1;g=meta.k8s.io, application/json")
    assert [each.shape for each in accepted] == ["Table", ""]


@pytest.mark.parametrize(
    ("resources", "word"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_qos_classes(resources: dict[str, Any], word: str) -> None:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    assert qos_class({"containers": [{"name": "a", "resources": resources}]}) == word


CONFIG_MAP = "azhzAAoPCgJ2MRIJQ29uZmlnTWFwEhsKEQoBYxIAGgAiACoAMgA4AEIAEgYKAWESAWIaACIA"
DEPLOYMENT = (
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErQBChsKAWQSABoAIgAqADIAOABCAFoICgNhcHASAWQShgEIARIKCggKA2FwcBIBZBpuChoKABIA"
    "GgAiACoAMgA4AEIAWggKA2FwcBIBZBJQEjIKB2J1c3lib3gSB2J1c3lib3gqADIKCgAQABhQIgAqAEIAagByAIABAIgBAJABAKIBABoAMgBCAEoA"
    "UgBYAGAAaACCAQCKAQCaAQDCAQAiAgoAKAA4ABoMCAAQABgAIAAoADgAGgAiAA=="
)


def test_protobuf_bodies_are_read() -> None:
    """What kubectl 1.33 sends for `create configmap c --from-literal=a=b` and `create deployment d … --port=80`."""
    config_map = decode(base64.b64decode(CONFIG_MAP))
    assert config_map == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "generation": 0},
        "data": {"a": "b"},
    }
    made = decode(base64.b64decode(DEPLOYMENT))
    assert (made["apiVersion"], made["kind"], made["metadata"]["labels"]) == ("apps/v1", "Deployment", {"app": "d"})
    assert made["spec"]["selector"] == {"matchLabels": {"app": "d"}}
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert (container["name"], container["image"], container["ports"][0]["containerPort"]) == ("busybox", "busybox", 80)


@pytest.mark.parametrize("body", [b"", b"k8s\x00\x0a", b"k8s\x00" + b"\xff" * 20, b"json"])
def test_broken_protobuf_is_refused(body: bytes) -> None:
    with pytest.raises(StatusError) as refused:
        decode(body)
    assert refused.value.code == 400
