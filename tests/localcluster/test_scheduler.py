"""Where pods go, and what the scheduler says when they go nowhere."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from localcluster.config import DEFAULT_NODES
from localcluster.controllers.nodes import Nodes
from localcluster.fit import NodeView, NoFit, Placement, fit, requests, used_by
from localcluster.registry import Registry
from localcluster.scheduler import Scheduler
from localcluster.store import Store
from tests.localcluster.nodes import Side, pod, scenario


def _node(
    name: str, *, labels: dict[str, str] | None = None, taints: Any = (), cordoned: bool = False, **amounts: str
) -> Any:
    given = {"cpu": "4", "memory": "8Gi", "pods": "110", **{k.replace("_", "/"): v for k, v in amounts.items()}}
    spec: dict[str, Any] = {"taints": list(taints)}
    if cordoned:
        spec["unschedulable"] = True
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": {"allocatable": given}}


NODES = [
    _node("a"),
    _node("b"),
    {**_node("gpu"), "status": {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"}}},
]


def _pod(spec: dict[str, Any] | None = None, **asked: str) -> Any:
    container = {"name": "c", "resources": {"requests": {k.replace("_", "/"): v for k, v in asked.items()}}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], **(spec or {})}}


def _gpu(count: str) -> Any:
    pod = _pod()
    pod["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": count}}
    return pod


def _views(nodes: Any, used: Any) -> list[NodeView]:
    return [NodeView.of(node, used.get(node["metadata"]["name"])) for node in nodes]


TAINT = {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("wanted", "nodes", "used", "message"),
    [
        (
            _gpu("3"),
            NODES,
            {},
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: "
            "3 Preemption is not helpful for scheduling.",
        ),
        (
            _gpu("1"),
            NODES,
            {"gpu": {"nvidia.com/gpu": 2}},
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: "
            "1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
        ),
        (
            _pod(cpu="5", memory="9Gi"),
            NODES[:2],
            {},
            "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. preemption: 0/2 nodes are "
            "available: 2 Preemption is not helpful for scheduling.",
        ),
        (
            _pod({"nodeSelector": {"zone": "x"}}),
            [_node("a"), _node("b", taints=[TAINT]), _node("c", cordoned=True)],
            {},
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
            "1 node(s) had untolerated taint {dedicated: ml}, 1 node(s) were unschedulable. "
            "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
        ),
        (
            _pod(),
            [_node("a", pods="1")],
            {"a": {"pods": 1}},
            "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: "
            "1 No preemption victims found for incoming pod.",
        ),
        (_pod(), [], {}, "no nodes available to schedule pods"),
    ],
)
def test_why_nothing_fits(wanted: Any, nodes: Any, used: Any, message: str) -> None:
    assert fit(wanted, _views(nodes, used)) == NoFit(message)


SOFT = {"key": "old", "effect": "PreferNoSchedule"}


def _affinity(**expression: Any) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def _memory(operator: str, value: str) -> dict[str, Any]:
    return _affinity(key="memory", operator=operator, values=[value])


SIZES = [_node("a", labels={"memory": "32"}), _node("b", labels={"memory": "64"})]
AFFINITY = _affinity(key="zone", operator="In", values=["x", "y"])


@pytest.mark.parametrize(
    ("wanted", "nodes", "used", "node"),
    [
        (_gpu("2"), NODES, {}, "gpu"),
        (_pod(cpu="1"), NODES, {}, "a"),
        (_pod(cpu="1"), NODES, {"a": {"cpu": 1000, "pods": 1}}, "b"),
        (_pod(cpu="6"), NODES, {}, "gpu"),
        (_pod({"nodeSelector": {"zone": "x"}}), [_node("a"), _node("b", labels={"zone": "x"})], {}, "b"),
        (_pod(AFFINITY), [_node("a", labels={"zone": "z"}), _node("b", labels={"zone": "y"})], {}, "b"),
        (_pod(_memory("Gt", "32")), SIZES, {}, "b"),
        (_pod(_memory("Lt", "64")), SIZES, {}, "a"),
        (_pod({"tolerations": [{"key": "dedicated", "operator": "Exists"}]}), [_node("b", taints=[TAINT])], {}, "b"),
        (_pod({"tolerations": [{"key": "dedicated", "value": "ml"}]}), [_node("b", taints=[TAINT])], {}, "b"),
        (_pod({"tolerations": [{"operator": "Exists"}]}), [_node("b", cordoned=True)], {}, "b"),
        (_pod(), [_node("a", taints=[SOFT]), _node("b")], {"b": {"cpu": 3900, "pods": 100}}, "b"),
        (_pod(), [_node("a", taints=[SOFT])], {}, "a"),
    ],
)
def test_where_pods_go(wanted: Any, nodes: Any, used: Any, node: str) -> None:
    assert fit(wanted, _views(nodes, used)) == Placement(node)


@pytest.mark.parametrize("value", ["much", ""])
def test_a_comparison_with_what_is_no_number_matches_no_node(value: str) -> None:
    """ "for 'Gt', 'Lt' operators, the value must be an integer" (labels.NewRequirement)."""
    outcome = fit(_pod(_memory("Gt", value)), _views([_node("a", labels={"memory": "32"})], {}))
    assert isinstance(outcome, NoFit)
    assert "1 node(s) didn't match Pod's node affinity/selector" in outcome.message


def test_init_containers_count_where_they_ask_for_more() -> None:
    spec = {
        "containers": [{"resources": {"requests": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "500m"}}}],
        "initContainers": [{"resources": {"requests": {"cpu": "4", "memory": "1Ki"}}}],
    }
    assert requests({"spec": spec}) == {"cpu": 4000, "memory": 1024}


def test_an_init_container_runs_beside_the_sidecars_before_it() -> None:
    def asks(cpu: str, **more: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    inits = [asks("1", restartPolicy="Always"), asks("3"), asks("1", restartPolicy="Always")]
    assert requests({"spec": {"containers": [asks("1")], "initContainers": inits}}) == {"cpu": 4000}


def test_finished_pods_hold_nothing() -> None:
    bound = [_pod({"nodeName": "a"}, cpu="1"), _pod({"nodeName": "a"}, cpu="1"), _pod(cpu="1")]
    bound[1]["status"] = {"phase": "Succeeded"}
    assert used_by(bound) == {"a": {"cpu": 1000, "pods": 1}}


def test_a_pod_that_does_not_fit_waits_for_room() -> None:
    async def story(side: Side) -> None:
        gpus = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
        side.registry.create("pods", pod("first", "sleep", "60", **gpus), namespace="default")
        await side.until(lambda: side.pod("first")["spec"].get("nodeName") == "local-gpu-1")
        side.registry.create("pods", pod("second", "true", **gpus), namespace="default")
        await side.until(lambda: "FailedScheduling" in side.reasons("second"))
        (condition,) = side.pod("second")["status"]["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == (
            "PodScheduled",
            "False",
            "Unschedulable",
        )
        assert condition["message"].startswith("0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption:")
        side.registry.delete("pods", "first", "default", grace_seconds=1)
        await side.until(lambda: side.phase("second") == "Succeeded")

    scenario(story)


def test_a_pod_may_name_its_node() -> None:
    async def story(side: Side) -> None:
        side.run("here", "true", spec={"nodeName": "local-cpu-2"})
        await side.until(lambda: side.phase("here") == "Succeeded")
        assert side.pod("here")["status"]["hostIP"] == "127.0.0.1"

    scenario(story)


GPUS: dict[str, Any] = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pods that the scheduler looks at, each time that it does."""
    names: list[str] = []
    schedule = Scheduler._schedule

    def count(self: Scheduler, key: tuple[str, str]) -> None:
        names.append(key[1])
        schedule(self, key)

    monkeypatch.setattr(Scheduler, "_schedule", count)
    return names


def test_what_does_not_fit_is_left_alone_until_room_may_have_come(tried: list[str]) -> None:
    """A pod that comes must not cost a look at all of those that wait."""

    async def story(side: Side) -> None:
        side.run("holder", spec={"restartPolicy": "Always"}, **GPUS)
        await side.until(lambda: side.phase("holder") == "Running")
        for number in range(20):
            side.run(f"waits-{number}", spec={"restartPolicy": "Always"}, **GPUS)
        await side.until(lambda: all("FailedScheduling" in side.reasons(f"waits-{n}") for n in range(20)))
        tried.clear()
        for number in range(5):
            side.run(f"comes-{number}", spec={"restartPolicy": "Always"})
            await side.until(lambda number=number: side.phase(f"comes-{number}") == "Running")
        assert tried == [f"comes-{number}" for number in range(5)]
        side.registry.delete("pods", "holder", "default", grace_seconds=0)
        await side.until(lambda: side.phase("waits-0") == "Running")  # the one that waits longest

    scenario(story, hollow=True)


def test_a_waiting_pod_that_is_changed_is_tried_again() -> None:
    """ "add tolerations" is one of the few changes that a pod's spec takes: then a node may take the pod."""

    async def story(side: Side) -> None:
        for node in side.registry.list("nodes"):
            name = node["metadata"]["name"]
            side.registry.mutate("nodes", name, None, lambda obj: obj["spec"].update(taints=[TAINT]))
        side.run("waits", spec={"restartPolicy": "Always"})
        await side.until(lambda: "FailedScheduling" in side.reasons("waits"))
        more = {"key": "dedicated", "operator": "Exists"}
        side.registry.mutate("pods", "waits", "default", lambda obj: obj["spec"]["tolerations"].append(more))
        await side.until(lambda: side.phase("waits") == "Running")

    scenario(story, hollow=True)


def test_no_pod_goes_to_a_node_that_was_deleted() -> None:
    async def story(side: Side) -> None:
        for name in ("local-cpu-2", "local-gpu-1"):
            side.registry.delete("nodes", name)
        side.run("first", spec={"restartPolicy": "Always"})
        await side.until(lambda: side.phase("first") == "Running")
        side.registry.delete("nodes", "local-cpu-1")
        side.run("second", spec={"restartPolicy": "Always"})
        await side.until(lambda: "FailedScheduling" in side.reasons("second"))
        (condition,) = side.pod("second")["status"]["conditions"]
        assert condition["message"] == "no nodes available to schedule pods"

    scenario(story, hollow=True)


def test_a_pod_that_makes_no_sense_stops_nobody(tmp_path: Path) -> None:
    """Neither as it comes, nor when a cluster starts that has it."""

    async def story() -> None:
        store = Store(tmp_path / "state.sqlite")
        registry = Registry(store)
        registry.create("namespaces", {"metadata": {"name": "default"}})
        odd = registry.create("pods", pod("odd"), namespace="default")
        bound = registry.create("pods", pod("bound", spec={"nodeName": "local-cpu-1"}), namespace="default")
        # Past all checks, as an older version may have let them in.
        for each in (odd, bound):
            container = {**each["spec"]["containers"][0], "resources": {"requests": {"cpu": "much"}}}
            store.put("pods", {**each, "spec": {**each["spec"], "containers": [container]}})
        parts = (Nodes(registry, DEFAULT_NODES), Scheduler(registry))
        side = Side(registry, None, parts)
        tasks = [asyncio.create_task(part.run()) for part in parts]
        await asyncio.sleep(0)
        side.run("good")
        await side.until(lambda: side.pod("good")["spec"].get("nodeName"))
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        store.close()

    asyncio.run(story())


def test_not_every_end_is_a_new_try_for_those_that_wait(tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many wait and pods end all the time, the work must not be the product of the two."""
    monkeypatch.setattr("localcluster.scheduler._PAUSE", 10.0)
    monkeypatch.setattr("localcluster.scheduler._LONGEST_PAUSE", 60.0)

    async def story(side: Side) -> None:
        for number in range(20):
            side.run(f"small-{number}", spec={"restartPolicy": "Always"})
        for number in range(3):
            side.run(f"waits-{number}", spec={"restartPolicy": "Always"}, resources={"limits": {"nvidia.com/gpu": "4"}})
        await side.until(lambda: all("FailedScheduling" in side.reasons(f"waits-{n}") for n in range(3)))
        tried.clear()
        for number in range(20):
            side.registry.delete("pods", f"small-{number}", "default")
            await side.until(lambda number=number: not side.exists("pods", f"small-{number}"))
        side.run("last", spec={"restartPolicy": "Always"})
        await side.until(lambda: side.phase("last") == "Running")
        assert tried == ["last"]  # those that wait have their turn later

    scenario(story, hollow=True)
