"""Binds pods to nodes: the shell around `localcluster.fit`, with an account of what the nodes hold."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from localcluster import meta
from localcluster.claims import why_not
from localcluster.errors import StatusError
from localcluster.fit import Amounts, Node, NodeView, NoFit, Placement, Pod, Ranking, requests
from localcluster.meta import dump, key_of
from localcluster.store import Change

if TYPE_CHECKING:
    from localcluster.registry import Registry

log = logging.getLogger(__name__)

COMPONENT = "default-scheduler"
_FINISHED = {"Succeeded", "Failed"}
_KINDS = 100  # of pods that are remembered at once, by what they ask for
_BATCH = 10  # pods between two breaths of the event loop
_RETRY_SECONDS = 30.0  # until a pod is tried again that could not be handled
# For each pod that was refused, seconds until all of them are tried again: where thousands wait and pods end all the
# time, that is not done for each end. (A real scheduler lets each wait for 1 to 10 s.)
_PAUSE, _LONGEST_PAUSE = 0.001, 3.0


class Scheduler:
    """Binds pods to nodes as soon as they appear, and tries those that did not fit again when room may have come.

    Nodes are read once and counted as pods come and go, pods that ask for the same share one ranking of them, and
    what did not fit is left alone until room may have come: so the work for a pod grows neither with the pods that
    run nor with those that wait.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._due: dict[tuple[str, str], int] = {}  # to be tried: key -> priority
        self._refused: dict[tuple[str, str], int] = {}  # no node takes them, until something changes
        self._nodes: dict[str, NodeView] = {}
        self._taken: dict[str, Counter[str]] = {}
        self._held: dict[str, tuple[str, Amounts]] = {}  # pod uid -> (node, what it holds)
        self._rankings: dict[bytes, Ranking] = {}  # what pods ask for -> where it fits, until room may have come
        self._not_before = 0.0  # this loop time are those that were refused tried again
        self._retry: asyncio.TimerHandle | None = None
        self._awake = asyncio.Event()

    async def run(self) -> None:
        """Schedule until cancelled."""
        stop = self._registry.store.listen(("pods", "nodes", "persistentvolumeclaims"), self._changed)
        try:
            for resource in ("nodes", "pods"):
                for stored in self._registry.store.scan(resource):
                    self._start_with(Change(stored.version, "ADDED", resource, stored, None))
            while True:
                await self._awake.wait()
                self._awake.clear()
                # The highest priority first; among equals the one that waits longest.
                for number, key in enumerate(sorted(self._due, key=self._due.__getitem__, reverse=True)):
                    self._schedule(key)
                    if number % _BATCH == 0:
                        await asyncio.sleep(0)  # let requests in between
                pause = min(len(self._refused) * _PAUSE, _LONGEST_PAUSE)
                self._not_before = asyncio.get_running_loop().time() + pause
        finally:
            stop()
            if self._retry is not None:
                self._retry.cancel()

    def _start_with(self, change: Change) -> None:
        try:
            self._changed(change)
        except Exception:
            # As a listener's fault in the store: one odd object must not keep the cluster from starting.
            log.exception("reading %s %s", change.resource, "/".join(key_of(change.stored.obj)))

    def _changed(self, change: Change) -> None:
        obj, old = change.stored.obj, change.old.obj if change.old else None
        if change.resource == "persistentvolumeclaims":
            self._try_again()
        elif change.resource == "nodes":
            if change.type == "DELETED":
                self._nodes.pop(obj["metadata"]["name"], None)
                self._try_again()
            elif old is None or _facts(obj) != _facts(old):
                self._see(obj)
        elif change.type == "DELETED":
            self._drop(key_of(obj))
            self._free(obj["metadata"]["uid"])
        else:
            if key_of(obj) in self._refused and old is not None and old["spec"] != obj["spec"]:
                self._drop(key_of(obj))  # with other tolerations it may fit
            self._note(obj)

    def _drop(self, key: tuple[str, str]) -> None:
        self._due.pop(key, None)
        self._refused.pop(key, None)

    def _see(self, node: Node) -> None:
        name = node["metadata"]["name"]
        self._nodes[name] = NodeView.of(node, self._taken.setdefault(name, Counter()))
        self._try_again()

    def _note(self, pod: Pod) -> None:
        """Keep the account of what is held, and of what waits."""
        key, uid = key_of(pod), pod["metadata"]["uid"]
        node = pod["spec"].get("nodeName")
        if (pod.get("status") or {}).get("phase") in _FINISHED:
            self._drop(key)
            self._free(uid)
        elif node:
            self._drop(key)
            if uid not in self._held:
                held = {**requests(pod), "pods": 1}
                self._held[uid] = (node, held)
                self._taken.setdefault(node, Counter()).update(held)
        elif not _is_ours(pod):
            self._drop(key)
        elif key not in self._due and key not in self._refused:
            self._due[key] = int(pod["spec"].get("priority") or 0)
            self._awake.set()

    def _free(self, uid: str) -> None:
        node, held = self._held.pop(uid, ("", {}))
        if node:
            self._taken[node].subtract(held)
            self._try_again()

    def _try_again(self) -> None:
        self._rankings.clear()
        if not self._refused or self._retry is not None:
            return
        loop = asyncio.get_running_loop()
        left = self._not_before - loop.time()
        if left > 0:
            self._retry = loop.call_later(left, self._try_refused)
        else:
            self._try_refused()

    def _try_refused(self) -> None:
        self._retry = None
        # They have waited longer than the pods that came since.
        self._due, self._refused = {**self._refused, **self._due}, {}
        self._awake.set()

    def _ranking(self, pod: Pod) -> Ranking:
        asked = _asked(pod)
        if asked not in self._rankings:
            if len(self._rankings) >= _KINDS:
                self._rankings.clear()
            self._rankings[asked] = Ranking(pod, self._nodes.values())
        return self._rankings[asked]

    def _schedule(self, key: tuple[str, str]) -> None:
        namespace, name = key
        if key not in self._due:
            return  # deleted, or bound by somebody else, during a breath
        try:
            pod = self._registry.get("pods", name, namespace)
            best = self._without_volume(pod) or self._ranking(pod).best()
            if isinstance(best, Placement):
                self._registry.bind(name, namespace, best.node)
                message = f"Successfully assigned {namespace}/{name} to {best.node}"
                self._registry.record_event(pod, "Normal", "Scheduled", message, COMPONENT)
            else:
                self._refused[key] = self._due.pop(key)
                self._refuse(pod, best)
        except StatusError as error:
            # The pod was changed or deleted meanwhile: its next change brings it back.
            log.debug("scheduling %s/%s: %s", namespace, name, error.message)
            self._drop(key)
        except Exception:
            # One pod that makes no sense, or a full disk, must not stop the others.
            log.exception("scheduling %s/%s failed", namespace, name)
            self._drop(key)
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._take_up, key)

    def _without_volume(self, pod: Pod) -> NoFit | None:
        namespace, count = pod["metadata"]["namespace"], len(self._nodes)

        def find(name: str) -> Mapping[str, Any] | None:
            stored = self._registry.store.get("persistentvolumeclaims", (namespace, name))
            return stored.obj if stored is not None else None

        why = why_not(pod, find)
        none, helpless = f"0/{count} nodes are available", f"{count} Preemption is not helpful for scheduling"
        return NoFit(f"{none}: {why}. preemption: {none}: {helpless}.") if why else None

    def _take_up(self, key: tuple[str, str]) -> None:
        if stored := self._registry.store.get("pods", key):
            self._note(stored.obj)

    def _refuse(self, pod: Pod, why: NoFit) -> None:
        conditions = (pod.get("status") or {}).get("conditions") or []
        old: Mapping[str, Any] = next((each for each in conditions if each["type"] == "PodScheduled"), {})
        if old.get("message") == why.message:
            return  # it has been told already
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": why.message,
            "lastProbeTime": None,
            "lastTransitionTime": old.get("lastTransitionTime") or meta.now(),
        }

        def mark(obj: dict[str, Any]) -> None:
            others = [each for each in conditions if each["type"] != "PodScheduled"]
            obj.setdefault("status", {})["conditions"] = [*others, condition]

        namespace, name = key_of(pod)
        self._registry.mutate("pods", name, namespace, mark, subresource="status")
        self._registry.record_event(pod, "Warning", "FailedScheduling", why.message, COMPONENT)


def _is_ours(pod: Pod) -> bool:
    """Is the pod to be scheduled, and by this scheduler?"""
    ours = pod["spec"].get("schedulerName", COMPONENT) == COMPONENT
    return ours and not pod["metadata"].get("deletionTimestamp") and not pod["spec"].get("schedulingGates")


def _asked(pod: Pod) -> bytes:
    """All of a pod that decides where it fits: pods with the same get the same answer."""
    spec = pod["spec"]
    containers = [
        (each.get("resources"), each.get("restartPolicy"))
        for each in (*spec["containers"], *(spec.get("initContainers") or ()))
    ]
    rest = [spec.get(name) for name in ("overhead", "nodeSelector", "affinity", "tolerations")]
    return dump([len(spec["containers"]), containers, rest])


def _facts(node: Node) -> tuple[Any, ...]:
    """The facts about a node that can change where pods fit."""
    spec = node["spec"]
    return (
        (node.get("status") or {}).get("allocatable"),
        node["metadata"].get("labels"),
        spec.get("taints"),
        spec.get("unschedulable"),
    )
