"""Rollouts over two clusters: real API servers, real processes; only the watcher is played by `Fleet.look`."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core.database.transitions import transitions_of
from apps.core.errors import Conflict, FlotillaError
from apps.core.states import Health
from apps.deployments import manifests, selectors, services
from apps.deployments import reconcile as shell
from apps.deployments.models import AnalysisRun, Deployment, Heal, Rollout
from apps.deployments.pages.ready import revision_on
from apps.deployments.pages.story import serves
from apps.deployments.reconcile import lastlines, probing, vigil
from apps.deployments.reconcile.measuring import measure
from apps.deployments.rollout import blue_green
from apps.deployments.rollout.passages import Passed
from tests.clusters.conftest import eventually
from tests.deployments.conftest import client_of
from tests.deployments.fleet import BODY, SLOWLY, SPEC, Fleet
from tests.deployments.loads import steady_load
from tests.deployments.places import reread
from tests.deployments.test_pages import browser, words
from tests.faulty import Faulty
from tests.stack import LocalCluster

pytestmark = [pytest.mark.django_db, pytest.mark.real_process]

CANARY: dict[str, Any] = {
    "kind": "canary",
    "steps": [{"set_weight": 50}, {"analyse": {"interval_seconds": 1, "count": 2}}, {"pause": {}}],
    "waves": [{"targets": ["here"], "soak_seconds": 1}, {"targets": ["there"]}],
    "progress_deadline_seconds": 3,
}
# What is kept of its steps when a person has promoted it on both targets.
LEFT = [
    (0, "Done", {"here": 50}), (1, "Done", {"here": 50}), (2, "Promoted", {"here": 50}), (3, "Done", {"here": 100}),
    (4, "Done", {"here": 100}),
    (5, "Done", {"there": 50}), (6, "Done", {"there": 50}), (7, "Promoted", {"there": 50}), (8, "Done", {"there": 100}),
]  # fmt: skip


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[LocalCluster]:
    with LocalCluster.running("--faults", "--node-grace-seconds", "1") as cluster:
        yield cluster


@pytest.fixture
def there(fleet: Fleet, other_cluster: LocalCluster) -> Cluster:
    return fleet.add("there", other_cluster)


def placed(fleet: Fleet, **strategy: Any) -> Deployment:
    """A deployment with two replicas on each of both clusters, whose first revision serves."""
    app = services.create_deployment(
        principal=fleet.root,
        project=fleet.project,
        asked=services.NewDeployment(
            name="app",
            targets=["here", "there"],
            replicas=2,
            spec={**SPEC, "env": {"TAG": "old"}, "strategy": {**CANARY, **strategy}},
        ),
    )
    fleet.until_healthy(app)
    return app


def revise(fleet: Fleet, app: Deployment, **env: str) -> Rollout:
    services.deploy_revision(principal=fleet.root, deployment=app, changes={"env": env})
    return Rollout.objects.get(deployment=app, ended_at=None)


def weights(rollout: Rollout) -> dict[str, tuple[int, int | None]]:
    """The share wanted and had on each target."""
    return {stage.placement.target.name: (stage.weight, stage.actual) for stage in rollout.stages.all()}


def said_by(fleet: Fleet, app: Deployment) -> str:
    return str(fleet.ask(app).answer["by"])


def test_each_cluster_judges_what_would_be_applied_there(fleet: Fleet, there: Cluster) -> None:
    app = placed(fleet)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one", "namespace": fleet.namespace}}
    connect(there).apply({**quota, "spec": {"hard": {"count/deployments.apps": "1"}}})
    _, wanted = services.preview_revision(principal=fleet.root, deployment=app, changes={"env": {"TAG": "new"}})
    here_says, there_says = services.rehearse(wanted)
    assert (here_says.target, here_says.accepted, here_says.message) == ("here", True, "")
    assert (there_says.target, there_says.accepted) == ("there", False)
    assert "exceeded quota: one" in there_says.message

    page = Client()
    page.force_login(fleet.root.user)  # type: ignore[arg-type]
    asked = {
        "name": "other", "target": ["here", "there"], "image": "team/app:1", "replicas": "1", "cpu": "1",
        "memory": "1Gi",
    }  # fmt: skip
    where = f"/p/{fleet.project.name}/deployments/new/preview"
    seen = page.post(where, asked)
    assert [(each.target, each.accepted) for each in seen.context["answers"]] == [("here", True), ("there", False)]
    assert (seen.status_code, bool(seen.context["form"].errors)) == (200, False), "a quota is no field's"
    assert f'action="/p/{fleet.project.name}/deployments/new"' in seen.content.decode(), "what was previewed is made"
    assert not Deployment.objects.filter(name="other").exists()

    revise = f"/p/{fleet.project.name}/deployments/app/revise"
    shown = page.get(revise).context["form"].initial
    seen = page.post(f"{revise}/preview", {**shown, "port": "9000"})
    assert [(line.sign, line.text) for line in seen.context["difference"] if line.sign in "+-"] == [("+", "port: 9000")]
    assert [(each.target, each.accepted) for each in seen.context["answers"]] == [("here", True), ("there", False)]
    assert f'action="{revise}"' in seen.content.decode()
    assert reread(app).last_revision == 1
    assert page.post(where, {**asked, "cpu": "much"}).status_code == 400
    assert [fleet.workloads(cluster) for cluster in (fleet.cluster, there)] == 2 * [{"app-r1": 2}]


def test_a_canary_is_promoted_on_one_cluster_soaks_and_goes_on_to_the_next(fleet: Fleet, there: Cluster) -> None:
    app = placed(fleet)
    assert (app.ready_replicas, app.message) == (4, "4 of 4 ready on 2 targets.")
    rollout = revise(fleet, app, TAG="new")

    def paused_on(target: str) -> None:
        def stands(seen: Deployment) -> bool:
            assert seen.ready_replicas >= 4, "the stable revision stays whole"
            said_by(fleet, seen)
            rollout.refresh_from_db()
            return rollout.state == "Paused" and f"on {target}" in rollout.message

        fleet.until(app, stands)

    paused_on("here")
    assert weights(rollout) == {"here": (50, 50), "there": (0, 0)}
    assert fleet.workloads() == {"app-r1": 2, "app-r2": 2}
    assert fleet.workloads(there) == {"app-r1": 2}
    assert (app.health, app.reason) == (Health.PROGRESSING, "RollingOut")
    assert {said_by(fleet, app) for _ in range(12)} == {"old", "new"}

    services.promote(principal=fleet.root, deployment=app)
    paused_on("there")
    assert weights(rollout) == {"here": (100, 100), "there": (50, 50)}
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 2}

    services.promote(principal=fleet.root, deployment=app)
    fleet.until_healthy(app)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.message) == ("Healthy", "here and there serve the new revision.")
    assert fleet.workloads(there) == {"app-r1": 0, "app-r2": 2}
    assert {said_by(fleet, app) for _ in range(8)} == {"new"}
    assert app.stable == app.current
    left = [Passed.from_json(entry) for entry in rollout.passed]
    assert [(each.step, each.how.value, dict(each.had)) for each in left] == LEFT
    assert all(one.at == other.since for one, other in itertools.pairwise(left)), "no time is lost between two steps"
    analyses = list(AnalysisRun.objects.filter(rollout=rollout))
    assert [(each.state, each.message) for each in analyses] == 2 * [("Successful", "2 of 2 measurements were good.")]
    assert analyses[0].measurements[1]["value"] == {"wanted": 2, "ready": 2, "restarts": 0}
    with pytest.raises(Conflict, match="No rollout"):
        services.promote(principal=fleet.root, deployment=app)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"READY": "0"}, "made no progress"),
        ({"PORT_OF_NOTHING": "1", "CRASH": "1"}, "app-r2"),
    ],
)
def test_a_bad_version_takes_itself_back_from_both_clusters(
    fleet: Fleet, there: Cluster, bad: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is.
    monkeypatch.setattr(lastlines, "HEAD_START_SECONDS", 30.0)
    app = placed(fleet, waves=[{"targets": ["here", "there"]}])
    before = app.current
    rollout = revise(fleet, app, TAG="bad", SAYS="no weights here", **bad)

    def ended(seen: Deployment) -> bool:
        assert said_by(fleet, seen) == "old", "nobody has met the bad one"
        rollout.refresh_from_db()
        return rollout.ended_at is not None

    fleet.until(app, ended)
    assert rollout.state == "Failed"
    assert rollout.message.startswith("Rolled back. ")
    assert says in rollout.message
    fleet.until_healthy(app)
    assert app.current == app.stable == before
    for cluster in (fleet.cluster, there):
        assert fleet.workloads(cluster) == {"app-r1": 2, "app-r2": 0}
    assert_last_lines_are_kept(fleet, app)


def assert_last_lines_are_kept(fleet: Fleet, app: Deployment) -> None:
    """Those of the replicas that are gone, as REST and pages tell them."""
    kept = client_of(fleet.root.user).get(f"/api/v1/deployments/{app.name}/kept-logs").json()["results"]
    # The verdict may fall on the first replica that is in trouble, before there is one on the other target.
    assert kept and {(each["revision"], each["container"]) for each in kept} == {(2, "server")}
    assert all(each["text"].rstrip().endswith("Z no weights here") for each in kept)
    page, path = browser(fleet.root.user), f"/p/{fleet.project.name}/deployments/{app.name}/"
    for shown in (page.get(path), page.get(f"{path}logs")):
        assert f"Last lines of {kept[0]['replica']}" in words(shown) and "no weights here" in words(shown)


PROBE = {"provider": "probe", "requests": [BODY], "min_agreement": 100, "max_latency_ms": 400}
RECORDED = {**PROBE, "recorded": True}
ERRORS = {
    "provider": "scrape",
    "name": "share of errors",
    "metric": "requests_total",
    "labels": {"code": "500"},
    "read": "rate",
    "over": {"metric": "requests_total"},
    "better": "less",
    "tolerance": 0.1,
    "inconclusive_limit": 9,
    "count": 10,
}


def test_a_blue_green_switches_at_once_and_back_without_a_failed_request(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one proxy here follows at once.
    monkeypatch.setattr(blue_green, "DRAIN", timedelta(seconds=1))
    app = fleet.deploy(2, env={"TAG": "old"}, strategy={"kind": "blue_green", "scale_down_delay_seconds": 300})
    fleet.until_healthy(app)
    with steady_load(fleet) as load:
        for tag, goes_on in (("taken back", services.abort), ("new", services.promote)):
            rollout = revise(fleet, app, TAG=tag)
            fleet.until(app, lambda _, rollout=rollout: is_at(rollout, "PauseStep"))
            assert (fleet.workloads()[f"app-r{rollout.to_revision.number}"], weights(rollout)["here"]) == (2, (0, 0))
            assert set(load.answers) == {"old"}, "nobody but who asks for it has met the preview"
            assert {said_by(fleet, app) for _ in range(4)} == {"old"}
            fleet.look()
            assert fleet.ask(app, preview=True).answer["by"] == tag
            services.promote(principal=fleet.root, deployment=app)
            fleet.until(app, lambda _, rollout=rollout: is_at(rollout, "KeepingOld"))
            assert weights(rollout)["here"] == (100, 100)
            load.until(tag)
            assert (fleet.workloads()["app-r1"], said_by(fleet, app)) == (2, tag)
            goes_on(principal=fleet.root, deployment=app)
            if goes_on is services.abort:
                fleet.round(app)
                load.until("old")
            fleet.until_healthy(app)
            load.answers = load.answers[-1:]
    assert load.failures == []
    assert {said_by(fleet, app) for _ in range(4)} == {"new"}
    assert fleet.workloads() == {"app-r1": 0, "app-r2": 0, "app-r3": 2}
    assert [each["metadata"]["name"] for each in fleet.client.list("v1", "Service", fleet.namespace)] == ["app"]
    with pytest.raises(Conflict, match="no preview"):
        fleet.ask(app, preview=True)


@pytest.fixture
def faulty(other_cluster: LocalCluster) -> Iterator[Faulty]:
    made = Faulty(other_cluster)
    yield made
    made.mend()


def test_a_replica_that_hangs_and_one_on_a_lost_node_are_replaced_and_the_time_is_told(
    fleet: Fleet, there: Cluster, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "LIVENESS", {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3})
    lost = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    probes = {"ready_path": "/", "live_path": "/"}
    spec = {**SPEC, "command": SLOWLY, "probes": probes, "tolerations": [{**lost, "tolerationSeconds": 0}]}
    app = services.create_deployment(
        principal=fleet.root,
        project=fleet.project,
        asked=services.NewDeployment(name="app", targets=["there"], replicas=2, spec=spec),
    )
    fleet.until_healthy(app)

    def healed(number: int) -> Heal:
        fleet.until(app, lambda seen: Heal.objects.filter(restored_at__isnull=False).count() == number)
        fleet.until_healthy(app)
        return Heal.objects.latest("id")

    assert_only_replicas_count(app, faulty, monkeypatch)
    fleet.ask(app, a_request("hang"))
    heal = healed(1)
    assert heal.wanted == 2
    assert heal.message.startswith("2 of 2 ready again after ")
    assert sum(pod.restarts for pod in selectors.pods_of(app)) == 1, "Kubernetes started it again"

    node = selectors.pods_of(app)[0].node_name
    faulty.switch("FailNode", node=node)
    heal = healed(2)
    assert heal.message.startswith("2 of 2 ready again after ")
    assert heal.cause, "it says which one"
    assert node not in {pod.node_name for pod in selectors.pods_of(app) if pod.ready}


def assert_only_replicas_count(app: Deployment, faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe finds a replica that refuses bad, and concludes nothing of one that it can't ask."""
    rollout = SimpleNamespace(deployment=app, to_revision=app.current)
    run: Any = SimpleNamespace(rollout=rollout, asked={"max_errors": 0, "requests": [BODY]}, answers=[], step=0)

    def told() -> str:
        return probing.look(run, app.places)[0].outcome.value

    assert told() == "Successful"
    assert_a_silent_replica_counts(run, app, faulty, monkeypatch)
    of_replicas = {"resource": "pods/proxy"}
    for fault in (
        {"fault": "Answer", "code": 429, "match": of_replicas},
        {"fault": "Answer", "code": 403, "match": of_replicas},
        {"fault": "CutOff", "match": of_replicas},
        {"fault": "Proxy", "code": 502, "body": "<html>Bad Gateway</html>"},
    ):
        faulty.switch(**fault)
        assert told() == "Inconclusive", fault
        faulty.mend()
    with monkeypatch.context() as patched:
        patched.setattr(selectors, "endpoint", lambda of, revision: (9, "app"))
        assert told() == "Failed", "nothing listens there"
        ready = [("app-gone", *rest) for _, *rest in selectors.ready_replicas(app)]
        patched.setattr(selectors, "ready_replicas", lambda of: ready)
        assert told() == "Inconclusive", "it is no more"


def assert_a_silent_replica_counts(run: Any, app: Deployment, faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes a request and says nothing is bad, unless its API server says nothing meanwhile, either."""
    stalled = SimpleNamespace(**vars(run) | {"asked": {"max_errors": 0, "requests": [a_request("stall")]}})

    def told(message: str) -> bool:
        return message in probing.look(stalled, app.places)[0].message

    with monkeypatch.context() as patched:
        patched.setattr(probing, "REQUEST_SECONDS", 0.4)
        # On a busy machine the API server, too, may take its time once.
        eventually(lambda: told("1 of 1 requests failed."), "a replica that says nothing is bad")
        patched.setattr(vigil, "AWAKE_SECONDS", 0.2)
        faulty.switch("Delay", delaySeconds=1.0)
        assert told("its API server may be at fault.")
        faulty.mend()


def a_request(data: str) -> dict[str, Any]:
    return {"inputs": [{**BODY["inputs"][0], "data": [data]}]}


def is_at(rollout: Rollout, reason: str) -> bool:
    rollout.refresh_from_db()
    return rollout.reason == reason


@pytest.mark.parametrize(
    ("analyse", "env", "state", "says"),
    [
        (PROBE, {}, "Healthy", "2 of 2 measurements were good."),
        # Only to what was recorded it answers wrongly.
        (RECORDED, {"ODD": "8"}, "Failed", "50 % of the answers agree with the earlier revision's; 100 % are wanted."),
        (PROBE, {"SLOW": "0.5"}, "Failed", "Half of the answers took longer than"),
        (ERRORS, {"CODE": "500"}, "Failed", "share of errors is 1, the earlier revision's 0: at most 0.1 is allowed."),
        # It is killed by the first request: there is room for half of that. A look may fall between its last answer and
        # its end, and see only that it is not ready.
        ({"provider": "health", "count": 30}, {"LEAK_MIB": "128"}, "Failed", "137|0 of 1 replicas"),
    ],
    ids=["good", "wrong", "slow", "failing", "out-of-memory"],
)
def test_the_fitting_analysis_tells_a_bad_version(
    fleet: Fleet, analyse: dict[str, Any], env: dict[str, str], state: str, says: str
) -> None:
    asked = {"interval_seconds": 1, "count": 2, **analyse}
    app = fleet.deploy(
        1, env={"ANSWER": "7"}, strategy={"kind": "canary", "steps": [{"set_weight": 50}, {"analyse": asked}]}
    )
    fleet.until_healthy(app)
    kept = keep(fleet, app) if "recorded" in analyse else ""
    rollout = revise(fleet, app, **{"ANSWER": "7", **env}, TAG="new")

    def ended(_: Deployment) -> bool:
        for pk in AnalysisRun.objects.values_list("pk", flat=True):
            measure(pk)
            for _number in range(4 if analyse["provider"] != "probe" else 0):
                with suppress(FlotillaError):
                    fleet.ask(app)
        return Rollout.objects.get(pk=rollout.pk).ended_at is not None

    fleet.until(app, ended)
    rollout.refresh_from_db()
    analysis = rollout.analyses.get()
    told = re.search(says, analysis.message or rollout.message)
    assert rollout.state == state and told is not None, analysis.measurements
    assert (state == "Failed") == (re.search(says, rollout.message) is not None)
    if "recorded" in analyse:
        told = {each["name"]: (each["agreed"], each["compared"], each["difference"]) for each in analysis.answers}
        assert told == {"given request 1": (1, 1, ""), kept: (0, 1, "pid[0] is 8, the earlier revision's 7")}
    assert fleet.workloads() == ({"app-r1": 1, "app-r2": 0} if state == "Failed" else {"app-r1": 0, "app-r2": 1})


def keep(fleet: Fleet, app: Deployment) -> str:
    """A request that what serves answers is kept through REST, once; what people call it."""
    api, path = client_of(fleet.root.user), f"/api/v1/deployments/{app.name}/recordings"
    asked = {"request": {**a_request("odd"), "id": "7"}, "name": "an odd one"}
    made = [api.post(path, asked, content_type="application/json") for _ in range(2)]
    assert [each.status_code for each in made] == [201, 200], [each.content for each in made]
    assert made[0].json() == made[1].json()
    refused = api.post(path, {"request": a_request("bad")}, "application/json")
    assert (refused.status_code, refused.json()["detail"]) == (400, "Send numbers.")
    [kept] = api.get(path).json()["results"]
    assert (kept["request"], kept["revision"], kept["created_by"][:4]) == (a_request("odd"), 1, "root")
    return str(kept["name"])


@contextmanager
def away(monkeypatch: pytest.MonkeyPatch, gone: Cluster) -> Iterator[None]:
    """While the block runs the cluster does not answer, and its watcher has said so."""
    inner = shell.connect

    def connect(cluster: Cluster) -> Any:
        if cluster.pk == gone.pk:
            raise shell.Unreachable(0, "Timeout", "The API server did not answer in time.")
        return inner(cluster)

    Cluster.objects.filter(pk=gone.pk).update(state="Unreachable", reason="Timeout", message="No answer.")
    with monkeypatch.context() as patched:
        patched.setattr(shell, "connect", connect)
        patched.setattr(Fleet, "look", lambda self: self._look(self.cluster))
        yield


def test_replicas_of_a_cluster_that_is_lost_run_on_the_other_and_return(
    fleet: Fleet, there: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of two clusters is taken away for longer than its grace: what serves never falls below what is there."""
    spread = {"replicas": 4, "grace_seconds": 1, "return_after_seconds": 1}
    app = services.create_deployment(
        principal=fleet.root,
        project=fleet.project,
        asked=services.NewDeployment(name="app", targets=["here", "there"], spec=SPEC, spread=spread),
    )
    fleet.until_healthy(app)
    assert fleet.workloads() == fleet.workloads(there) == {"app-r1": 2}
    with away(monkeypatch, there):
        fleet.until(app, lambda seen: fleet.workloads() == {"app-r1": 4} and seen.places[0].ready_replicas == 4)
        assert fleet.workloads(there) == {"app-r1": 2}, "nothing was asked of it"
        assert [place.desired_replicas for place in app.places] == [4, 0]
    Cluster.objects.filter(pk=there.pk).update(state="Healthy")

    def returned(seen: Deployment) -> bool:
        assert sum(place.ready_replicas for place in seen.places) >= 4, "who returns is ready before others go"
        return [place.ready_replicas for place in seen.places] == [2, 2]

    fleet.until(app, returned)
    fleet.until_healthy(app)
    assert fleet.workloads() == fleet.workloads(there) == {"app-r1": 2}
    assert [row.reason for row in transitions_of(app) if row.reason] == ["Failover", "Returned"]


def test_a_cluster_that_is_away_holds_its_wave_and_follows_the_verdict_when_it_is_back(
    fleet: Fleet, there: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = placed(fleet, waves=[{"targets": ["here", "there"]}])
    rollout = revise(fleet, app, TAG="new")
    fleet.until(app, lambda _: Rollout.objects.get(pk=rollout.pk).state == "Paused")
    assert fleet.workloads(there) == {"app-r1": 2, "app-r2": 2}
    look = Fleet.look
    with away(monkeypatch, there):
        services.promote(principal=fleet.root, deployment=app)
        fleet.until(app, lambda _: fleet.workloads() == {"app-r1": 0, "app-r2": 2})
        fleet.round(app)
        rollout.refresh_from_db()
        assert (rollout.state, rollout.reason) == ("Progressing", "ClusterAway")
        assert "there can't be asked" in rollout.message
        services.abort(principal=fleet.root, deployment=app)
        fleet.until(app, lambda _: Rollout.objects.get(pk=rollout.pk).ended_at is not None)
        rollout.refresh_from_db()
        assert rollout.state == "Aborted"
        assert "there could not be reached: what is there follows by itself" in rollout.message
        assert fleet.workloads() == {"app-r1": 2, "app-r2": 0}
        assert fleet.workloads(there) == {"app-r1": 2, "app-r2": 2}, "nothing was asked of it"
        fleet.until(app, lambda seen: seen.places[0].ready_replicas == seen.ready_replicas == 2)
        assert serves(app) == "Revision 1 serves: 2 of 2 replicas ready; 4 on a target that can't be asked."
        assert revision_on(app.places[1]) == ", and 2 of revision 2 (50 % of the requests) until it is back"
    assert Fleet.look is look
    Cluster.objects.filter(pk=there.pk).update(state="Healthy")
    fleet.until(app, lambda _: fleet.workloads(there) == {"app-r1": 2, "app-r2": 0})
    fleet.until_healthy(app)
