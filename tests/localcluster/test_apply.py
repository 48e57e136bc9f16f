"""Server-side apply: ownership, conflicts, removal.

The facts: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from typing import Any

import pytest

from localcluster.errors import StatusError
from localcluster.fields import changed_fields, decode, encode, fields_of, show
from localcluster.registry import Registry
from localcluster.resources import BY_PLURAL
from localcluster.schema.types import type_of_resource
from localcluster.server import bootstrap
from localcluster.store import Store
from tests.localcluster.served import Served, deployment

Object = dict[str, Any]

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
WEB = f"{DEPLOYMENTS}/web"
MERGE = "application/merge-patch+json"


@pytest.fixture
def registry() -> Registry:
    made = Registry(Store())
    bootstrap(made)
    return made


def part(**spec: Any) -> Object:
    """A fragment of a deployment, as one of several managers applies it."""
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def managers(obj: Object) -> dict[str, str]:
    return {entry["manager"]: entry["operation"] for entry in obj["metadata"]["managedFields"]}


def test_apply_creates_and_the_same_again_changes_nothing(api: Served) -> None:
    """ "...the resource is created if it does not exist"; a repeated apply has no effect."""
    made = api.apply(WEB, deployment("web"), "one")
    assert made.status == 201
    again = api.apply(WEB, deployment("web"), "one")
    assert again.status == 200
    assert again.json["metadata"]["resourceVersion"] == made.json["metadata"]["resourceVersion"]
    assert managers(again.json) == {"one": "Apply"}


def test_a_manager_is_required(api: Served) -> None:
    reply = api.patch(WEB, deployment("web"), "application/apply-patch+yaml")
    assert reply.status == 422
    assert "fieldManager: Required value" in reply.json["message"]


def test_another_managers_field_is_a_conflict_until_forced(api: Served) -> None:
    """ "Conflicts": 409 that names field and manager; force takes the field over."""
    api.apply(WEB, deployment("web", replicas=1), "one")
    refused = api.apply(WEB, part(replicas=2), "two")
    assert refused.status == 409
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}
    ]
    forced = api.apply(WEB, part(replicas=2), "two", force=True).json
    assert forced["spec"]["replicas"] == 2
    again = api.apply(WEB, deployment("web", replicas=1), "one")
    assert 'conflict with "two": .spec.replicas' in again.json["message"]


def test_equal_values_are_shared_without_conflict(api: Served) -> None:
    """ "Shared field owners": applying the value that is there makes a co-owner."""
    api.apply(WEB, deployment("web", replicas=3), "one")
    assert api.apply(WEB, part(replicas=3), "two").status == 200
    without = deployment("web")
    del without["spec"]["replicas"]
    assert api.apply(WEB, without, "one").json["spec"]["replicas"] == 3


def test_a_field_that_its_only_owner_drops_is_removed(api: Served) -> None:
    """ "If you remove a field from a manifest and apply it, ... the field is removed" (or gets its default)."""
    full = deployment("web", replicas=3)
    full["metadata"]["annotations"] = {"a": "b"}
    full["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
    ]
    api.apply(WEB, full, "one")
    less = deployment("web")
    del less["spec"]["replicas"]
    less["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "2"}]
    now = api.apply(WEB, less, "one").json
    assert "annotations" not in now["metadata"]
    assert now["spec"]["replicas"] == 1
    assert now["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "2"}]


def test_items_of_two_managers_live_in_one_list(api: Served) -> None:
    """ "Merge strategy": lists of type map merge by their keys."""
    api.apply(WEB, deployment("web"), "one")
    containers = [{"name": "main", "env": [{"name": "TWO", "value": "2"}]}, {"name": "side", "image": "busybox"}]
    both = api.apply(WEB, part(template={"spec": {"containers": containers}}), "two").json
    assert [each["name"] for each in both["spec"]["template"]["spec"]["containers"]] == ["main", "side"]
    only = api.apply(WEB, part(), "two").json
    assert [each["name"] for each in only["spec"]["template"]["spec"]["containers"]] == ["main"]
    assert "env" not in only["spec"]["template"]["spec"]["containers"][0]


def test_an_update_takes_fields_over_without_asking(api: Served) -> None:
    """ "Comparison with update": a patch or PUT never conflicts; its manager then owns what it changed."""
    api.apply(WEB, deployment("web", replicas=1), "one")
    patched = api.patch(f"{WEB}?fieldManager=editor", {"spec": {"replicas": 4}}, MERGE).json
    assert managers(patched) == {"one": "Apply", "editor": "Update"}
    refused = api.apply(WEB, deployment("web", replicas=1), "one")
    assert 'conflict with "editor" using apps/v1' in refused.json["message"]
    scaled = api.patch(f"{WEB}/scale?fieldManager=scaler", {"spec": {"replicas": 6}}, MERGE)
    assert scaled.status == 200
    assert 'conflict with "scaler"' in api.apply(WEB, part(replicas=1), "one").json["message"]


def test_status_is_applied_through_its_own_door(api: Served) -> None:
    api.apply(WEB, deployment("web"), "one")
    status = {**part(), "status": {"replicas": 2}}
    now = api.apply(f"{WEB}/status", status, "two").json
    assert now["status"] == {"replicas": 2}
    entry = next(each for each in now["metadata"]["managedFields"] if each["manager"] == "two")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:replicas": {}}})
    assert api.apply(WEB, {**deployment("web"), "status": {"replicas": 9}}, "one").json["status"] == {"replicas": 2}


def test_a_dry_run_of_apply_keeps_nothing(api: Served) -> None:
    reply = api.patch(f"{WEB}?fieldManager=one&dryRun=All", deployment("web"), "application/apply-patch+yaml")
    assert reply.status == 201
    assert api.get(WEB).status == 404


def test_atomic_parts_are_replaced_whole(api: Served) -> None:
    """ "listType=atomic ... the whole list is replaced": a container's command."""
    first = deployment("web")
    first["spec"]["template"]["spec"]["containers"][0]["command"] = ["a", "b"]
    api.apply(WEB, first, "one")
    second = {"spec": {"containers": [{"name": "main", "command": ["c"]}]}}
    forced = api.apply(WEB, part(template=second), "two", force=True).json
    assert forced["spec"]["template"]["spec"]["containers"][0]["command"] == ["c"]


def test_field_sets_survive_their_encoding() -> None:
    """The FieldsV1 format: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management"""
    type_ = type_of_resource(BY_PLURAL["deployments"])
    obj = deployment("web")
    obj["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    fields = fields_of(obj, type_)
    tree = encode(fields)
    container = tree["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert container["."] == {}
    assert 'k:{"containerPort":80,"protocol":"TCP"}' in container["f:ports"]
    assert decode(tree) == fields
    changed = changed_fields(obj, deployment("web", replicas=2), type_)
    assert changed == {("f:spec", "f:replicas")}
    path = ("f:spec", "f:containers", 'k:{"name":"main"}', "f:image")
    assert show(path) == '.spec.containers[name="main"].image'


def test_controllers_leave_no_mark_and_times_alone_write_nothing(registry: Registry) -> None:
    made = registry.create("deployments", deployment("web"), namespace="default", manager="one")

    def change(obj: Object) -> None:
        obj["metadata"]["managedFields"][0]["time"] = "2000-01-01T00:00:00Z"

    same = registry.mutate("deployments", "web", "default", change)
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    with pytest.raises(StatusError):
        registry.get("deployments", "web", "other")
