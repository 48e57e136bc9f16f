"""The table of an experiment's runs: its columns, what is done to the runs that are chosen, and the file of it."""

import csv
import io
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core.access import Principal
from apps.core.models import AuditEntry, Project, Transition
from apps.core.work.models import Work
from apps.experiments import services
from apps.experiments.models import Experiment, Run, Tag
from apps.experiments.pages import tablefile
from apps.experiments.pages.colours import colour_of
from apps.experiments.pages.panels.keys import columns_of
from tests import factories

pytestmark = pytest.mark.django_db
TABLE = "/p/demo/experiments/digits/"
FILE = "/p/demo/runs/table.csv?experiment=digits"


def text(reply: Any) -> str:
    assert reply.status_code == 200, (reply.status_code, reply.content[:2000])
    return str(reply.content.decode())


def heads(page: str) -> list[str]:
    """The words of the table's head, in their order."""
    head = page.partition('<table class="runs" data-rows>')[2].partition("</thead>")[0]
    return [word for word in re.sub(r"<[^>]*>", " ", head).split() if word]


def tag(run: Run, key: str, value: str) -> None:
    Tag.objects.create(run=run, experiment=run.experiment, key=key, value=value)


def test_columns_are_chosen_pinned_and_sorted_by_the_address(browser: Client, experiment: Experiment) -> None:
    first, second = factories.run(experiment, name="first"), factories.run(experiment, name="second")
    tag(first, "team", "vision")
    tag(second, "team", "speech")
    tag(first, "mlflow.source.name", "train.py")
    page = text(browser.get(f"{TABLE}?col=metrics.loss&col=tags.team&pin=params.alpha&col=params.none&sort=tags.team"))
    assert heads(page) == ["Run", "alpha", "State", "Started", "Took", "loss", "team"]
    rows = page.partition('<table class="runs" data-rows>')[2]
    assert rows.index(">second<") < rows.index(">first<"), "speech comes before vision"
    assert 'value="tags.team"' in page and "mlflow.source.name" not in page
    assert 'name="sort" value="tags.team"' in page, "the form of the filter keeps the order"
    assert colour_of(first.pk) in rows and colour_of(first.pk) != colour_of(second.pk)


def test_each_action_says_what_it_did_and_what_it_left(browser: Client, experiment: Experiment) -> None:
    own = [factories.run(experiment, name=f"own-{number}") for number in range(2)]
    launched = factories.run(experiment, kind="launched", state="Running", cluster=factories.cluster("home"))
    uids = [run.uid for run in (*own, launched)]

    def act(action: str, chosen: list[str], **more: str) -> str:
        body = {"action": action, "experiment": "digits", "run": chosen, "query": "sort=-name", **more}
        reply = browser.post("/p/demo/runs/act", body, follow=True)
        assert reply.redirect_chain == [(f"{TABLE}?sort=-name", 302)]
        return text(reply)

    said = act("tag", uids, key="team", value=" vision ")
    assert "3 runs are tagged." in said and set(Tag.objects.filter(key="team").values_list("value", flat=True)) == {
        "vision"
    }
    said = act("delete", [*uids, "0" * 32])
    assert "2 runs are deleted" in said and "1 run was left: under way: cancel them first." in said
    deleted = text(browser.get(f"{TABLE}?state=Deleted"))
    assert "own-0" in deleted and f"/runs/{own[0].uid}/" not in deleted and 'value="restore"' in deleted
    assert "1 run is being cancelled." in act("cancel", [launched.uid])
    launched.refresh_from_db()
    assert launched.state == "Canceling" and Work.objects.filter(kind="run", object_id=launched.pk).exists()
    assert Transition.objects.filter(object_id=launched.pk, to_state="Canceling", actor="ada").count() == 1
    assert "1 run was left: not under way here." in act("cancel", [launched.uid])
    assert "2 runs are restored." in act("restore", [run.uid for run in own])
    assert "No run was chosen" in act("delete", [])
    assert sorted(AuditEntry.objects.filter(action__startswith="run.").values_list("action", flat=True)) == [
        "run.cancel", "run.delete", "run.delete", "run.restore", "run.restore", "run.tag", "run.tag", "run.tag",
    ]  # fmt: skip


def test_nobody_changes_runs_of_another_project_or_without_the_role(
    browser: Client, project: Project, principal: Principal
) -> None:
    other = Project.objects.create(name="other")
    hidden = factories.run(Experiment.objects.create(project=other, name="digits"))
    run = factories.run(Experiment.objects.create(project=project, name="digits"))
    browser.post("/p/demo/runs/act", {"action": "delete", "experiment": "digits", "run": [hidden.uid]})
    assert not Run.objects.exclude(deleted_at=None).exists()
    viewer = Client()
    viewer.force_login(factories.member(project, "eve", role="viewer"))  # type: ignore[arg-type]
    refused = viewer.post("/p/demo/runs/act", {"action": "delete", "experiment": "digits", "run": [run.uid]})
    assert refused.status_code == 403
    page = text(viewer.get(TABLE))
    assert "/runs/compare" in page and "/runs/act" not in page


def test_a_file_of_all_runs_is_streamed_and_holds_no_formula(
    browser: Client, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.experiments.pages.panels.table.AT_ONCE", 2)
    for number in range(5):
        factories.run(experiment, name=f"run-{number}")
    bad = factories.run(experiment, name="=HYPERLINK(1)")
    tag(bad, "note", "@SUM(A1)\nand more")
    tag(bad, "shift", "-0.5")
    with CaptureQueriesContext(connection) as queries:
        reply = browser.get(f"{FILE}&sort=name")
        before = len(queries)
        parts = [part.decode() for part in reply.streaming_content]
    assert reply["Content-Disposition"] == 'attachment; filename="digits.csv"' and len(queries) > before
    assert len(parts) == 4, "the head, and three times two runs"
    rows = list(csv.DictReader(io.StringIO("".join(parts))))
    assert [row["name"] for row in rows] == ["'=HYPERLINK(1)", *(f"run-{number}" for number in range(5))]
    assert (rows[0]["tags.note"], rows[0]["tags.shift"]) == ("'@SUM(A1)\nand more", "-0.5")
    assert float(rows[1]["metrics.loss"]) and rows[1]["run_id"] and rows[1]["tags.note"] == ""
    narrow = b"".join(browser.get(f"{FILE}&col=metrics.loss&filter=tags.shift='-0.5'").streaming_content).decode()
    assert narrow.splitlines()[0].endswith(",seconds,metrics.loss") and len(narrow.splitlines()) == 2
    assert browser.get(f"{FILE}&filter=what is this").status_code == 400


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1", "'=1"),
        ("+1", "+1"),
        ("-1e-3", "-1e-3"),
        ("-x", "'-x"),
        ("\tx", "'\tx"),
        ("＝1", "'＝1"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_a_text_is_no_formula(value: str, written: str) -> None:
    assert tablefile.plain(value) == written


def test_a_run_keeps_its_colour_and_its_neighbours_have_others() -> None:
    assert all(re.fullmatch("#[0-9a-f]{6}", colour_of(number)) for number in range(360))
    assert len({colour_of(number) for number in range(100)}) == 100


def test_the_keys_of_an_experiment_are_found_however_many_runs_have_them(
    principal: Principal, experiment: Experiment
) -> None:
    assert columns_of(experiment.pk) == []
    run = factories.run(experiment)
    factories.log(run, metrics=[{"key": "a b", "value": 1, "timestamp": 1}])
    tag(run, "z", "1")
    other = services.create_experiment(principal=principal, project=experiment.project, name="other")
    factories.log(factories.run(other), metrics=[{"key": "elsewhere", "value": 1, "timestamp": 1}])
    columns = columns_of(experiment.pk)
    assert columns[-1] == "tags.z" and "metrics.a b" in columns and "metrics.elsewhere" not in columns
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize("asked", ["sort=bogus", "state=Gone", "stat=Failed", "col=params.none"])
def test_a_file_is_refused_where_its_address_is_not_understood(
    browser: Client, experiment: Experiment, asked: str
) -> None:
    factories.run(experiment)
    reply = browser.get(f"{FILE}&{asked}")
    name, _, value = asked.partition("=")
    assert reply.status_code == 400 and "Content-Disposition" not in reply
    assert (value if name in {"sort", "state", "col"} else name) in reply.content.decode()
