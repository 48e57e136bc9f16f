"""A request that says what nobody knows is refused: a misspelled field or switch must not pass for one left out."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from rest_framework.serializers import BaseSerializer

from apps.core.api.serializers import Strict
from apps.core.models import Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role

SCHEMA: dict[str, Any] = yaml.load((Path(__file__).parents[2] / "docs/openapi.yaml").read_text(), yaml.CSafeLoader)
# Handed on to model servers, whose protocol grows without us.
OPEN = {"Predict"}
POSTS = sorted(path for path, item in SCHEMA["paths"].items() if "post" in item)


def _references(node: Any) -> Iterator[str]:
    """The components that a part of the schema names, and those that they name."""
    if isinstance(node, dict):
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name:
            yield name
            yield from _references(SCHEMA["components"]["schemas"][name])
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _classes(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _classes(each)


def test_all_that_is_read_from_a_body_is_strict_at_any_depth() -> None:
    bodies = [item.get("requestBody") for path in SCHEMA["paths"].values() for item in path.values()]
    asked = {name.removeprefix("Patched").removesuffix("Request") for name in _references(bodies)} - OPEN
    serializers = {kind.__name__: kind for kind in _classes(BaseSerializer) if kind.__module__.startswith("apps.")}
    strict = {name: serializers[f"{name}Serializer"] for name in asked if f"{name}Serializer" in serializers}
    assert {"NewRun", "RunResources", "NewToken", "Credential"} <= set(strict)
    assert sorted(name for name, kind in strict.items() if not issubclass(kind, Strict)) == []


@pytest.fixture
def api(db: None) -> Client:
    _, text = issue_token(
        name="root", user=User.objects.create_superuser("root", password="a long enough one"), role=Role.ADMIN
    )
    return Client(headers={"Authorization": f"Bearer {text}"})


# What stands in addresses, for things that are not there.
NAMES = dict.fromkeys(("name", "alias", "target", "step", "webhook", "schedule"), "some") | {
    "run_id": "0" * 32,
    **dict.fromkeys(("version", "id", "number"), 1),
}


def test_what_can_not_be_rehearsed_is_not_done(api: Client) -> None:
    """Of every POST, for what a person meant as a question must change nothing."""
    for path in POSTS:
        can = any(each["name"] == "dry_run" for each in SCHEMA["paths"][path]["post"].get("parameters", []))
        address = path.format(**NAMES)
        for value in ["maybe", ""] if can else ["true", "maybe", ""]:
            answer = api.post(
                f"{address}?dry_run={value}", json.dumps({"name": "other"}), content_type="application/json"
            )
            assert (answer.status_code, answer.json().get("field")) == (400, "dry_run"), (path, value)
    assert api.delete("/api/v1/projects/some?dry_run=true").status_code in (400, 405)
    assert not Project.objects.exists()


def declared(path: str, method: str) -> set[str]:
    """The parameters of the query that the schema has of an operation."""
    parameters = SCHEMA["paths"][path][method].get("parameters", ())
    return {each["name"] for each in parameters if each["in"] == "query"}


def test_a_parameter_that_nobody_knows_is_refused_by_every_address(api: Client) -> None:
    """It is named, and so are those that are known, which are all that the schema has."""
    Project.objects.create(name="demo")
    operations = [(path, method) for path, item in SCHEMA["paths"].items() for method in item]
    assert len(operations) > 80 and ("/api/v1/clusters/{name}/pods/", "get") in operations
    for path, method in operations:
        address = path.format(**NAMES)
        refused = api.generic(method.upper(), f"{address}?namme=x&project=demo", "{}", content_type="application/json")
        known = declared(path, method)
        wrong = "namme" if "project" in known else "namme' or 'project"
        assert refused.status_code == 400 and refused.json()["field"] in wrong, (method, path, refused.content)
        told = refused.json()["hint"].removeprefix("Known are: ").removesuffix(".")
        assert ("known" if told == "It takes none" else set(told.split(", "))) == (known or "known"), (method, path)
        for name in known - {"dry_run"} if method == "get" else ():
            assert b"takes no parameter" not in api.get(f"{address}?{name}=").content, (path, name)


# What is no project's own.
OF_ALL = ("clusters", "projects", "tokens")


def test_every_address_of_a_thing_of_a_project_takes_the_project() -> None:
    """A client names it with each request, and need not know which things have ids of their own."""
    operations = [(path, method) for path, item in SCHEMA["paths"].items() for method in item]
    lack = [(path, method) for path, method in operations if "project" not in declared(path, method)]
    assert [each for each in lack if each[0].split("/")[3] not in OF_ALL] == []


def test_a_word_that_a_parameter_does_not_take_is_refused(api: Client) -> None:
    """A filter by what nothing is called by would find nothing, or be taken for none."""
    told = 0
    for path, item in SCHEMA["paths"].items():
        for each in item.get("get", {}).get("parameters", ()):
            words = {**each["schema"], **each["schema"].get("items", {})}.get("enum")
            if words is None:
                continue
            told += 1
            refused = api.get(path.format(name="some"), {each["name"]: "odd"})
            assert (refused.status_code, refused.json().get("field")) == (400, each["name"]), (path, each["name"])
            assert api.get(path.format(name="some"), {each["name"]: ""}).status_code != 400, (path, each["name"])
    assert told >= 8


LISTS = sorted(
    path
    for path, item in SCHEMA["paths"].items()
    if "{" not in path and any(each.get("name") == "limit" for each in item.get("get", {}).get("parameters", ()))
)


def test_a_limit_that_is_no_number_of_rows_is_refused_by_every_list(api: Client) -> None:
    Project.objects.create(name="demo")
    assert {"/api/v1/runs/", "/api/v1/clusters/"} <= set(LISTS)
    for path in LISTS:
        of_project = {"project": "demo"} if "project" in declared(path, "get") else {}
        for limit in ("0", "-1", "x", "1.5", "²", "1" * 20):
            refused = api.get(path, {**of_project, "limit": limit})
            assert (refused.status_code, refused.json().get("field")) == (400, "limit"), (path, limit[:5])
        for limit in ("", "1", "100000"):
            assert api.get(path, {**of_project, "limit": limit}).status_code == 200, (path, limit)
