"""Pods are real processes: what they see, how they end, and what the API says about it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from localcluster.kubelet import kubelet, procfs
from localcluster.kubelet.sandbox import Sandbox
from tests.localcluster.nodes import Side, scenario


def gone(pid: int) -> bool:
    """Has the process ended? (It may still wait to be reaped by init.)"""
    process = procfs.stat(pid)
    return process is None or process.memory == 0


pytestmark = pytest.mark.real_process


def test_a_pod_runs_with_its_own_address_directory_and_log() -> None:
    async def story(side: Side) -> None:
        side.run("a", "sh", "-c", "echo hello from $HOST; pwd; hostname > own.txt; sleep 60")
        await side.until(lambda: "running" in side.state("a"))
        status = side.pod("a")["status"]
        assert status["phase"] == "Running"
        assert status["podIP"].startswith("127.")
        assert side.container("a")["ready"] is True
        log = await side.until(lambda: side.log("a").count("\n") == 2 and side.log("a"))
        assert f"hello from {status['podIP']}" in log
        stamp, _, text = log.splitlines()[1].partition(" ")
        assert stamp.endswith("Z")
        assert len(stamp) == len("2026-01-01T00:00:00.123456789Z")
        assert str(side.kubelet.pods_folder) in text
        assert side.reasons("a") == ["Scheduled", "Pulled", "Created", "Started"]

    scenario(story)


def test_exit_codes_and_phases_are_told() -> None:
    async def story(side: Side) -> None:
        side.run("good", "true")
        side.run("bad", "sh", "-c", "exit 3")
        side.run("killed", "sh", "-c", "kill -9 $$$$")
        side.run("missing", "no-such-program")
        await side.until(lambda: side.phase("good") == "Succeeded")
        for name, code, reason in (("bad", 3, "Error"), ("killed", 137, "Error"), ("missing", 128, "StartError")):
            await side.until(lambda name=name: side.phase(name) == "Failed")
            ended = side.state(name)["terminated"]
            assert (ended["exitCode"], ended["reason"]) == (code, reason)
        assert "executable file not found in $PATH" in side.state("missing")["terminated"]["message"]
        assert side.state("good")["terminated"]["reason"] == "Completed"

    scenario(story)


def test_a_killed_container_restarts_at_once_then_backs_off() -> None:
    async def story(side: Side) -> None:
        side.run("web", "sh", "-c", "echo run; sleep 60", policy="Always")
        await side.until(lambda: "running" in side.state("web"))
        await side.until(lambda: "run" in side.log("web"))
        os.kill(side.pid("web"), signal.SIGKILL)
        await side.until(lambda: side.container("web")["restartCount"] == 1 and "running" in side.state("web"))
        assert "BackOff" not in side.reasons("web"), "the first time it is started at once"
        last = side.container("web")["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (137, "Error")
        assert side.log("web", previous=True).endswith("run\n")
        os.kill(side.pid("web"), signal.SIGKILL)
        await side.until(lambda: side.state("web").get("waiting", {}).get("reason") == "CrashLoopBackOff")
        message = side.state("web")["waiting"]["message"]
        uid = side.pod("web")["metadata"]["uid"]
        assert message == f"back-off 10s restarting failed container=main pod=web_default({uid})"
        assert side.container("web")["restartCount"] == 1
        assert side.log("web", previous=True) == side.log("web")
        assert side.container("web")["lastState"]["terminated"]["exitCode"] == 137
        assert "BackOff" in side.reasons("web")

    scenario(story)


def test_deletion_is_graceful_and_leaves_nothing(tmp_path: Path) -> None:
    async def story(side: Side) -> None:
        witness = tmp_path / "witness"
        side.run(
            "polite", "sh", "-c", f"trap 'echo bye > {witness}; exit 0' TERM; echo set; while true; do sleep 0.05; done"
        )
        side.run("deaf", "sh", "-c", "trap '' TERM; echo set; while true; do sleep 0.05; done")
        await side.until(lambda: "set" in side.log("polite") and "set" in side.log("deaf"))
        pids = [side.pid("polite"), side.pid("deaf")]
        folders = list(side.kubelet.pods_folder.iterdir())
        began = time.monotonic()
        side.registry.delete("pods", "polite", "default", grace_seconds=10)
        side.registry.delete("pods", "deaf", "default", grace_seconds=1)
        assert side.pod("deaf")["metadata"]["deletionGracePeriodSeconds"] == 1
        await side.until(lambda: not side.exists("pods", "polite"))
        assert witness.read_text() == "bye\n"
        await side.until(lambda: not side.exists("pods", "deaf"))
        # Its second, and not the 30 s of its spec, for which nobody here waits.
        assert time.monotonic() - began > 0.9
        assert "Killing" in side.reasons("deaf")
        await side.until(lambda: all(procfs.stat(pid) is None for pid in pids))
        await side.until(lambda: not any(folder.exists() for folder in folders))

    scenario(story)


def test_a_forced_deletion_kills_at_once() -> None:
    async def story(side: Side) -> None:
        side.run("deaf", "sh", "-c", "trap '' TERM; echo set; while true; do sleep 0.05; done")
        await side.until(lambda: "set" in side.log("deaf"))
        pid = side.pid("deaf")
        side.registry.delete("pods", "deaf", "default", grace_seconds=0)
        assert not side.exists("pods", "deaf")
        await side.until(lambda: procfs.stat(pid) is None, 15)

    scenario(story)


def test_children_do_not_outlive_their_container() -> None:
    async def story(side: Side) -> None:
        side.run("parent", "sh", "-c", "sleep 300 & echo $!; exit 0")
        side.run("daemon", "sh", "-c", "setsid sleep 300 & echo $!; sleep 0.1; exit 0")
        for name in ("parent", "daemon"):
            await side.until(lambda name=name: side.phase(name) == "Succeeded")
            child = int(side.log(name).split()[-1])
            await side.until(lambda child=child: gone(child))

    scenario(story)


def test_too_much_memory_is_oom_killed() -> None:
    async def story(side: Side) -> None:
        side.run(
            "hungry",
            "python",
            "-c",
            "import time; x = bytearray(96 * 1024 * 1024); time.sleep(60)",
            image="python:3.11",
            resources={"limits": {"memory": "48Mi"}},
        )
        await side.until(lambda: side.phase("hungry") == "Failed")
        ended = side.state("hungry")["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")

    scenario(story)


def test_usage_is_measured() -> None:
    async def story(side: Side) -> None:
        side.run("busy", "sh", "-c", "while true; do :; done")
        used = await side.until(lambda: side.kubelet.usage().get(("default", "busy")))
        assert used[0].name == "main"
        used = await side.until(
            lambda: (measured := side.kubelet.usage()[("default", "busy")][0]).cpu_nanocores > 1e8 and measured
        )
        assert used.memory_bytes > 100_000

    scenario(story)


def test_the_cluster_stops_all_pods_and_starts_them_again(tmp_path: Path) -> None:
    import asyncio

    from localcluster.store import Store
    from tests.localcluster.nodes import running

    async def story() -> None:
        store = Store(tmp_path / "state.sqlite")
        async with running(tmp_path, store=store) as side:
            side.run("web", "sleep", "60", policy="Always")
            side.run("once", "sleep", "60", policy="Never")
            await side.until(lambda: "running" in side.state("web") and "running" in side.state("once"))
            pids, address = [side.pid("web"), side.pid("once")], side.pod("web")["status"]["podIP"]
        assert all(procfs.stat(pid) is None for pid in pids)
        store.close()
        store = Store(tmp_path / "state.sqlite")
        async with running(tmp_path, store=store) as side:
            await side.until(lambda: side.container("web")["restartCount"] == 1 and "running" in side.state("web"))
            assert side.pod("web")["status"]["podIP"] == address
            assert side.container("web")["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
            await side.until(lambda: side.phase("once") == "Failed")
            assert side.state("once")["terminated"]["exitCode"] == 137
        store.close()

    asyncio.run(story())


def test_what_a_killed_cluster_left_behind_is_ended(tmp_path: Path) -> None:
    import asyncio
    import subprocess

    from localcluster.kubelet.strays import ID_VARIABLE, Record
    from tests.localcluster.nodes import running

    # A leader that died with its cluster, and a child of it that lives on; and a stranger with a recorded pid.
    leader = subprocess.Popen(
        ["sh", "-c", "sleep 300 & echo $!; exec sleep 300"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        env={**os.environ, ID_VARIABLE: "f" * 64},
    )
    assert leader.stdout is not None
    child = int(leader.stdout.readline())
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    for name, container_id, pid in (("a", "f" * 64, leader.pid), ("b", "e" * 64, stranger.pid)):
        folder = tmp_path / "pods" / f"default_{name}_uid" / "main"
        folder.mkdir(parents=True)
        Record(container_id, pid, 1, procfs.boot_id()).save(folder / "pid")

    async def story() -> None:
        async with running(tmp_path) as side:
            await side.until(lambda: leader.poll() is not None)
            await side.until(lambda: gone(child))
            await side.until(lambda: not list((tmp_path / "pods").iterdir()))

    try:
        asyncio.run(story())
        assert stranger.poll() is None
    finally:
        stranger.kill()
        leader.kill()
        leader.stdout.close()
        stranger.wait()


def test_hooks_run_after_the_start_and_before_the_end() -> None:
    async def story(side: Side) -> None:
        hooks = {
            "postStart": {"exec": {"command": ["sh", "-c", "echo started > hook"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo stopping > hook; sleep 0.2"]}},
        }
        command = (
            "until grep -q started hook 2>/dev/null; do sleep 0.02; done; echo seen; while true; do sleep 0.05; done"
        )
        side.run("hooked", "sh", "-c", command, lifecycle=hooks)
        await side.until(lambda: "seen" in side.log("hooked"))
        hook = next(side.kubelet.pods_folder.glob("*/main/work/hook"))
        side.registry.delete("pods", "hooked", "default")
        await side.until(lambda: hook.read_text() == "stopping\n")
        await side.until(lambda: not side.exists("pods", "hooked"))
        side.run("broken", "sleep", "60", lifecycle={"postStart": {"exec": {"command": ["false"]}}})
        await side.until(lambda: side.phase("broken") == "Failed")
        assert "FailedPostStartHook" in side.reasons("broken")

    scenario(story)


def test_a_hook_that_takes_the_whole_grace_period_leaves_two_seconds(tmp_path: Path) -> None:
    """ "a small, one-off grace period extension of 2 seconds": the process hears SIGTERM, and can still act on it."""

    async def story(side: Side) -> None:
        witness = tmp_path / "witness"
        hook = {"preStop": {"exec": {"command": ["sleep", "60"]}}}
        trap = f"trap 'sleep 0.3; echo bye > {witness}; exit 0' TERM; echo set; while true; do sleep 0.05; done"
        side.run("slow", "sh", "-c", trap, lifecycle=hook)
        await side.until(lambda: "set" in side.log("slow"))
        side.registry.delete("pods", "slow", "default", grace_seconds=1)
        await side.until(lambda: not side.exists("pods", "slow"))
        assert witness.read_text() == "bye\n"

    scenario(story)


def test_a_pod_whose_worker_failed_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug, or a full disk: it is logged, and the pod is neither lost nor does it take the others with it."""
    prepare, failures = Sandbox.prepare, ["once", "twice"]

    def fail(self: Sandbox, *arguments: Any) -> dict[str, str]:
        if "odd" in self.folder.name and failures:
            raise RuntimeError(f"failed {failures.pop(0)}")
        return prepare(self, *arguments)

    monkeypatch.setattr(Sandbox, "prepare", fail)
    monkeypatch.setattr(kubelet, "_RETRY_SECONDS", 0.1)

    async def story(side: Side) -> None:
        side.run("odd", "true")
        side.run("good", "true")
        await side.until(lambda: side.phase("good") == "Succeeded")
        await side.until(lambda: side.phase("odd") == "Succeeded")

    with pytest.raises(RuntimeError, match="failed once"):  # what was logged
        scenario(story)
    assert not failures


def test_pods_of_nobody_are_left_alone() -> None:
    async def story(side: Side) -> None:
        side.run("elsewhere", "true", spec={"nodeName": "no-such-node"})
        side.run("other", "true", spec={"schedulerName": "mine"})
        side.run("gated", "true", spec={"schedulingGates": [{"name": "wait"}]})
        side.run("last", "true")
        await side.until(lambda: side.phase("last") == "Succeeded")
        for name in ("elsewhere", "other", "gated"):
            assert side.phase(name) == "Pending"
        [waits] = side.pod("gated")["status"]["conditions"]
        assert (waits["type"], waits["status"], waits["reason"]) == ("PodScheduled", "False", "SchedulingGated")
        side.registry.delete("pods", "elsewhere", "default")
        await side.until(lambda: not side.exists("pods", "elsewhere"))

    scenario(story)
