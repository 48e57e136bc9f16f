"""The tree of a deployment's objects: what is where, what hangs below what, and what a hand has changed."""

from typing import Any

from django.test import Client

from apps.core.access import Principal
from apps.deployments.models import AppliedObject, Deployment, Placement
from apps.deployments.pages.resources import MOST_REPLICAS, Resource, trees_of
from apps.deployments.services.access import issue_model_token
from tests import factories
from tests.deployments.conftest import DRIFT
from tests.deployments.places import place_of, reread

PAGE = "/p/demo/deployments/digits/resources"


def keep(place: Placement, kind: str, name: str, **spec: Any) -> None:
    manifest = {"kind": kind, "metadata": {"name": name}, "spec": spec}
    AppliedObject.objects.create(placement=place, kind=kind, name=name, asked="x", manifest=manifest)


def lines(resources: list[Resource], depth: int = 0) -> list[tuple[int, str, str, str]]:
    return [
        line
        for each in resources
        for line in [(depth, each.kind, each.name, each.health), *lines(each.below, depth + 1)]
    ]


def test_objects_with_what_is_below_them_the_worst_first(digits: Deployment) -> None:
    place = place_of(digits)
    home, namespace = place.target.cluster, place.target.namespace
    for number in (1, 2, 10):
        keep(place, "Deployment", f"digits-r{number}", paused=False)
    keep(place, "Service", "digits", type="ClusterIP")
    where = {"namespace": namespace, "deployment": "digits"}
    for name, revision, health in (
        ("digits-r2-a", "2", "Healthy"), ("digits-r2-b", "2", "Degraded"), ("digits-r10-a", "10", "Progressing"),
    ):  # fmt: skip
        factories.pod(home, digits.project, name=name, revision=revision, health=health, **where)
    factories.pod(home, digits.project, name="stranger", namespace="elsewhere", deployment="digits", revision="2")
    Placement.objects.filter(pk=place.pk).update(drift=DRIFT)
    [tree] = trees_of(reread(digits))
    assert lines(tree.resources) == [
        (0, "Service", "digits", "Applied"),
        (0, "Deployment", "digits-r10", "Applied"),
        (1, "Pod", "digits-r10-a", "Progressing"),
        (0, "Deployment", "digits-r2", "Applied"),
        (1, "Pod", "digits-r2-b", "Degraded"),
        (1, "Pod", "digits-r2-a", "Healthy"),
        (0, "Deployment", "digits-r1", "Applied"),
    ]
    assert {each.name: [edit["field"] for edit in each.edits] for each in tree.resources if each.edits} == {
        "digits": ["metadata.labels.app.kubernetes.io/name"],
        "digits-r1": ["spec.template.spec.containers[server].image"],
    }
    assert tree.edited == 2 and "type: ClusterIP" in tree.resources[0].yaml


def test_what_nobody_watches_is_as_the_last_round_found_it(digits: Deployment) -> None:
    place = place_of(digits)
    keep(place, "HTTPRoute", "digits")
    keep(place, "PodDisruptionBudget", "digits")
    AppliedObject.objects.filter(kind="HTTPRoute").update(health="Degraded", message="Gateway a/b does not take it.")
    [tree] = trees_of(digits)
    assert [(each.kind, each.health, each.said) for each in tree.resources] == [
        ("HTTPRoute", "Degraded", "Gateway a/b does not take it."),
        ("PodDisruptionBudget", "Applied", ""),
    ]


def test_a_crowd_is_cut_and_counted(digits: Deployment) -> None:
    place = place_of(digits)
    keep(place, "Deployment", "digits-r1")
    where = {"namespace": place.target.namespace, "deployment": "digits", "revision": "1", "health": "Healthy"}
    for number in range(MOST_REPLICAS + 3):
        factories.pod(place.target.cluster, digits.project, name=f"digits-r1-{number}", **where)
    [tree] = trees_of(digits)
    assert (len(tree.resources[0].below), tree.resources[0].hidden) == (MOST_REPLICAS, 3)


def test_the_page_shows_no_text_of_a_secret_and_says_when_nothing_is_there(
    digits: Deployment, developer: Principal
) -> None:
    client = Client()
    assert developer.user is not None
    client.force_login(developer.user)
    assert "Nothing is applied yet" in client.get(PAGE).content.decode()
    issue_model_token(place_of(digits), prefix_on_cluster="")
    text = client.get(PAGE).content.decode()
    assert "digits-model-access" in text and "Its text is on the cluster alone." in text
