"""Pages: what a person sees and may do, and what never reaches them."""

import html
import io
import re
from typing import Any

import pytest
from django.test import Client

from apps.clusters.pages.optionfields import initial_of
from apps.clusters.podoptions.words import rows
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.files import artifacts
from apps.experiments.models import Experiment, LoggedModel, ModelAlias, ModelVersion, Run
from apps.experiments.states import RunKind, RunState
from tests import factories
from tests.clusters.podoptions.test_podoptions import EVERYTHING
from tests.experiments.runpage import whole

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(experiment: Experiment) -> Run:
    return factories.run(experiment, name="first")


def text(reply: Any) -> str:
    assert reply.status_code == 200, (reply.status_code, reply.content[:2000])
    return str(reply.content.decode())


def test_the_list_says_how_to_begin(browser: Client, project: Project) -> None:
    page = text(browser.get("/p/demo/experiments/"))
    assert "Log the first run" in page and "MLFLOW_TRACKING_URI" in page


def test_the_list_and_its_fragment_show_experiments(browser: Client, run: Run) -> None:
    for path in ("/p/demo/experiments/", "/p/demo/experiments/?part=rows"):
        assert "digits" in text(browser.get(path))
    assert "Nothing matches" in text(browser.get("/p/demo/experiments/?q=zzz"))


def test_the_table_has_params_and_metrics_as_columns(browser: Client, experiment: Experiment) -> None:
    for _ in range(3):
        factories.run(experiment)
    page = text(browser.get("/p/demo/experiments/digits/"))
    assert (
        "params.alpha" in page
        and "metrics.accuracy" in page
        and "compare-figure" in text(browser.get("/p/demo/experiments/digits/?metric=loss"))
    )
    chosen = text(browser.get("/p/demo/experiments/digits/?col=metrics.loss&part=runs"))
    assert "?sort=metrics.loss" in chosen or "sort=metrics.loss" in chosen
    assert 'value="params.alpha">' in chosen


def test_the_table_sorts_and_filters_by_the_address(
    browser: Client, principal: Principal, experiment: Experiment
) -> None:
    for number, loss in enumerate((0.3, 0.1, 0.2)):
        run = services.create_external_run(principal=principal, experiment=experiment, name=f"run-{number}")
        factories.log(run, metrics=[{"key": "loss", "value": loss, "timestamp": 1}])

    def order(query: str) -> list[int]:
        page = text(browser.get(f"/p/demo/experiments/digits/?part=runs&{query}"))
        spots = [(page.find(f">run-{number}<"), number) for number in range(3)]
        return [number for spot, number in sorted(spots) if spot >= 0]

    assert order("sort=metrics.loss") == [1, 2, 0]
    assert order("sort=-metrics.loss") == [0, 2, 1]
    assert order("sort=-name") == [2, 1, 0]
    assert order("filter=metrics.loss < 0.25&sort=metrics.loss") == [1, 2]
    assert order("state=Failed") == []


def test_a_filter_that_makes_no_sense_is_said_in_place(browser: Client, run: Run) -> None:
    page = text(browser.get("/p/demo/experiments/digits/?filter=what is this"))
    assert "Invalid filter" in page


def test_an_experiment_with_slashes_and_spaces_in_its_name(
    browser: Client, principal: Principal, project: Project
) -> None:
    services.create_experiment(principal=principal, project=project, name="team a/digits & co")
    listed = text(browser.get("/p/demo/experiments/"))
    assert "/p/demo/experiments/team%20a/digits%20&amp;%20co/" in listed
    assert "team a/digits &amp; co" in text(browser.get("/p/demo/experiments/team a/digits & co/"))


def test_links_to_mlflows_own_pages_lead_to_ours(browser: Client, run: Run, project: Project) -> None:
    services.create_model(principal=Principal(user=User.objects.get()), project=project, name="a b%")
    logged = LoggedModel.objects.create(experiment=run.experiment, run=run, name="m")
    eid, own = run.experiment_id, f"/p/demo/runs/{run.uid}/"
    for link, expected in {
        f"experiments/{eid}": "/p/demo/experiments/digits/",
        f"experiments/{eid}/": "/p/demo/experiments/digits/",
        f"experiments/{eid}/overview": "/p/demo/experiments/digits/",
        f"experiments/{eid}?workspace=demo": "/p/demo/experiments/digits/",
        f"experiments/{eid}/runs/{run.uid}": own,
        f"experiments/{eid}/runs/{run.uid}/artifacts": own,
        f"experiments/{eid}/runs/{run.uid}?workspace=demo": own,
        f"experiments/{eid}/models/{logged.uid}": own,
        "models/a%2520b%2525/versions/3?workspace=demo": "/p/demo/models/a%20b%25/",
        "models/a%20b%25": "/p/demo/models/a%20b%25/",
        "experiments": "/p/demo/experiments/",
        "models?workspace=demo": "/p/demo/models/",
    }.items():
        reply = browser.get(f"/_mlflow/{link}")
        assert (reply.status_code, reply["Location"] if reply.status_code == 302 else "") == (302, expected), link
    nowhere = ["prompts", "experiments/999999", f"experiments/{eid}/runs/{'0' * 32}", "experiments/1/models/m-0", "x"]
    nowhere += ["models/none", "models/%2500", "models/%00", "models?workspace=a b", "models/m?workspace=%00"]
    for link in nowhere:
        assert browser.get(f"/_mlflow/{link}").status_code == 404, link
    assert Client().get(f"/_mlflow/experiments/{eid}?workspace=demo")["Location"] == (
        f"/login/?next=/_mlflow/experiments/{eid}%3Fworkspace%3Ddemo"
    )
    stranger = Client()
    stranger.force_login(User.objects.create_user("mallory"))
    for link in (f"experiments/{eid}", f"experiments/{eid}/runs/{run.uid}", "models/a%20b%25?workspace=demo"):
        assert stranger.get(f"/_mlflow/{link}").status_code == 404


def test_a_run_page_shows_all_that_was_logged(browser: Client, run: Run) -> None:
    artifacts.write(run, "plots/matrix.png", io.BytesIO(b"\x89PNG\r\n"))
    artifacts.write(run, "note.html", io.BytesIO(b"<script>alert(1)</script>"))
    page = whole(browser, run)
    for shown in ("first", "accuracy", "alpha", "metric-0-figure", "plots/matrix.png", "note.html", run.uid):
        assert shown in page
    for part in (
        "verdict",
        "actions",
        "top",
        "values",
        "side",
        "curves",
        "system",
        "files",
        "register",
        "pods",
        "lineage",
    ):
        text(browser.get(f"/p/demo/runs/{run.uid}/?part={part}"))


def test_a_run_that_has_ended_does_not_speak_of_what_is_to_come(browser: Client, experiment: Experiment) -> None:
    yet = ("No curve yet", "while it grows", "No file yet", "No metric yet", "No param yet")
    ended = ("No curve<", "It logged no file.", "It logged no metric<", "It logged no param<")
    for state in (RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED):
        bare = Run.objects.create(experiment=experiment, name="bare", kind=RunKind.EXTERNAL, state=state)
        page = whole(browser, bare)
        shown, hidden = (yet, ended) if state == RunState.RUNNING else (ended, yet)
        assert [words for words in shown if words not in page] == [], state
        assert [words for words in hidden if words in page] == [], state


def test_several_values_at_one_step_make_no_curve(
    browser: Client, principal: Principal, experiment: Experiment
) -> None:
    run = services.create_external_run(principal=principal, experiment=experiment, name="three workers")

    def page_after(*steps: int) -> str:
        values = [{"key": "auc", "value": 0.9 + step, "timestamp": n, "step": step} for n, step in enumerate(steps)]
        factories.log(run, metrics=values)
        return whole(browser, run)

    page = page_after(0, 0, 0)
    assert "metric-0-figure" not in page and "No curve yet" in page and ">auc<" in page, "the latest is in Metrics"
    assert "metric-0-figure" in page_after(1)


def test_a_failed_run_begins_with_why(browser: Client, experiment: Experiment) -> None:
    run = factories.run(
        experiment,
        state=RunState.FAILED,
        kind=RunKind.LAUNCHED,
        reason="Error",
        exit_code=1,
        message="Container run ended with exit code 1.",
        spec={"image": "python:3.11", "resources": {"cpu": "1", "memory": "1Gi", "gpu": 0}},
    )
    factories.attempt(run, log="start\nValueError: alpha must be positive <b>\n")
    page = whole(browser, run)
    assert "Failed: exit code 1, Error" in page
    assert "ValueError: alpha must be positive &lt;b&gt;" in page
    assert page.index('id="failure"') < page.index('id="curves"')
    log = browser.get(f"/p/demo/runs/{run.uid}/log")
    assert log["X-Log-End"] == "1" and log["Content-Type"].startswith("text/plain")


def test_what_was_uploaded_can_not_act_in_our_origin(browser: Client, run: Run) -> None:
    for name in ("page.html", "drawing.svg", "picture.png", "data.json"):
        artifacts.write(run, name, io.BytesIO(b"<script>alert(1)</script>"))
        reply = browser.get(f"/p/demo/runs/{run.uid}/artifacts/{name}")
        assert reply["X-Content-Type-Options"] == "nosniff"
        assert reply["Content-Security-Policy"] == "sandbox; default-src 'none'"
        inline = reply["Content-Disposition"].startswith("inline")
        assert inline is (name == "picture.png"), name


def test_launching_from_the_form(browser: Client, project: Project) -> None:
    assert "No cluster to launch on" in text(browser.get("/p/demo/runs/new"))
    factories.cluster("home", nodes=1)
    form = {
        "experiment": "digits",
        "image": "python:3.11",
        "command": "python train.py --name 'two words'",
        "way": "line",
        "cluster": "home",
        "cpu": "500m",
        "memory": "1Gi",
        "params": "alpha=0.1\nbeta = 2",
        "deadline_minutes": "5",
    }
    reply = browser.post("/p/demo/runs/new", form)
    run = Run.objects.get()
    assert reply.status_code == 302 and run.uid in reply["Location"]
    assert run.spec["command_line"] == "python train.py --name 'two words'" and not run.spec["command"]
    assert run.spec["params"] == {"alpha": "0.1", "beta": "2"} and run.spec["deadline_seconds"] == 300
    page = html.unescape(whole(browser, run))
    assert "Command line" in page and "run by /bin/sh" in page and "python train.py --name 'two words'" in page
    wrong = browser.post("/p/demo/runs/new", form | {"cpu": "lots", "params": "nonsense"})
    assert wrong.status_code == 400 and b"is not NAME=value" in wrong.content
    wrong = browser.post("/p/demo/runs/new", form | {"command": "cd x && ls", "way": "words"})
    assert wrong.status_code == 400 and "means something to a shell only" in wrong.context["form"].errors["command"][0]
    wrong = browser.post("/p/demo/runs/new", form | {"cpu": "lots"})
    assert wrong.status_code == 400 and b"lots" in wrong.content
    every = {"image": "a b", "cpu": "-1", "memory": "some", "env": "MLFLOW_RUN_ID=1", "deadline_minutes": "9999999"}
    wrong = browser.post("/p/demo/runs/new", form | every | {"params": "nonsense", "volumes": "nonsense"})
    assert set(wrong.context["form"].errors) == {*every, "params", "volumes"}, "all that is wrong, at once"
    wrong = browser.post("/p/demo/runs/new", form | {"memory": "512m"})
    assert wrong.status_code == 400 and wrong.context["form"].errors["memory"][0].endswith("512Mi was probably meant.")
    assert Run.objects.count() == 1


def test_a_run_whose_cluster_cant_be_reached_is_not_shown_as_running(browser: Client, experiment: Experiment) -> None:
    for name, state in (("home", "Healthy"), ("away", "Unreachable")):
        factories.run(
            experiment, state="Running", kind="Launched", cluster=factories.cluster(name, nodes=0, state=state)
        )
    factories.run(experiment, state="Running", kind="Launched", reason="NodeLost")
    table = text(browser.get("/p/demo/")).partition('id="running"')[2].partition("</section>")[0]
    lost, away, home = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    assert "away can't be reached" in html.unescape(away) and 'class="stale"' in away
    assert "its node does not answer" in lost and 'class="stale"' in lost
    assert "can't be reached" not in html.unescape(home) and "stale" not in home


def test_options_of_pods_by_the_form_on_the_page_and_in_the_next_form(browser: Client, project: Project) -> None:
    factories.cluster("home", nodes=1)
    form = {"experiment": "digits", "image": "x", "way": "line", "cluster": "home", "cpu": "1", "memory": "1Gi"}
    assert '<details class="fold advanced"><summary>' in browser.get("/p/demo/runs/new").content.decode()
    texts = initial_of(EVERYTHING)
    wrong = browser.post("/p/demo/runs/new", form | texts | {"memory": "9Gi"})
    assert wrong.status_code == 400 and not Run.objects.exists()
    assert {name: wrong.context["form"][name].value() for name in texts} == texts
    assert '<details class="fold advanced" open><summary>' in wrong.content.decode()
    browser.post("/p/demo/runs/new", form | texts)
    run = Run.objects.get()
    assert {key: run.spec[key] for key in EVERYTHING} == EVERYTHING
    said = html.unescape(whole(browser, run))
    for row in rows(EVERYTHING):
        assert row.label in said and all(line in said for line in row.lines)
    again = browser.get(f"/p/demo/runs/new?again={run.uid}").context["form"]
    assert {name: again[name].value() for name in texts} == texts
    fresh = browser.get("/p/demo/runs/new?experiment=digits").context["form"]
    assert not any(fresh[name].value() for name in texts), "nothing is repeated unasked"


SPECS = [
    {"command_line": "cd /data && python train.py | tee log"},
    {"command": ["python", "-c", "print('a b')\n"], "args": ["", " x "], "env": {"A": "1\n2", "B": " b "}},
    {"args": ["--rank=$(JOB_COMPLETION_INDEX)"], "workers": 3, "resources": {"cpu": "2", "memory": "4Gi", "gpu": 8}},
    {"deadline_seconds": 100, "retries": 2, "retry_on": ["start"], "params": {"alpha": "1\n"}, **EVERYTHING},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: next(iter(spec)))
def test_a_rerun_opens_the_form_filled_in_and_what_nobody_changes_stays_exactly_so(
    browser: Client, principal: Principal, experiment: Experiment, spec: dict[str, Any]
) -> None:
    cluster = factories.cluster("home", nodes=0)
    factories.cluster("another", nodes=0)
    wish = {"experiment": "digits", "image": "python:3.11", "cluster": "home", **spec}
    run = services.launch_runs(principal=principal, project=experiment.project, wishes=[wish])[0]
    address = f"/p/demo/runs/new?again={run.uid}"
    assert f'href="{address}"' in whole(browser, run)
    form = browser.get(address).context["form"]
    # As a browser sends it.
    filled = {each.name: str(each.value()).replace("\n", "\r\n") for each in form if each.value() is not None}
    assert filled["cluster"] == cluster.name
    assert browser.post(address, filled).status_code == 302
    again = Run.objects.exclude(pk=run.pk).get()
    assert (again.spec, again.rerun_of, again.cluster) == (run.spec, run, cluster)
    assert browser.post(address, filled | {"command": "true", "way": "words"}).status_code == 302
    changed = Run.objects.order_by("-id")[0]
    assert changed.spec == run.spec | {"command_line": "", "command": ["true"], "args": []}


def test_the_form_offers_healthy_clusters_first_with_their_state_and_room(
    browser: Client, principal: Principal, experiment: Experiment
) -> None:
    factories.cluster("a-cut-off", state="Unreachable", message="The connection timed out.")
    factories.cluster("b-refusing", state="Degraded", conditions=[{"type": "Authorized", "status": "False"}])
    factories.cluster("c-disabled", enabled=False)
    assert browser.get("/p/demo/runs/new").context["form"]["cluster"].value() == "", "none is healthy: it asks"
    factories.cluster("z-well", nodes=1)
    factories.cluster("y-well", nodes=0)
    wish = {"experiment": "digits", "image": "x", "cluster": "z-well", "resources": {"gpu": 2}}
    run = services.launch_runs(principal=principal, project=experiment.project, wishes=[wish])[0]
    answer = browser.get("/p/demo/runs/new")
    form = answer.context["form"]
    names = [name for name, _ in form.fields["cluster"].choices]
    assert names == ["", "y-well", "z-well", "a-cut-off", "b-refusing"], "any that fits comes first"
    assert form["cluster"].value() == "" and not form["gpu"].value() and not form["image"].value()
    shown = html.unescape(text(answer))
    assert "z-well · Healthy · free for one pod: " in shown and "2 of 2 GPUs" in shown
    assert "a-cut-off · Unreachable · The connection timed out." in shown
    assert f"?again={run.uid}" in answer.content.decode(), "who wants the last one again asks for it"


def test_cancel_and_register_from_the_page(browser: Client, principal: Principal, experiment: Experiment) -> None:
    factories.cluster("home", nodes=1)
    wish = {"experiment": "digits", "image": "python:3.11"}
    run = services.launch_runs(principal=principal, project=experiment.project, wishes=[wish])[0]
    assert "Cancel the run" in whole(browser, run)
    browser.post(f"/p/demo/runs/{run.uid}/cancel")
    run.refresh_from_db()
    assert run.state == RunState.CANCELING
    artifacts.write(run, "model/MLmodel", io.BytesIO(b"x"))
    assert "Register model" in whole(browser, run)
    browser.post(f"/p/demo/runs/{run.uid}/register", {"model": "digits", "artifact_path": "model"})
    version = ModelVersion.objects.get()
    assert (version.model.name, version.version, version.artifact_path) == ("digits", 1, "model")
    page = text(browser.get("/p/demo/models/digits/"))
    assert "v1" in page and "/p/demo/deployments/new?model=digits&amp;version=1" in page
    browser.post("/p/demo/models/digits/aliases", {"alias": "champion", "version": "1"})
    assert ModelAlias.objects.get().name == "champion"
    assert "@champion" in text(browser.get("/p/demo/models/"))
    browser.post("/p/demo/models/digits/aliases/champion/delete")
    assert not ModelAlias.objects.exists()


def test_a_viewer_sees_no_buttons_and_may_not_press_them(run: Run, project: Project) -> None:
    viewer = User.objects.create_user("eve")
    Membership.objects.create(project=project, user=viewer, role=Role.VIEWER)
    client = Client()
    client.force_login(viewer)
    artifacts.write(run, "model/MLmodel", io.BytesIO(b"x"))
    page = whole(client, run)
    assert "Re-run" not in page and "Register" not in page
    assert client.post(f"/p/demo/runs/{run.uid}/register", {"model": "m", "artifact_path": "model"}).status_code == 403
    assert client.post("/p/demo/runs/new", {}).status_code == 403


def test_strangers_find_nothing(run: Run) -> None:
    stranger = Client()
    stranger.force_login(User.objects.create_user("mallory"))
    artifacts.write(run, "a.txt", io.BytesIO(b"secret"))
    other = Project.objects.create(name="other")
    Membership.objects.create(project=other, user=User.objects.get(username="mallory"), role=Role.ADMIN)
    tails = ("", "log", "artifacts/a.txt")
    for path in ["/p/demo/experiments/", "/p/demo/models/", *(f"/p/demo/runs/{run.uid}/{tail}" for tail in tails)]:
        assert stranger.get(path).status_code == 404, path
        assert stranger.get(path.replace("/demo/", "/other/")).status_code in (200, 404)
        assert b"secret" not in stranger.get(path.replace("/demo/", "/other/")).content
        assert Client().get(path).status_code == 302, path
