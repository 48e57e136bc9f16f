"""The disruption budget: what may be asked for, its object, and what becomes of it on a cluster."""

from typing import Any

import pytest
from django.test import Client

from apps.clusters.kube.errors import Forbidden, NotFound
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import AuditEntry
from apps.deployments import services
from apps.deployments.manifests import Identity
from apps.deployments.manifests.disruption import API_VERSION, KIND, Budget, budget_of, parse_budget
from apps.deployments.models import AppliedObject, Deployment
from tests.deployments.fleet import Fleet
from tests.deployments.places import place_of, reread

ASKED: list[tuple[Any, Any]] = [
    ({"max_unavailable": 1}, Budget(max_unavailable=1)),
    ({"max_unavailable": "2", "min_available": None}, Budget(max_unavailable=2)),
    ({"min_available": "25%"}, Budget(min_available="25%")),
    ({"max_unavailable": 0}, Budget(max_unavailable=0)),
]
WRONG: list[tuple[Any, str]] = [
    ({}, "disruption_budget.max_unavailable"),
    ({"max_unavailable": 1, "min_available": 1}, "disruption_budget.max_unavailable"),
    ({"min_available": "101%"}, "disruption_budget.min_available"),
    ({"max_unavailable": -1}, "disruption_budget.max_unavailable"),
    ({"max_unavailable": True}, "disruption_budget.max_unavailable"),
    ({"max_unavailable": "half"}, "disruption_budget.max_unavailable"),
    ({"most": 1}, "disruption_budget.most"),
    ([1], "disruption_budget"),
]


@pytest.mark.parametrize(("said", "budget"), ASKED)
def test_a_budget_is_a_number_or_a_share(said: Any, budget: Budget) -> None:
    assert parse_budget(said) == budget == parse_budget(budget.to_json())


@pytest.mark.parametrize(("said", "field"), WRONG)
def test_what_is_no_budget_is_refused_by_its_field(said: Any, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_budget(said)
    assert caught.value.field == field


def test_the_object_is_over_the_replicas_of_all_revisions() -> None:
    rendered, asked = budget_of(Identity("demo", "digits", "flotilla-demo"), Budget(min_available="50%"))
    assert rendered == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": "digits",
            "namespace": "flotilla-demo",
            "labels": {
                "app.kubernetes.io/managed-by": "flotilla",
                "app.kubernetes.io/name": "digits",
                "app.kubernetes.io/part-of": "demo",
                "flotilla.dev/deployment": "digits",
            },
        },
        "spec": {
            "minAvailable": "50%",
            "selector": {
                "matchLabels": {
                    "app.kubernetes.io/managed-by": "flotilla",
                    "app.kubernetes.io/part-of": "demo",
                    "flotilla.dev/deployment": "digits",
                }
            },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
    assert asked != budget_of(Identity("demo", "digits", "flotilla-demo"), Budget(max_unavailable="50%"))[1]


@pytest.mark.django_db
def test_it_is_given_changed_and_taken_away_by_rest(api: Client, digits: Deployment, developer: Principal) -> None:
    path, kind = "/api/v1/deployments/digits/disruption-budget", "application/json"
    before = reread(digits).generation
    assert api.put(path, {"max_unavailable": 1}, content_type=kind).json()["disruption_budget"] == {
        "max_unavailable": 1
    }
    assert reread(digits).generation > before and digits.revisions.count() == 1
    for wrong in ({}, {"max_unavailable": "x"}, {"max_unavailable": 1, "min_available": 1}):
        assert api.put(path, wrong, content_type=kind).status_code == 400
    assert api.delete(path).json()["disruption_budget"] == {}
    entries = AuditEntry.objects.filter(action="deployment.disruption_budget").order_by("pk")
    one, none = {"disruption_budget": {"max_unavailable": 1}}, {"disruption_budget": {}}
    assert [(entry.before, entry.after) for entry in entries] == [(none, one), (one, none)]


@pytest.mark.django_db
@pytest.mark.real_process
def test_a_cluster_has_it_as_long_as_it_is_wanted(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=2, disruption_budget={"max_unavailable": 1})
    fleet.until_healthy(app)

    def there() -> dict[str, Any]:
        return fleet.client.get(API_VERSION, KIND, "app", fleet.namespace)

    def found() -> tuple[str, str]:
        kept = AppliedObject.objects.get(placement=place_of(app), kind=KIND)
        return kept.health, kept.message

    assert there()["spec"]["maxUnavailable"] == 1
    fleet.until(app, lambda _: found() == ("Healthy", "1 may be away now: 2 healthy, 1 needed."))
    assert there()["status"]["disruptionsAllowed"] == 1
    # A hand's edit is told and put back when somebody asks for it.
    fleet.client.merge_patch(API_VERSION, KIND, "app", {"spec": {"maxUnavailable": 2}}, fleet.namespace)
    fleet.round(app)
    assert [edit["object"] for edit in reread(app).drift] == [f"{KIND} app"]
    services.restore(principal=fleet.root, deployment=app)
    fleet.round(app)
    assert there()["spec"]["maxUnavailable"] == 1 and not reread(app).drift
    services.set_budget(principal=fleet.root, deployment=app, budget={"min_available": "50%"})
    fleet.round(app)
    assert (there()["spec"].get("maxUnavailable"), there()["spec"]["minAvailable"]) == (None, "50%")
    services.set_budget(principal=fleet.root, deployment=app, budget=None)
    fleet.round(app)
    with pytest.raises(NotFound):
        there()
    assert not AppliedObject.objects.filter(placement=place_of(app), kind=KIND).exists()
    assert fleet.workloads() == {"app-r1": 2}, "nothing restarted"

    def refused(*_: Any, **__: Any) -> None:
        raise Forbidden(403, "Forbidden", 'poddisruptionbudgets.policy "app" is forbidden: User "f" cannot get it')

    with monkeypatch.context() as patched:
        patched.setattr("apps.deployments.reconcile.applying.Applying._find", refused)
        services.set_budget(principal=fleet.root, deployment=app, budget={"max_unavailable": 1})
        fleet.round(app)
        assert "Flotilla may not make a PodDisruptionBudget here." in reread(app).message
    fleet.round(app)
    assert there()["spec"]["maxUnavailable"] == 1
    services.delete_deployment(principal=fleet.root, deployment=app)
    fleet.until_gone(app)
    with pytest.raises(NotFound):
        there()
