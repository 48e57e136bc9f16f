"""What hollow pods pretend to use, and how metrics.k8s.io tells it."""

import itertools
import statistics
import time
from typing import Any

import pytest

from localcluster.kubelet.pretended import USE_CPU, USE_MEMORY, usage_of
from tests.localcluster.nodes import Side, scenario

MIB = 1024**2


def _pod(uid: str, annotations: dict[str, str] | None = None, **asked: str) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "main", "resources": {"requests": asked}}]},
    }


def test_usage_is_a_share_of_the_request_that_moves_slowly() -> None:
    at = 1_800_000_000.0
    many = [usage_of(_pod(str(number), cpu="2", memory="4Gi"), at)[0] for number in range(200)]
    cpu = [each.cpu_nanocores / 2e9 for each in many]
    memory = [each.memory_bytes / (4096 * MIB) for each in many]
    assert 0 < min(cpu) < 0.2
    assert 0.7 < max(cpu) < 0.9
    assert 0.2 < min(memory) < max(memory) < 1.0
    assert statistics.pstdev(cpu) > 0.1  # pods differ
    one = _pod("7", cpu="2", memory="4Gi")
    assert usage_of(one, at) == usage_of(one, at)
    steps = [usage_of(one, at + 15 * step)[0].cpu_nanocores for step in range(200)]
    changes = [abs(after - before) for before, after in itertools.pairwise(steps)]
    assert 0 < max(changes) < 2e9 * 0.01


@pytest.mark.parametrize(
    ("annotations", "cpu", "memory"),
    [
        ({USE_CPU: "250m", USE_MEMORY: "1Gi"}, 250_000_000, 1024 * MIB),
        ({USE_CPU: "1"}, 1_000_000_000, None),
    ],
)
def test_an_annotation_sets_it(annotations: dict[str, str], cpu: int, memory: int | None) -> None:
    (usage,) = usage_of(_pod("1", annotations, cpu="2", memory="4Gi"), time.time())
    assert usage.cpu_nanocores == cpu
    assert memory in (None, usage.memory_bytes)


def test_hollow_pods_that_run_are_measured() -> None:
    async def story(side: Side) -> None:
        asked = {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
        side.run("server", spec={"restartPolicy": "Always"}, metadata={"annotations": {USE_CPU: "700m"}}, **asked)
        side.run("nowhere", spec={"restartPolicy": "Always", "nodeSelector": {"no": "such"}})
        await side.until(lambda: side.phase("server") == "Running")
        ((key, (usage,)),) = side.kubelet.usage().items()
        assert (key, usage.name, usage.cpu_nanocores) == (("default", "server"), "main", 700_000_000)
        side.registry.mutate("pods", "server", "default", lambda pod: pod["metadata"]["annotations"].clear())
        ((usage,),) = side.kubelet.usage().values()
        assert usage.cpu_nanocores != 700_000_000
        side.registry.delete("pods", "server", "default", grace_seconds=0)
        await side.until(lambda: not side.kubelet.usage())

    scenario(story, hollow=True)
