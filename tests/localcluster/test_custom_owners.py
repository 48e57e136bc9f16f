"""Custom objects as owners and as what is owned, and namespaces that hold them.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from typing import Any

import pytest

from tests.localcluster.nodes import Side, scenario
from tests.localcluster.test_api_custom import GROUP, NAME, definition, tab

Object = dict[str, Any]


def define(side: Side) -> None:
    side.registry.create("customresourcedefinitions", definition())


def owned(name: str, owner: Object, *, version: str = "") -> Object:
    reference = {
        "apiVersion": version or owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"metadata": {"name": name, "ownerReferences": [reference]}}


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_what_a_custom_object_owns_goes_with_it(propagation: str) -> None:
    async def story(side: Side) -> None:
        define(side)
        registry = side.registry
        owner = registry.create(NAME, tab("a"), namespace="default")
        registry.create("configmaps", owned("built-in", owner), namespace="default")
        registry.create(NAME, {**tab(), **owned("custom", owner, version=f"{GROUP}/v1beta1")}, namespace="default")
        registry.create("configmaps", {"metadata": {"name": "free"}}, namespace="default")
        registry.delete(NAME, "a", "default", propagation=propagation)
        await side.until(lambda: not registry.list(NAME))
        await side.until(lambda: [each["metadata"]["name"] for each in registry.list("configmaps")] == ["free"])

    scenario(story, hollow=True)


def test_what_it_owns_may_be_orphaned() -> None:
    async def story(side: Side) -> None:
        define(side)
        registry = side.registry
        owner = registry.create(NAME, tab("a"), namespace="default")
        registry.create("configmaps", owned("kept", owner), namespace="default")
        registry.delete(NAME, "a", "default", propagation="Orphan")
        await side.until(lambda: not registry.exists(NAME, "a", "default"))
        await side.until(lambda: "ownerReferences" not in registry.get("configmaps", "kept", "default")["metadata"])

    scenario(story, hollow=True)


def test_a_built_in_owner_takes_custom_objects_along() -> None:
    async def story(side: Side) -> None:
        define(side)
        registry = side.registry
        owner = registry.create("configmaps", {"metadata": {"name": "owner"}}, namespace="default")
        registry.create(NAME, {**tab(), **owned("custom", owner)}, namespace="default")
        registry.delete("configmaps", "owner", "default")
        await side.until(lambda: not registry.list(NAME))

    scenario(story, hollow=True)


def test_a_namespace_takes_custom_objects_along_and_waits_for_them() -> None:
    async def story(side: Side) -> None:
        define(side)
        registry = side.registry
        registry.create("namespaces", {"metadata": {"name": "team"}})
        held = tab("held")
        held["metadata"]["finalizers"] = [f"{GROUP}/finalizer"]
        registry.create(NAME, held, namespace="team")
        registry.create(NAME, tab("free"), namespace="team")
        registry.delete("namespaces", "team")
        await side.until(lambda: not registry.exists(NAME, "free", "team"))
        assert registry.exists("namespaces", "team")
        registry.mutate(NAME, "held", "team", lambda each: each["metadata"].pop("finalizers"))
        await side.until(lambda: not registry.exists("namespaces", "team"))

    scenario(story, hollow=True)
