"""What controllers have made of a deployment's objects, as its resources page tells it when somebody asks."""

from typing import Any

import pytest
from django.test import Client

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden
from apps.clusters.models import Cluster
from apps.clusters.observed.madehealth import health_of_set, health_of_slice
from apps.core.access import Principal
from apps.core.models import User
from apps.core.states import Health, Role
from apps.deployments.models import AppliedObject, Deployment
from apps.deployments.pages.made import trees_of_made
from apps.deployments.services.made import Made
from tests import factories
from tests.deployments.fleet import Fleet
from tests.deployments.places import place_of
from tests.deployments.test_pages import words
from tests.deployments.test_resources import keep, lines

PAGE = "/p/demo/deployments/digits/resources/on/local-production"


def a_set(name: str = "digits-r1-5f", *, wanted: int = 2, behind: bool = False, **status: Any) -> dict[str, Any]:
    owner = {"kind": "Deployment", "name": name.rpartition("-")[0], "controller": True}
    metadata = {"name": name, "generation": 2, "ownerReferences": [owner], "creationTimestamp": "2026-11-30T03:00:00Z"}
    env = [{"name": "TAG", "value": "1"}, {"name": "PASSWORD", "value": "hunter2"}]
    template = {"spec": {"containers": [{"name": "server", "image": "a:1", "env": env}]}}
    said = {"observedGeneration": 1 if behind else 2, "replicas": wanted, **status}
    return {"metadata": metadata, "spec": {"replicas": wanted, "template": template}, "status": said}


def a_slice(*ready: bool | None, service: str = "digits") -> dict[str, Any]:
    conditions: list[dict[str, Any]] = [{} if each is None else {"ready": each} for each in ready]
    endpoints = [
        {
            "addresses": [f"10.0.0.{at}"],
            "conditions": each,
            "nodeName": "n1",
            "targetRef": {"name": f"digits-r1-5f-{at}"},
        }
        for at, each in enumerate(conditions)
    ]
    return {
        "metadata": {"name": f"{service}-x", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints,
    }


@pytest.mark.parametrize(
    ("obj", "health", "said"),
    [
        (a_set(readyReplicas=2), Health.HEALTHY, "2 of 2 replicas ready"),
        (a_set(readyReplicas=1), Health.PROGRESSING, "1 of 2 replicas ready"),
        (a_set(wanted=1), Health.PROGRESSING, "0 of 1 replica ready"),
        (a_set(wanted=0), Health.HEALTHY, "none wanted"),
        (a_set(wanted=0, replicas=1), Health.PROGRESSING, "1 replica still to go."),
        (a_set(readyReplicas=2, behind=True), Health.PROGRESSING, "has not acted on its last change"),
        (a_set(conditions=[{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: few"}]),
         Health.DEGRADED, "exceeded quota: few"),
        (a_set(readyReplicas=2, conditions=[{"type": "ReplicaFailure", "status": "False"}]), Health.HEALTHY, "2 of 2"),
    ],
)  # fmt: skip
def test_how_a_replica_set_stands(obj: dict[str, Any], health: Health, said: str) -> None:
    found, sentence = health_of_set(obj)
    assert (found, said in sentence) == (health, True), sentence


@pytest.mark.parametrize(
    ("obj", "health", "said"),
    [
        (a_slice(True, True), Health.HEALTHY, "2 of 2 addresses ready"),
        (a_slice(None), Health.HEALTHY, "1 of 1 address ready"),
        (a_slice(True, False), Health.PROGRESSING, "1 of 2 addresses ready"),
        (a_slice(False), Health.DEGRADED, "0 of 1 address ready"),
        (a_slice(), Health.MISSING, "no address"),
        ({"metadata": {"name": "x"}, "endpoints": None}, Health.MISSING, "no address"),
    ],
)
def test_how_a_slice_stands(obj: dict[str, Any], health: Health, said: str) -> None:
    found, sentence = health_of_slice(obj)
    assert (found, said in sentence) == (health, True), sentence


def test_each_hangs_below_what_it_was_made_of_the_worst_first(digits: Deployment) -> None:
    place = place_of(digits)
    server = {"name": "server", "env": [{"name": "TAG", "value": "1"}]}
    keep(place, "Deployment", "digits-r1", template={"spec": {"containers": [server]}})
    keep(place, "Service", "digits")
    keep(place, "Service", "digits-preview")
    where = {"namespace": place.target.namespace, "deployment": "digits", "revision": "1", "owner_kind": "ReplicaSet"}
    for number, health in enumerate(("Healthy", "Degraded")):
        factories.pod(
            place.target.cluster, digits.project, name=f"digits-r1-5f-{number}", health=health,
            owner_name="digits-r1-5f", **where,
        )  # fmt: skip
    stranger = a_set("other-r1-1a")
    found = Made([a_set(readyReplicas=1), stranger], [a_slice(True, False), a_slice(service="other")])
    pods = list(place.target.cluster.pods.all())
    nodes = trees_of_made(digits, list(AppliedObject.objects.all()), found, pods)
    assert lines(nodes) == [
        (0, "Service", "digits", "Progressing"),
        (1, "EndpointSlice", "digits-x", "Progressing"),
        (2, "Address", "10.0.0.1", "Degraded"),
        (2, "Address", "10.0.0.0", "Healthy"),
        (0, "Deployment", "digits-r1", "Progressing"),
        (1, "ReplicaSet", "digits-r1-5f", "Progressing"),
        (2, "Pod", "digits-r1-5f-1", "Degraded"),
        (2, "Pod", "digits-r1-5f-0", "Healthy"),
    ]
    address = nodes[0].below[0].below[0]
    assert address.said == "not ready · digits-r1-5f-1 on n1" and address.url.endswith("/replicas/digits-r1-5f-1/")
    text = nodes[1].below[0].yaml
    assert "kind: ReplicaSet" in text and "value: '1'" in text and "hunter2" not in text


def test_it_says_why_nothing_can_be_seen_and_is_shown_to_the_project_alone(digits: Deployment) -> None:
    Cluster.objects.update(state="Unreachable", message="No answer.")
    viewer, stranger = Client(headers={"HX-Request": "true"}), Client(headers={"HX-Request": "true"})
    viewer.force_login(factories.member(digits.project, "reader", Role.VIEWER))
    stranger.force_login(User.objects.create_user("stranger"))
    assert "local can&#x27;t be reached." in viewer.get(PAGE).content.decode()
    assert viewer.get(f"{PAGE}-not").status_code == 404
    assert stranger.get(PAGE).status_code == 404


@pytest.mark.django_db
@pytest.mark.real_process
def test_a_real_cluster_tells_both_and_a_missing_right(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=2)
    fleet.until_healthy(app)
    client = Client(headers={"HX-Request": "true"})
    assert isinstance(fleet.root, Principal) and fleet.root.user is not None
    client.force_login(fleet.root.user)
    path = f"/p/{fleet.project.name}/deployments/app/resources/on/here"

    def both_are_ready() -> bool:
        said = words(client.get(path))
        return "2 of 2 addresses ready" in said and "2 of 2 replicas ready" in said

    fleet.until(app, lambda _: both_are_ready())
    said = words(client.get(path))
    for pod in fleet.client.list("v1", "Pod", fleet.namespace):
        assert said.count(pod["metadata"]["name"]) >= 2, "below its ReplicaSet, and behind its address"
    assert "app-r1" in said and "PASSWORD" not in said
    listed = KubeClient.list

    def without_a_right(of: KubeClient, version: str, kind: str, *args: Any, **how: Any) -> Any:
        if kind == "ReplicaSet":
            raise Forbidden(403, "Forbidden", 'replicasets.apps is forbidden: User "f" cannot list it')
        return listed(of, version, kind, *args, **how)

    monkeypatch.setattr(KubeClient, "list", without_a_right)
    said = words(client.get(path))
    assert "ReplicaSets are not shown: the credential of local may not list replicasets.apps." in said
    assert "2 of 2 addresses ready" in said, "the rest is shown"
