"""The parts of a run's page: each has an address that its live pieces keep, and the lineage leads on."""

import re

import pytest
from django.test import Client

from apps.core.models import Project
from apps.experiments.models import Dataset, DatasetInput, Experiment, RegisteredModel, Tag
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_part_has_an_address_that_its_live_pieces_keep(browser: Client, experiment: Experiment) -> None:
    run = factories.run(experiment)
    factories.log(run, metrics=[{"key": "system/cpu", "value": step, "step": step, "timestamp": 1} for step in (0, 1)])
    here = f"/p/demo/runs/{run.uid}/"
    for tab, piece in (("", "values"), ("charts/", "curves"), ("system/", "system"), ("artifacts/", "files")):
        page = browser.get(f"{here}{tab}").content.decode()
        assert f'hx-get="{here}{tab}?part={piece}"' in page
        assert re.findall(r'href="([^"]*)" aria-current="page">\w+</a>', page)[-1] == f"{here}{tab}"
        assert "/logs/" not in page, "it runs elsewhere"
    charts, system = (browser.get(f"{here}{tab}/").content.decode() for tab in ("charts", "system"))
    assert "system/cpu" in system and "system/cpu" not in charts and ">loss<" in charts and ">loss<" not in system


def test_the_lineage_leads_from_the_code_to_what_serves(
    browser: Client, experiment: Experiment, project: Project
) -> None:
    first = factories.run(experiment, name="first")
    run = factories.run(experiment, name="second", rerun_of=first)
    for key, value in (("repoURL", "https://git.example/train.git"), ("commit", "c0ffee")):
        Tag.objects.create(run=run, experiment=experiment, key=f"mlflow.source.git.{key}", value=value)
    data = Dataset.objects.create(experiment=experiment, name="images", digest="d1", source_type="s3")
    DatasetInput.objects.create(run=run, dataset=data, tags={"mlflow.data.context": "training"})
    model = RegisteredModel.objects.create(project=project, name="digits")
    version = factories.version(model, run, alias="champion")
    factories.deployment(project, factories.cluster("home"), "serves", version)
    factories.deployment(project, factories.cluster("away"), "other", factories.version(model, first))

    def lineage(uid: str) -> str:
        return browser.get(f"/p/demo/runs/{uid}/lineage/?part=lineage").content.decode()

    page = lineage(run.uid)
    for shown in (
        'href="https://git.example/train.git"', "commit c0ffee", "images", "training · digest d1",
        f"/p/demo/runs/compare?run={first.uid}&amp;run={run.uid}", "@champion", 'href="/p/demo/models/digits/"',
        'href="/p/demo/deployments/serves/"', "replicas ready",
    ):  # fmt: skip
        assert shown in page, shown
    assert "/deployments/other/" not in page and "which repeats it" in lineage(first.uid)
    bare = lineage(factories.run(experiment).uid)
    assert "Nothing serves a model of it now." in bare and "No client has said what code it is." in bare
