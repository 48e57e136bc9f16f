"""Whatever is sent to the REST API, the answer is never a 500: input comes from the schema, and from beside it."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

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
from tests.architecture.calls import EVERYTHING, Ask
from tests.architecture.world import small
from tests.factories import uid

pytestmark = pytest.mark.django_db
SCHEMA = schemathesis.openapi.from_path(BASE_DIR / "docs" / "openapi.yaml")
OPERATIONS = [result.ok() for result in SCHEMA.get_all_operations()]
# What no argument of MLflow's API is meant to be, or only one of another type.
ODD: list[Any] = [
    None, "", "x", 31, -1, 2**70, 1.5, True, [], {}, ["x"], [5], [{}], [{"key": 5}], [{"key": "k", "value": {}}],
    "a\x00", "\ud800", "9" * 40, [None], [{"dataset": {"name": 5}}], {"field_name": 5},
]  # fmt: skip
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


def odd_calls(ask: Ask, first: int) -> Iterator[tuple[str, Any]]:
    """An address and a body for each argument of a call in turn, with some of what it can't be in its place."""
    path, _, query = ask.path.partition("?")
    given = dict(parse_qsl(query)) if ask.body is None else ask.body
    for number, name in enumerate({**given, "max_results": 1, "page_token": ""}):
        for step in range(2):
            changed = {**given, name: ODD[(first + number * 3 + step * 4) % len(ODD)]}
            if ask.body is None:
                yield f"{path}?{urlencode(changed, errors='replace')}", None
            else:
                yield path + (f"?{query}" if query else ""), changed
    if ask.body is not None:
        yield from ((path, whole) for whole in ([], 5))


def test_no_argument_of_mlflow_is_a_server_error() -> None:
    """A stock client repeats what was answered with a 500, for minutes."""
    world = small()
    client = Client(raise_request_exception=False, headers={"authorization": f"Bearer {world.secret}"})
    asks = [ask for ask in EVERYTHING if "mlflow" in ask.path or "get-artifact" in ask.path]
    wrong = []
    for first, ask in enumerate(asks):
        for path, body in odd_calls(ask, first):
            sent = {} if body is None else {"data": json.dumps(world.fill(body)), "content_type": "application/json"}
            with transaction.atomic():
                answer = client.generic(ask.method, world.fill(path.replace("%7B", "{").replace("%7D", "}")), **sent)
                transaction.set_rollback(True)
            if answer.status_code >= 500:
                wrong.append((ask.method, path, body, answer.status_code))
    assert len(asks) > 50 and not wrong
