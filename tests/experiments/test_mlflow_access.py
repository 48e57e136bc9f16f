"""The MLflow door: who may do what, and what never gets through."""

import json
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver

from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Membership, Project, User
from apps.core.secrets.tokens import issue_token, revoke_tokens
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.files import artifacts
from apps.experiments.models import Artifact, Experiment, ModelVersion, RegisteredModel, Run
from apps.experiments.registry.flavours import flavours_of
from tests import factories

pytestmark = pytest.mark.django_db
API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


class Wire:
    """JSON to MLflow's API with one token."""

    def __init__(self, token: str) -> None:
        self._client = Client(headers={"authorization": f"Bearer {token}"})

    def post(self, path: str, **body: Any) -> Any:
        return self._client.post(f"{API}/{path}", json.dumps(body), content_type="application/json")

    def send(self, method: str, path: str, **body: Any) -> Any:
        return self._client.generic(method, f"{API}/{path}", json.dumps(body), content_type="application/json")

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(f"{API}/{path}", query)

    def put(self, uri: str, content: bytes = b"x") -> Any:
        return self._client.generic("PUT", f"{FILES}/{uri}", content, content_type="application/octet-stream")

    def fetch(self, uri: str) -> Any:
        return self._client.get(f"{FILES}/{uri}")

    def drop(self, uri: str) -> Any:
        return self._client.delete(f"{FILES}/{uri}")


def code(reply: Any) -> str:
    return str(reply.json().get("error_code", reply.status_code))


@pytest.fixture
def runs(principal: Principal, experiment: Experiment) -> list[Run]:
    names = ("mine", "other")
    return [services.create_external_run(principal=principal, experiment=experiment, name=name) for name in names]


@pytest.fixture
def wire(token: str) -> Wire:
    return Wire(token)


@pytest.fixture
def run_wire(runs: list[Run], project: Project) -> Wire:
    return Wire(issue_token(name="run", project=project, run_uid=runs[0].uid)[1])


def uri(run: Run, path: str = "a.txt") -> str:
    return f"{run.experiment_id}/{run.uid}/artifacts/{path}"


OPEN = {"health", "version", "api/3.0/mlflow/server-info"}


def _patterns(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns)
        else:
            yield pattern


def test_every_endpoint_refuses_who_has_no_token() -> None:
    tested = 0
    for pattern in _patterns(get_resolver("apps.experiments.mlflow.urls").url_patterns):
        if str(pattern.pattern) in OPEN:
            continue
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for headers in ({}, {"authorization": "Bearer nothing"}, {"authorization": "Basic YTpi"}):
                reply = pattern.callback(RequestFactory(headers=headers).generic(method, "/x"))
                assert reply.status_code == 401, (method, pattern)
                assert json.loads(reply.content)["error_code"] == "UNAUTHENTICATED"
                tested += 1
    assert tested > 500
    assert Client().post("/api/2.0/mlflow/runs/create").status_code == 401


def test_a_session_does_not_count_here(developer: User) -> None:
    client = Client()
    client.force_login(developer)
    assert client.get(f"{API}/experiments/search").status_code == 401


def test_what_a_client_asks_before_it_has_a_token() -> None:
    assert Client().get("/health").content == b"OK"
    assert Client().get("/version").content == b"3.17.0"
    assert Client().get("/api/3.0/mlflow/server-info").json()["workspaces_enabled"] is True


def test_what_is_not_here_says_so(wire: Wire) -> None:
    reply = wire.post("gateway-proxy")
    assert (reply.status_code, code(reply)) == (404, "ENDPOINT_NOT_FOUND")
    assert "/api/2.0/mlflow/gateway-proxy" in reply.json()["message"]
    assert code(wire.get("runs/create")) == "ENDPOINT_NOT_FOUND"
    for path in (
        "/v1/metrics", "/graphql", "/gateway/chat/invocations", "/ajax-api/3.0/jobs/search", "/api/3.0/jobs/",
        "/api/3.0/genai/evaluate", "/api/3.0/mlflow/scorers/register", "/api/3.0/mlflow/traces/tr-1/assessments",
        "/api/3.0/mlflow/traces/metrics", "/api/3.0/mlflow/datasets/create", "/api/4.0/mlflow/traces/1/info",
    ):  # fmt: skip
        # No JSON: metrics come as protobuf.
        answer: Any = wire._client.post(path, b"\n\x01", content_type="application/x-protobuf")
        assert (answer.status_code, code(answer)) == (404, "ENDPOINT_NOT_FOUND") and path in answer.json()["message"]
        assert Client().post(path).status_code == 401


def test_a_runs_token_writes_to_its_run(run_wire: Wire, runs: list[Run]) -> None:
    mine = runs[0]
    assert run_wire.post("runs/log-metric", run_id=mine.uid, key="k", value=1, timestamp=1).status_code == 200
    assert run_wire.post("runs/set-tag", run_id=mine.uid, key="k", value="v").status_code == 200
    assert run_wire.post("runs/update", run_id=mine.uid, status="FINISHED").status_code == 200
    assert run_wire.put(uri(mine)).status_code == 200
    made = run_wire.post("logged-models", experiment_id=str(mine.experiment_id), name="model", source_run_id=mine.uid)
    assert made.status_code == 200
    model = made.json()["model"]["info"]["model_id"]
    assert run_wire.put(f"{mine.experiment_id}/models/{model}/artifacts/MLmodel").status_code == 200
    assert run_wire.send("PATCH", f"logged-models/{model}", status="LOGGED_MODEL_READY").status_code == 200
    assert run_wire.post("registered-models/create", name="digits").status_code == 200
    reply = run_wire.post("model-versions/create", name="digits", source=f"models:/{model}", run_id=mine.uid)
    assert reply.json()["model_version"]["version"] == "1"
    assert ModelVersion.objects.get().created_by == RegisteredModel.objects.get().created_by == "ada", "who launched it"


@pytest.mark.parametrize(
    ("name", "shown"), [("unknown", "ada"), ("", "ada"), ("ada", "ada"), ("Root <b>", "ada as Root &lt;b&gt;")]
)
def test_a_run_is_by_who_was_authenticated_whatever_its_client_calls_itself(
    wire: Wire, experiment: Experiment, browser: Client, name: str, shown: str
) -> None:
    made = wire.post("runs/create", experiment_id=str(experiment.pk), user_id=name).json()["run"]["info"]
    assert made["user_id"] == (name or "ada")
    rest = browser.get(f"/api/v1/runs/{made['run_id']}").json()
    assert (rest["created_by"], rest["client_user"]) == ("ada", name or "ada")
    for filter_text in ("user = 'ada'", "created_by = 'ada'", f"user_id = '{name or 'ada'}'"):
        found = wire.post("runs/search", experiment_ids=[str(experiment.pk)], filter=filter_text).json()
        assert [run["info"]["run_id"] for run in found["runs"]] == [made["run_id"]], filter_text
    where = f"/p/{experiment.project.name}"
    listed = browser.get(f"{where}/experiments/{experiment.name}/").content.decode()
    assert f"external · {shown}</span>" in listed
    page = re.sub(r"<[^>]+>", "", browser.get(f"{where}/runs/{made['run_id']}/").content.decode())
    assert f"By{shown}\n" in page


def test_a_run_by_a_project_s_token_has_its_name(project: Project, experiment: Experiment) -> None:
    wire = Wire(issue_token(name="ci", project=project)[1])
    made = wire.post("runs/create", experiment_id=str(experiment.pk), user_id="jenkins").json()["run"]["info"]
    run = Run.objects.get(uid=made["run_id"])
    assert (run.created_by, run.client_user, made["user_id"]) == ("token ci", "jenkins", "jenkins")


def test_a_runs_token_writes_nowhere_else(run_wire: Wire, runs: list[Run], principal: Principal) -> None:
    mine, other = runs
    artifacts.write(other, "model/MLmodel", _Body(b"x"))
    model = services.create_logged_model(principal=principal, experiment=other.experiment, run=other, name="m")
    free = services.create_logged_model(principal=principal, experiment=other.experiment, run=None, name="m")
    services.create_model(principal=principal, project=other.experiment.project, name="taken")
    eid = str(other.experiment_id)
    attempts = [
        run_wire.post("runs/log-metric", run_id=other.uid, key="k", value=1, timestamp=1),
        run_wire.post("runs/log-batch", run_id=other.uid, metrics=[]),
        run_wire.post("runs/log-parameter", run_id=other.uid, key="k", value="v"),
        run_wire.post("runs/set-tag", run_id=other.uid, key="k", value="v"),
        run_wire.post("runs/delete-tag", run_id=other.uid, key="k"),
        run_wire.post("runs/update", run_id=other.uid, status="FAILED"),
        run_wire.post("runs/update", run_uuid=other.uid, status="FAILED"),
        run_wire.post("runs/outputs", run_id=other.uid, models=[]),
        run_wire.post("runs/delete", run_id=mine.uid),
        run_wire.post("runs/create", experiment_id=eid),
        run_wire.post("experiments/create", name="new"),
        run_wire.post("experiments/delete", experiment_id=eid),
        run_wire.post("experiments/set-experiment-tag", experiment_id=eid, key="k", value="v"),
        run_wire.put(uri(other)),
        run_wire.drop(uri(other, "model")),
        run_wire.put(f"{eid}/models/{model.uid}/artifacts/x"),
        run_wire.put(f"{eid}/models/{free.uid}/artifacts/x"),
        run_wire.post("logged-models", experiment_id=eid, name="x", source_run_id=other.uid),
        run_wire.post("logged-models", experiment_id=eid, name="x"),
        run_wire.send("PATCH", f"logged-models/{model.uid}", status="LOGGED_MODEL_READY"),
        run_wire.post("model-versions/create", name="taken", source=f"runs:/{other.uid}/model"),
        run_wire.post("registered-models/alias", name="taken", alias="champion", version="1"),
        run_wire.send("DELETE", "registered-models/delete", name="taken"),
    ]
    assert [code(reply) for reply in attempts] == ["PERMISSION_DENIED"] * len(attempts)
    assert not ModelVersion.objects.exists()


def test_a_revoked_runs_token_is_nobodys(run_wire: Wire, runs: list[Run]) -> None:
    revoke_tokens(run_uid=runs[0].uid)
    assert code(run_wire.post("runs/set-tag", run_id=runs[0].uid, key="k", value="v")) == "UNAUTHENTICATED"


def test_another_projects_things_are_not_there(runs: list[Run], principal: Principal) -> None:
    run = runs[0]
    artifacts.write(run, "a.txt", _Body(b"secret"))
    model = services.create_logged_model(principal=principal, experiment=run.experiment, run=run, name="m")
    foreign = Wire(issue_token(name="s", project=Project.objects.create(name="stranger"))[1])
    attempts = [
        foreign.get("runs/get", run_id=run.uid),
        foreign.get("experiments/get", experiment_id=str(run.experiment_id)),
        foreign.get("experiments/get-by-name", experiment_name="digits"),
        foreign.get("metrics/get-history", run_id=run.uid, metric_key="k"),
        foreign.get("artifacts/list", run_id=run.uid),
        foreign.get(f"logged-models/{model.uid}"),
        foreign.post("runs/log-metric", run_id=run.uid, key="k", value=1, timestamp=1),
        foreign.post("runs/search", experiment_ids=[str(run.experiment_id)]),
        foreign.post("runs/create", experiment_id=str(run.experiment_id)),
        foreign.fetch(uri(run)),
        foreign.put(uri(run)),
        foreign.drop(uri(run)),
        foreign.post("logged-models", name="x", source_run_id=run.uid),
        foreign.post("model-versions/create", name="x", source=f"runs:/{run.uid}/a.txt"),
    ]
    assert [code(reply) for reply in attempts] == ["RESOURCE_DOES_NOT_EXIST"] * len(attempts)
    own = foreign.get("experiments/search").json()["experiments"]
    assert [row["name"] for row in own] == ["Default"] and own[0]["experiment_id"] != str(run.experiment_id)


def test_viewers_and_reading_tokens_only_read(runs: list[Run], project: Project, developer: User) -> None:
    run = runs[0]
    viewer = User.objects.create_user("eve")
    Membership.objects.create(project=project, user=viewer, role=Role.VIEWER)
    readers = [
        issue_token(name="v", user=viewer)[1],
        issue_token(name="r", user=developer, read_only=True)[1],
        issue_token(name="d", project=project, role=Role.VIEWER, read_only=True)[1],
    ]
    artifacts.write(run, "a.txt", _Body(b"x"))
    for reader in map(Wire, readers):
        assert reader.get("runs/get", run_id=run.uid).status_code == 200
        assert reader.fetch(uri(run)).status_code == 200
        for reply in (
            reader.post("runs/log-metric", run_id=run.uid, key="k", value=1, timestamp=1),
            reader.post("experiments/create", name="x"),
            reader.put(uri(run)),
            reader.post("registered-models/create", name="x"),
        ):
            assert code(reply) == "PERMISSION_DENIED"


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int, /) -> bytes:
        taken, self._content = self._content[:size], self._content[size:]
        return taken


TRAVERSALS = [
    "../x",
    "a/../../x",
    "a/..",
    "..",
    "./x",
    "a//b",
    "a/./b",
    "%2e%2e/x",
    "%252e%252e/x",
    "%25252e%25252e%2fx",
    "..%2fx",
    "..%5cx",
    "a\\..\\x",
    "\\\\server\\share",
    "C:/windows",
    "c:x",
    "a/%00/b",
    "a\x00b",
    "a\nb",
    "．．/x",
    "a／..／x",
    "... /x",
    ". ./x",
    "file:///etc/passwd/..",
    "\ud800x",
]


@pytest.mark.parametrize("path", TRAVERSALS, ids=ascii)
def test_a_path_that_tries_to_leave_has_no_clean_form(path: str) -> None:
    with pytest.raises(Invalid):
        artifacts.clean_path(path)


def test_paths_that_try_to_leave_are_refused_at_the_door(wire: Wire, runs: list[Run]) -> None:
    for path in TRAVERSALS:
        once = quote(path.encode("utf-8", "surrogatepass"), safe="")
        # Encoded twice, a new line is three letters, which lead nowhere.
        for address in (once,) if path == "a\nb" else (once, quote(once, safe="")):
            target = uri(runs[0], address)
            replies = [wire.put(target), wire.fetch(target), wire.drop(target)]
            assert all(reply.status_code in (400, 404) for reply in replies), address
    assert not Artifact.objects.exists()


def test_a_client_s_path_is_never_a_path_on_the_server(wire: Wire, runs: list[Run]) -> None:
    assert wire.put(uri(runs[0], "deep/er/name.bin")).status_code == 200
    row = Artifact.objects.get()
    stored = factories.stored_at(row.key)
    assert stored.exists() and "name" not in str(stored) and len(row.key) == 32


def test_downloads_can_not_act_in_a_browser(wire: Wire, runs: list[Run]) -> None:
    wire.put(uri(runs[0], "page.html"), b"<script>1</script>")
    reply = wire.fetch(uri(runs[0], "page.html"))
    assert reply["Content-Disposition"].startswith("attachment")
    assert reply["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert reply["X-Content-Type-Options"] == "nosniff"


# What names files of one machine, leaves its folder, however often it is encoded, or is no address at all.
PATHS_OF_ONE_MACHINE = [
    "file:///etc/passwd", "file://host/etc", "FILE:/etc", "/etc", "model", "a/b", "../x", "runs:/x/../y", "v1",
    "s3://bucket/../key", "s3://bucket/%2e%2e/key", "s3://bucket/%252e%252e/key", "dbfs:/a?b/../c", "dbfs:/a#../c",
    "s3://bucket/a\\..\\b", "s3://bucket/\u202ekey", "%66ile:///etc", "%25" * 12 + "2e2e",
]  # fmt: skip


@pytest.mark.parametrize("source", PATHS_OF_ONE_MACHINE)
def test_a_version_is_made_of_no_path_of_a_machine(wire: Wire, project: Project, source: str) -> None:
    RegisteredModel.objects.create(project=project, name="digits")
    reply = wire.post("model-versions/create", name="digits", source=source)
    assert code(reply) == "INVALID_PARAMETER_VALUE", source
    assert RegisteredModel.objects.get().last_version == 0


@pytest.mark.parametrize(
    "source", ["s3://bucket/key", "http://169.254.169.254/", "dbfs:/a/b", "runs:/of-another/model"]
)
def test_a_source_elsewhere_is_kept_for_clients_and_never_opened(
    wire: Wire, project: Project, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    RegisteredModel.objects.create(project=project, name="digits")
    asked: list[str] = []
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **kw: asked.append(host) or real(host, *args, **kw))
    made = wire.post("model-versions/create", name="digits", source=source, run_id="of-another").json()
    at = wire.get("model-versions/get-download-uri", name="digits", version="1").json()
    copied = wire.post("model-versions/create", name="digits", source="models:/digits/1").json()["model_version"]
    assert at == wire.get("model-versions/get-download-uri", name="digits", version="2").json()
    assert not flavours_of(ModelVersion.objects.get(version=2))
    assert not set(asked) - {"127.0.0.1", "localhost"}
    assert (made["model_version"]["source"], made["model_version"]["run_id"]) == (source, "of-another")
    assert at == {"artifact_uri": source} and copied["source"] == "models:/digits/1"
    found = wire.get("model-versions/search", filter="run_id = 'of-another'").json()["model_versions"]
    assert [row["version"] for row in found] == ["1"]
    assert code(wire.post("model-versions/create", name="digits", source="models:/none/1")) == "RESOURCE_DOES_NOT_EXIST"
