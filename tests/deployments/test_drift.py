"""What is a difference and what is none, by tables: values, defaults, owners."""

import copy
from typing import Any

import pytest

from apps.deployments import manifests
from apps.deployments.drift import Act, act_on, adopted, differences, projection, sentence, undoing
from apps.deployments.drift.ownership import Holder, Item, counted_by, held_part, is_whole
from apps.deployments.manifests.modelfiles import Source
from apps.deployments.specs import parse_revision
from localcluster.resources import BY_PLURAL
from localcluster.schema.types import Type, type_of_resource

IDENTITY = manifests.Identity("demo", "digits", "flotilla-demo")
SPEC = parse_revision(
    {"image": "digits:1", "env": {"A": "1", "B": "2"}, "resources": {"cpu": "1000m", "memory": "1Gi"}}
)
SOURCE = Source("http://flotilla", "flotilla-model-server:2")
RENDERED = manifests.workload(IDENTITY, 1, SPEC, 2, source=SOURCE)
ASKED = manifests.asked_of(IDENTITY, 1, SPEC.digest)
APPLIED = manifests.stamped(RENDERED, ASKED)
SERVER = "spec.template.spec.containers[server]"


def server(obj: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = obj["spec"]["template"]["spec"]["containers"][0]
    return container


def entry(manager: str, tree: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "time": "2026-11-29T20:00:00Z", "fieldsV1": tree, "operation": "Update", **more}


def in_server(tree: dict[str, Any]) -> dict[str, Any]:
    inner = {'k:{"name":"server"}': {".": {}, **tree}}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": inner}}}}


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    """The object as a server answers it: with its own defaults, and with quantities in its own words."""
    seen = copy.deepcopy(APPLIED)
    seen["metadata"] |= {"uid": "u", "generation": 1, "managedFields": [entry("flotilla", {"f:spec": {}}), *entries]}
    seen["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    server(seen)["terminationMessagePath"] = "/dev/termination-log"
    server(seen)["resources"]["limits"]["cpu"] = server(seen)["resources"]["requests"]["cpu"] = "1"
    return seen


def test_what_the_server_fills_in_or_writes_another_way_is_no_difference() -> None:
    kept = projection(live(), APPLIED)
    assert server(kept)["resources"]["limits"]["cpu"] == "1"
    assert "terminationMessagePath" not in server(kept)
    assert differences(live(), kept) == []
    # The same, found later with one more default of a newer server, and with its lists in another order.
    seen = live()
    server(seen)["env"].reverse()
    server(seen)["ports"][0]["hostPort"] = 0
    assert differences(seen, kept) == []


def test_who_put_on_a_label_or_a_note_holds_nothing_of_the_rest() -> None:
    seen = live(entry("kubectl-label", {"f:metadata": {"f:labels": {"f:extra": {}}}}))
    seen["metadata"]["labels"]["extra"] = "1"
    assert differences(seen, projection(live(), APPLIED)) == []


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"f:template": {}},
        {"f:template": {"f:metadata": {}, "f:spec": {}}},
        {"f:template": {"f:metadata": {"f:creationTimestamp": {}}}},
        {"f:template": {"f:spec": {"f:securityContext": {}}}},
        {"f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': {}}}}},
        {"f:template": {"f:spec": {"f:containers": {'k:{"name":"server"}': {".": {}, "f:resources": {}}}}}},
        {"f:strategy": {}},
        {"f:strategy": {"f:rollingUpdate": {}}},
    ],
)
def test_who_states_an_object_empty_holds_nothing_of_its_inside(tree: dict[str, Any]) -> None:
    """The API server fills these in, and others write there: nobody edited them by hand."""
    seen = live(entry("ops-scaler", {"f:spec": tree}, operation="Apply"))
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    seen["spec"] |= {"replicas": 5, "progressDeadlineSeconds": 600}
    seen["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    seen["spec"]["template"]["metadata"]["creationTimestamp"] = None
    seen["spec"]["template"]["spec"] |= {"schedulerName": "default-scheduler", "securityContext": {"fsGroup": 1}}
    server(seen)["resources"]["claims"] = [{"name": "x"}]
    stated = copy.deepcopy(APPLIED)
    stated["spec"].pop("strategy", None)
    stated["spec"]["template"]["spec"].pop("securityContext", None)
    kept = projection(seen, stated)
    assert differences(seen, kept) == []
    assert undoing(kept, seen) is None


def test_every_object_that_is_owned_as_one_is_known() -> None:
    """By the types of the kinds that we apply, as the API server publishes them."""
    found: set[str] = set()
    done: set[int] = set()

    def walk(type_: Type, name: str) -> None:
        if id(type_) in done:
            return
        done.add(id(type_))
        if "array" in type_.json_types:
            # An item of a list that is owned as one is its key, and nothing else.
            for field in type_.item().fields:
                walk(type_.item().field(field), field)
        elif type_.json_types == {"object"} and type_.merge == "atomic":
            found.add(name)
        else:
            for field in type_.fields:
                walk(type_.field(field), field)

    for kind in ("deployments", "services", "poddisruptionbudgets", "horizontalpodautoscalers"):
        walk(type_of_resource(BY_PLURAL[kind]).field("spec"), "spec")
    assert {"selector", "nodeSelector", "secretKeyRef"} <= found
    assert {name for name in found if not is_whole(name)} == set()


def test_replicas_are_decided_elsewhere() -> None:
    seen = live(entry("kubectl", {"f:spec": {"f:replicas": {}}}, subresource="scale"))
    seen["spec"]["replicas"] = 9
    assert differences(seen, projection(live(), APPLIED)) == []


@pytest.mark.parametrize(
    ("entries", "by"),
    [
        ([], ("", "")),
        ([entry("kubectl-edit", in_server({"f:image": {}}))], ("kubectl-edit", "2026-11-29T20:00:00Z")),
        (
            [
                entry("old", in_server({"f:image": {}})),
                entry("new", in_server({"f:image": {}}), time="2026-11-29T21:00:00Z"),
            ],
            ("new", "2026-11-29T21:00:00Z"),
        ),
        ([entry("controller", in_server({"f:image": {}}), subresource="status")], ("", "")),
    ],
)
def test_who_did_it_is_told_as_far_as_it_is_known(entries: list[dict[str, Any]], by: tuple[str, str]) -> None:
    seen = live(*entries)
    server(seen)["image"] = "evil:1"
    (told,) = differences(seen, projection(live(), APPLIED))
    assert (told.field, told.kind, told.applied, told.found) == (f"{SERVER}.image", "changed", "digits:1", "evil:1")
    assert (told.manager, told.at) == by


def test_what_a_hand_put_into_the_environment_is_not_shown() -> None:
    tree = {'k:{"name":"A"}': {"f:value": {}}, 'k:{"name":"TOKEN"}': {".": {}, "f:name": {}, "f:value": {}}}
    sidecar = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"side"}': {".": {}, "f:name": {}}}}}}}
    seen = live(entry("kubectl-edit", in_server({"f:env": tree})), entry("helm", sidecar))
    server(seen)["env"][0]["value"] = "hunter2"
    server(seen)["env"].append({"name": "TOKEN", "value": "hunter2"})
    seen["spec"]["template"]["spec"]["containers"].append({"name": "side", "env": [{"name": "X", "value": "hunter2"}]})
    told = differences(seen, projection(live(), APPLIED))
    assert [(one.field, one.kind) for one in told] == [
        (f"{SERVER}.env[A].value", "changed"),
        (f"{SERVER}.env[TOKEN]", "added"),
        ("spec.template.spec.containers[side]", "added"),
    ]
    assert "hunter2" not in str(told)


def test_no_more_is_kept_than_can_be_shown() -> None:
    seen = live()
    server(seen)["env"] = []
    seen["metadata"]["labels"] = {}
    server(seen)["command"] = ["x" * 1000]
    many = parse_revision({"image": "digits:1", "env": {f"V{n}": "1" for n in range(50)}})
    kept = projection(live(), manifests.workload(IDENTITY, 1, many, 2, source=SOURCE))
    server(kept)["env"] = [{"name": f"V{n}", "value": "1"} for n in range(50)]
    told = differences(seen, kept)
    assert len(told) == 20
    assert sentence([one.to_json() for one in told]).endswith(", and 19 more.")
    assert sentence([]) == ""


@pytest.mark.parametrize(
    ("note", "image", "kept", "act"),
    [
        (None, "digits:1", None, Act.ADOPT),
        (None, "digits:1", "older", Act.ADOPT),
        (None, "other:1", None, Act.APPLY),
        (ASKED, "other:1", None, Act.ADOPT),
        ("older", "digits:1", None, Act.APPLY),
        ("older", "digits:1", "older", Act.APPLY),
        # What is known to have been applied is not applied again, whatever a hand did to the note.
        ("older", "other:1", ASKED, Act.LEAVE),
        (None, "other:1", ASKED, Act.LEAVE),
    ],
)
def test_what_is_to_be_done(note: str | None, image: str, kept: str | None, act: Act) -> None:
    seen = live()
    seen["metadata"]["annotations"] = {"flotilla.dev/asked": note} if note else {"flotilla.dev/applied": "0123"}
    server(seen)["image"] = image
    assert act_on(seen, RENDERED, ASKED, kept) is act
    assert act_on(None, RENDERED, ASKED, kept) is Act.MAKE


def test_what_nobody_is_known_to_hold_is_adopted_as_it_is() -> None:
    seen = live()
    del seen["metadata"]["managedFields"]
    base = adopted(seen, RENDERED)
    assert server(base) == server(projection(live(), RENDERED))
    assert "replicas" not in base["spec"]
    assert differences(seen, base) == []


def test_the_way_back_removes_what_was_added_and_replaces_lists_whole() -> None:
    added = {"f:spec": {"f:paused": {}, "f:template": {"f:spec": {"f:nodeSelector": {}}}}}
    seen = live(entry("kubectl", added), entry("helm", in_server({"f:stdin": {}})))
    assert undoing(projection(live(), APPLIED), live()) is None
    seen["spec"]["paused"] = True
    seen["spec"]["template"]["spec"]["nodeSelector"] = {"disk": "ssd"}
    server(seen)["stdin"] = True
    kept = projection(live(), APPLIED)
    patch = undoing(kept, seen)
    assert patch is not None
    assert (patch["spec"]["paused"], patch["spec"]["template"]["spec"]["nodeSelector"]) == (None, None)
    assert patch["spec"]["template"]["spec"]["containers"] == kept["spec"]["template"]["spec"]["containers"]


def test_fields_are_found_in_a_tree() -> None:
    ports = {"f:ports": {'k:{"containerPort":8080,"protocol":"TCP"}': {".": {}, "f:name": {}}}}
    holder = Holder("x", "", in_server({**ports, "f:command": {}, "f:env": {'v:"a"': {}}}))
    here = ("spec", "template", "spec", "containers", Item("[server]", {"name": "server"}))
    for path, holds in (
        ((*here, "command"), True),
        ((*here, "args"), False),
        ((*here, "ports", Item("", {"containerPort": 8080, "name": "http"}), "name"), True),
        ((*here, "ports", Item("", {"containerPort": 80}), "name"), False),
        ((*here[:-1], Item("[side]", {"name": "side"}), "command"), False),
        (("spec", "replicas"), False),
        ((*here, "env", Item("a", "a")), True),
    ):
        assert holder.holds(path) is holds, path
    assert not Holder("x", "", {}).holds(("spec",))


def test_the_part_that_is_held_can_be_applied() -> None:
    tree = in_server({"f:image": {}, "f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}})
    held = held_part({"spec": APPLIED["spec"]}, [tree, {"f:spec": {"f:revisionHistoryLimit": {}}}])
    inner = {"name": "server", "image": "digits:1", "env": [{"name": "B", "value": "2"}]}
    assert held == {"spec": {"revisionHistoryLimit": 1, "template": {"spec": {"containers": [inner]}}}}


COUNT: dict[str, Any] = {"f:spec": {"f:replicas": {}}}


@pytest.mark.parametrize(
    ("entries", "by"),
    [
        ([], ""),
        ([("flotilla", COUNT, "1")], ""),
        ([("kube-controller-manager", COUNT, "1")], "kube-controller-manager"),
        ([("kube-controller-manager", {"f:metadata": {"f:annotations": {}}}, "1")], ""),
        ([("flotilla", COUNT, "3"), ("kubectl", COUNT, "1"), ("keda", COUNT, "2")], "keda"),
        ([("kubectl", {"f:spec": {"f:paused": {}}}, "2"), ("kubectl-edit", COUNT, "1")], "kubectl-edit"),
        # Who gives the number back by applying `spec: {}`.
        ([("ops", {"f:spec": {}}, "2")], ""),
    ],
)
def test_who_decides_how_many(entries: list[tuple[str, dict[str, Any], str]], by: str) -> None:
    held = [entry(manager, fields, subresource="scale") | {"time": at} for manager, fields, at in entries]
    assert counted_by({"metadata": {"managedFields": held}}) == by
