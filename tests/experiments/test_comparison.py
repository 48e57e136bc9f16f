"""Runs side by side: what differs, and the charts over them."""

import json
import math
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import Attempt, Experiment, Param, Run
from apps.experiments.pages import charts
from apps.experiments.pages.colours import colour_of
from tests import factories

pytestmark = pytest.mark.django_db
PAGE = "/p/demo/runs/compare"


def text(reply: Any) -> str:
    assert reply.status_code == 200, (reply.status_code, reply.content[:2000])
    return str(reply.content.decode())


def figure(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="compare-figure" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    figure: dict[str, Any] = json.loads(found[1])
    return figure


def query(*runs: Run) -> str:
    return "&".join(f"run={run.uid}" for run in runs)


def put(run: Run, **params: str) -> None:
    for key, value in params.items():
        Param.objects.create(run=run, experiment=run.experiment, key=key, value=value)


def test_how_two_runs_were_launched_is_compared_as_they_were_asked_for_and_as_they_were(
    browser: Client, experiment: Experiment, principal: Principal
) -> None:
    cluster = factories.cluster("home", nodes=1)
    wish = {
        "experiment": experiment.name,
        "image": "team/train:1",
        "command_line": "python train.py",
        "cluster": "home",
    }
    changed = {
        "command_line": "python train.py --fast",
        "env": {"SEED": "2"},
        "resources": {"cpu": "2", "memory": "1Gi"},
    }
    [first] = services.launch_runs(principal=principal, project=experiment.project, wishes=[wish])
    [second] = services.launch_runs(
        principal=principal, project=experiment.project, wishes=[wish | changed], rerun_of=first
    )
    for run, digest in ((first, "aa"), (second, "bb")):
        pods = [
            {"name": "p", "state": "Running", "node": "n-1", "image_id": f"team/train@sha256:{digest}", "commit": ""}
        ]
        Attempt.objects.create(
            run=run, number=1, cluster=cluster, namespace="x", job_name=f"run-{run.pk}-1", state="Running", pods=pods,
            created_at=run.created_at,
        )  # fmt: skip
    address = f"{PAGE}?{query(first, second)}"
    page = text(browser.get(address))
    launch = page.partition(">Launch ")[2]
    assert "python train.py --fast" in launch and "team/train@sha256:aa" in launch and "env SEED" in launch
    assert ">team/train:1<" not in launch and ">n-1<" not in launch, "which are the same"
    assert ">n-1<" in text(browser.get(f"{address}&all=1"))
    again = f"/p/demo/runs/new?again={second.uid}"
    assert browser.get(again).context["form"]["image"].value() == "team/train:1"
    assert "With the very image of then" in text(browser.get(again)) and "exact=1" in text(browser.get(again))
    exact = browser.get(f"{again}&exact=1")
    assert exact.context["form"]["image"].value() == "team/train@sha256:bb" and "digest that it got" in text(exact)
    assert query(first, second).replace("&", "&amp;") in text(browser.get(f"/p/demo/runs/{second.uid}/")), (
        "what differs"
    )


def test_only_what_differs_is_shown_unless_all_is_asked_for(browser: Client, experiment: Experiment) -> None:
    runs = [factories.run(experiment, name=name) for name in ("one", "two", "two")]
    for run, optimizer in zip(runs, ("adam", "sgd", "adam"), strict=True):
        put(run, optimizer=optimizer, epochs="20")
    factories.log(runs[0], metrics=[{"key": "odd", "value": math.nan, "timestamp": 1}])
    page = text(browser.get(f"{PAGE}?{query(*runs)}&run={'0' * 32}"))
    assert "3 runs side by side" in page and "1 of the runs is not in this project" in page
    assert "optimizer" in page and ">epochs<" not in page and "1 the same" in page and ">odd<" in page
    assert f"two {runs[2].uid[:6]}" in page, "the second of one name is told apart"
    everything = text(browser.get(f"{PAGE}?{query(*runs)}&all=1"))
    assert ">epochs<" in everything and everything.count('class="differs"') > 1
    drawn = figure(page)["data"]
    assert [trace["meta"]["role"] for trace in drawn] == [colour_of(run.pk) for run in runs]
    alone = figure(text(browser.get(f"{PAGE}?{query(runs[1], runs[0])}")))["data"]
    assert {trace["name"]: trace["meta"]["role"] for trace in alone}["one"] == colour_of(runs[0].pk)


def test_curves_over_time_and_on_a_log_scale_a_scatter_and_parallel_axes(
    browser: Client, experiment: Experiment
) -> None:
    runs = [factories.run(experiment) for _ in range(3)]
    for run, rate in zip(runs, ("0.1", "0.001", "1e-5"), strict=True):
        put(run, rate=rate, kind="big" if rate == "0.1" else "small")
    address = f"{PAGE}?{query(*runs)}"
    curve = figure(text(browser.get(f"{address}&metric=loss&over=time&log=1")))
    assert curve["data"][0]["x"][0] == 0 and curve["layout"]["yaxis"]["type"] == "log"
    dots = figure(text(browser.get(f"{address}&chart=scatter&x=params.rate&y=metrics.loss")))
    assert [trace["x"] for trace in dots["data"]] == [[0.1], [0.001], [1e-5]]
    assert dots["layout"]["xaxis"]["type"] == "log"
    lines = figure(text(browser.get(f"{address}&chart=parallel")))
    assert lines["layout"]["xaxis"]["ticktext"][:3] == ["alpha", "kind", "rate"]
    assert lines["data"][0]["y"][1:3] == [0, 1], "words in their order, numbers by their size"
    assert lines["data"][1]["y"][2] == pytest.approx(0.5), "magnitudes lie evenly"


def test_none_one_or_strangers_are_said(browser: Client, project: Project, experiment: Experiment) -> None:
    hidden = factories.run(Experiment.objects.create(project=Project.objects.create(name="other"), name="digits"))
    for address in (PAGE, f"{PAGE}?{query(hidden)}"):
        assert "No run to compare" in text(browser.get(address))
    bare = Run.objects.create(experiment=experiment, state="Running")
    for chart in ("curves", "parallel", "scatter", "odd"):
        page = text(browser.get(f"{PAGE}?{query(bare)}&chart={chart}"))
        assert "1 run side by side" in page and ("No metric yet" in page or "Nothing to draw" in page)


def test_a_hundred_runs_take_as_many_queries_as_two(browser: Client, experiment: Experiment) -> None:
    made = Run.objects.bulk_create(Run(experiment=experiment, state="Succeeded", name=f"{n}") for n in range(120))
    few = factories.run(experiment), factories.run(experiment)

    def count(*runs: Run) -> int:
        with CaptureQueriesContext(connection) as queries:
            page = text(browser.get(f"{PAGE}?{query(*runs)}"))
        assert len(runs) < 100 or "The first 100 are shown: 22 more" in page
        return len(queries)

    count(*few)
    assert count(*few) == count(*few, *made)


def test_a_value_has_a_place_on_its_axis_whatever_it_is() -> None:
    for values in ([None, None], ["a", None], [1, 1], ["nan", "inf"], [0, 5], ["x", 2], [-1, math.nan, 3], []):
        places, ticks = charts._placed(values)
        assert len(places) == len(values)
        assert all(place is None or 0 <= place <= 1 for place in places), values
        assert all(0 <= place <= 1 for place, _ in ticks)
