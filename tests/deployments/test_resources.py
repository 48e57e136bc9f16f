"""The tree of a deployment's objects: what is where, what hangs below what, and what a hand has changed."""

from typing import Any

from django.test import Client

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import User
from apps.core.states import Role
from apps.deployments.models import AppliedObject, Deployment, Placement
from apps.deployments.pages.resources import MOST_REPLICAS, Resource, trees_of
from apps.deployments.services.access import issue_model_token
from apps.deployments.services.looking import shown
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


def test_of_a_target_that_cannot_be_asked_everything_is_as_last_seen(digits: Deployment) -> None:
    place = place_of(digits)
    keep(place, "Deployment", "digits-r1")
    AppliedObject.objects.update(health="Healthy", message="All 3 replicas are available.")
    where = {"namespace": place.target.namespace, "deployment": "digits", "revision": "1", "health": "Healthy"}
    factories.pod(place.target.cluster, digits.project, name="digits-r1-a", **where)
    Placement.objects.filter(pk=place.pk).update(health="Unknown")
    [tree] = trees_of(reread(digits))
    [made] = tree.resources
    assert (made.health, made.said) == ("Unknown", "Healthy when last seen: All 3 replicas are available.")
    assert [(each.health, each.said) for each in made.below] == [("Unknown", "Healthy when last seen.")]


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


def test_an_object_that_is_unfolded_says_why_it_cannot_be_seen_and_is_shown_to_the_project_alone(
    digits: Deployment, developer: Principal
) -> None:
    place = place_of(digits)
    keep(place, "Service", "digits", type="ClusterIP")
    keep(place, "Secret", "digits-model-access")
    Cluster.objects.update(state="Unreachable", message="No answer.")
    row, secret = AppliedObject.objects.get(kind="Service"), AppliedObject.objects.get(kind="Secret")
    fetched = {"HX-Request": "true"}
    client, viewer, stranger = Client(headers=fetched), Client(headers=fetched), Client(headers=fetched)
    assert client.get(f"{PAGE}/{row.pk}").status_code == 401
    assert developer.user is not None
    client.force_login(developer.user)
    viewer.force_login(factories.member(digits.project, "reader", Role.VIEWER))
    stranger.force_login(User.objects.create_user("stranger"))
    for member in (client, viewer):
        assert "local can&#x27;t be reached." in member.get(f"{PAGE}/{row.pk}").content.decode()
        assert member.get(f"{PAGE}/{secret.pk}").status_code == 404, "of a Secret nothing is shown"
    assert stranger.get(f"{PAGE}/{row.pk}").status_code == 404
    assert client.get(f"{PAGE}/{row.pk + 1000}").status_code == 404
    assert f'hx-get="{PAGE}/{row.pk}"' in client.get(PAGE).content.decode()


def test_what_a_hand_has_put_into_an_environment_is_not_shown() -> None:
    def pods(**env: str) -> dict[str, Any]:
        named = [{"name": name, "value": value} for name, value in env.items()]
        of_secret = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "id"}}}
        server = {"name": "server", "image": "team/a:1", "env": [*named, of_secret]}
        return {"spec": {"template": {"spec": {"containers": [server]}}}}

    copy = {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "note": "kept"}
    metadata = {"name": "digits", "annotations": copy, "managedFields": [{"manager": "kubectl-edit"}]}
    found = {"kind": "Deployment", "metadata": metadata, **pods(TAG="1", PASSWORD="hunter2", MODE="hunter2")}
    look = shown(found, pods(TAG="1", MODE="fast"))
    assert "hunter2" not in look.text and look.text.count("not shown") == 2
    for part in ("value: '1'", "secretKeyRef", "note: kept", "team/a:1"):
        assert part in look.text
    assert "managedFields" not in look.text and "kubectl-edit" in look.managers
