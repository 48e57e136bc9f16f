"""Of two edits that name the same ETag at the same moment one is refused: it is compared under the lock of the change.

Each case sends one edit with the right ETag while another session has the row and has changed it, but not committed
yet: who compares before the lock finds the old version, waits, and writes over what the other has done.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.test import Client

from apps.clusters import services as clusters
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.services import create_token
from apps.core.states import Role
from apps.deployments import services as deployments
from apps.deployments.models import Deployment, Target
from apps.experiments import services as experiments
from apps.experiments.models import Experiment, ModelVersion, RegisteredModel
from tests import factories
from tests.concurrent import meanwhile
from tests.deployments.conftest import DRIFT

pytestmark = pytest.mark.django_db(transaction=True)

Change = Callable[[Principal], object]


def rename_experiment(root: Principal) -> None:
    experiments.rename_experiment(principal=root, experiment=Experiment.objects.get(), name="meanwhile")


def describe_model(root: Principal) -> None:
    experiments.update_model(principal=root, model=RegisteredModel.objects.get(), description="meanwhile")


def describe_version(root: Principal) -> None:
    version = ModelVersion.objects.earliest("version")
    experiments.update_version(principal=root, version=version, description="meanwhile")


def scale(root: Principal) -> None:
    deployments.scale(principal=root, deployment=Deployment.objects.get(), replicas=7)


def label_cluster(root: Principal) -> None:
    clusters.update_cluster(principal=root, cluster=Cluster.objects.get(), labels={"said": "meanwhile"})


def require_approval(root: Principal) -> None:
    target = Target.objects.select_related("project").get()
    deployments.edit_target(principal=root, target=target, policy={"approval": True})


# Method, address, body, and what somebody else does to the same row.
EDITS: list[tuple[str, str, Any, Change]] = [
    ("PATCH", "experiments/{experiment}", {"name": "mine"}, rename_experiment),
    ("DELETE", "experiments/{experiment}", None, rename_experiment),
    ("PATCH", "models/digits", {"description": "mine"}, describe_model),
    ("DELETE", "models/digits", None, describe_model),
    ("PATCH", "models/digits/versions/1", {"description": "mine"}, describe_version),
    ("DELETE", "models/digits/versions/1", None, describe_version),
    ("DELETE", "deployments/{deployment}", None, scale),
    ("POST", "deployments/{deployment}/scale", {"replicas": 3}, scale),
    ("PUT", "deployments/{deployment}/autoscaling", {"max": 3}, scale),
    ("DELETE", "deployments/{deployment}/autoscaling", None, scale),
    ("PUT", "deployments/{deployment}/disruption-budget", {"max_unavailable": "1"}, scale),
    ("DELETE", "deployments/{deployment}/disruption-budget", None, scale),
    ("PUT", "deployments/{deployment}/schedule", {"schedule": []}, scale),
    ("DELETE", "deployments/{deployment}/schedule", None, scale),
    ("POST", "deployments/{deployment}/revisions", {"image": "other:2"}, scale),
    ("POST", "deployments/{deployment}/rollback", {"revision": 1}, scale),
    ("POST", "deployments/{deployment}/restart", {}, scale),
    ("POST", "deployments/{deployment}/targets", {"target": "spare"}, scale),
    ("PUT", "deployments/{deployment}/spread", {"replicas": 3}, scale),
    ("DELETE", "deployments/{deployment}/spread", None, scale),
    ("DELETE", "deployments/{deployment}/targets/demo-cluster-production", None, scale),
    ("POST", "deployments/{deployment}/pause", {}, scale),
    ("POST", "deployments/{deployment}/resume", {}, scale),
    ("POST", "deployments/{deployment}/promote", {}, scale),
    ("POST", "deployments/{deployment}/abort", {}, scale),
    ("POST", "deployments/{deployment}/restore", {}, scale),
    ("PATCH", "targets/demo-cluster-production", {"policy": {"deployers": "admin"}}, require_approval),
    ("PATCH", "clusters/{cluster}", {"labels": {"said": "mine"}}, label_cluster),
    ("PATCH", "clusters/{cluster}", {"enabled": False}, label_cluster),
    ("PATCH", "clusters/{cluster}", {"identity": "another-uid"}, label_cluster),
    ("PATCH", "clusters/{cluster}", {"credential": {"token": "new"}, "force": True}, label_cluster),
    ("DELETE", "clusters/{cluster}?abandon=true", None, label_cluster),
]


@pytest.fixture
def root() -> Principal:
    return Principal(user=User.objects.create_superuser("root"))


@pytest.fixture
def project() -> Project:
    made = factories.busy_project(size=1)
    Deployment.objects.update(drift=DRIFT)
    return made


@pytest.fixture
def ask(root: Principal, project: Project) -> Callable[..., Any]:
    _, text = create_token(principal=root, name="t", role=Role.ADMIN)
    client = Client(headers={"Authorization": f"Bearer {text}"})
    names = {
        "experiment": Experiment.objects.get().name,
        "deployment": Deployment.objects.get().name,
        "cluster": Cluster.objects.get().name,
    }

    def send(method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = "" if body is None else json.dumps(body)
        address = f"/api/v1/{path.format(**names)}"
        return client.generic(method, address, data, content_type="application/json", headers=headers)

    return send


@pytest.mark.parametrize(("method", "path", "body", "change"), EDITS)
def test_what_changed_while_an_edit_waited_is_not_written_over(
    method: str, path: str, body: Any, change: Change, root: Principal, ask: Callable[..., Any]
) -> None:
    read = ask("GET", "/".join(path.split("?")[0].split("/")[: 4 if "versions" in path else 2]))
    if "abandon" in path:
        Cluster.objects.update(enabled=False)
        read = ask("GET", "clusters/{cluster}")
    answer: Any = meanwhile(partial(change, root), partial(ask, method, path, body, **{"If-Match": read["ETag"]}))
    assert answer.status_code == 412, answer.content


def test_an_edit_in_several_steps_expects_in_each_what_the_last_has_left(ask: Callable[..., Any]) -> None:
    tag = {"If-Match": ask("GET", "clusters/{cluster}")["ETag"]}
    body = {"credential": {"token": "new"}, "force": True, "labels": {"a": "1"}, "enabled": False}
    assert ask("PATCH", "clusters/{cluster}", body, **tag).status_code == 200
    assert ask("PATCH", "clusters/{cluster}", {"labels": {}}, **tag).status_code == 412
    assert ask("PATCH", "clusters/{cluster}", {"labels": {}}, **{"If-Match": "*"}).status_code == 200
    stored = Cluster.objects.get()
    assert (stored.labels, stored.enabled) == ({}, False)


def test_a_rehearsal_says_that_it_would_be_refused(ask: Callable[..., Any]) -> None:
    tag = ask("GET", "deployments/{deployment}")["ETag"]
    wish: dict[str, Any] = {"image": "other:2"}
    rehearse = partial(ask, "POST", "deployments/{deployment}/revisions?dry_run=true", wish, **{"If-Match": tag})
    assert rehearse().status_code == 200
    assert ask("POST", "deployments/{deployment}/scale", {"replicas": 7}).status_code == 200
    assert rehearse().status_code == 412
