"""Bundles by REST: made so as a whole or not at all, the same once more changes nothing, and a rehearsal tells it."""

import json
from typing import Any

import pytest
import yaml
from django.test import Client

from apps.core.access import Principal
from apps.core.models import AuditEntry, Owned, Project
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.core.work.models import Work
from apps.deployments.models import Deployment, Revision, Target
from apps.experiments.models import Experiment, ModelAlias, RegisteredModel
from apps.workflows.models import Pipeline, PipelineVersion
from apps.workflows.services.bundles.documents import Action, action_of, differences
from tests import factories
from tests.deployments.places import arrive

PIPELINE: dict[str, Any] = {"kind": "Pipeline", "name": "one", "steps": [{"name": "a", "run": {"image": "busybox"}}]}
SERVING: dict[str, Any] = {
    "kind": "Deployment",
    "name": "digits",
    "targets": ["production"],
    "image": "busybox:1",
    "replicas": 2,
    "env": {"GREETING": "hello", "API_TOKEN": "hunter2"},
}


@pytest.fixture
def api(ada: Principal) -> Client:
    return Client(headers={"Authorization": f"Bearer {issue_token(name='ci', user=ada.user)[1]}"})


@pytest.fixture
def admin(root: Principal) -> Client:
    return Client(headers={"Authorization": f"Bearer {issue_token(name='ci', user=root.user, role=Role.ADMIN)[1]}"})


def apply(api: Client, *documents: Any, status: int = 200, dry_run: bool = False, **more: Any) -> Any:
    body = {"bundle": "shop", "documents": list(documents), **more}
    address = "/api/v1/apply/?project=demo" + ("&dry_run=true" if dry_run else "")
    answer = api.post(address, json.dumps(body), content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json() if status != 200 else {each["name"]: each for each in answer.json()["changes"]}


def actions(changes: Any) -> dict[str, str]:
    return {name: each["action"] for name, each in changes.items()}


def everything() -> list[list[Any]]:
    """All that applying could have left behind, but for who asked for it."""
    tables = (Pipeline, PipelineVersion, Deployment, Revision, Target, Owned, AuditEntry, Work)
    return [list(table.objects.order_by("pk").values()) for table in tables]


def test_a_bundle_is_made_so_and_the_same_once_more_changes_nothing(api, target):
    first = apply(api, SERVING, PIPELINE)
    assert actions(first) == {"one": "made", "digits": "made"}
    assert first["digits"]["revision"] == 1
    deployment = Deployment.objects.get()
    assert (deployment.desired_replicas, deployment.current.spec["image"]) == (2, "busybox:1")
    arrive(deployment)
    Work.objects.all().delete()
    before = everything()
    assert actions(apply(api, SERVING, PIPELINE)) == {"one": "same", "digits": "same"}
    assert [rows for rows, old in zip(everything()[:-1], before[:-1], strict=True) if rows != old] == []
    text = "\n---\n".join(yaml.safe_dump(each) for each in (SERVING, PIPELINE))
    answer = api.post("/api/v1/apply", {"bundle": "shop", "yaml": text}, content_type="application/json")
    assert {each["action"] for each in answer.json()["changes"]} == {"same"}


def test_what_differs_is_rolled_out_and_what_is_named_no_more_is_taken_back(api, target):
    apply(api, SERVING)
    arrive(Deployment.objects.get())
    changed = {**SERVING, "image": "busybox:2", "replicas": 3, "strategy": {"kind": "recreate"}}
    change = apply(api, changed, dry_run=True)["digits"]
    told = {each["field"]: (each["before"], each["after"]) for each in change["differences"]}
    assert told["image"] == ("busybox:1", "busybox:2")
    assert told["replicas.production"] == ("2", "3")
    assert told["strategy.kind"] == ("", "recreate") or told["strategy.kind"][1] == "recreate"
    assert (change["action"], change["revision"]) == ("changed", 2)
    assert Deployment.objects.get().current.number == 1
    assert apply(api, changed)["digits"]["differences"] == change["differences"]
    arrive(Deployment.objects.get())
    del changed["env"]
    change = apply(api, changed)["digits"]
    assert {each["field"] for each in change["differences"]} == {"env.GREETING", "env.API_TOKEN"}
    assert "hunter2" not in json.dumps(change)
    assert Deployment.objects.get().current.spec["env"] == {}


def test_a_rehearsal_changes_nothing_and_tells_what_applying_would(api, target):
    before = everything()
    rehearsed = apply(api, SERVING, PIPELINE, dry_run=True)
    assert everything() == before
    assert rehearsed == apply(api, SERVING, PIPELINE)


def test_one_document_that_is_refused_leaves_nothing_of_the_others(api, target):
    before = everything()
    wrong = [
        ({**SERVING, "targets": ["nowhere"]}, 404, "Deployment digits: There is no target 'nowhere'", "documents[1]."),
        ({**SERVING, "replica": 1}, 400, "documents[1].replica: There is no such field.", None),
        ({**SERVING, "kind": "Pod"}, 400, "kind is one of Target, Pipeline", "documents[1].kind"),
        ({**SERVING, "project": "other"}, 400, "The project is the request's", "documents[1].project"),
        ({**PIPELINE}, 400, "stands twice", "documents[1]"),
        ({"kind": "Pipeline", "name": "two", "steps": [{"name": "a", "run": {"imag": "x"}}]}, 400, "There is no 'imag'",
         "documents[1].steps.0.run.imag"),
        ({"kind": "Alias", "model": "digits", "alias": "champion", "version": 1}, 404, "Alias digits/champion: ", None),
        # A developer makes no target: a bundle does no more than they may.
        ({"kind": "Target", "name": "new", "cluster": "local"}, 403, "this needs admin", "documents[1]"),
    ]  # fmt: skip
    for document, status, said, field in wrong:
        for dry_run in (True, False):
            problem = apply(api, PIPELINE, document, status=status, dry_run=dry_run)
            assert said in problem["detail"]
            assert field is None or problem["field"].startswith(field)
    assert everything() == before
    for body in ({"yaml": "a: [x"}, {}, {"yaml": "", "documents": []}, {"documents": [], "bundle": "No!"}):
        answer = api.post("/api/v1/apply/", json.dumps({"bundle": "shop", **body}), content_type="application/json")
        assert answer.status_code == 400, body


def test_what_a_bundle_names_no_more_goes_only_when_asked(api, admin, project, target):
    model = RegisteredModel.objects.create(project=project, name="digits")
    source = factories.run(Experiment.objects.create(project=project, name="digits"))
    factories.version(model, source)
    alias = {"kind": "Alias", "model": "digits", "alias": "champion", "version": 1}
    place = {"kind": "Target", "name": "staging", "cluster": "local", "environment": "staging", "namespace": "staging"}
    made = apply(admin, SERVING, PIPELINE, alias, place)
    assert set(actions(made).values()) == {"made"} and next(iter(made)) == "staging"
    assert actions(apply(api, PIPELINE)) == {"one": "same"}
    gone = apply(admin, PIPELINE, prune=True, dry_run=True)
    assert Owned.objects.count() == 4
    assert gone == apply(admin, PIPELINE, prune=True)
    assert actions(gone) == {"one": "same", "digits": "deleted", "digits/champion": "deleted", "staging": "deleted"}
    assert Deployment.objects.get().state == "Deleting"
    assert not ModelAlias.objects.exists() and not Target.objects.filter(name="staging").exists()
    released = apply(api, prune=True)["one"]
    assert (released["action"], released["note"]) == ("released", "Its runs are history, and it stays.")
    assert Pipeline.objects.exists() and not Owned.objects.exists()


def test_a_thing_tells_its_bundle_and_no_other_takes_it_unasked(api, ada, target):
    apply(api, SERVING, PIPELINE)
    assert api.get("/api/v1/deployments/digits/").json()["managed_by"] == "shop"
    assert api.get("/api/v1/pipelines/").json()["results"][0]["managed_by"] == "shop"
    browser = Client()
    browser.force_login(ada.user)
    for page in ("/p/demo/deployments/digits/", "/p/demo/pipelines/one/"):
        assert 'The bundle <b class="one">shop</b> owns it' in browser.get(page).content.decode()
    refused = apply(api, PIPELINE, bundle="other", status=409)
    assert "The bundle shop owns it." in refused["detail"]
    taken = apply(api, PIPELINE, bundle="other", take_over=True)
    assert taken["one"]["note"] == "Taken over from the bundle shop."
    assert api.get("/api/v1/pipelines/one/").json()["managed_by"] == "other"
    assert actions(apply(api, SERVING, prune=True)) == {"digits": "same"}


def test_a_deployment_moves_between_targets_and_ways_of_counting(api, admin, target):
    apply(admin, {"kind": "Target", "name": "second", "cluster": "local", "namespace": "second"}, bundle="places")
    apply(api, {**SERVING, "targets": ["production"]})
    arrive(Deployment.objects.get())
    both = {**SERVING, "targets": ["production", "second"], "autoscaling": {"min": 2, "max": 4, "cpu_percent": 70}}
    change = apply(api, both)
    assert {"targets", "autoscaling.max"} <= {each["field"] for each in change["digits"]["differences"]}
    arrive(Deployment.objects.get())
    row = {**SERVING, "targets": ["second"], "replicas": 5}
    told = {each["field"]: each["after"] for each in apply(api, row)["digits"]["differences"]}
    assert (told["targets"], told["autoscaling.max"], told["replicas.second"]) == ("second", "", "5")
    assert [place.target.name for place in Deployment.objects.get().places] == ["second"]


def test_a_stranger_and_a_reader_apply_nothing(project, ada):
    reader = issue_token(name="r", user=ada.user, read_only=True)[1]
    stranger = issue_token(name="s", user=factories.member(Project.objects.create(name="else"), "bob"))[1]
    for token, status in ((reader, 403), (stranger, 404), ("flt_none", 401)):
        apply(Client(headers={"Authorization": f"Bearer {token}"}), PIPELINE, status=status, dry_run=True)


def test_what_happened_is_told_by_what_was_and_is():
    assert [action_of(*each) for each in ((None, {}), ({}, {}), ({"a": 1}, {"a": 2}), ({}, None))] == [
        Action.MADE,
        Action.SAME,
        Action.CHANGED,
        Action.DELETED,
    ]
    (long,) = differences({"text": "x" * 5000}, {"text": "y"})
    assert len(long.before) < 2100 and long.after == "y"
