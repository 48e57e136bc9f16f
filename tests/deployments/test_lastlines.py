"""The last lines of a revision that is taken back: whose, how many, and that no rollback waits for them for long."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from apps.clusters.kube.errors import NotFound
from apps.clusters.models import Pod
from apps.deployments.models import KeptLog, Placement, Rollout, Stage
from apps.deployments.reconcile import lastlines
from apps.deployments.reconcile.lastlines import Whose, last_lines, whose_of
from apps.deployments.services.keptlogs import MAX_LOGS, MAX_ROLLOUTS, LastLines, keep_logs, keeps_more
from tests import factories

ENDED, FAILED = {"terminated": {"exitCode": 0}}, {"terminated": {"exitCode": 3}}
RUNS, WAITS = {"running": {}}, {"waiting": {"reason": "CrashLoopBackOff"}}


def container(name: str, state: Any, restarts: int = 0, *, ready: bool = False) -> dict[str, Any]:
    return {"name": name, "state": state, "restarts": restarts, "ready": ready}


@pytest.mark.parametrize(
    ("inits", "mains", "whose"),
    [
        ([], [container("server", RUNS)], Whose("server", False)),
        ([], [container("server", WAITS, 3)], Whose("server", False)),
        # It runs again: what it said before it ended tells more.
        ([], [container("server", RUNS, 3)], Whose("server", True)),
        ([], [container("server", RUNS), container("proxy", WAITS, 1)], Whose("server", False)),
        ([container("fetch", ENDED)], [container("server", RUNS)], Whose("server", False)),
        ([container("fetch", FAILED)], [container("server", {"waiting": {}})], Whose("fetch", False)),
        ([container("fetch", ENDED), container("beside", RUNS, ready=True)], [container("server", WAITS, 1)],
         Whose("server", False)),
        ([], [], None),
    ],
)  # fmt: skip
def test_whose_log_tells_most(inits: list[Any], mains: list[Any], whose: Whose | None) -> None:
    assert whose_of(Pod(status={"init_containers": inits, "containers": mains})) == whose


@pytest.fixture
def stage(db: None) -> Stage:
    """A rollout of two replicas that is taken back."""
    project = factories.busy_project(size=1)
    digits = project.deployments.get()
    version = digits.revisions.get().model_version
    assert version is not None
    rollout = factories.canary(digits, version)
    Rollout.objects.filter(pk=rollout.pk).update(state="RollingBack")
    place = digits.places[0]
    for name, restarts in (("digits-r2-well", 0), ("digits-r2-bad", 4)):
        status = {"containers": [container("server", WAITS, restarts)]}
        factories.pod(
            place.target.cluster, project, deployment="digits", revision="2", name=name, ready=not restarts,
            restarts=restarts, status=status,
        )  # fmt: skip
    return Stage.objects.select_related("rollout__to_revision", "placement__deployment__project").get()


def placement(stage: Stage) -> Placement:
    return Placement.objects.select_related("deployment__project", "target").get(pk=stage.placement_id)


def test_the_worst_are_read_first_and_kept_once(stage: Stage) -> None:
    asked: list[str] = []

    class Cluster:
        def pod_log(self, namespace: str, name: str, **how: Any) -> str:
            asked.append(name)
            if name == "digits-r2-well":
                raise NotFound(404, "NotFound", "It is gone.")
            return "2026-11-30T03:04:05.1Z no\x00 weights\n"

    for _ in range(2):
        with last_lines(Cluster(), placement(stage), stage):  # type: ignore[arg-type]
            pass
    assert sorted(asked) == ["digits-r2-bad", "digits-r2-well"]
    kept = KeptLog.objects.get()
    assert (kept.replica, kept.text, kept.why) == (
        "digits-r2-bad", "2026-11-30T03:04:05.1Z no weights\n", "restarted 4×",
    )  # fmt: skip
    Rollout.objects.filter(pk=stage.rollout_id).update(state="Paused")
    stage.rollout.refresh_from_db()
    KeptLog.objects.all().delete()
    with last_lines(Cluster(), placement(stage), stage):  # type: ignore[arg-type]
        pass
    assert not KeptLog.objects.exists(), "what goes on has its log still"


def test_a_cluster_that_gives_no_log_holds_up_no_rollback(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lastlines, "HEAD_START_SECONDS", 0.01)
    monkeypatch.setattr(lastlines, "MOST_SECONDS", 0.05)
    ends, gone = threading.Event(), []
    silent: Any = SimpleNamespace(pod_log=lambda *_, **__: str(ends.wait(60)))
    with last_lines(silent, placement(stage), stage):
        gone.append("told to go")
        assert not ends.is_set()
    ends.set()
    assert gone and not KeptLog.objects.exists()


def test_as_much_is_kept_as_may_be(stage: Stage) -> None:
    first, place = stage.rollout, placement(stage)
    lines = [LastLines(f"r{number}", "server", False, "x" * 300, "y") for number in range(3)]
    keep_logs(place, first, lines)
    keep_logs(place, first, lines)
    assert KeptLog.objects.count() == 3 and not keeps_more(first, place.target.name) and keeps_more(first, "other")
    row = KeptLog.objects.earliest("id")
    KeptLog.objects.bulk_create(
        KeptLog(rollout=first, target=f"t{number}", replica="r", container="server", text="y", taken_at=row.taken_at)
        for number in range(MAX_LOGS - 3)
    )
    assert not keeps_more(first, "other")
    values = {"deployment": first.deployment, "to_revision": first.to_revision, "state": "Failed"}
    later = [Rollout.objects.create(**values, ended_at=timezone.now()) for _ in range(MAX_ROLLOUTS)]
    for rollout in later:
        keep_logs(place, rollout, lines[:1])
    assert set(KeptLog.objects.values_list("rollout_id", flat=True)) == {rollout.pk for rollout in later}
    gone = Rollout.objects.create(**values, ended_at=timezone.now())
    Rollout.objects.filter(pk=gone.pk).delete()
    keep_logs(place, gone, lines)
    assert KeptLog.objects.count() == MAX_ROLLOUTS
