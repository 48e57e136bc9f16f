"""The facts that are known of a pod and its surroundings when somebody asks why it waits or fails. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# What Kubernetes marks the pods with that are one of several of their Job.
INDEX = "batch.kubernetes.io/job-completion-index"
# The reason of the end of a container that its kubelet did not find.
UNKNOWN = "ContainerStatusUnknown"
# In its message, where the container had not even been made when its pod was deleted.
_NOT_FOUND = "could not be located when the pod was terminated"


@dataclass(frozen=True)
class Ended:
    """How a container ended: its `terminated` state. `exit_code` None: Kubernetes no longer knows."""

    exit_code: int | None
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None
    started_at: datetime | None = None


@dataclass(frozen=True)
class ContainerFacts:
    """A container's status. `memory_limit` in bytes, None where it is not known or there is none."""

    name: str
    image: str = ""
    init: bool = False
    sidecar: bool = False
    """Of an init container: whether it goes on beside the others."""
    lasts: bool = False
    """Whether it is to run for ever: it is started again also when it ends well."""
    ready: bool = False
    started: bool | None = None
    """Whether its startup probe has passed; None where the cluster does not say."""
    restarts: int = 0
    waiting: str = ""
    waiting_message: str = ""
    running_since: datetime | None = None
    running: bool = False
    ended: Ended | None = None
    last_ended: Ended | None = None
    memory_limit: int | None = None

    @property
    def ran(self) -> bool:
        """Whether anything tells that it was ever started."""
        if self.running or self.restarts or self.last_ended is not None:
            return True
        end = self.ended
        return end is not None and (end.reason != UNKNOWN or _NOT_FOUND not in end.message)

    @property
    def last_end(self) -> Ended | None:
        """The latest end, whether or not it was started again since."""
        return self.ended or self.last_ended

    @property
    def kind(self) -> str:
        """ "Container", "Init container" or "Sidecar", to begin a sentence with."""
        return "Sidecar" if self.sidecar else "Init container" if self.init else "Container"


def telling(containers: Iterable[ContainerFacts]) -> list[ContainerFacts]:
    """The containers, sidecars last: the others tell more of why a pod does not go on."""
    return sorted(containers, key=lambda container: container.sidecar)


@dataclass(frozen=True)
class EventFacts:
    """A Kubernetes event, shortened to what explains something."""

    reason: str
    message: str
    at: datetime | None = None
    count: int = 1
    warning: bool = True


@dataclass(frozen=True)
class Condition:
    """A condition of a pod."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class Holder:
    """A pod that holds a resource on a node until its owner ends, and that the viewer may know: `name` says to people
    what its owner is, `owner` tells owners of all namespaces apart."""

    name: str
    amounts: Mapping[str, int]
    owner: str = ""
    pod: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """A node with its room. Amounts: cpu in millicores, memory in bytes, everything else in pieces.

    `not_ready_since` is the last change of its Ready condition while that is not True.
    """

    name: str
    allocatable: Mapping[str, int] = field(default_factory=dict)
    requested: Mapping[str, int] = field(default_factory=dict)
    ready: bool = True
    schedulable: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""
    not_ready_since: datetime | None = None
    holders: tuple[Holder, ...] = ()

    def total(self, resource: str) -> int:
        """How much of a resource the node has for pods."""
        return held(self.allocatable, resource)

    def free(self, resource: str) -> int:
        """How much of it nobody has asked for."""
        unnamed = self.requested.get("gpu", 0) if is_gpu(resource) and resource in self.requested else 0
        return max(0, self.total(resource) - held(self.requested, resource) - unnamed)


@dataclass(frozen=True)
class PodFacts:
    """A pod as observed. `asks` is what the scheduler reserves, by the resource's name; `of_run`: of one of Flotilla's
    runs, which another attempt follows."""

    name: str
    phase: str = ""
    health: str = ""
    ready: bool = False
    reason: str = ""
    message: str = ""
    node: str = ""
    conditions: tuple[Condition, ...] = ()
    containers: tuple[ContainerFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()
    asks: Mapping[str, int] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: bool = False
    scheduling_gates: tuple[str, ...] = ()
    readiness_gates: tuple[str, ...] = ()
    finalizers: tuple[str, ...] = ()
    deleting_since: datetime | None = None
    deleted: bool = False
    created_at: datetime | None = None
    started_at: datetime | None = None
    owner: str | None = None
    """What owns it, in the words of `Holder`."""
    log_line: str = ""
    of_run: bool = False
    overran: bool = False
    """Whether that run was stopped because it ran longer than its deadline."""

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def events_of(self, *reasons: str) -> list[EventFacts]:
        """The events with one of these reasons, newest first."""
        return [event for event in self.events if event.reason in reasons]


@dataclass(frozen=True)
class ClusterFacts:
    """The cluster: its nodes, whether it answers, and the names of other clusters where the pod would fit."""

    name: str
    nodes: tuple[NodeFacts, ...] = ()
    answers: bool = True
    seen_at: datetime | None = None
    silence: str = ""
    """Why it can't be asked, in the words of its own page."""
    elsewhere: tuple[str, ...] = ()

    def node(self, name: str) -> NodeFacts | None:
        """The node of that name."""
        return next((node for node in self.nodes if node.name == name), None)


def held(amounts: Mapping[str, int], resource: str) -> int:
    """The amount of a resource. "gpu" counts those whose kind is not known: they may be of any."""
    if resource == "gpu":
        return sum(count for name, count in amounts.items() if is_gpu(name))
    return amounts.get(resource, amounts.get("gpu", 0) if is_gpu(resource) else 0)


def is_gpu(resource: str) -> bool:
    """Whether the resource is some make's GPU, a slice or a share of one."""
    maker, _, kind = resource.partition("/")
    return resource == "gpu" or kind == "gpu" or kind.startswith(("gpu.", "mig-")) or (maker == "gpu.intel.com")


def is_counted(resource: str) -> bool:
    """Whether nodes' rows tell how much of the resource there is."""
    return resource in {"cpu", "memory", "pods"} or is_gpu(resource)
