"""Who waits for a cluster that hangs holds up nobody else: on a real web process with a small pool."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.test import Client

from apps.clusters import services
from apps.clusters.kube import slots
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.errors import Unavailable
from apps.core.models import Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments.models import Experiment, RegisteredModel
from tests import factories
from tests.clusters.conftest import eventually
from tests.clusters.fakeapi import FakeApi
from tests.webprocess import web_process

WAITING = 4
INPUTS = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}
# Every door behind which a cluster is asked while somebody waits: its method, its path, and what is sent.
DOORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "log of a pod": ("GET", "/clusters/hangs/pods/{namespace}/{pod}/log/", {}),
    "log of a run": ("GET", "/p/demo/runs/{run}/log", {}),
    "log of a run, REST": ("GET", "/api/v1/runs/{run}/logs", {}),
    "log of a replica": ("GET", "/p/demo/deployments/digits/replicas/{replica}/log", {}),
    "prediction": ("POST", "/api/v1/deployments/digits/predict", {"json": INPUTS}),
    "prediction by form": ("POST", "/p/demo/deployments/digits/predict", {"data": {"body": json.dumps(INPUTS)}}),
    "example": ("GET", "/p/demo/deployments/digits/example", {}),
    "test": ("POST", "/api/v1/clusters/hangs/test", {}),
    "test, admin": ("GET", "/admin/clusters/cluster/{cluster}/test/", {}),
    "new credential": ("PATCH", "/api/v1/clusters/hangs", {"json": {"credential": {"token": "another"}}}),
    "new credential, admin": (
        "POST",
        "/admin/clusters/cluster/{cluster}/change/",
        {"data": {"token": "another", "enabled": "on", "labels": ""}},
    ),
}


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[str]:
    with web_process(FLOTILLA_DB_POOL_SIZE="2") as address:
        yield address


@pytest.fixture
def names(api: FakeApi, transactional_db: None) -> dict[str, Any]:
    boss = Principal(user=User.objects.create_superuser("boss"))
    cluster = services.register(principal=boss, name="hangs", kubeconfig_text=api.kubeconfig)
    Cluster.objects.update(state="Healthy")
    project = Project.objects.create(name="demo")
    experiment = Experiment.objects.create(project=project, name="digits")
    run = factories.run(experiment, kind="launched", state="Running", cluster=cluster, namespace="flotilla-demo")
    version = factories.version(RegisteredModel.objects.create(project=project, name="digits"), run)
    served = factories.deployment(project, cluster, "digits", version, replicas=2)
    status = {"containers": [{"name": "main", "state": {"running": {}}}]}
    pod = factories.pod(cluster, project, run=str(run.pk), status=status)
    replica = pod._meta.model.objects.filter(deployment=served.name).earliest("id")
    replica._meta.model.objects.filter(pk=replica.pk).update(status=status)
    return {"run": run.uid, "namespace": pod.namespace, "pod": pod.name, "replica": replica.name, "cluster": cluster.pk}


@pytest.mark.real_process
@pytest.mark.parametrize("door", DOORS)
def test_a_cluster_that_hangs_holds_up_no_page(door: str, web: str, api: FakeApi, names: dict[str, Any]) -> None:
    method, path, sent = DOORS[door]
    boss = User.objects.get(username="boss")
    browser = Client()
    browser.force_login(boss)
    browser.get("/settings/")
    cookies = {name: browser.cookies[name].value for name in ("sessionid", "csrftoken")}
    given = {"headers": {"X-CSRFToken": cookies["csrftoken"]}, "cookies": cookies}
    if path.startswith("/api/"):
        given = {"headers": {"Authorization": f"Bearer {issue_token(name='t', user=boss, role=Role.ADMIN)[1]}"}}

    def knock() -> requests.Response:
        return requests.request(method, web + path.format(**names), **given, **sent, timeout=30, allow_redirects=False)

    with ThreadPoolExecutor(WAITING) as waiters:
        # Nothing answers any more, and nobody knows it yet.
        api.hold_answers, begun = True, len(api.requests)
        waiting = [waiters.submit(knock) for _ in range(WAITING)]
        try:
            eventually(
                lambda: len(api.requests) >= begun + WAITING or all(one.done() for one in waiting), "all to wait"
            )
            early = [one.result() for one in waiting if one.done()]
            assert not early, f"{early[0].status_code}: {early[0].text[:2000]}"
            # It did not wait for a connection that somebody held: nobody has let one go.
            page = requests.get(f"{web}/clusters/", cookies=cookies, timeout=30)
            assert page.status_code == 200 and not any(one.done() for one in waiting)
        finally:
            api.hold_answers = False
        assert all(one.result().status_code < 600 for one in waiting)


def test_turns_are_few_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(slots, "DOWNLOAD_SECONDS", 0.0)
    kinds = {
        slots.LOOKS: slots.turn,
        slots.DOWNLOADS: lambda cluster: slots.turn(cluster, download=True),
        slots.PREDICTIONS: slots.prediction,
    }
    for most, take in kinds.items():
        held = [take(-1) for _ in range(most)]
        for one in held:
            one.__enter__()
        with pytest.raises(Unavailable, match="try again"), take(-1):
            pass
        if most != slots.DOWNLOADS:
            with take(-2):
                pass  # another cluster's are its own
        for one in held:
            one.__exit__(None, None, None)
        with take(-1):
            pass
