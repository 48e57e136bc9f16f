"""The REST API's reference: every operation of the schema is there, with what it takes and answers."""

from typing import Any

import pytest
import yaml
from django.test import Client

from apps.core.api.reference import Field, reference_of
from apps.core.models import User
from controlplane.embedded.fleet import BASE_DIR

DOCUMENT: dict[str, Any] = yaml.load((BASE_DIR / "docs" / "openapi.yaml").read_text(), yaml.CSafeLoader)
API = reference_of(DOCUMENT, "http://flotilla")
OPERATIONS = {operation.key: operation for _, operations in API.groups for operation in operations}


def test_every_operation_says_what_it_does() -> None:
    assert API.count == len(OPERATIONS) == sum(len(methods) for methods in DOCUMENT["paths"].values())
    for operation in OPERATIONS.values():
        assert operation.summary and operation.answers, operation.key
        for field in operation.parameters + operation.body:
            assert field.kind and "any" not in field.kind.split(), (operation.key, field)


def test_every_name_of_a_schema_leads_to_its_fields() -> None:
    described = {schema.name for schema in API.schemas}
    fields = [field for operation in OPERATIONS.values() for field in operation.body]
    named = {field.schema for field in fields} | {field.schema for each in API.schemas for field in each.fields}
    answered = {name for operation in OPERATIONS.values() for _, names in operation.answers for name in names}
    assert (named | answered) - {""} <= described


def test_an_operation_tells_types_limits_and_how_to_ask() -> None:
    operation = OPERATIONS["registerCluster"]
    assert operation.body[:2] == [
        Field("name", "string", "", True, "At most 63 characters."),
        Field("labels", "object of string", "", False, ""),
    ]
    assert operation.example.splitlines()[0] == "curl -X POST http://flotilla/api/v1/clusters/ \\"
    assert operation.example.splitlines()[-1] == """  -d '{"name": "…"}'"""
    assert operation.answers == [("201", ["ClusterReply"])]
    (limit,) = (field for field in OPERATIONS["listClusters"].parameters if field.name == "limit")
    assert limit == Field(
        "limit", "integer", "", False, "Number of results to return per page. At least 1. Default: 50."
    )


@pytest.mark.django_db
def test_the_page_shows_them_to_whoever_is_signed_in(client: Client) -> None:
    assert client.get("/api/docs/").status_code == 302
    client.force_login(User.objects.create_user("ada"))
    page = client.get("/api/docs/").content.decode()
    for operation in OPERATIONS.values():
        assert f'id="{operation.key}"' in page
