"""Whatever is sent to the REST API, the answer is never a 500: input comes from the schema, and from beside it."""

import json
from typing import Any

import pytest
import schemathesis
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from apps.core.models import User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from controlplane.embedded.fleet import BASE_DIR
from tests import factories
from tests.factories import uid

pytestmark = pytest.mark.django_db
SCHEMA = schemathesis.openapi.from_path(BASE_DIR / "docs" / "openapi.yaml")
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]
NAMES = {"name": "digits", "project": "demo", "version": "1", "revision": "1", "alias": "champion"}


@pytest.fixture
def client() -> Client:
    factories.busy_project(size=1)
    _, text = issue_token(name="fuzz", user=User.objects.create_superuser("root"), role=Role.ADMIN)
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {text}"})


def send(client: Client, case: Any) -> int:
    """Send the generated case; parameters of the path sometimes name what exists, so that more is reached."""
    path = case.operation.path.format(**{name: NAMES.get(name, value) for name, value in case.path_parameters.items()})
    content = b"" if isinstance(case.body, schemathesis.core.NotSet) else json.dumps(case.body, default=str).encode()
    query = {name: str(value) for name, value in (case.query or {}).items()}
    undone = transaction.atomic()
    undone._from_testcase = True  # type: ignore[attr-defined] - so that it is none across a call to a cluster
    with undone:
        # With a key, so that a POST that calls a cluster inside the key's transaction shows itself.
        answer = client.generic(
            case.method.upper(),
            path,
            content,
            content_type="application/json",
            query_params=query,
            headers={"Idempotency-Key": uid()},
        )
        transaction.set_rollback(True)
    return answer.status_code


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_no_input_is_a_server_error(operation: Any, client: Client) -> None:
    @given(data=st.data())
    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def attempt(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        assert send(client, case) not in {500, 501}

    attempt()
