"""Twenty rollouts at once on two clusters while worker and watcher are killed at random: where do they end?

Every strategy, with waves, analyses, approvals by another person, weights and copies by Gateways, and replicas spread
over both targets; good versions, bad ones that are taken back, and such that a person aborts or rejects. The same
twenty go their way once in peace and once under fire: what differs in the end, or was done twice, is the figure. Pods
only pretend to run; a bad version is one that no node takes. There is no beat to kill: the clock is the workers' own.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import urllib3

from benchmarks.delivery._app import NAMESPACE, kube
from benchmarks.figures import Figure
from benchmarks.spine._stage import Stage, stage, until
from tests.stack import LocalCluster

COUNT, KILLS, SEED = 20, 16, 7
# Between two kills, in seconds: a worker needs some to come up.
LEAST_S, MOST_S = 2.0, 8.0
HOLLOW = ("--hollow", "--hollow-nodes", "6")
VICTIMS = ("worker", "watcher")
SPEC = {"image": "busybox", "command": ["serve"], "resources": {"cpu": "10m", "memory": "16Mi"}}
NOWHERE: dict[str, Any] = {"node_selector": {"example.com/there-is": "none"}}
WAVES = [{"targets": ["one"], "soak_seconds": 1}, {"targets": ["two"]}]
ROUTED_WAVES = [{"targets": ["routed-one"], "soak_seconds": 1}, {"targets": ["routed-two"]}]
GATEWAY = {"name": "local", "namespace": "kube-system"}
ANALYSE = {"analyse": {"provider": "health", "interval_seconds": 1, "count": 2}}
COMMON = {"on_failure": "rollback", "progress_deadline_seconds": 5}
STRATEGIES: list[dict[str, Any]] = [
    {"kind": "rolling", "waves": WAVES},
    {"kind": "canary", "waves": WAVES, "steps": [{"set_weight": 50}, ANALYSE, {"pause": {"seconds": 1}}]},
    {"kind": "recreate", "waves": WAVES},
    {"kind": "blue_green", "waves": WAVES, "auto_promote_seconds": 1, "scale_down_delay_seconds": 1},
    {"kind": "canary", "steps": [{"set_weight": 25}, {"pause": {}}, {"set_weight": 75}, ANALYSE]},
    {"kind": "blue_green", "steps": [ANALYSE, {"switch": {}}, ANALYSE], "scale_down_delay_seconds": 1},
    # By Gateways.
    {"kind": "canary", "waves": ROUTED_WAVES, "steps": [{"set_weight": 30}, ANALYSE, {"set_weight": 60}]},
    {"kind": "shadow", "waves": ROUTED_WAVES, "steps": [{"mirror": 50}, ANALYSE, {"mirror": 100}, {"pause": {}}]},
]
ROUTED = len(STRATEGIES) - 2
FATES = ("good", "bad", "taken back", "good", "rejected")


def run() -> Iterator[Figure]:
    """One figure."""
    urllib3.disable_warnings()
    with stage(*HOLLOW) as bench, _second(bench) as away:
        courses = _Courses(bench, away)
        began = time.monotonic()
        calm = courses.run("calm")
        took = time.monotonic() - began
        with _fire(bench) as killed:
            under = courses.run("fire")
        differ = {number: (calm[number], under[number]) for number in calm if calm[number] != under[number]}
        twice = [number for number, end in under.items() if end["made_twice"]]
        ends = sorted(end["state"] for end in under.values())
        beside: dict[str, Any] = {
            "kills": len(killed),
            "calm_s": round(took, 1),
            "fire_s": round(time.monotonic() - began - took, 1),
        }
        beside |= {"ends": {state: ends.count(state) for state in ends}, "seed": SEED}
        whys = {number: {word: _said(f"{word}-{number}") for word in ("calm", "fire")} for number in differ}
        beside |= {"differ": differ, "why": whys, "twice": twice} if differ or twice else {}
        yield Figure("rollouts_that_end_otherwise_under_fire", len(differ) + len(twice), "rollouts", 0.0, beside=beside)


@contextmanager
def _second(bench: Stage) -> Iterator[LocalCluster]:
    from apps.clusters.services import register

    directory = Path(bench.servers.directory) / "away"
    directory.mkdir()
    cluster = LocalCluster.start(directory, *HOLLOW)
    try:
        register(principal=bench.principal, name="away", kubeconfig_text=cluster.kubeconfig.read_text())
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def _fire(bench: Stage) -> Iterator[list[str]]:
    """Kill one process after another, with all of its children; each comes back at once. Yields who was killed."""
    killed, enough, chance = list[str](), threading.Event(), random.Random(SEED)

    def shoot() -> None:
        while len(killed) < KILLS and not enough.wait(chance.uniform(LEAST_S, MOST_S)):
            name = chance.choice(VICTIMS)
            children = psutil.Process(bench.servers.pid(name)).children(recursive=True)
            bring_back = bench.servers.lose(name)
            for child in psutil.wait_procs(children, timeout=0)[1]:
                child.kill()
            killed.append(name)
            bring_back()

    thread = threading.Thread(target=shoot, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        enough.set()
        thread.join()


class _Courses:
    """Twenty deployments, and the people who steer their rollouts."""

    def __init__(self, bench: Stage, away: LocalCluster) -> None:
        from apps.core.access import Principal
        from apps.core.models import Membership, User
        from apps.deployments import services

        self._bench, self._clusters = bench, (bench.home, away)
        other = User.objects.create(username="approver")
        Membership.objects.create(user=other, project=bench.project, role="developer")
        self._approver = Principal(user=other)
        targets: list[tuple[str, str, dict[str, Any]]] = [
            ("one", "home", {}), ("two", "away", {}), ("gated", "away", {"policy": {"approval": True}}),
            ("routed-one", "home", {"gateway": GATEWAY}), ("routed-two", "away", {"gateway": GATEWAY}),
        ]  # fmt: skip
        for target, cluster, more in targets:
            services.create_target(
                principal=bench.principal, project=bench.project, name=target, cluster=cluster, **more
            )

    def run(self, word: str) -> dict[int, dict[str, Any]]:
        """Let all of them go, until all have ended and settled; how each stands then."""
        for number in range(COUNT):
            self._deploy(f"{word}-{number}", number)
        self._until(word, _is_well, "all to serve")
        for number in range(COUNT):
            self._revise(f"{word}-{number}", number)
        self._until(word, self._has_ended, "all rollouts to end")
        self._until(word, _is_well, "all to be well")
        until(lambda: self._settled(word), "the clusters to be as they are wanted", timeout=120)
        return {number: self._end(f"{word}-{number}") for number in range(COUNT)}

    def _deploy(self, name: str, number: int) -> None:
        from apps.deployments import services

        spread: dict[str, Any] = {"spread": {"replicas": 5}} if number % 7 == 6 else {"replicas": 2}
        services.create_deployment(
            principal=self._bench.principal,
            project=self._bench.project,
            asked=services.NewDeployment(
                name=name,
                targets=_targets(number),
                spec={**SPEC, "strategy": _strategy(number)},
                **spread,
            ),
        )

    def _revise(self, name: str, number: int) -> None:
        from apps.deployments import services

        changes: dict[str, Any] = {"env": {"NEXT": "1"}} | (NOWHERE if FATES[number % len(FATES)] == "bad" else {})
        services.deploy_revision(principal=self._bench.principal, deployment=_row(name), changes=changes)

    def _until(self, word: str, holds: Callable[[Any], bool], awaited: str) -> None:
        def all_hold() -> bool:
            rows = [_row(f"{word}-{number}") for number in range(COUNT)]
            for number, row in enumerate(rows):
                self._steer(number, row)
            return all(holds(row) for row in rows)

        until(all_hold, awaited, timeout=600)

    @staticmethod
    def _has_ended(row: Any) -> bool:
        return row.last_revision == 2 and row.under_way is None

    def _steer(self, number: int, row: Any) -> None:
        """What a person does about a rollout that waits for one; it may go on at the same moment."""
        from apps.core.errors import Conflict

        with suppress(Conflict):
            self._press(number, row)

    def _press(self, number: int, row: Any) -> None:
        from apps.deployments import services
        from apps.deployments.models import Approval

        fate, rollout = FATES[number % len(FATES)], row.under_way
        if rollout is None:
            return
        is_first = rollout.to_revision.number == 1
        for approval in Approval.objects.filter(rollout=rollout, state="Waiting"):
            decide = services.reject if fate == "rejected" and not is_first else services.approve
            decide(principal=self._approver, approval=approval, comment="Looked at.")
        steer: dict[str, Any] = {"principal": self._bench.principal, "deployment": row}
        waits = rollout.reason == "PauseStep" and "seconds" not in rollout.plan[rollout.step]
        if fate == "taken back" and not is_first and (waits or rollout.reason == "Soaking"):
            services.abort(**steer)
        elif waits or rollout.reason == "Soaking":
            services.promote(**steer)

    def _settled(self, word: str) -> bool:
        """Whether the clusters have as many pods of each as are wanted."""
        return all(
            _pods(cluster, name) == wanted
            for number in range(COUNT)
            for name in [f"{word}-{number}"]
            for cluster, wanted in zip(self._clusters, self._wanted(name), strict=True)
        )

    @staticmethod
    def _wanted(name: str) -> list[int]:
        places = _row(name).places
        return [
            sum(place.desired_replicas for place in places if place.target.cluster.name == cluster)
            for cluster in ("home", "away")
        ]

    def _end(self, name: str) -> dict[str, Any]:
        """How one stands in the end, and what was done twice on its way."""
        from apps.core.models import Transition
        from apps.deployments.models import AnalysisRun, Rollout

        row, rollouts = _row(name), Rollout.objects.filter(deployment__name=name).order_by("pk")
        newest = rollouts.last()
        assert newest is not None
        ends = Transition.objects.filter(
            object_type="deployments.rollout", object_id=newest.pk, to_state=newest.state
        ).exclude(from_state=newest.state)
        looks = {len(run.measurements) for run in AnalysisRun.objects.filter(rollout__in=rollouts, state="Successful")}
        return {
            "state": newest.state,
            "revision": row.current.number,
            "serves": [place.stable.number for place in row.places],
            "revisions": row.last_revision,
            "rollouts": rollouts.count(),
            "replicas": [place.ready_replicas for place in row.places],
            "made_twice": [ends.count(), *sorted(looks - {2})] != [1] or any(map(_made_twice(name), self._clusters)),
        }


def _said(name: str) -> list[str]:
    """What was told of its newest rollout, in order."""
    from apps.core.models import Transition

    newest = _row(name).rollouts.order_by("pk").last()
    told = Transition.objects.filter(object_type="deployments.rollout", object_id=newest.pk).order_by("pk")
    return [f"{each.at:%H:%M:%S} {each.to_state}: {each.message}" for each in told]


def _is_well(row: Any) -> bool:
    return row.health == "Healthy" and row.under_way is None


def _is_routed(number: int) -> bool:
    return number % len(STRATEGIES) >= ROUTED


def _is_gated(number: int) -> bool:
    return not _is_routed(number) and (number % 4 == 3 or FATES[number % len(FATES)] == "rejected")


def _targets(number: int) -> list[str]:
    if _is_routed(number):
        return ["routed-one", "routed-two"]
    return ["one", "gated"] if _is_gated(number) else ["one", "two"]


def _strategy(number: int) -> dict[str, Any]:
    strategy = {**STRATEGIES[number % len(STRATEGIES)], **COMMON}
    if _is_gated(number) and "waves" in strategy:
        strategy["waves"] = [WAVES[0], {"targets": ["gated"]}]
    if FATES[number % len(FATES)] == "taken back" and "waves" in strategy:
        # Long enough that somebody sees it, and takes it back.
        strategy["waves"] = [{**strategy["waves"][0], "soak_seconds": 300}, *strategy["waves"][1:]]
    return strategy


def _row(name: str) -> Any:
    from apps.deployments.models import Deployment

    return Deployment.objects.get(name=name)


def _pods(cluster: LocalCluster, name: str) -> int:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=flotilla.dev/deployment={name}"
    return len(kube(cluster, "GET", path)["items"])


def _made_twice(name: str) -> Callable[[LocalCluster], bool]:
    """Whether a Kubernetes Deployment of this name was rendered twice: then it has more than one ReplicaSet."""

    def look(cluster: LocalCluster) -> bool:
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets?labelSelector=flotilla.dev/deployment={name}"
        owners = [each["metadata"]["ownerReferences"][0]["name"] for each in kube(cluster, "GET", path)["items"]]
        return len(owners) != len(set(owners))

    return look
