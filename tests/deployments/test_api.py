"""REST, through the door that programs use: who may, what is answered, what is refused."""

import json
from typing import Any

import pytest
from django.test import Client

from apps.clusters.models import Cluster, Pod
from apps.core.access import Principal
from apps.core.models import AuditEntry, Membership, Project, User
from apps.core.states import Health, Role
from apps.deployments import predict
from apps.deployments.models import Deployment, Heal, Placement, Rollout, Target
from tests import factories
from tests.clusters.podoptions.test_podoptions import EVERYTHING
from tests.deployments.conftest import DRIFT, SPEC, client_of

pytestmark = pytest.mark.django_db
BODY = {"project": "demo", "name": "digits", "target": "local-production", "replicas": 3, **SPEC}


def post(client: Client, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
    return client.post(path, json.dumps(body or {}), content_type="application/json", headers=headers)


def test_a_deployment_from_creation_to_deletion(api: Client, target: Target, model: Any) -> None:
    made = post(api, "/api/v1/deployments", BODY)
    assert made.status_code == 201
    shown = made.json()
    assert (shown["name"], shown["health"], shown["replicas"], shown["revision"]) == ("digits", "Progressing", 3, 1)
    assert shown["model"] == {"name": "digits", "version": 1, "alias": ""}
    assert shown["strategy"] == {"max_surge": 1, "max_unavailable": 0, "progress_deadline_seconds": 600}
    assert (shown["rollout"]["state"], shown["rollout"]["to_revision"]) == ("Pending", 1)
    assert (shown["cluster"], shown["namespace"]) == ("local", "flotilla-demo")
    assert api.get("/api/v1/deployments/digits").json() == shown
    assert [row["name"] for row in api.get("/api/v1/deployments/?project=demo").json()["results"]] == ["digits"]

    for query, count in (("health=Progressing&model=digits", 1), ("health=Healthy", 0), ("cluster=other", 0)):
        assert len(api.get(f"/api/v1/deployments?{query}").json()["results"]) == count

    revised = post(api, "/api/v1/deployments/digits/revisions", {"alias": "next"})
    assert (revised.status_code, revised.json()["number"]) == (201, 2)
    again = {"alias": "next", "strategy": {"max_surge": 2}}
    assert post(api, "/api/v1/deployments/digits/revisions", again).status_code == 200
    shown = api.get("/api/v1/deployments/digits").json()
    assert (shown["model"]["alias"], shown["strategy"]["max_surge"]) == ("next", 2)
    assert post(api, "/api/v1/deployments/digits/rollback", {"revision": 1}).json()["copied_from"] == 1
    assert post(api, "/api/v1/deployments/digits/scale", {"replicas": 0}).json()["replicas"] == 0
    numbers = [row["number"] for row in api.get("/api/v1/deployments/digits/revisions").json()["results"]]
    assert numbers == [3, 2, 1]
    states = [row["state"] for row in api.get("/api/v1/deployments/digits/rollouts").json()["results"]]
    assert states == ["Pending", "Superseded", "Superseded"]

    gone = api.delete("/api/v1/deployments/digits")
    assert (gone.status_code, gone.json()["state"]) == (202, "Deleting")
    assert post(api, "/api/v1/deployments/digits/scale", {"replicas": 1}).status_code == 409


def test_a_dry_run_shows_the_manifests_and_changes_nothing(api: Client, target: Target, model: Any) -> None:
    answer = post(api, "/api/v1/deployments?dry_run=true", BODY)
    assert answer.status_code == 200
    assert [obj["kind"] for obj in answer.json()["objects"]] == ["Deployment", "Service"]
    assert not Deployment.objects.exists()
    post(api, "/api/v1/deployments", BODY)
    answer = post(api, "/api/v1/deployments/digits/revisions?dry_run=true", {"version": 2})
    assert answer.json()["objects"][0]["metadata"]["name"] == "digits-r2"
    assert Rollout.objects.count() == 1


def test_options_of_pods_stay_until_another_revision_changes_them(api: Client, target: Target, model: Any) -> None:
    assert post(api, "/api/v1/deployments", BODY | EVERYTHING).status_code == 201
    path = "/api/v1/deployments/digits/revisions"

    def revised(**changes: Any) -> dict[str, Any]:
        return post(api, path, changes).json()["spec"]

    assert {key: revised(version=2)[key] for key in EVERYTHING} == EVERYTHING
    changed = revised(node_selector={"pool": "a"}, tolerations=[], image_pull_policy="")
    assert changed["node_selector"] == {"pool": "a"} and changed["volumes"] == EVERYTHING["volumes"]
    assert not {"tolerations", "image_pull_policy"} & set(changed)
    wrong = post(api, path, {"volumes": [{"mountPath": "/a", "hostPath": {"path": "/"}}]})
    assert (wrong.status_code, wrong.json()["field"]) == (400, "volumes[0].hostPath")
    back = post(api, "/api/v1/deployments/digits/rollback", {"revision": 1}).json()
    assert {key: back["spec"][key] for key in EVERYTHING} == EVERYTHING


def test_what_an_autoscaler_wants_is_told_beside_what_was_asked_for(api: Client, digits: Deployment) -> None:
    shown = api.get("/api/v1/deployments/digits").json()
    assert (shown["replicas"], shown["scaled_to"], shown["scaled_by"]) == (3, None, "")
    Deployment.objects.filter(pk=digits.pk).update(scaled_to=5, scaled_by="Autoscaler digits")
    shown = api.get("/api/v1/deployments/digits").json()
    assert (shown["replicas"], shown["scaled_to"], shown["scaled_by"]) == (3, 5, "Autoscaler digits")


def test_a_post_sent_twice_acts_once(api: Client, digits: Deployment) -> None:
    for _ in range(2):
        answer = post(api, "/api/v1/deployments/digits/rollback", {"revision": 1}, **{"Idempotency-Key": "r"})
        assert answer.status_code == 409
    for _ in range(2):
        answer = post(api, "/api/v1/deployments/digits/revisions", {"version": 2}, **{"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["number"]) == (201, 2)


def test_an_edit_of_something_older_is_refused(api: Client, digits: Deployment) -> None:
    tag = api.get("/api/v1/deployments/digits")["ETag"]
    assert post(api, "/api/v1/deployments/digits/scale", {"replicas": 2}, **{"If-Match": tag}).status_code == 200
    stale = post(api, "/api/v1/deployments/digits/scale", {"replicas": 4}, **{"If-Match": tag})
    assert stale.status_code == 412
    assert api.get("/api/v1/deployments/digits").json()["replicas"] == 2


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"name": "Not A Name"}, 400, "lower-case"),
        ({"target": "nowhere"}, 404, "nowhere"),
        ({"comand": ["x"]}, 400, "comand"),
        ({"version": None}, 400, "version"),
        ({"replicas": 100000}, 400, "replicas"),
        ({"model": "none"}, 404, "none"),
    ],
)
def test_wrong_input_gets_a_clear_problem(
    api: Client, target: Target, model: Any, change: dict[str, Any], status: int, says: str
) -> None:
    answer = post(api, "/api/v1/deployments", {**BODY, **change})
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert says in answer.json()["detail"]


WRITES = [
    ("post", "", BODY | {"name": "other"}),
    ("post", "/digits/revisions", {"version": 2}),
    ("post", "/digits/rollback", {"revision": 1}),
    ("post", "/digits/scale", {"replicas": 1}),
    ("post", "/digits/predict", {"inputs": [{"name": "x"}]}),
    ("delete", "/digits", None),
]
READS = ["", "/digits", "/digits/revisions", "/digits/rollouts", "/digits/replicas", "/digits/heals"]


def test_nobody_a_stranger_and_a_viewer(digits: Deployment, demo: Project) -> None:
    viewer = User.objects.create_user("viewer")
    Membership.objects.create(project=demo, user=viewer, role=Role.VIEWER)
    stranger = client_of(User.objects.create_user("stranger"))
    for path in READS:
        assert Client().get(f"/api/v1/deployments{path}").status_code == 401
        assert client_of(viewer).get(f"/api/v1/deployments{path}").status_code == 200
        assert path == "" or stranger.get(f"/api/v1/deployments{path}").status_code == 404
    assert stranger.get("/api/v1/deployments").json()["results"] == []
    for method, path, body in WRITES:
        url = f"/api/v1/deployments{path}"
        send: dict[str, Any] = {"data": json.dumps(body), "content_type": "application/json"}
        assert getattr(Client(), method)(url, **send).status_code == 401, path
        assert getattr(client_of(viewer), method)(url, **send).status_code == 403, path
        assert getattr(stranger, method)(url, **send).status_code == 404, path
    digits.refresh_from_db()
    assert (digits.state, digits.last_revision, digits.desired_replicas) == ("Active", 1, 3)


def test_replicas_and_heals_tell_how_one_was_killed(api: Client, digits: Deployment, cluster: Cluster) -> None:
    ended = {"exitCode": 137, "reason": "Error", "finishedAt": "2026-11-23T14:00:00Z"}
    factories.pod(
        cluster, digits.project, deployment="digits", revision="1", restarts=1, health=Health.PROGRESSING, ready=False,
        status={"containers": [{"name": "server", "restarts": 1, "last_state": {"terminated": ended}}]},
    )  # fmt: skip
    replica = api.get("/api/v1/deployments/digits/replicas").json()["results"][0]
    assert replica["restarted"] == "restarted 1×, exit 137 SIGKILL"
    assert (replica["revision"], replica["ready"], replica["last_exit_code"]) == (1, False, 137)
    Pod.objects.update(health=Health.HEALTHY, ready=True, message="All containers are ready.")
    assert api.get("/api/v1/deployments/digits/replicas").json()["results"][0]["ready"]
    Cluster.objects.filter(pk=cluster.pk).update(state="Unreachable", message="No answer.")
    for address in ("/api/v1/deployments/digits/replicas", "/api/v1/clusters/local/pods"):
        [lost] = api.get(address).json()["results"]
        assert (lost["health"], lost["reason"], lost["ready"]) == ("Unknown", "Unreachable", False), address
        assert lost["message"].endswith("it was Running. local can't be asked now: No answer."), lost["message"]
    Heal.objects.create(
        placement=digits.places[0], wanted=3, lowest=2, dropped_at=digits.created_at, message="2 of 3 ready."
    )
    heal = api.get("/api/v1/deployments/digits/heals").json()["results"][0]
    assert (heal["lowest"], heal["seconds"]) == (2, None)


def test_targets(api: Client, root: Principal, demo: Project, cluster: Cluster) -> None:
    admin = client_of(root.user, role=Role.ADMIN)
    body = {"project": "demo", "name": "local-staging", "cluster": "local", "environment": "staging"}
    assert post(api, "/api/v1/targets", body).status_code == 403
    made = post(admin, "/api/v1/targets", body)
    assert (made.status_code, made.json()["namespace"]) == (201, "flotilla-demo")
    assert post(admin, "/api/v1/targets", body).status_code == 409
    assert api.get("/api/v1/targets/local-staging").json()["environment"] == "staging"
    assert api.delete("/api/v1/targets/local-staging").status_code == 403
    assert admin.delete("/api/v1/targets/local-staging").status_code == 204
    assert api.get("/api/v1/targets").json()["results"] == []


def test_drift_is_told_and_put_back(api: Client, digits: Deployment) -> None:
    path = "/api/v1/deployments/digits"
    assert api.get(path).json()["drift"] is None
    assert post(api, f"{path}/restore").status_code == 409
    Placement.objects.filter(deployment=digits).update(drift=DRIFT)
    differences = [{**edit, "target": "local-production"} for edit in DRIFT]
    Deployment.objects.filter(pk=digits.pk).update(drift=differences)
    told = api.get(path).json()["drift"]
    assert (told["reason"], told["restoring"], told["differences"]) == ("EditedByHand", False, differences)
    assert told["message"] == (
        "Edited by hand: spec.template.spec.containers[server].image of Deployment digits-r1 was changed by "
        "kubectl-edit at 2026-11-29T20:00:00Z, and 1 more."
    )
    tag = api.get(path).headers["ETag"]
    asked = post(api, f"{path}/restore", **{"If-Match": tag})
    assert (asked.status_code, asked.json()["drift"]["restoring"]) == (200, True)
    assert post(api, f"{path}/restore", **{"If-Match": tag}).status_code == 412
    edits = AuditEntry.objects.get(action="deployment.restore").before["edits"]
    assert edits[1] == "Service digits metadata.labels.app.kubernetes.io/name removed"
    made = post(api, f"{path}/restart")
    assert (made.status_code, made.json()["number"], made.json()["copied_from"]) == (201, 2, 1)


def test_a_prediction_at_zero_replicas_is_answered_from_rows(
    api: Client, digits: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connects(cluster: Cluster) -> None:
        raise AssertionError("a cluster is asked before the answer")

    monkeypatch.setattr(predict, "connect", connects)
    Deployment.objects.filter(pk=digits.pk).update(desired_replicas=0)
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
    answer = api.post("/api/v1/deployments/digits/predict/", body, content_type="application/json")
    assert answer.status_code == 503 and "digits is scaled to zero" in answer.json()["detail"]
