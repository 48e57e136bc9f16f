"""Reconciling on the local cluster: real API server, real processes; only the watcher is played by `Fleet.look`."""

import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, RefusedOnce, Unreachable
from apps.clusters.models import Cluster, Workload
from apps.clusters.observed.observation import Observation
from apps.clusters.observed.rows import pod_row
from apps.clusters.reconcile import record_state
from apps.core.models import ApiToken
from apps.core.pages.overview import Scope
from apps.core.states import Health, Role
from apps.core.work import Again, Away, Retry
from apps.core.work.kinds import Lane
from apps.core.work.worker import drain, limits, run_one
from apps.deployments import predict, selectors, services
from apps.deployments import reconcile as shell
from apps.deployments.models import AppliedObject, Deployment, Heal, Placement, Rollout
from apps.deployments.pages.access import Card
from apps.deployments.pages.overview import attention
from apps.deployments.reconcile import reconcile
from apps.deployments.services.looking import look_at
from apps.experiments.models import Experiment, RegisteredModel
from tests import factories
from tests.deployments.conftest import client_of
from tests.deployments.fleet import SLOWLY, SPEC, Fleet, counting
from tests.deployments.places import place_of
from tests.deployments.test_access import resolve, run

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]


def test_it_becomes_healthy_answers_and_is_left_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = fleet.deploy(replicas=2)
    fleet.until_healthy(app)
    assert (app.message, app.ready_replicas) == ("2 of 2 ready.", 2)
    assert app.observed_generation == app.generation
    assert app.stable == app.current
    rollout = Rollout.objects.get()
    assert (rollout.state, rollout.message) == ("Healthy", "2 of 2 replicas of revision 1 ready.")
    assert rollout.ended_at is not None
    answers = [fleet.ask(app) for _ in range(4)]
    assert len({answer.replica for answer in answers}) == 2
    assert all(answer.attempts == 1 and answer.revision == 1 for answer in answers)
    with counting(fleet.client, monkeypatch) as writes:
        fleet.round(app)
        fleet.round(app)
    assert writes == []
    service = fleet.client.get("v1", "Service", "app", fleet.namespace)
    assert service["spec"]["ports"][0]["port"] == 80
    look = look_at(AppliedObject.objects.select_related("placement__target__cluster").get(kind="Service"))
    assert f"clusterIP: {service['spec']['clusterIP']}" in look.text, "as the cluster has it, and not as it was applied"
    assert "managedFields" not in look.text and "manager: flotilla" in look.managers
    # An image of one's own answers what it answers: the lines on the page ask for no more.
    home = resolve(tmp_path, f"app.{fleet.namespace}.svc", service["spec"]["clusterIP"], 80)
    shown = {snippet.key: snippet.text for snippet in Card(app, {}, "").snippets}
    assert "HTTP/1.1 200" in run(shown["curl-direct"], "curl", home)
    assert json.loads(run(shown["python-direct"], "python", home).partition(" ")[2])["name"] == "m"


def test_a_round_that_read_the_earlier_revision_ends_no_rollout_of_a_new_one(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = fleet.deploy(replicas=1)
    fleet.until_healthy(app)
    inner = selectors.for_reconcile

    def overtaken(pk: int) -> Placement | None:
        placement = inner(pk)
        services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "new"}})
        return placement

    with monkeypatch.context() as patched, counting(fleet.client, monkeypatch) as writes:
        patched.setattr(selectors, "for_reconcile", overtaken)
        assert reconcile(place_of(app).pk) == Again(0.0)
    rollout = Rollout.objects.get(to_revision__number=2)
    assert (rollout.state, rollout.message, writes) == ("Pending", "Waiting for the first round.", [])
    fleet.until_healthy(app)
    rollout.refresh_from_db()
    assert (rollout.message, app.stable) == ("1 of 1 replica of revision 2 ready.", app.current)


def test_another_strategy_waits_for_the_next_rollout(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=2, shutdown={"drain_seconds": 1, "grace_seconds": 5})
    fleet.until_healthy(app)
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "new"}})
    services.set_strategy(principal=fleet.root, deployment=app, strategy={"kind": "recreate"})

    def finished(seen: Deployment) -> bool:
        assert seen.ready_replicas >= 2, "it began replica by replica, and goes on so"
        return seen.under_way is None and seen.health == Health.HEALTHY

    fleet.until(app, finished)
    assert app.strategy["kind"] == "recreate"
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "newer"}})

    def alone(seen: Deployment) -> bool:
        pods = [pod for pod in fleet.client.list("v1", "Pod", fleet.namespace) if pod["status"]["phase"] == "Running"]
        running = {pod["metadata"]["labels"]["flotilla.dev/revision"] for pod in pods}
        assert "3" not in running or running == {"3"}, "what drains runs still, and nothing may run beside it"
        return seen.under_way is None and seen.health == Health.HEALTHY and seen.stable == seen.current

    fleet.until(app, alone)


def test_a_new_revision_rolls_while_every_prediction_is_answered(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=2, env={"TAG": "old"})
    fleet.until_healthy(app)
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "new"}})
    said: list[str] = []

    def finished(deployment: Deployment) -> bool:
        said.append(fleet.ask(deployment).answer["by"])
        seen = [entry for entry in deployment.observed if entry["existing"]]
        assert sum(entry["ready"] for entry in seen) >= 2
        assert sum(entry["existing"] for entry in seen) <= 3
        return deployment.under_way is None and deployment.health == Health.HEALTHY

    fleet.until(app, finished)
    assert said[0] == "old"
    assert fleet.ask(app).answer["by"] == "new"
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 2}
    services.rollback(principal=fleet.root, deployment=app)
    fleet.until_healthy(app)
    assert fleet.ask(app).answer["by"] == "old"
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 0, "app-r3": 2}


def test_a_broken_revision_keeps_the_old_one_serving_and_is_taken_back(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=2)
    fleet.until_healthy(app)
    services.deploy_revision(
        principal=fleet.root,
        deployment=app,
        changes={"image": "nowhere/nothing:1", "strategy": {"progress_deadline_seconds": 1}},
    )
    fleet.until(app, lambda deployment: deployment.health == Health.DEGRADED)
    fleet.until(app, lambda deployment: bool(deployment.under_way and deployment.under_way.state == "Degraded"))
    assert "made no progress for 1 s: 0 of 2 ready" in app.message
    assert "nowhere/nothing:1" in app.message
    assert fleet.ask(app).revision == 1
    services.scale(principal=fleet.root, deployment=app, replicas=3)
    fleet.until(app, lambda deployment: deployment.ready_replicas == 3)
    assert fleet.workloads() == {"app-r1": 3, "app-r2": 1}
    services.rollback(principal=fleet.root, deployment=app, revision=1)
    fleet.until_healthy(app)
    assert fleet.workloads() == {"app-r1": 3, "app-r2": 0}
    assert list(Rollout.objects.order_by("id").values_list("state", flat=True)) == ["Healthy", "Aborted"]


def test_a_killed_replica_heals_and_the_time_is_told(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=2, command=SLOWLY)
    fleet.until_healthy(app)
    os.kill(int(fleet.ask(app).answer["outputs"][0]["data"][0]), signal.SIGKILL)
    # The row still says Ready: whoever is asked, the answer comes.
    attempts = [fleet.ask(app).attempts for _ in range(2)]
    assert max(attempts) >= 1
    fleet.until(app, lambda deployment: Heal.objects.filter(placement__deployment=deployment).exists())
    fleet.until_healthy(app)
    heal = Heal.objects.get()
    assert heal.wanted == 2
    assert "exit 137 SIGKILL" in heal.cause
    assert heal.message.startswith("2 of 2 ready again after ")
    fleet.look()
    restarted = [row.restarted for row in map(selectors.seen_of, selectors.pods_of(app)) if row.restarts]
    assert restarted == ["restarted 1×, exit 137 SIGKILL"]
    assert_what_healed_unseen_is_told_once(fleet, app)


def assert_what_healed_unseen_is_told_once(fleet: Fleet, app: Deployment) -> None:
    """One replica is deleted and the other one killed, and both are made good before anybody looks."""
    fleet.until(app, lambda _: bool(place_of(app).roll_call["1"]["settled"]))
    gone = next(pod.name for pod in selectors.pods_of(app) if pod.restarts)
    # Killed first: a process of the one that is deleted would be gone by itself soon.
    os.kill(int(fleet.ask(app).answer["outputs"][0]["data"][0]), signal.SIGKILL)
    fleet.client.delete("v1", "Pod", gone, fleet.namespace)

    def is_whole_again() -> bool:
        pods = [pod_row(pod, timezone.now()) for pod in fleet.client.list("v1", "Pod", fleet.namespace)]
        return [pod["ready"] for pod in pods] == [True, True] and gone not in {pod["name"] for pod in pods}

    fleet.until_unseen(is_whole_again)
    fleet.until_healthy(app)
    heal = Heal.objects.latest("id")
    assert heal.message.startswith("2 of 2 ready again ")
    assert f"{gone} is gone" in heal.cause
    told = list(Heal.objects.values_list("message", "cause", "losses"))
    fleet.round(app)
    assert list(Heal.objects.values_list("message", "cause", "losses")) == told


def test_what_vanished_is_made_again_and_what_was_changed_is_put_right(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=1)
    fleet.until_healthy(app)
    fleet.client.delete("apps/v1", "Deployment", "app-r1", fleet.namespace)
    fleet.client.delete("v1", "Service", "app", fleet.namespace)
    fleet.until(app, lambda deployment: "app-r1" not in fleet.workloads() or deployment.ready_replicas == 0)
    fleet.until_healthy(app)
    assert fleet.client.exists("v1", "Service", "app", fleet.namespace)
    fleet.client.merge_patch("apps/v1", "Deployment", "app-r1", {"spec": {"replicas": 4}}, fleet.namespace)
    fleet.until(app, lambda deployment: fleet.workloads() == {"app-r1": 1})


def test_scale_to_zero_and_delete_leave_nothing(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=1)
    fleet.until_healthy(app)
    services.scale(principal=fleet.root, deployment=app, replicas=0)
    fleet.until(app, lambda deployment: deployment.health == Health.SUSPENDED)
    services.scale(principal=fleet.root, deployment=app, replicas=1)
    fleet.until_healthy(app)
    services.delete_deployment(principal=fleet.root, deployment=app)
    fleet.until_gone(app)
    for kind in (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Pod")):
        assert [
            obj
            for obj in fleet.client.list(*kind, fleet.namespace)
            if "flotilla.dev/deployment" in obj["metadata"]["labels"]
        ] == []


def test_a_refusal_that_is_said_once_says_nothing(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=0)
    fleet.until(app, lambda deployment: deployment.health == Health.SUSPENDED)

    def refused(cluster: Cluster) -> KubeClient:
        raise RefusedOnce(Forbidden(403, "Forbidden", "no role is known yet"))

    monkeypatch.setattr(shell, "connect", refused)
    assert reconcile(place_of(app).pk) == Retry("RefusedOnce")
    app.refresh_from_db()
    assert app.health == Health.SUSPENDED


def test_an_unreachable_cluster_is_unknown_with_the_age(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=0)
    fleet.until(app, lambda deployment: deployment.health == Health.SUSPENDED)

    def away(cluster: Cluster) -> KubeClient:
        raise Unreachable(0, "Timeout", "The API server did not answer in time.")

    monkeypatch.setattr(shell, "connect", away)
    assert reconcile(place_of(app).pk) == Away("Timeout")
    app.refresh_from_db()
    assert (app.health, app.reason) == (Health.UNKNOWN, "Timeout")
    assert app.observed_at is not None
    assert f"{app.observed_at:%H:%M:%S} UTC" in app.message
    assert fleet.unsettled() == [(place_of(app).pk, fleet.cluster.pk)]
    monkeypatch.undo()
    fleet.until(app, lambda deployment: deployment.health == Health.SUSPENDED)
    assert fleet.unsettled() == []


def test_a_spec_that_this_version_does_not_understand_is_no_fault_of_the_cluster(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.until(app, lambda deployment: deployment.health == Health.SUSPENDED)
    Deployment.objects.filter(pk=app.pk).update(strategy={"max_surge": "plenty"})
    assert isinstance(reconcile(place_of(app).pk), Retry), "its cluster's other work goes on"
    app.refresh_from_db()
    assert (app.health, app.reason) == (Health.DEGRADED, "Invalid")


def test_all_deployments_of_a_cluster_that_goes_away_say_so_and_are_looked_at_when_it_is_back(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=0)
    fleet.until(app, lambda deployment: deployment.health == Health.SUSPENDED)
    young = services.create_deployment(
        principal=fleet.root,
        project=fleet.project,
        asked=services.NewDeployment(name="young", targets=["here"], spec=SPEC),
    )
    gone = Observation(failures=3, ever_seen=True, error_reason="Timeout", error_message="No answer.")
    Cluster.objects.update(last_seen_at=timezone.now() + timedelta(minutes=1))
    record_state(fleet.cluster.pk, 1, gone, answered=False)
    app = Deployment.objects.get(pk=app.pk)
    young.refresh_from_db()
    assert app.observed_at is not None and app.as_of is not None and app.as_of > app.observed_at
    assert (app.health, app.reason) == (young.health, young.reason) == (Health.UNKNOWN, "Timeout")
    assert app.message == f"local: No answer. What is shown is from {app.as_of:%Y-%m-%d %H:%M:%S} UTC."
    told = {each.title: each.at for each in attention(Scope(fleet.root, fleet.project))}
    assert told["2 deployments on local are unknown"] == app.as_of, "as long as its cluster has been silent"
    assert young.message == "local: No answer."
    while run_one(Lane.FLEET, limits(Lane.FLEET)):
        app.refresh_from_db()
        assert app.health == Health.UNKNOWN, "only the clock of the rollout runs, which asks no cluster"
    back = Observation(ever_seen=True, successes=3, streams={"Node": "", "Pod": ""}, nodes=1, nodes_ready=1)
    record_state(fleet.cluster.pk, 1, back)
    assert drain() >= 2
    app.refresh_from_db()
    assert app.health == Health.SUSPENDED


def test_dying_between_any_two_steps_changes_nothing_in_the_end(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    app = fleet.deploy(replicas=1)

    class Killed(BaseException):
        pass

    for step in range(6):
        with monkeypatch.context() as patched:
            left = iter(range(step))

            def dies(inner: Any) -> Any:
                def act(*args: Any, **kwargs: Any) -> Any:
                    if next(left, None) is None:  # noqa: B023 - used within this turn of the loop
                        raise Killed
                    return inner(*args, **kwargs)

                return act

            patched.setattr(fleet.client, "apply", dies(fleet.client.apply))
            patched.setattr(shell.observing, "record_round", dies(shell.observing.record_round))
            with pytest.raises(Killed):
                for _ in range(10):
                    fleet.round(app)
    fleet.until_healthy(app)
    assert fleet.workloads() == {"app-r1": 1}
    assert Rollout.objects.get().state == "Healthy"


def test_the_resync_finds_what_differs_from_what_was_observed_and_nothing_else(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=1)
    assert fleet.unsettled() == [(place_of(app).pk, fleet.cluster.pk)], "no round has seen it"
    fleet.until_healthy(app)
    fleet.look()
    assert fleet.unsettled() == []
    for differing in ({"ready": 0}, {"wanted": 3}, {"name": "app-r2"}):
        before = {name: getattr(Workload.objects.get(kind="Deployment"), name) for name in differing}
        Workload.objects.filter(kind="Deployment").update(**differing)
        assert fleet.unsettled() == [(place_of(app).pk, fleet.cluster.pk)], differing
        Workload.objects.filter(kind="Deployment").update(**before)
    assert fleet.unsettled() == []


def test_the_model_token_is_made_once_kept_and_renewed(fleet: Fleet) -> None:
    from tests import factories

    experiment = factories.Experiment.objects.create(project=fleet.project, name="e")
    model = factories.RegisteredModel.objects.create(project=fleet.project, name="m")
    factories.version(model, factories.run(experiment))
    app = fleet.deploy(replicas=0, model="m", version=1)
    for _ in range(3):
        fleet.round(app)
    token = ApiToken.objects.get(project=fleet.project)
    assert (token.role, token.read_only, token.user, token.revoked_at) == ("viewer", True, None, None)
    secret = fleet.client.get("v1", "Secret", "app-model-access", fleet.namespace)
    assert secret["metadata"]["annotations"]["flotilla.dev/token-prefix"] == token.prefix
    # The Secret vanished: its token is worthless, and another one comes.
    fleet.client.delete("v1", "Secret", "app-model-access", fleet.namespace)
    fleet.round(app)
    token.refresh_from_db()
    assert token.revoked_at is not None
    renewed = ApiToken.objects.get(project=fleet.project, revoked_at=None)
    # Shortly before the end it is renewed, while the old one still works for what runs.
    ApiToken.objects.filter(pk=renewed.pk).update(expires_at=timezone.now() + timedelta(days=1))
    fleet.look()
    assert fleet.unsettled() == [(place_of(app).pk, fleet.cluster.pk)]
    fleet.round(app)
    assert ApiToken.objects.filter(project=fleet.project, revoked_at=None).count() == 2
    fleet.round(app)
    assert ApiToken.objects.filter(project=fleet.project).count() == 3


def test_the_model_servers_refusal_is_passed_through(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=1)
    fleet.until_healthy(app)
    with pytest.raises(predict.Invalid, match="Send numbers"):
        fleet.ask(app, {"inputs": [{"name": "x", "data": ["bad"]}]})
    assert predict.describe(principal=fleet.root, deployment=app)["name"] == "m"


def test_a_request_that_crashes_the_server_meets_one_replica(fleet: Fleet) -> None:
    app = fleet.deploy(replicas=3)
    fleet.until_healthy(app)
    with pytest.raises(predict.BrokenOff, match=r"broke off before it answered: (EOF|.*connection reset by peer)"):
        fleet.ask(app, {"inputs": [{"name": "x", "data": ["crash"]}]})
    # Whoever is asked meanwhile is answered, even where the turn falls on the one that is gone.
    assert all(fleet.ask(app).answer["outputs"] for _ in range(3))
    fleet.until(app, lambda deployment: any(pod.restarts for pod in selectors.pods_of(deployment)))
    assert sorted(pod.restarts for pod in selectors.pods_of(app)) == [0, 0, 1]


def test_an_alias_that_mlflow_moves_is_gone_after_by_itself(fleet: Fleet) -> None:
    model = RegisteredModel.objects.create(project=fleet.project, name="m")
    run = factories.run(Experiment.objects.create(project=fleet.project, name="m"))
    factories.version(model, run, alias="champion")
    app = fleet.deploy(replicas=1, model="m", alias="champion", follow=True)
    fleet.until_healthy(app)
    factories.version(model, run)
    asked = {"name": "m", "alias": "champion", "version": "2"}
    client = client_of(fleet.root.user, role=Role.ADMIN)
    answer = client.post("/api/2.0/mlflow/registered-models/alias", asked, content_type="application/json")
    assert answer.status_code == 200
    assert drain() >= 1
    fleet.until(app, lambda seen: seen.stable is not None and seen.stable.spec["model"]["version"] == 2)
    fleet.until_healthy(app)
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 1}
    assert fleet.ask(app).revision == 2
