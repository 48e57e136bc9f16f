"""Custom resource definitions and the objects that they define.

The facts are those of https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
unless a docstring says otherwise.
"""

from typing import Any

import pytest

from localcluster.api.discovery import priority
from localcluster.crd.columns import lookup
from localcluster.crd.structural import fill_defaults, problems, prune
from tests.kube.support import wait_until
from tests.localcluster.served import Object, Reply, Served, serve

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "stable.example.com"
TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
NAME = f"crontabs.{GROUP}"

CRON = r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"

#: The example of the documentation, with the parts of its sections on defaults, subresources and columns.
SCHEMA: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["image"],
            "properties": {
                "cronSpec": {
                    "type": "string",
                    "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$",
                    "default": "5 0 * * *",
                },
                "image": {"type": "string"},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                "port": {"x-kubernetes-int-or-string": True},
                "steps": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "run": {"type": "string"}}},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "labelSelector": {"type": "string"},
                "ready": {"type": "boolean"},
            },
        },
    },
}


def definition(**version: Any) -> Object:
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    columns = [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    v1 = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {"status": {}, "scale": {**scale, "labelSelectorPath": ".status.labelSelector"}},
        "additionalPrinterColumns": columns,
        **version,
    }
    names = {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [v1]},
    }


def define(api: Served, obj: Object | None = None) -> Object:
    reply = api.post(DEFINITIONS, obj or definition())
    assert reply.status == 201, reply.body
    return dict(reply.json)


def tab(name: str = "a", **spec: Any) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"image": "cron", **spec},
    }


def make(api: Served, *names: str) -> None:
    for name in names:
        reply = api.post(TABS, tab(name))
        assert reply.status == 201, reply.body


def test_a_definition_is_established_and_discovered(api: Served) -> None:
    """ "The CustomResourceDefinition's names are accepted ... Established"; then its endpoints are there."""
    made = define(api)
    conditions = {each["type"]: each["status"] for each in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert made["status"]["acceptedNames"]["listKind"] == "CronTabList"
    assert made["status"]["storedVersions"] == ["v1"]
    group = api.get(f"/apis/{GROUP}").json
    assert group["preferredVersion"]["groupVersion"] == f"{GROUP}/v1"
    resources = {each["name"]: each for each in api.get(f"/apis/{GROUP}/v1").json["resources"]}
    assert set(resources) == {"crontabs", "crontabs/status", "crontabs/scale"}
    assert (resources["crontabs"]["singularName"], resources["crontabs"]["shortNames"]) == ("crontab", ["ct"])
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = {each["metadata"]["name"]: each for each in api.get("/apis", accept).json["items"]}
    assert groups[GROUP]["versions"][0]["resources"][0]["responseKind"]["kind"] == "CronTab"
    document = api.get(f"/openapi/v3/apis/{GROUP}/v1").json
    schema = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": GROUP, "version": "v1", "kind": "CronTab"}]
    assert schema["properties"]["spec"]["required"] == ["image"]
    assert f"apis/{GROUP}/v1" in api.get("/openapi/v3").json["paths"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {"name": "tabs"}}, 'must be spec.names.plural+"."+spec.group'),
        ({"spec": {**definition()["spec"], "scope": "Everywhere"}}, "spec.scope: Unsupported value"),
        ({"spec": {**definition(storage=False)["spec"]}}, "exactly one version marked as storage version"),
        ({"spec": {**definition(schema={})["spec"]}}, "schemas are required"),
        (
            {"metadata": {"name": "crontabs.batch.k8s.io"}, "spec": {**definition()["spec"], "group": "batch.k8s.io"}},
            "protected groups must have approval annotation",
        ),
    ],
)
def test_a_definition_that_does_not_do_is_refused(api: Served, change: Object, said: str) -> None:
    reply = api.post(DEFINITIONS, {**definition(), **change})
    assert reply.status == 422
    assert said in reply.json["message"]
    assert api.get(f"/apis/{GROUP}").status == 404


def test_group_and_scope_of_a_definition_stay(api: Served) -> None:
    define(api)
    reply = api.patch(f"{DEFINITIONS}/{NAME}", {"spec": {"scope": "Cluster"}}, MERGE)
    assert (reply.status, reply.json["details"]["causes"][0]["field"]) == (422, "spec.scope")


def test_objects_are_created_with_defaults_listed_watched_and_deleted(api: Served) -> None:
    define(api)
    made = api.post(TABS, tab("a")).json
    assert made["spec"] == {"image": "cron", "cronSpec": "5 0 * * *", "replicas": 1}
    assert made["metadata"]["generation"] == 1
    listed = api.get(f"/apis/{GROUP}/v1/crontabs")
    assert (listed.json["kind"], listed.json["apiVersion"], listed.names) == ("CronTabList", f"{GROUP}/v1", ["a"])
    version = listed.json["metadata"]["resourceVersion"]
    with api.watch(f"{TABS}?watch=true&resourceVersion={version}") as events:
        make(api, "b")
        api.request("DELETE", f"{TABS}/a")
        seen = [next(events) for _ in range(2)]
    assert [(each["type"], each["object"]["metadata"]["name"]) for each in seen] == [("ADDED", "b"), ("DELETED", "a")]
    assert seen[0]["object"]["kind"] == "CronTab"
    gone = api.get(f"{TABS}/a")
    assert (gone.status, gone.json["message"]) == (404, f'crontabs.{GROUP} "a" not found')


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"image": 5}, 'spec.image: Invalid value: "integer": spec.image in body must be of type string: "integer"'),
        ({"image": None}, "spec.image in body must be of type string"),
        ({"replicas": 2**63}, 'spec.replicas in body must be of type integer: "number"'),
        ({"replicas": 15}, "spec.replicas in body should be less than or equal to 10"),
        ({"replicas": 0}, "spec.replicas in body should be greater than or equal to 1"),
        ({"cronSpec": "* * * *"}, "spec.cronSpec in body should match"),
        ({"port": [1]}, "spec.port in body must be of type"),
    ],
)
def test_an_object_that_does_not_fit_is_refused(api: Served, spec: Object, said: str) -> None:
    """ "Validation": the API server checks the values against the schema."""
    define(api)
    reply = api.post(TABS, tab("a", **spec))
    assert (reply.status, reply.json["reason"]) == (422, "Invalid")
    assert reply.json["message"].startswith(f'CronTab.{GROUP} "a" is invalid: ')
    assert said in reply.json["message"]


def test_what_is_required_is_named(api: Served) -> None:
    define(api)
    obj = tab("a")
    del obj["spec"]["image"]
    assert "spec.image: Required value" in api.post(TABS, obj).json["message"]


def test_unknown_fields_are_pruned(api: Served) -> None:
    """ "Field pruning": fields that the schema does not have are dropped; Strict validation refuses them."""
    define(api)
    odd = tab("a", someRandomField=42, free={"anything": {"goes": 1}})
    strict = api.post(f"{TABS}?fieldValidation=Strict", odd)
    assert (strict.status, 'unknown field "spec.someRandomField"' in strict.json["message"]) == (400, True)
    made = api.post(TABS, odd)
    assert "someRandomField" not in made.json["spec"]
    assert made.json["spec"]["free"] == {"anything": {"goes": 1}}
    assert "unknown field" in made.headers["warning"]


def test_the_status_has_its_own_door(api: Served) -> None:
    """ "Status subresource": each door ignores the other's part, and a status does not count in the generation."""
    define(api)
    make(api, "a")
    changed = api.patch(f"{TABS}/a", {"spec": {"replicas": 2}, "status": {"ready": True}}, MERGE).json
    assert (changed["metadata"]["generation"], "status" in changed) == (2, False)
    changed = api.patch(f"{TABS}/a/status", {"spec": {"replicas": 9}, "status": {"ready": True}}, MERGE).json
    assert (changed["spec"]["replicas"], changed["status"]) == (2, {"ready": True})
    assert changed["metadata"]["generation"] == 2
    assert api.patch(f"{TABS}/a/status", {"status": {"ready": "perhaps"}}, MERGE).status == 422
    changed = api.request("PUT", f"{TABS}/a/status", {**changed, "status": {"ready": False}}).json
    assert changed["status"] == {"ready": False}


def test_the_scale_is_read_and_written_by_its_paths(api: Served) -> None:
    """ "Scale subresource"."""
    define(api)
    make(api, "a")
    api.patch(f"{TABS}/a/status", {"status": {"replicas": 3, "labelSelector": "app=a"}}, MERGE)
    scale = api.get(f"{TABS}/a/scale").json
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 3, "selector": "app=a"})
    assert api.patch(f"{TABS}/a/scale", {"spec": {"replicas": 5}}, MERGE).json["spec"]["replicas"] == 5
    assert api.get(f"{TABS}/a").json["spec"]["replicas"] == 5


def test_patches_are_json_merge_or_apply(api: Served) -> None:
    """Strategic merge patches are not for custom resources:
    https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/"""
    define(api)
    make(api, "a")
    operation = [{"op": "replace", "path": "/spec/image", "value": "new"}]
    assert api.patch(f"{TABS}/a", operation, JSON_PATCH).json["spec"]["image"] == "new"
    reply = api.patch(f"{TABS}/a", {"spec": {"image": "x"}}, "application/strategic-merge-patch+json")
    assert (reply.status, "strategic" in reply.json["message"]) == (415, False)
    applied = tab("a", image="mine", steps=[{"name": "one", "run": "x"}])
    assert api.apply(f"{TABS}/a", applied, "me", force=True).json["spec"]["image"] == "mine"
    api.apply(f"{TABS}/a", tab("a", image="mine", steps=[{"name": "two", "run": "y"}]), "other")
    steps = api.get(f"{TABS}/a").json["spec"]["steps"]
    assert [each["name"] for each in steps] == ["one", "two"]
    conflict = api.apply(f"{TABS}/a", tab("a", image="theirs"), "other")
    assert (conflict.status, 'conflict with "me"' in conflict.json["message"]) == (409, True)


def test_apply_finds_an_item_by_the_default_of_its_key(api: Served) -> None:
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy: keys of a list of type map must
    be there, or have a default."""
    made = definition()
    item = {"type": "object", "properties": {"name": {"type": "string", "default": "main"}, "run": {"type": "string"}}}
    listed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"steps": listed}}}}
    made["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    define(api, made)
    for run in ("x", "y"):
        obj = {**tab("a"), "spec": {"steps": [{"run": run}]}}
        assert api.apply(f"{TABS}/a", obj, "me").json["spec"]["steps"] == [{"name": "main", "run": run}]


def test_finalizers_hold_an_object(api: Served) -> None:
    """ "Finalizers": the object stays, with a deletionTimestamp, until the list is empty."""
    define(api)
    held = tab("a")
    held["metadata"]["finalizers"] = ["stable.example.com/finalizer"]
    api.post(TABS, held)
    assert api.request("DELETE", f"{TABS}/a").status == 200
    assert "deletionTimestamp" in api.get(f"{TABS}/a").json["metadata"]
    api.patch(f"{TABS}/a", {"metadata": {"finalizers": None}}, MERGE)
    assert api.get(f"{TABS}/a").status == 404


def table(reply: Reply) -> tuple[list[str], list[list[Any]]]:
    columns = [each["name"] for each in reply.json["columnDefinitions"]]
    return columns, [row["cells"] for row in reply.json["rows"]]


def test_tables_have_the_printer_columns(api: Served) -> None:
    """ "Additional printer columns"."""
    define(api)
    make(api, "a")
    columns, rows = table(api.get(TABS, "application/json;as=Table;v=v1;g=meta.k8s.io"))
    assert columns == ["Name", "Spec", "Replicas", "Age"]
    assert rows[0][:3] == ["a", "5 0 * * *", 1]


def test_versions_are_one_object(api: Served) -> None:
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/:
    with the strategy None only the apiVersion is changed."""
    both = definition()
    older = {**both["spec"]["versions"][0], "name": "v1beta1", "storage": False, "additionalPrinterColumns": []}
    both["spec"]["versions"].append(older)
    define(api, both)
    assert [each["version"] for each in api.get(f"/apis/{GROUP}").json["versions"]] == ["v1", "v1beta1"]
    make(api, "a")
    path = TABS.replace("/v1/", "/v1beta1/")
    assert api.get(f"{path}/a").json["apiVersion"] == f"{GROUP}/v1beta1"
    assert api.get(path).json["items"][0]["apiVersion"] == f"{GROUP}/v1beta1"
    changed = api.patch(f"{path}/a", {"spec": {"image": "b"}}, MERGE)
    assert (changed.status, changed.json["apiVersion"]) == (200, f"{GROUP}/v1beta1")
    seen = api.get(f"{TABS}/a").json
    assert (seen["apiVersion"], seen["spec"]["image"]) == (f"{GROUP}/v1", "b")
    assert table(api.get(path, "application/json;as=Table;v=v1;g=meta.k8s.io"))[0] == ["Name", "Age"]


def test_versions_are_sorted_by_their_stability() -> None:
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority"""
    documented = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert sorted(sorted(documented), key=priority) == documented


def test_deleting_the_definition_deletes_its_objects(api: Served) -> None:
    """ "Delete a CustomResourceDefinition": ... uninstall the endpoint and delete all custom objects."""
    define(api)
    held = tab("held")
    held["metadata"]["finalizers"] = ["stable.example.com/finalizer"]
    api.post(TABS, held)
    make(api, "a")
    api.request("DELETE", f"{DEFINITIONS}/{NAME}")
    wait_until("the free object to go", lambda: api.get(TABS).names == ["held"])
    refused = api.post(TABS, tab("late"))
    assert (refused.status, "terminating" in refused.json["message"]) == (405, True)
    api.patch(f"{TABS}/held", {"metadata": {"finalizers": None}}, MERGE)
    wait_until("the definition to go", lambda: api.get(f"{DEFINITIONS}/{NAME}").status == 404)
    assert api.get(TABS).status == 404
    assert GROUP not in [each["name"] for each in api.get("/apis").json["groups"]]
    define(api)
    assert api.get(TABS).names == []


def test_a_plural_that_is_built_in_elsewhere_is_another_kind(api: Served) -> None:
    """Kinds are told apart by their group: Knative has `services`, too."""
    knative = definition()
    knative["metadata"]["name"] = "services.serving.example.com"
    knative["spec"]["group"] = "serving.example.com"
    knative["spec"]["names"] = {"plural": "services", "kind": "Service"}
    define(api, knative)
    path = "/apis/serving.example.com/v1/namespaces/default/services"
    obj = {"apiVersion": "serving.example.com/v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"image": "x"}}
    assert api.post(path, obj).status == 201
    assert api.get(path).names == ["s"]
    assert api.get("/api/v1/namespaces/default/services").names == []


def test_cluster_scoped_objects_have_no_namespace(api: Served) -> None:
    wide = definition()
    wide["spec"]["scope"] = "Cluster"
    define(api, wide)
    assert api.post(f"/apis/{GROUP}/v1/crontabs", tab("a")).status == 201
    assert "namespace" not in api.get(f"/apis/{GROUP}/v1/crontabs/a").json["metadata"]
    assert api.get(TABS).status == 404


def test_definitions_and_objects_are_there_after_a_restart(tmp_path: Any) -> None:
    with serve(path=tmp_path / "state") as api:
        define(api)
        make(api, "a")
    with serve(path=tmp_path / "state") as api:
        assert api.get(TABS).names == ["a"]
        assert api.post(TABS, tab("b", image=5)).status == 422


OBJECT = {"a": {"b.c": 1}, "list": [{"type": "Ready", "status": "True"}, {"type": "Done"}], "n": [1, 2]}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".a", [{"b.c": 1}]),
        (r".a.b\.c", [1]),
        (".a['b.c']", [1]),
        ('.list[?(@.type=="Ready")].status', ["True"]),
        (".list[?(@.type=='Other')].status", []),
        (".list[*].type", ["Ready", "Done"]),
        (".n[1]", [2]),
        (".n[5]", []),
        ("n[0]", [1]),
        (".missing.deeper", []),
    ],
)
def test_column_paths(path: str, values: list[Any]) -> None:
    """https://kubernetes.io/docs/reference/kubectl/jsonpath/, as far as columns use it."""
    assert lookup(OBJECT, path) == values


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "c", False),
        ({"type": "number"}, 3, True),
        ({"type": "integer"}, 3.5, False),
        ({"type": "string", "nullable": True}, None, True),
        ({"type": "string"}, None, False),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], False),
        ({"type": "array", "items": {"type": "string"}}, [1], False),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": "x"}, False),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, [], False),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 2}, False),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, True),
        ({"not": {"required": ["a"]}}, {"a": 1}, False),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd", False),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "a", False),
        ({"type": "object", "minProperties": 1}, {}, False),
        ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_value_validation(schema: Object, value: Any, fits: bool) -> None:
    assert (not list(problems(value, schema, "spec"))) is fits


def test_defaults_reach_into_lists_and_replace_null() -> None:
    """ "Defaulting and Nullable": null is replaced by the default unless the field is nullable."""
    inner = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}
    nullable = {"type": "string", "nullable": True, "default": "y"}
    schema = {"type": "object", "properties": {"list": {"type": "array", "items": inner}, "n": nullable}}
    value: Object = {"list": [{}, {"a": None}, {"a": "z"}], "n": None}
    fill_defaults(value, schema)
    assert value == {"list": [{"a": "x"}, {"a": "x"}, {"a": "z"}], "n": None}


def test_pruning_begins_again_below_what_is_preserved() -> None:
    """ "Controlling pruning": x-kubernetes-preserve-unknown-fields is for that level."""
    known = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": known}}
    value: Object = {"other": {"x": 1}, "known": {"a": "1", "b": "2"}}
    assert prune(value, schema) == ["known.b"]
    assert value == {"other": {"x": 1}, "known": {"a": "1"}}
