"""What the launch form tells before anything is launched: the objects, and what the cluster says to them."""

import pytest
import yaml
from django.test import Client

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core.models import Project
from apps.experiments.models import Run
from tests import factories

FORM = {"experiment": "e", "image": "python:3.11", "way": "line", "cluster": "local", "cpu": "100m", "memory": "64Mi"}


@pytest.mark.django_db
def test_the_form_shows_the_objects_that_would_be_made_as_it_is_filled_in(browser: Client, project: Project) -> None:
    factories.cluster("local", nodes=1)

    def shown(**fields: str) -> str:
        answer = browser.post("/p/demo/runs/new/manifest", FORM | fields)
        assert answer.status_code == 200
        return answer.content.decode()

    asked = {"command": "python train.py --lr $LR", "matrix": "LR=0.1, 0.01", "workers": "2", "checkpoints_size": "1Gi"}
    page = shown(**asked)
    assert "The first of 2 runs" in page
    objects = list(yaml.safe_load_all(browser.post("/p/demo/runs/new/manifest", FORM | asked).context["manifest"]))
    assert [each["kind"] for each in objects] == ["Namespace", "Job", "PersistentVolumeClaim", "Service"]
    [container] = objects[1]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["/bin/sh", "-c", "python train.py --lr $LR"]
    assert {"name": "LR", "value": "0.1"} in container["env"]
    assert "“Image” is needed" in shown(image="")
    assert "m means thousandths" in shown(memory="512m")
    assert not Run.objects.exists()


@pytest.mark.django_db
def test_the_preview_is_for_who_may_launch(client: Client, project: Project) -> None:
    for address in ("manifest", "preview"):
        assert client.post(f"/p/demo/runs/new/{address}", FORM).status_code in (302, 401, 404)


@pytest.mark.django_db(transaction=True)
@pytest.mark.real_process
def test_a_dry_run_is_judged_by_the_cluster_and_makes_nothing(
    browser: Client, project: Project, real_cluster: Cluster
) -> None:
    asked = FORM | {"cluster": real_cluster.name, "command": "true", "workers": "2", "checkpoints_size": "1Gi"}
    client, namespace = connect(real_cluster), "flotilla-demo"

    def answer(**fields: str) -> tuple[bool | None, str]:
        page = browser.post("/p/demo/runs/new/preview", asked | fields)
        assert page.status_code == 200, page.context["form"].errors
        assert page.context["form"]["command"].value() == "true", "the form stays as it was filled in"
        return page.context["answer"].accepted, page.content.decode()

    client.delete("v1", "Namespace", namespace, propagation="Background")
    client.apply({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}})
    accepted, page = answer()
    assert accepted is True and "Accepted" in page
    assert client.list("batch/v1", "Job", namespace, label_selector="flotilla.dev/run=0") == []
    quota = {"hard": {"count/jobs.batch": "0"}}
    client.apply(
        {
            "kind": "ResourceQuota",
            "apiVersion": "v1",
            "metadata": {"name": "none", "namespace": namespace},
            "spec": quota,
        }
    )
    try:
        accepted, page = answer()
        assert accepted is False and "exceeded quota: none" in page
    finally:
        client.delete("v1", "ResourceQuota", "none", namespace)
    wrong = browser.post("/p/demo/runs/new/preview", asked | {"image": ""})
    assert wrong.status_code == 400 and wrong.context["answer"] is None
    assert not Run.objects.exists()
