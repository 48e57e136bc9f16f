"""Names, notes and tags that people write: MLflow's clients and both pages agree, and no note can do anything."""

import pytest
from django.test import Client

from apps.core.models import AuditEntry, Project
from apps.core.text import markdown
from apps.experiments.models import Experiment, Tag
from tests import factories
from tests.experiments.stock import Stock

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "note",
    [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "<a href='x'>y</a>",
        "[a](JaVaScRiPt:alert(1))", "[a](data:text/html,<script>alert(1)</script>)", "![x](https://a.b/c.png)",
        "<javascript:alert(1)>", "[a](vbscript:x)", "```\n</code></pre><script>\n```", '[a](x "onmouseover=\'y\'")',
        "[a]: javascript:alert(1)\n[a]", "<!-- <script> -->", "&lt;script&gt;", "[a](&#106;avascript:alert(1))",
    ],
)  # fmt: skip
def test_no_note_can_do_anything(note: str) -> None:
    html = markdown.as_html(note).lower()
    for tag in ("<script", "<img", "<a href='x'", "<!--", "<iframe"):
        assert tag not in html
    for scheme in ("javascript:", "vbscript:", "data:"):
        assert f'href="{scheme}' not in html


def test_a_note_is_markdown() -> None:
    html = markdown.as_html("# Head\n\n**bold** [docs](https://a.b/c)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- one\n")
    for shown in ("<h1>Head</h1>", "<strong>bold</strong>", 'href="https://a.b/c"', "<td>1</td>", "<li>one</li>"):
        assert shown in html
    assert 'rel="noopener nofollow"' in html


def test_a_run_is_renamed_noted_and_tagged_and_mlflow_reads_the_same(
    browser: Client, experiment: Experiment, stock: Stock
) -> None:
    run = factories.run(experiment, name="first")
    for key, value in (("old", "1"), ("kept", "2"), ("mlflow.user", "ada"), ("long", "two\nlines")):
        Tag.objects.create(run=run, experiment=experiment, key=key, value=value)
    address = f"/p/demo/runs/{run.uid}/edit"
    assert browser.get(f"/p/demo/runs/edit?run={run.uid}")["Location"] == address
    form = browser.get(address).context["form"]
    assert (form["name"].value(), form["tags"].value()) == ("first", "kept=2\nold=1")
    sent = {"name": "second", "note": "**Good** one", "tags": "kept=2\nteam=vision\nempty="}
    assert browser.post(address, sent)["Location"] == f"/p/demo/runs/{run.uid}/"
    told = stock("GET", "runs/get", run_id=run.uid).json()["run"]
    tags = {tag["key"]: tag["value"] for tag in told["data"]["tags"]}
    assert told["info"]["run_name"] == "second" and tags == {
        "mlflow.note.content": "**Good** one", "mlflow.runName": "second", "mlflow.user": "ada", "long": "two\nlines",
        "kept": "2", "team": "vision", "empty": "",
    }  # fmt: skip
    page = browser.get(f"/p/demo/runs/{run.uid}/").content.decode()
    assert "<strong>Good</strong> one" in page and "mlflow.note.content" not in page
    entry = AuditEntry.objects.get(action="run.describe")
    assert entry.before == {"old": "1"} and entry.after["team"] == "vision"
    assert browser.post(address, sent | {"tags": "mlflow.user=eve"}).status_code == 400
    browser.post(address, sent | {"note": "", "tags": ""})
    assert set(run.tags.values_list("key", flat=True)) == {"mlflow.runName", "mlflow.user", "long"}


def test_an_experiment_likewise(browser: Client, experiment: Experiment, project: Project, stock: Stock) -> None:
    Experiment.objects.create(project=project, name="taken")
    address = "/p/demo/experiments/digits/edit"
    sent = {"name": "a/edit", "note": "What *for*", "tags": "team=vision"}
    assert browser.post(address, sent | {"name": "taken"}).status_code == 400
    assert browser.post(address, sent)["Location"] == "/p/demo/experiments/a/edit/"
    page = browser.get("/p/demo/experiments/a/edit/").content.decode()
    assert "What <em>for</em>" in page and "team=vision" in page
    told = stock("GET", "experiments/get", experiment_id=experiment.pk).json()["experiment"]
    assert {tag["key"]: tag["value"] for tag in told["tags"]} == {"mlflow.note.content": "What *for*", "team": "vision"}
    browser.post("/p/demo/experiments/a/edit/edit", sent | {"tags": "", "note": ""})
    experiment.refresh_from_db()
    assert experiment.tags == {}
    viewer = Client()
    viewer.force_login(factories.member(project, "eve", "viewer"))  # type: ignore[arg-type]
    assert viewer.get("/p/demo/experiments/a/edit/edit").status_code == 403
