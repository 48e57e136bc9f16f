"""Hollow pods: how they end, what an annotation that makes no sense does, and what an interruption does to a run."""

import asyncio
import time
from pathlib import Path

import pytest

from localcluster.kubelet.hollow import EXIT_CODE, RUN_SECONDS, run_of
from localcluster.kubelet.pretended import USE_CPU, USE_MEMORY
from localcluster.meta import time_of
from localcluster.store import Store
from tests.localcluster.nodes import Object, Side, running, scenario


@pytest.mark.parametrize(
    ("annotations", "run"),
    [
        ({}, (1.0, 0)),
        ({RUN_SECONDS: "2.5", EXIT_CODE: "3"}, (2.5, 3)),
        ({RUN_SECONDS: "-4"}, (0.0, 0)),
        # What makes no sense counts as not said.
        ({RUN_SECONDS: "soon", EXIT_CODE: "bad"}, (1.0, 0)),
        ({RUN_SECONDS: "nan"}, (1.0, 0)),
        ({RUN_SECONDS: "inf"}, (1.0, 0)),
    ],
)
def test_what_annotations_say_about_a_run(annotations: dict[str, str], run: tuple[float, int]) -> None:
    assert run_of(annotations) == run


def test_annotations_that_make_no_sense_stop_nobody() -> None:
    async def story(side: Side) -> None:
        annotations = {RUN_SECONDS: "soon", EXIT_CODE: "bad", USE_CPU: "much", USE_MEMORY: "-1"}
        side.run("odd", metadata={"annotations": annotations})
        side.run("server", spec={"restartPolicy": "Always"}, metadata={"annotations": annotations})
        await side.until(lambda: side.phase("server") == "Running")
        (used,) = side.kubelet.usage()["default", "server"]
        assert used.cpu_nanocores > 0
        assert used.memory_bytes > 0
        await side.until(lambda: side.phase("odd") == "Succeeded")

    scenario(story, hollow=True)


def test_a_run_counts_from_its_start_whatever_came_between(tmp_path: Path) -> None:
    """A restart of the cluster does not begin it anew."""

    def began_an_hour_ago(pod: Object) -> None:
        pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = time_of(time.time() - 3600)

    async def story() -> None:
        store = Store(tmp_path / "state.sqlite")
        async with running(tmp_path, store=store, hollow=True) as side:
            side.run("long", metadata={"annotations": {RUN_SECONDS: "3000", EXIT_CODE: "7"}})
            side.run("longer", metadata={"annotations": {RUN_SECONDS: "9000"}})
            for name in ("long", "longer"):
                await side.until(lambda name=name: side.phase(name) == "Running")
                side.registry.mutate("pods", name, "default", began_an_hour_ago, subresource="status")
        async with running(tmp_path, store=store, hollow=True) as side:
            await side.until(lambda: side.phase("long") == "Failed")
            assert side.state("long")["terminated"]["exitCode"] == 7
            assert side.phase("longer") == "Running"
        store.close()

    asyncio.run(story())


def test_nobody_hears_what_the_pods_of_a_silent_node_use() -> None:
    async def story(side: Side) -> None:
        for node in ("local-cpu-1", "local-cpu-2"):
            side.run(f"on-{node}", spec={"restartPolicy": "Always", "nodeName": node})
        await side.until(lambda: len(side.kubelet.usage()) == 2)
        side.nodes.fail("local-cpu-1")
        assert list(side.kubelet.usage()) == [("default", "on-local-cpu-2")]
        # Deleted behind the node's back: it is as if it had never been there.
        side.registry.delete("pods", "on-local-cpu-1", "default", grace_seconds=0)
        side.nodes.recover("local-cpu-1")
        assert list(side.kubelet.usage()) == [("default", "on-local-cpu-2")]
        assert len(side.kubelet.addresses._of) == 1

    scenario(story, hollow=True)
