"""A fleet in the tables, as the watcher would have written it: the same one at every run."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent, Node, Pod
from apps.core.models import Project
from apps.core.secrets import crypto

GIB = 1024**3
PROJECTS = (
    *("search-ranking", "recommender", "fraud", "speech", "vision", "translation", "forecasting", "ads-quality"),
    *("robotics", "genomics", "support-bot", "pricing"),
)
PLACES = {
    "aws": ("us-east-1", "us-west-2", "eu-central-1", "ap-south-1"),
    "gcp": ("europe-west4", "us-central1", "asia-east1"),
    "azure": ("westeurope", "eastus2"),
    "onprem": ("berlin", "leeds"),
}
# Kinds of nodes: accelerator, the resources that it adds to a node, cores, GiB.
MACHINES: tuple[tuple[str, dict[str, int], int, int], ...] = (
    ("h100", {"nvidia.com/gpu": 8}, 64, 384),
    ("a100", {"nvidia.com/gpu": 8}, 48, 256),
    ("mi300x", {"amd.com/gpu": 8}, 64, 384),
    ("a100-mig", {"nvidia.com/mig-1g.10gb": 8, "nvidia.com/mig-3g.40gb": 4}, 48, 256),
    ("none", {}, 64, 256),
)
SICK: tuple[tuple[str, str, str, str], ...] = (
    ("Degraded", "CrashLoopBackOff", "Running", "Container main ended with exit code 1. Restarted 14 times."),
    ("Degraded", "ImagePullBackOff", "Pending", "Back-off pulling image registry.example.com/serve:2.4.1."),
    ("Degraded", "OOMKilled", "Running", "Container main ran out of memory."),
    ("Progressing", "Unschedulable", "Pending", "0/10 nodes are available: 10 Insufficient nvidia.com/gpu."),
    ("Progressing", "NotReady", "Running", "Started; the readiness probe has not passed yet."),
)
_STATUS: dict[str, Any] = {
    "containers": [
        {
            "name": "main", "image": "registry.example.com/team/serve:2.4.1", "ready": True, "restarts": 0,
            "state": {"running": {"startedAt": "2026-11-24T08:00:00Z"}}, "last_state": {},
        }
    ],
    "init_containers": [],
    "conditions": [
        {"type": kind, "status": "True", "reason": "", "message": "", "last_transition_time": "2026-11-24T08:00:00Z"}
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ],
    "qos_class": "Burstable",
}  # fmt: skip


@dataclass
class Fleet:
    """The size of a fleet and its state of health. `sick` is the share of pods that fail or wait."""

    clusters: int = 50
    nodes: int = 10
    pods: int = 200
    big_nodes: int = 500
    big_pods: int = 10_000
    sick: float = 0.02
    unreachable: int = 2
    degraded: int = 3
    seed: int = 7
    random: Random = field(init=False)
    now: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.now = timezone.now()

    def fill(self) -> None:
        """Write projects, clusters, nodes, pods and events."""
        for name in PROJECTS:
            Project.objects.get_or_create(name=name)
        rows = [self._cluster(number) for number in range(self.clusters)]
        for cluster in rows:
            # Failures come in clumps.
            sick = self.sick * self.random.choice([0, 0, 0, 0, 0.5, 2, 4])
            self._contents(cluster, self.nodes, self.pods, events=40, sick=sick)
        if self.big_nodes:
            big = self._cluster(self.clusters, name="big-eu", state="Healthy")
            # A cluster of this size is never all well, and its page's cost is in explaining the pods that are not.
            self._contents(big, self.big_nodes, self.big_pods, events=2000, sick=self.sick)

    def _cluster(self, number: int, *, name: str = "", state: str = "") -> Cluster:
        provider = list(PLACES)[number % len(PLACES)]
        region = PLACES[provider][number // len(PLACES) % len(PLACES[provider])]
        if not state:
            bad = ["Unreachable"] * self.unreachable + ["Degraded"] * self.degraded + ["Pending", "Disabled"]
            place = {(number_ + 1) * 6 % max(self.clusters, 1): state_ for number_, state_ in enumerate(bad)}
            state = place.get(number, "Healthy") if self.clusters > 1 else "Healthy"
        seen: datetime | None = self.now - timedelta(seconds=self.random.randint(1, 9))
        if state == "Unreachable":
            seen = self.now - timedelta(minutes=self.random.randint(4, 190))
        reason, message = _SAID[state]
        return Cluster.objects.create(
            name=name or f"{provider}-{region}-{number // 8 + 1}{'abcdefgh'[number % 8]}",
            labels={"provider": provider, "region": region, "accelerator": MACHINES[number % len(MACHINES)][0]},
            server=f"https://k8s-{number}.example.com:6443",
            credential_encrypted=crypto.encrypt(b'{"token": "t"}'),
            credential_kind="token",
            enabled=state != "Disabled",
            state=state,
            reason=reason,
            message=message.format(nodes=self.big_nodes if name else self.nodes),
            conditions=_conditions(state, self.now),
            server_version=self.random.choice(["v1.33.4", "v1.34.2", "v1.35.0"]),
            has_metrics=True,
            last_seen_at=None if state == "Pending" else seen,
        )

    def _contents(self, cluster: Cluster, nodes: int, pods: int, *, events: int, sick: float) -> None:
        if cluster.state == "Pending":
            return
        node_rows = list(self._nodes(cluster, nodes))
        pod_rows = list(self._pods(cluster, node_rows, pods, sick))
        Node.objects.bulk_create(node_rows, batch_size=1000)
        placed = Pod.objects.bulk_create(pod_rows, batch_size=1000)
        KubeEvent.objects.bulk_create(self._events(cluster, placed, events), batch_size=1000)

    def _nodes(self, cluster: Cluster, count: int) -> Iterator[Node]:
        accelerator = cluster.labels["accelerator"]
        machine = next(each for each in MACHINES if each[0] == accelerator)
        for number in range(count):
            # One node in five has no accelerator.
            _, gpus, cores, memory = machine if number % 5 else MACHINES[-1]
            broken = cluster.state == "Degraded" and number in {3, 4}
            cordoned = count > 100 and number % 97 == 5
            health, reason, message = (
                ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
                if broken
                else ("Suspended", "Cordoned", "The node takes no new pods.")
                if cordoned
                else ("Healthy", "Ready", "The node is ready.")
            )
            yield Node(
                cluster=cluster, uid=str(uuid.uuid4()), resource_version="1", name=f"{cluster.name}-n{number + 1:03}",
                labels={
                    "node.kubernetes.io/instance-type": f"{accelerator}.{cores}x" if gpus else "cpu.64x",
                    "topology.kubernetes.io/zone": f"{cluster.labels['region']}-{'abc'[number % 3]}",
                    "kubernetes.io/hostname": f"{cluster.name}-n{number + 1:03}", "kubernetes.io/arch": "amd64",
                },
                ready=not broken, schedulable=not cordoned, health=health, reason=reason, message=message,
                allocatable_cpu_m=cores * 1000 - 500, allocatable_memory_b=(memory - 4) * GIB,
                allocatable_gpu=sum(gpus.values()), allocatable_gpus=gpus, allocatable_pods=110,
                capacity={"cpu": cores * 1000, "memory": memory * GIB, "pods": 110, "gpus": gpus},
                used_cpu_m=400, used_memory_b=2 * GIB,
                kubelet_version=cluster.server_version, conditions=_node_conditions(broken, self.now),
                taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}] if gpus else [],
                created_at=self.now - timedelta(days=self.random.randint(3, 200)), observed_at=self.now,
            )  # fmt: skip

    def _pods(self, cluster: Cluster, nodes: list[Node], count: int, sick: float) -> Iterator[Pod]:
        # Each cluster has its own load, so that a fleet shows full and empty ones.
        full = self.random.betavariate(3, 2)
        for number in range(count):
            project = PROJECTS[min(int(self.random.expovariate(0.35)), len(PROJECTS) - 1)]
            health, reason, phase, message = ("Healthy", "Running", "Running", "All containers are ready.")
            if self.random.random() < sick:
                health, reason, phase, message = self.random.choice(SICK)
            node = nodes[number % len(nodes)]
            # The first pods of a node take its GPUs, as far as the cluster is full.
            kinds = [kind for kind, has in node.allocatable_gpus.items() if number // len(nodes) < has]
            on_gpu = bool(kinds) and self.random.random() < full
            cpu = int(self.random.choice([250, 500, 1000, 2000, 4000]) * (0.5 + full))
            memory = int(self.random.choice([1, 2, 4, 8]) * (3 if on_gpu else 1) * (0.5 + full) * GIB)
            used = self.random.betavariate(2, 3)
            if phase == "Running":
                node.used_cpu_m = (node.used_cpu_m or 0) + int(cpu * used)
                node.used_memory_b = (node.used_memory_b or 0) + int(memory * used)
            started = self.now - timedelta(seconds=self.random.randint(30, 900_000))
            yield Pod(
                cluster=cluster, uid=str(uuid.uuid4()), resource_version="1", namespace=f"flotilla-{project}",
                name=f"{self.random.choice(['serve', 'train', 'embed', 'score'])}-{number:05}-{uuid.uuid4().hex[:5]}",
                labels={
                    "app.kubernetes.io/managed-by": "flotilla", "app.kubernetes.io/part-of": project,
                    "app.kubernetes.io/name": "serve", "pod-template-hash": uuid.uuid4().hex[:10],
                },
                project=project, owner_kind="ReplicaSet", owner_name=f"serve-{number:05}",
                node_name="" if reason == "Unschedulable" else node.name,
                pod_ip=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", phase=phase,
                ready=health == "Healthy", restarts=self.random.choice([0, 0, 0, 1, 3]),
                health=health, reason=reason, message=message,
                requests_cpu_m=cpu, requests_memory_b=memory, requests_gpu=int(on_gpu),
                requests_gpus={self.random.choice(kinds): 1} if on_gpu else {},
                used_cpu_m=int(cpu * used), used_memory_b=int(memory * used),
                status=_STATUS, created_at=started, started_at=started, observed_at=self.now,
            )  # fmt: skip

    def _events(self, cluster: Cluster, pods: list[Pod], count: int) -> Iterator[KubeEvent]:
        words = [
            ("Warning", "BackOff", "Back-off restarting failed container main in pod"),
            ("Warning", "FailedScheduling", "0/10 nodes are available: 10 Insufficient nvidia.com/gpu."),
            ("Warning", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
            ("Normal", "Pulled", "Container image already present on machine"),
            ("Normal", "Scheduled", "Successfully assigned to a node"),
        ]
        for pod in self.random.choices(pods, k=count):
            kind, reason, message = self.random.choice(words)
            at = self.now - timedelta(seconds=self.random.randint(1, 80_000))
            yield KubeEvent(
                cluster=cluster, uid=str(uuid.uuid4()), resource_version="1", namespace=pod.namespace,
                involved_kind="Pod", involved_name=pod.name, involved_uid=pod.uid, project=pod.project, type=kind,
                reason=reason, message=message, source="kubelet", count=self.random.randint(1, 40),
                first_at=at, last_at=at,
            )  # fmt: skip


_SAID = {
    "Healthy": ("AllWell", "{nodes} of {nodes} nodes are ready."),
    "Degraded": ("NodesNotReady", "2 of {nodes} nodes are not ready."),
    "Unreachable": ("Timeout", "The API server did not answer within 5 s."),
    "Pending": ("Connecting", "The first connection is being made."),
    "Disabled": ("Disabled", "An administrator has disabled this cluster; nothing is watched."),
}


def _conditions(state: str, now: datetime) -> list[dict[str, str]]:
    def condition(kind: str, good: bool, reason: str, message: str) -> dict[str, str]:
        status = "True" if good else "False"
        at = now.isoformat()
        return {"type": kind, "status": status, "reason": reason, "message": message, "last_transition_time": at}

    gone, poor = state == "Unreachable", state == "Degraded"
    if state in {"Pending", "Disabled"}:
        return []
    return [
        condition("Reachable", not gone, "Timeout" if gone else "Answering", _SAID["Unreachable"][1] if gone else ""),
        condition("Authorized", True, "CredentialAccepted", ""),
        condition("Synced", True, "Watching", "5 kinds are watched."),
        condition("NodesReady", not poor, "NodesNotReady" if poor else "AllReady", ""),
    ]


def _node_conditions(broken: bool, now: datetime) -> list[dict[str, str]]:
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
    at = (now - timedelta(hours=5)).isoformat()
    absent = [
        {"type": kind, "status": "False", "reason": "KubeletHasSufficient", "message": "", "last_transition_time": at}
        for kind in pressures
    ]
    ready = ("Unknown", "NodeStatusUnknown") if broken else ("True", "KubeletReady")
    return [
        *absent,
        {"type": "Ready", "status": ready[0], "reason": ready[1], "message": "", "last_transition_time": at},
    ]
