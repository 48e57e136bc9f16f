"""The way past Django: whoever may not is refused at once, in every process, and nothing that is sent is an error of
the server's."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core import services as core_services
from apps.core.access import Principal
from apps.core.models import ApiToken, Membership, Project, User
from apps.core.states import Role
from apps.experiments.models import Experiment, LatestMetric, MetricPoint, Param, Run, Tag
from apps.experiments.tracking import permits
from controlplane.embedded.waiting import wait_for
from tests import factories

API = "/api/2.0/mlflow/runs"


class Door:
    """A client of the web process, another one than this; its connection stays open."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, **body: Any) -> requests.Response:
        return self.send("POST", path, json.dumps(body).encode())

    def get(self, path: str, **query: Any) -> requests.Response:
        return self._session.get(f"{self._address}{API}/{path}", params=query, timeout=30)

    def send(self, method: str, path: str, content: bytes, **headers: str) -> requests.Response:
        return self._session.request(method, f"{self._address}{API}/{path}", data=content, headers=headers, timeout=30)


def codes(door: Door, run: Run) -> list[str]:
    """What logging, reading and opening a run are answered by: "" or the error's code."""
    replies = [
        door.post("log-metric", run_id=run.uid, key="loss", value=0.5, timestamp=1),
        door.get("get", run_id=run.uid),
        door.post("create", experiment_id=str(run.experiment_id)),
    ]
    return [reply.json().get("error_code", "") for reply in replies]


NOBODY, STRANGER = ["UNAUTHENTICATED"] * 3, ["RESOURCE_DOES_NOT_EXIST"] * 3
READER = ["PERMISSION_DENIED", "", "PERMISSION_DENIED"]


def _revoked(person: User, run: Run) -> None:
    token = ApiToken.objects.get(user=person)
    core_services.revoke_token(principal=Principal(user=person), pk=token.pk)


def _expired(person: User, run: Run) -> None:
    ApiToken.objects.filter(user=person).update(expires_at=timezone.now())


def _narrowed(person: User, run: Run) -> None:
    ApiToken.objects.filter(user=person).update(read_only=True)


def _disabled(person: User, run: Run) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


def _a_viewer(person: User, run: Run) -> None:
    Membership.objects.filter(user=person).update(role=Role.VIEWER)


def _no_member(person: User, run: Run) -> None:
    Membership.objects.filter(user=person).delete()


def _moved(person: User, run: Run) -> None:
    Experiment.objects.filter(pk=run.experiment_id).update(project=Project.objects.create(name="elsewhere"))


def _run_deleted(person: User, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now())


def _experiment_deleted(person: User, run: Run) -> None:
    Experiment.objects.filter(pk=run.experiment_id).update(deleted_at=timezone.now())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_revoked, NOBODY),
        (_expired, NOBODY),
        (_narrowed, READER),
        (_disabled, NOBODY),
        (_a_viewer, READER),
        (_no_member, STRANGER),
        (_moved, STRANGER),
        (_run_deleted, ["INVALID_PARAMETER_VALUE", "", ""]),
        (_experiment_deleted, ["", "", "INVALID_PARAMETER_VALUE"]),
    ],
)
def test_what_is_taken_away_is_gone_at_once_in_every_process(
    web_server: str,
    developer: User,
    experiment: Experiment,
    token: str,
    change: Callable[[User, Run], None],
    expected: list[str],
) -> None:
    run, door = factories.run(experiment, state="Running", points=0), Door(web_server, token)
    # Twice, so that the process goes by what it keeps.
    assert codes(door, run) == codes(door, run) == ["", "", ""]
    change(developer, run)
    assert codes(door, run) == expected
    # Neither does anybody without a right learn what is wrong with their request.
    wrong = door.post("log-metric", run_id=run.uid, key="bad;key", value="x").json()["error_code"]
    assert wrong == (expected[0] or "INVALID_PARAMETER_VALUE")


def test_every_column_that_decides_is_in_the_stamp() -> None:
    """A decision is kept beside the columns that `core.access` looks at: a new one belongs there, or here."""
    irrelevant = {
        "token": {"name", "prefix", "digest", "created_at", "last_used_at"},
        "person": {"id", "password", "last_login", "first_name", "last_name", "email", "is_staff", "date_joined",
                   "sessions_ended"},
        "member": {"id", "user_id"},
    }  # fmt: skip
    for table, model in (("token", ApiToken), ("person", User), ("member", Membership)):
        for field in model._meta.concrete_fields:
            decides = f"{table}.{field.column}" in permits._STAMP.replace(")", ",").replace("\n", " ")
            assert decides != (field.column in irrelevant[table]), f"{table}.{field.column}"


@pytest.mark.django_db
def test_a_request_whose_right_is_known_is_one_statement_and_a_retry_is_no_more(
    experiment: Experiment, token: str
) -> None:
    run, client = (
        factories.run(experiment, state="Running", points=0),
        Client(headers={"authorization": f"Bearer {token}"}),
    )
    metrics = [{"key": f"m{n}", "value": n, "timestamp": 5, "step": n} for n in range(100)]
    asks: list[tuple[str, dict[str, Any]]] = [
        ("log-batch", {"metrics": metrics, "tags": [{"key": "team", "value": "a"}]}),
        ("log-metric", {"key": "loss", "value": 0.5, "timestamp": 7, "step": 3}),
        ("log-parameter", {"key": "depth", "value": "3"}),
        ("set-tag", {"key": "mlflow.runName", "value": "second"}),
    ]

    def rows() -> list[Any]:
        tables: tuple[Any, ...] = (MetricPoint, LatestMetric, Param, Tag)
        return [sorted(table.objects.filter(run_id=run.pk).values_list(), key=repr) for table in tables]

    def cost(path: str, body: dict[str, Any]) -> int:
        with CaptureQueriesContext(connection) as seen:
            reply = client.post(f"{API}/{path}", {"run_id": run.uid, **body}, content_type="application/json")
        assert reply.status_code == 200, reply.content
        return len(seen)

    cost(*asks[0])
    first = [cost(*ask) for ask in asks]
    kept = rows()
    assert first == [cost(*ask) for ask in asks] == [1] * len(asks)
    assert rows() == kept and Run.objects.get(pk=run.pk).name == "second"
    with CaptureQueriesContext(connection) as seen:
        client.post(f"{API}/create", {"experiment_id": str(experiment.pk)}, content_type="application/json")
        client.post(f"{API}/create", {"experiment_id": str(experiment.pk)}, content_type="application/json")
    assert sum("INSERT" in query["sql"] for query in seen) == 2


# What no client should send. Each goes to each call that writes.
NONSENSE: list[bytes] = [
    b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a": 1e999999}',
    *(json.dumps(body).encode() for body in (
        {}, {"run_id": None}, {"run_id": []}, {"run_id": {}}, {"run_id": 7}, {"run_id": "x" * 40},
        {"run_id": "\x00" * 32}, {"run_id": "\ud800" * 32}, {"experiment_id": []}, {"experiment_id": "9" * 30},
        {"experiment_id": "-1"},
        {"experiment_id": "\u0663"}, {"experiment_id": {"a": 1}}, {"experiment_id": 1.5},
    )),
]  # fmt: skip
# With a run that is there.
WRONG: list[dict[str, Any]] = [
    {}, {"key": "k"}, {"key": 7, "value": 1, "timestamp": 1}, {"key": "k", "value": {}, "timestamp": 1},
    {"key": "k", "value": "1" * 400, "timestamp": []}, {"key": "k", "value": 1, "timestamp": 2**70},
    {"key": "k\n", "value": "v", "timestamp": 1}, {"key": "k", "value": "\x00", "timestamp": 1},
    {"key": "k", "value": "\ud800", "timestamp": 1}, {"metrics": 7}, {"metrics": [7]}, {"params": {}}, {"tags": "x"},
    {"metrics": [{"key": "a\nb", "value": 1, "timestamp": 1}]}, {"tags": [{"key": "a", "value": ["x"]}]},
    {"metrics": [{"key": "a", "value": 1, "timestamp": 1, "step": 2**64}]}, {"start_time": 2**80},
    {"params": [{"key": "a", "value": "1"}, {"key": "b", "value": 7}]}, {"start_time": "x"}, {"run_name": []},
]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_sent_is_an_error_of_the_servers(web_server: str, experiment: Experiment, token: str) -> None:
    run, door = factories.run(experiment, state="Running", points=0), Door(web_server, token)
    calls = ("log-batch", "log-metric", "log-parameter", "set-tag", "create")
    about = {"run_id": run.uid, "experiment_id": str(experiment.pk)}
    for path in calls:
        for content in (*NONSENSE, *(json.dumps({**about, **body}).encode() for body in WRONG)):
            reply = door.send("POST", path, content)
            assert reply.status_code in (200, 400, 404), (path, content[:80], reply.status_code)
            assert reply.status_code == 200 or reply.json()["error_code"]
            stranger = door.send("POST", path, content, Authorization="Bearer flt_nobody's")
            assert stranger.status_code == 401, (path, content[:80])
    for query in ("", "run_id=", "run_id=%ff", "run_id=%00", "run_id[]=7", "&&&=", "run_id=" + "x" * 5000):
        assert door.send("GET", f"get?{query}", b"").status_code in (400, 404), query
    for header in (
        "",
        "Bearer",
        "Basic",
        "Basic %%%",
        "Bearer \xff",
        "Digest x",
        "bearer\tflt_x",
        "Basic " + "YQ=" * 900,
    ):
        reply = door.send("GET", f"get?run_id={run.uid}", b"", Authorization=header)
        assert reply.status_code == 401, header
    assert door.send("GET", f"get?run_id={run.uid}", b"", Host="evil.example").status_code == 400
    assert door.send("GET", "log-metric", b"").json()["error_code"] == "ENDPOINT_NOT_FOUND"
    assert (Param.objects.filter(run=run, key="a").exists(), run.tags.filter(key="a").exists()) == (False, False)


@pytest.mark.django_db(transaction=True)
def test_a_batch_whose_connection_is_killed_leaves_nothing_and_may_come_again(
    web_server: str, experiment: Experiment, token: str
) -> None:
    """Postgres ends the batch in the middle: the metrics are written, and the tag waits for a lock."""
    run, door = factories.run(experiment, state="Running", points=0), Door(web_server, token)
    Tag.objects.create(run=run, experiment=experiment, key="team", value="old")
    before = LatestMetric.objects.filter(run=run).count()
    body = {
        "run_id": run.uid,
        "metrics": [{"key": "m", "value": 1.0, "timestamp": 1, "step": 1}],
        "params": [{"key": "depth", "value": "3"}],
        "tags": [{"key": "team", "value": "new"}],
    }
    door.post("set-tag", run_id=run.uid, key="other", value="x")
    replies: list[requests.Response] = []
    client = threading.Thread(target=lambda: replies.append(door.post("log-batch", **body)))

    def waits() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            return sum(pid for (pid,) in cursor.fetchall())

    with transaction.atomic():
        Tag.objects.select_for_update().get(run=run, key="team")
        client.start()
        wait_for(waits, "the batch to wait for the tag", timeout=30)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [waits()])
        client.join(20)
    assert replies[0].status_code == 503 and replies[0].headers["Retry-After"]
    assert LatestMetric.objects.filter(run=run).count() == before and not MetricPoint.objects.filter(run_id=run.pk)
    assert (
        not Param.objects.filter(run=run, key="depth").exists() and Tag.objects.get(run=run, key="team").value == "old"
    )
    assert door.post("log-batch", **body).status_code == 200
    assert LatestMetric.objects.filter(run=run).count() == before + 1
    assert Tag.objects.get(run=run, key="team").value == "new"
    connections.close_all()
