"""What a real node does to a container that is easily forgotten: signals to PID 1, CPU limits, read-only images."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcluster.kubelet import kubelet, procfs
from localcluster.kubelet.throttle import PERIOD_SECONDS, Budget, limit_of
from tests.localcluster.nodes import Side, scenario

NOT_ROOT = {"securityContext": {"runAsNonRoot": True, "runAsUser": 65532}}
# Burns CPU seconds, its own and its ended children's, and says how long that took.
BURN = """
import os, sys, time
began, wanted = time.monotonic(), float(sys.argv[1])
while sum(os.times()[:4]) < wanted:
    pass
print("took", time.monotonic() - began, flush=True)
"""


@pytest.mark.real_process
@pytest.mark.parametrize(("listens", "seconds"), [(True, 0.0), (False, 2.0)])
def test_sigterm_reaches_a_first_process_only_when_it_has_a_handler(listens: bool, seconds: float) -> None:
    """pid_namespaces(7): for PID 1 there is no default action, so that a program that never asked dies by SIGKILL."""

    async def story(side: Side) -> None:
        handler = "trap 'exit 7' TERM; " if listens else ""
        side.run("first", "sh", "-c", f"{handler}echo set; while :; do sleep 0.05; done", policy="Always")
        await side.until(lambda: "set" in side.log("first"))
        side.registry.mutate(
            "pods", "first", "default", lambda pod: pod["spec"].update(terminationGracePeriodSeconds=int(seconds) or 30)
        )
        began = time.monotonic()
        side.registry.mutate(
            "pods", "first", "default", lambda pod: pod["spec"]["containers"][0].update(image="python:3.11")
        )
        await side.until(lambda: side.container("first")["restartCount"] == 1)
        assert time.monotonic() - began >= seconds
        assert side.container("first")["lastState"]["terminated"]["exitCode"] == (7 if listens else 137)

    scenario(story)


@pytest.mark.real_process
def test_a_stopping_cluster_does_not_wait_for_those_who_do_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    # So long would be waited for one that listens: nobody could take it for a busy machine.
    monkeypatch.setattr(kubelet, "STOP_SECONDS", 300.0)

    async def story(side: Side) -> None:
        side.run("deaf", "sleep", "60")
        await side.until(lambda: "running" in side.state("deaf"))
        pid = side.pid("deaf")
        await asyncio.wait_for(side.kubelet.stop(), 30)
        assert procfs.stat(pid) is None

    scenario(story)


def took(log: str) -> float:
    return float(log.split()[2])


@pytest.mark.real_process
def test_a_cpu_limit_holds_for_the_program_and_its_children() -> None:
    """0.6 CPU seconds at 200m take 3 seconds, wherever they are used."""

    async def story(side: Side) -> None:
        limits: dict[str, Any] = {"resources": {"limits": {"cpu": "200m"}}}
        side.run("alone", "python", "-c", BURN, "0.6", image="python:3.11", **limits)
        children = (
            'i=0; while [ $i -lt 12 ]; do i=$((i+1)); python -c "$BURN" 0.05 >/dev/null; done; echo took $(times)'
        )
        env = [{"name": "BURN", "value": BURN}]
        side.run("parent", "sh", "-c", children, image="python:3.11", env=env, **limits)
        began = time.monotonic()
        for name in ("alone", "parent"):
            await side.until(lambda name=name: side.phase(name) == "Succeeded", 60)
            assert time.monotonic() - began > 2.4
        assert took(side.log("alone")) > 2.4

    scenario(story)


@pytest.mark.real_process
def test_a_throttled_container_hears_signals_and_answers_probes() -> None:
    async def story(side: Side) -> None:
        trap = "trap 'exit 0' TERM; echo set; while :; do :; done"
        probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
        limits: dict[str, Any] = {"resources": {"limits": {"cpu": "100m"}}}
        side.run("busy", "sh", "-c", trap, readinessProbe=probe, **limits)
        await side.until(lambda: side.container("busy")["ready"] and "set" in side.log("busy"))
        state = Path(f"/proc/{side.pid('busy')}/stat")
        await side.until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
        side.registry.delete("pods", "busy", "default", grace_seconds=20)
        await side.until(lambda: not side.exists("pods", "busy"))
        killing = [event["message"] for event in side.events("busy") if event["reason"] == "Killing"]
        assert killing == ["Stopping container main"]

    scenario(story)


def played(cores: float, rounds: list[tuple[float, float]]) -> tuple[float, float, float]:
    """(CPU seconds used, seconds passed, the most that was used between two looks) of a container of two threads.

    A round is how busy it is, and how late the look after it comes, as a share of what can be repaid.
    """
    budget, used, passed, most = Budget.of(cores), 0.0, 0.0, 0.0
    for busy, late in rounds:
        hold = budget.hold()
        assert hold == 0 or budget.after(0, hold, held=True).hold() == 0
        assert hold <= 1.0 + 1e-6  # a probe waits for as long
        seconds = hold + late * cores * 0.3
        spent = 0.0 if hold else 2 * busy * seconds
        budget = budget.after(spent, seconds, held=hold > 0)
        used, passed, most = used + spent, passed + seconds, max(most, spent)
    return used, passed, most


LATENESS = st.floats(0.01, 1)


@given(st.floats(0.01, 1.9), st.lists(st.tuples(st.floats(0, 1), LATENESS), max_size=80))
def test_a_budget_gives_no_more_than_the_limit(cores: float, rounds: list[tuple[float, float]]) -> None:
    used, passed, most = played(cores, rounds)
    assert used <= cores * (passed + PERIOD_SECONDS) + most + 1e-6


@given(st.floats(0.01, 1.9), st.lists(LATENESS, max_size=80))
def test_a_budget_gives_the_limit_to_one_that_is_always_busy(cores: float, latenesses: list[float]) -> None:
    used, passed, most = played(cores, [(1.0, late) for late in latenesses])
    assert used >= cores * (passed - 1.0) - most - 1e-6


@pytest.mark.parametrize(("limit", "cores"), [("100m", 0.1), ("0.5", 0.5), (1000, None), (None, None), ("0", None)])
def test_only_limits_that_can_be_exceeded_are_enforced(limit: Any, cores: float | None) -> None:
    assert limit_of({"resources": {"limits": {"cpu": limit} if limit is not None else {}}}) == cores


@pytest.mark.real_process
def test_nobody_but_root_writes_into_the_folder_of_an_image(tmp_path: Path) -> None:
    (tmp_path / "app" / "sub").mkdir(parents=True)
    (tmp_path / "app" / "sub" / "file").write_text("as it was\n")
    (tmp_path / "images.toml").write_text('"team/app:1" = { files = "app" }')
    writes = "for f in new file sub/new sub/file; do (echo x > $f) 2>/dev/null && echo wrote $f; done; "
    elsewhere = "echo x > $TMPDIR/a && echo x > /data/b && echo x > /dev/termination-log && cat sub/file && echo done"

    async def story(side: Side) -> None:
        mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        for name, spec in (("root", {}), ("nonroot", NOT_ROOT)):
            spec = {**spec, "volumes": [{"name": "data", "emptyDir": {}}]}
            side.run(name, "sh", "-c", writes + elsewhere, image="team/app:1", spec=spec, **mounts)
            await side.until(lambda name=name: side.phase(name) == "Succeeded")
        lines = [line.split(" ", 1)[1] for line in side.log("nonroot").splitlines()]
        assert lines == ["as it was", "done"]
        assert "wrote sub/file" in side.log("root")
        folders = list(side.kubelet.pods_folder.iterdir())
        side.registry.delete("pods", "nonroot", "default")
        await side.until(lambda: not any("nonroot" in folder.name and folder.exists() for folder in folders))

    scenario(story, images=tmp_path / "images.toml")


@pytest.mark.real_process
def test_a_locked_folder_starts_again_and_can_be_removed_by_its_owner(tmp_path: Path) -> None:
    async def story(side: Side) -> None:
        side.run("again", "sh", "-c", "ls; exit 1", policy="OnFailure", spec=NOT_ROOT)
        await side.until(lambda: side.container("again")["restartCount"] == 1)
        work = next(side.kubelet.pods_folder.glob("*/main/work"))
        assert not work.stat().st_mode & 0o222
        await side.kubelet.stop()
        assert work.stat().st_mode & 0o200
        assert os.access(work, os.W_OK)

    scenario(story)
