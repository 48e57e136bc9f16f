"""REST: experiments, runs and the registry."""

import hashlib
import io
import math
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core.access import Principal
from apps.core.database.transitions import transitions_of
from apps.core.models import AuditEntry, Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.files import artifacts
from apps.experiments.models import Experiment, Run
from apps.experiments.states import RunKind, RunState
from tests import factories
from tests.clusters.podoptions.test_podoptions import EVERYTHING

pytestmark = pytest.mark.django_db


class Api:
    """A client with a bearer token; a developer's unless told otherwise."""

    def __init__(self, token: str) -> None:
        self._client = Client(headers={"authorization": f"Bearer {token}"})

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        call = getattr(self._client, method.lower())
        sent = {} if body is None else {"data": body, "content_type": "application/json"}
        return call(f"/api/v1/{path}", **sent, headers={k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
def api(token: str) -> Api:
    return Api(token)


@pytest.fixture
def cluster(project: Project) -> Any:
    return factories.cluster("home", nodes=1)


def external(principal: Principal, experiment: Experiment, name: str = "trial", **metrics: float) -> Run:
    run = services.create_external_run(principal=principal, experiment=experiment, name=name)
    values = [{"key": key, "value": value, "timestamp": 1, "step": 0} for key, value in metrics.items()]
    factories.log(run, params=[{"key": "kind", "value": name}], metrics=values)
    return run


WISH = {"experiment": "digits", "image": "python:3.11", "command": ["python", "-c", "1"], "params": {"alpha": "0.1"}}


def test_launching_one_run_makes_its_experiment(api: Api, cluster: Any) -> None:
    reply = api("POST", "runs", WISH)
    assert reply.status_code == 201, reply.content
    run = reply.json()
    assert (run["state"], run["kind"], run["cluster"], run["params"]) == (
        "Pending",
        "launched",
        "home",
        {"alpha": "0.1"},
    )
    assert run["spec"]["resources"] == {"cpu": "500m", "memory": "512Mi", "gpu": 0}
    assert Experiment.objects.get().name == "digits"
    assert api("GET", f"runs/{run['run_id']}/").json()["run_id"] == run["run_id"]
    assert set(AuditEntry.objects.values_list("action", flat=True)) == {"experiment.create", "run.launch"}


def test_a_run_is_in_the_project_that_is_named(api: Api, cluster: Any, developer: User) -> None:
    address = f"runs/{api('POST', 'runs', WISH).json()['run_id']}"
    Membership.objects.create(user=developer, project=Project.objects.create(name="other"), role=Role.DEVELOPER)
    for path in ("", "/logs", "/metrics"):
        answers = [api("GET", f"{address}{path}?project={name}").status_code for name in ("demo", "other", "nowhere")]
        assert answers == [200, 404, 404], path
    assert api("POST", f"{address}/cancel?project=other").status_code == 404
    assert Run.objects.get().state == RunState.PENDING


def test_options_of_pods_are_stored_previewed_shown_and_kept_by_a_rerun(api: Api, cluster: Any) -> None:
    job = api("POST", "runs?dry_run=true", WISH | EVERYTHING).json()["objects"][-1]
    assert job["spec"]["template"]["spec"]["affinity"] == EVERYTHING["affinity"]
    run = api("POST", "runs", WISH | EVERYTHING).json()
    assert {key: run["spec"][key] for key in EVERYTHING} == EVERYTHING
    again = api("POST", f"runs/{run['run_id']}/rerun").json()
    assert again["spec"] == run["spec"] and again["rerun_of"] == run["run_id"]
    assert not set(EVERYTHING) & set(api("POST", "runs", WISH).json()["spec"])


def test_a_command_line_and_words_are_kept_as_they_were_written(api: Api, cluster: Any) -> None:
    line = {"experiment": "digits", "image": "x", "command_line": " cd $HOME && ls "}
    assert api("POST", "runs", line).json()["spec"]["command_line"] == " cd $HOME && ls "
    job = api("POST", "runs?dry_run=true", line).json()["objects"][-1]
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == ["/bin/sh", "-c", " cd $HOME && ls "]
    words: dict[str, Any] = {"command": ["echo", " a "], "args": ["b ", ""], "env": {"A": " c "}}
    spec = api("POST", "runs", WISH | words).json()["spec"]
    assert {key: spec[key] for key in words} == words
    both = api("POST", "runs", WISH | {"command_line": "ls"})
    assert both.status_code == 400 and "Give the one or the others" in both.content.decode()


def test_a_disabled_cluster_is_told_from_one_that_is_not_there(api: Api, cluster: Any) -> None:
    type(cluster).objects.update(enabled=False)
    for body, status, said in (
        (WISH, 400, "Every cluster is disabled."),
        (WISH | {"cluster": "home"}, 409, "Cluster home is disabled."),
        (WISH | {"cluster": "moon"}, 404, "There is no cluster 'moon' to launch on."),
    ):
        reply = api("POST", "runs", body)
        assert (reply.status_code, reply.json()["detail"]) == (status, said)
    type(cluster).objects.all().delete()
    assert api("POST", "runs", WISH).json()["detail"] == "No cluster is registered."


def test_four_runs_launched_together(api: Api, cluster: Any) -> None:
    reply = api("POST", "runs", {"runs": [{**WISH, "name": f"r{number}"} for number in range(4)]})
    assert [run["name"] for run in reply.json()["runs"]] == ["r0", "r1", "r2", "r3"]


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_hundred_runs_are_launched_in_as_many_statements_as_one(api: Api, cluster: Any, query: str) -> None:
    """Also into experiments that are new, on several clusters, with params."""
    for number in range(10):
        factories.cluster(f"other-{number}", nodes=0)

    def launch(count: int, round_: str) -> int:
        wishes = [
            {
                **WISH,
                "name": f"r{number}",
                "experiment": f"{round_}-{number}",
                "cluster": f"other-{number % 10}",
                "params": {"alpha": str(number), f"only-{number}": "1"},
            }
            for number in range(count)
        ]
        with CaptureQueriesContext(connection) as queries:
            reply = api("POST", f"runs{query}", {"runs": wishes})
        assert reply.status_code == (200 if query else 201), reply.content
        return len(queries)

    launch(1, "warm")
    few, many = launch(1, "few"), launch(100, "many")
    assert many <= few, f"{few} statements for one, {many} for a hundred"
    if not query:
        made = Run.objects.get(name="r99")
        assert made.cluster is not None and made.cluster.name == "other-9"
        assert dict(made.params.values_list("key", "value")) == {"alpha": "99", "only-99": "1"}
        assert AuditEntry.objects.filter(action="run.launch", object_id=str(made.pk)).count() == 1
        assert [move.to_state for move in transitions_of(made)] == ["Pending"]


def test_all_or_none_are_launched(api: Api, cluster: Any) -> None:
    reply = api("POST", "runs", {"runs": [WISH, {**WISH, "resources": {"cpu": "lots"}}]})
    assert reply.status_code == 400
    assert reply.json()["field"] == "resources.cpu"
    assert not Run.objects.exists()


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_no_more_runs_are_taken_together_than_can_be_launched(api: Api, cluster: Any, query: str) -> None:
    for count in (0, 501):
        assert api("POST", f"runs{query}", {"runs": [WISH] * count}).status_code == 400


def test_a_dry_run_shows_the_manifests_and_stores_nothing(api: Api, cluster: Any) -> None:
    reply = api("POST", "runs?dry_run=true", WISH)
    assert reply.status_code == 200
    assert [each["kind"] for each in reply.json()["objects"]] == ["Namespace", "Job"]
    assert not Run.objects.exists() and not Experiment.objects.exists()


def test_a_repeated_post_launches_once(api: Api, cluster: Any) -> None:
    first = api("POST", "runs", WISH, Idempotency_Key="k1")
    again = api("POST", "runs", WISH, Idempotency_Key="k1")
    assert first.json()["run_id"] == again.json()["run_id"]
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image": "two words"}, "image"),
        ({"image": ""}, None),
        ({"env": {"MLFLOW_RUN_ID": "x"}}, "env"),
        ({"env": {"1bad": "x"}}, "env"),
        ({"resources": {"gpu": -1}}, "resources.gpu"),
        ({"resources": {"memory": "0"}}, "resources.memory"),
        ({"resources": {"memory": "512m"}}, "resources.memory"),
        ({"resources": {"memory": "9Gi"}}, "resources.memory"),
        ({"resources": {"cpu": "0.0001"}}, "resources.cpu"),
        ({"resources": {"cpu": "5"}}, "resources.cpu"),
        ({"resources": {"gpu": 3}}, "resources.gpu"),
        ({"deadline_seconds": 0}, "deadline_seconds"),
        ({"node_selector": {"a b": "c"}}, "node_selector"),
        ({"tolerations": [{"key": "a", "effect": "x"}]}, "tolerations[0].effect"),
        ({"affinity": {"nodeAffinity": 1}}, "affinity.nodeAffinity"),
        ({"image_pull_secrets": ["run-1"]}, "image_pull_secrets[0]"),
        ({"image_pull_policy": "Sometimes"}, None),
        ({"volumes": [{"mountPath": "/a", "hostPath": {"path": "/"}}]}, "volumes[0].hostPath"),
        ({"comand": ["x"]}, None),
        ({"cluster": "nowhere"}, "cluster"),
    ],
)
def test_a_wrong_wish_is_refused_by_name(api: Api, cluster: Any, change: dict[str, Any], field: str | None) -> None:
    for path in ("runs", "runs?dry_run=true"):
        reply = api("POST", path, WISH | change)
        assert reply.status_code in (400, 404)
    assert reply["Content-Type"] == "application/problem+json"
    assert reply.json().get("field") == field
    assert not Run.objects.exists()


def test_lists_filter_and_order(api: Api, principal: Principal, experiment: Experiment) -> None:
    external(principal, experiment, "y", accuracy=0.9)
    external(principal, experiment, "x", accuracy=0.5)
    other = services.create_experiment(principal=principal, project=experiment.project, name="other")
    external(principal, other, "z", accuracy=0.95)

    def names(query: str) -> list[str]:
        return [run["name"] for run in api("GET", f"runs?{query}").json()["results"]]

    assert names("experiment=digits") == ["x", "y"]
    assert names("ordering=name") == ["x", "y", "z"]
    assert names("filter=metrics.accuracy > 0.8&ordering=name") == ["y", "z"]
    assert names("filter=metrics.accuracy > 0.8&experiment=other") == ["z"]
    assert names("state=Failed") == []
    # Names of letters that no id has, for ids are found by their beginning, too.
    assert names("q=y") == ["y"]
    assert api("GET", "runs?ordering=secret").status_code == 400
    assert api("GET", "runs?filter=nonsense ~ 1").status_code == 400


def test_lists_come_in_pages_without_overlap(api: Api, principal: Principal, experiment: Experiment) -> None:
    for number in range(5):
        external(principal, experiment, f"r{number}")
    first = api("GET", "runs?limit=2&ordering=state").json()
    seen = [run["name"] for run in first["results"]]
    following = first["next"]
    while following:
        page = api("GET", following.partition("/api/v1/")[2]).json()
        seen += [run["name"] for run in page["results"]]
        following = page["next"]
    assert sorted(seen) == [f"r{number}" for number in range(5)]


def test_metrics_come_as_curves_and_nan_as_a_word(api: Api, principal: Principal, experiment: Experiment) -> None:
    run = external(principal, experiment, loss=math.nan, accuracy=0.5)
    assert api("GET", f"runs/{run.uid}").json()["metrics"] == {"loss": "NaN", "accuracy": 0.5}
    answer = api("GET", f"runs/{run.uid}/metrics?key=loss").json()
    assert answer["series"] == [{"key": "loss", "points": [{"step": 0, "timestamp": 1, "value": "NaN"}]}]


def test_logs_of_an_ended_run_are_what_was_kept(api: Api, experiment: Experiment) -> None:
    run = factories.run(experiment, state=RunState.FAILED, kind=RunKind.LAUNCHED)
    factories.attempt(run, log="one\ntwo\nthree")
    assert api("GET", f"runs/{run.uid}/logs?lines=2").json() == {
        "run_id": run.uid,
        "log": "two\nthree",
        "ended": True,
        "note": "The last lines, kept",
        "attempt": 1,
        "pod": "",
    }
    for lines in ("0", "000000001000"):
        assert api("GET", f"runs/{run.uid}/logs?lines={lines}").status_code == 400


def test_cancel_and_rerun(api: Api, cluster: Any) -> None:
    uid = api("POST", "runs", WISH).json()["run_id"]
    assert api("POST", f"runs/{uid}/cancel").json()["state"] == "Canceling"
    again = api("POST", f"runs/{uid}/rerun")
    assert again.status_code == 201
    assert again.json()["rerun_of"] == uid and again.json()["params"] == {"alpha": "0.1"}


def test_what_can_not_be_cancelled_says_so(api: Api, principal: Principal, experiment: Experiment) -> None:
    run = external(principal, experiment)
    assert api("POST", f"runs/{run.uid}/cancel").status_code == 409
    assert api("POST", f"runs/{run.uid}/rerun").status_code == 409


def test_registry_from_run_to_alias(api: Api, principal: Principal, experiment: Experiment) -> None:
    run = external(principal, experiment, accuracy=0.9)
    assert api("POST", "models/digits/versions", {"run_id": run.uid}).status_code == 404
    for path in ("model/MLmodel", "models/MLmodel", "model.txt"):
        artifacts.write(run, path, io.BytesIO(b"flavors: {}"))
    made = api("POST", "models/digits/versions", {"run_id": run.uid, "artifact_path": "model"})
    assert made.status_code == 201, made.content
    assert (made.json()["version"], made.json()["metrics"]) == (1, {"accuracy": 0.9})
    assert api("POST", "models/digits/aliases", {"alias": "champion", "version": 1}).status_code == 201
    assert api("PUT", "models/digits/aliases/next", {"version": 1}).json()["aliases"] == ["champion", "next"]
    assert api("GET", "models/digits").json()["aliases"] == {"champion": 1, "next": 1}
    assert api("DELETE", "models/digits/aliases/next").status_code == 204
    assert [row["version"] for row in api("GET", "models/digits/versions").json()["results"]] == [1]
    files = api("GET", "models/digits/versions/1/files").json()
    assert files["uri"].endswith(f"/{run.uid}/artifacts/model")
    sha256 = hashlib.sha256(b"flavors: {}").hexdigest()
    assert files["files"] == [{"path": "MLmodel", "size": 11, "sha256": sha256}], "and nothing that lies beside it"
    assert api("PUT", "models/digits/aliases/v2", {"version": 1}).status_code == 400
    assert api("PUT", "models/digits/aliases/next", {"version": 7}).status_code == 404
    assert api("DELETE", "models/digits/versions/1").status_code == 204
    second = api("POST", "models/digits/versions", {"run_id": run.uid})
    assert second.json()["version"] == 2, "numbers are never used again"


def test_an_edit_of_what_somebody_changed_is_refused(api: Api, experiment: Experiment) -> None:
    api("POST", "models", {"name": "digits"})
    tag = api("GET", "models/digits")["ETag"]
    assert api("PATCH", "models/digits", {"description": "one"}, If_Match=tag).status_code == 200
    assert api("PATCH", "models/digits", {"description": "two"}, If_Match=tag).status_code == 412
    old = api("GET", "experiments/digits")["ETag"]
    assert api("PATCH", "experiments/digits", {"name": "a b/c"}, If_Match=old).status_code == 200
    assert api("GET", "experiments/a b/c").json()["name"] == "a b/c"
    assert api("PATCH", "experiments/a b/c", {"name": "x"}, If_Match=old).status_code == 412
    assert api("DELETE", "experiments/a b/c").status_code == 204


def test_the_experiment_of_those_who_chose_none_stays(api: Api, project: Project) -> None:
    Experiment.objects.create(project=project, name="Default")
    reply = api("DELETE", "experiments/Default")
    assert (reply.status_code, Experiment.objects.get().deleted_at) == (400, None)


def test_a_viewer_reads_and_does_not_write(experiment: Experiment, project: Project, cluster: Any) -> None:
    viewer = User.objects.create_user("eve", password="a long enough one")
    Membership.objects.create(project=project, user=viewer, role=Role.VIEWER)
    api = Api(issue_token(name="v", user=viewer)[1])
    assert api("GET", "experiments/digits").status_code == 200
    for method, path, body in (
        ("POST", "runs", WISH),
        ("POST", "experiments", {"name": "x"}),
        ("PATCH", "experiments/digits", {"name": "x"}),
        ("POST", "models", {"name": "m"}),
    ):
        assert api(method, path, body).status_code == 403, path
    assert not Run.objects.exists()


def test_another_projects_things_are_not_there(api: Api, principal: Principal, experiment: Experiment) -> None:
    run = external(principal, experiment)
    api("POST", "models", {"name": "digits"})
    stranger = Project.objects.create(name="stranger")
    foreign = Api(issue_token(name="s", project=stranger)[1])
    paths = [
        f"runs/{run.uid}",
        f"runs/{run.uid}/logs",
        f"runs/{run.uid}/metrics",
        "experiments/digits",
        "models/digits",
        "models/digits/versions",
        "models/digits/versions/1",
    ]
    for path in paths:
        assert foreign("GET", path).status_code == 404, path
        assert Client().get(f"/api/v1/{path}").status_code == 401, path
    assert foreign("GET", "runs").json()["results"] == []
    assert foreign("POST", f"runs/{run.uid}/cancel").status_code == 404
    assert foreign("POST", "models/digits/versions", {"run_id": run.uid}).status_code == 404


def test_the_name_is_enough_until_two_projects_have_it(api: Api, developer: User, experiment: Experiment) -> None:
    other = Project.objects.create(name="other")
    Membership.objects.create(project=other, user=developer, role=Role.DEVELOPER)
    assert api("GET", "experiments/digits").status_code == 200
    Experiment.objects.create(project=other, name="digits")
    assert api("GET", "experiments/digits").status_code == 400
    assert api("GET", "experiments/digits?project=other").json()["project"] == "other"
