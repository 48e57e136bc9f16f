"""Clusters, and what the watcher has observed on them.

Only the watcher writes `Node`, `Pod`, `Workload` and `KubeEvent`, and it writes them in bulk by SQL
(`observed/store.py`).
"""

from datetime import datetime
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from apps.clusters.states import NOT_WATCHED, ClusterState
from apps.clusters.usage import models as usage  # noqa: F401 - Django finds a model by its import
from apps.core.states import Health

validate_cluster_name = RegexValidator(
    r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z",
    "Use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends.",
)


def _choices(words: Any) -> list[tuple[str, str]]:
    return [(word.value, word.value) for word in words]


class Cluster(models.Model):
    """A registered Kubernetes API server. `generation` grows with every change that must restart its streams."""

    name = models.CharField(max_length=63, unique=True, validators=[validate_cluster_name])
    labels = models.JSONField(default=dict, blank=True)
    server = models.URLField(max_length=500, editable=False)
    ca = models.TextField(blank=True, editable=False)
    tls_server_name = models.CharField(max_length=253, blank=True, editable=False)
    # JSON with a token, or with a client certificate and key, under `apps.core.secrets.crypto`.
    credential_encrypted = models.TextField(editable=False)
    credential_kind = models.CharField(max_length=20, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    # The uid of its namespace kube-system: "" until the cluster has answered for the first time, the same ever after.
    identity = models.CharField(max_length=64, blank=True, editable=False)
    # The clusters that are this one under other names, where an administrator has said that this is meant.
    meant_twins = models.ManyToManyField("self", symmetrical=True, blank=True, editable=False)
    # The same was said before any of them was known.
    registered_again = models.BooleanField(default=False, editable=False)
    enabled = models.BooleanField(default=True)
    # A folder on its nodes that keeps models for the next replicas there; "" for none.
    model_cache = models.CharField(max_length=500, blank=True, default="")
    state = models.CharField(
        max_length=16, choices=_choices(ClusterState), default=ClusterState.PENDING, editable=False
    )
    reason = models.CharField(max_length=100, blank=True, editable=False)
    message = models.TextField(blank=True, editable=False)
    conditions = models.JSONField(default=list, blank=True, editable=False)
    server_version = models.CharField(max_length=60, blank=True, editable=False)
    has_metrics = models.BooleanField(default=False, editable=False)
    last_seen_at = models.DateTimeField(null=True, editable=False)
    # The last check (`checks.Report`) with the generation that it was made for, and when it began.
    check_report = models.JSONField(default=dict, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)
    # The time of a first check at which the cluster refused us; a second one must confirm it before pages say so.
    doubted_at = models.DateTimeField(null=True, editable=False)
    # Everything that is shown is at least as new as this: the oldest proof of life of a needed stream.
    synced_at = models.DateTimeField(null=True, editable=False)
    # {kind: {"at": proof of life, "error": what stops it}} for each watched kind, written every few seconds.
    streams = models.JSONField(default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def as_of(self) -> datetime | None:
        """What is shown of it is at least as new as this: its last answer, and where its watches are not in step
        (probes may well be answered then) no later than their last word. None before the first answer, and where it
        has answered nothing but that it refuses us."""
        if self.synced_at is None and self.is_locked_out:
            return None
        if self.last_seen_at is None or self.synced_at is None or self.condition("Synced") == "True":
            return self.last_seen_at
        return min(self.last_seen_at, self.synced_at)

    @property
    def was_seen(self) -> bool:
        """Whether its lists were ever read: before that, nothing that it has or lacks is known."""
        return self.synced_at is not None

    @property
    def measures_use(self) -> bool | None:
        """Whether it has a metrics-server; None where that is not known yet."""
        return self.has_metrics if self.has_metrics or self.was_seen else None

    @property
    def is_locked_out(self) -> bool:
        """Whether it answers, but refuses the credential: nothing that happens there is seen."""
        return self.state == ClusterState.DEGRADED and self.refuses_us

    @property
    def refuses_us(self) -> bool:
        """Whether the credential was refused when it was asked last."""
        return self.condition("Authorized") == "False"

    @property
    def refusal(self) -> str:
        """The sentence of a refusal that a watcher which begins now goes on from; "" where there is none."""
        if not self.is_locked_out and not (self.refuses_us and self.reason == NOT_WATCHED):
            return ""
        return next(str(condition["message"]) for condition in self.conditions if condition["type"] == "Authorized")

    def condition(self, kind: str) -> str:
        """The status of its condition `kind`: True, False or Unknown; "" where it has none."""
        return next((str(condition["status"]) for condition in self.conditions if condition["type"] == kind), "")


class Reach(models.Model):
    """Whether the cluster's pods reach Flotilla at `url`: the answer of the last Job that asked from there.

    `number` grows with each asking and names its Job. `outcome` (`reach.Outcome`) is empty until there is one; `words`
    are the pod's own, which may name addresses.
    """

    cluster = models.OneToOneField(Cluster, models.CASCADE, primary_key=True, related_name="reach")
    number = models.PositiveIntegerField(default=0)
    url = models.CharField(max_length=500, blank=True)
    image = models.CharField(max_length=500, blank=True)
    outcome = models.CharField(max_length=20, blank=True)
    words = models.TextField(blank=True)
    asked_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.url} from cluster {self.cluster_id}: {self.outcome or 'not known'}"


class WatcherLease(models.Model):
    """Which watcher process holds a cluster. `fencing` grows with each new holder: writes carry it, so that a holder
    that was thought dead can't overwrite what its successor saw."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, primary_key=True, related_name="lease")
    holder = models.CharField(max_length=120)
    fencing = models.BigIntegerField(default=1)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.cluster_id} held by {self.holder} (#{self.fencing})"


class Watcher(models.Model):
    """A live watcher process: how many there are decides how many clusters each of them takes."""

    holder = models.CharField(max_length=120, primary_key=True)
    # The most clusters that it takes; 0: any number.
    limit = models.PositiveIntegerField(default=0)
    joined_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.holder


class Node(models.Model):
    """A node as last observed. CPU in millicores, memory in bytes."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="nodes")
    uid = models.CharField(max_length=64)
    resource_version = models.CharField(max_length=40, blank=True)
    name = models.CharField(max_length=253)
    labels = models.JSONField(default=dict)
    ready = models.BooleanField(default=False)
    schedulable = models.BooleanField(default=True)
    health = models.CharField(max_length=16, choices=_choices(Health), default=Health.UNKNOWN)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    allocatable_cpu_m = models.BigIntegerField(default=0)
    allocatable_memory_b = models.BigIntegerField(default=0)
    # Whole GPUs of all makes, for sums and sorting; slices and shares are none of them.
    allocatable_gpu = models.IntegerField(default=0)
    # By resource name, as the scheduler counts them: {"nvidia.com/gpu": 8, "nvidia.com/mig-1g.5gb": 7}.
    allocatable_gpus = models.JSONField(default=dict)
    # All that the machine has, the system's share included: cpu (millicores), memory (bytes), pods, gpus by name.
    capacity = models.JSONField(default=dict)
    allocatable_pods = models.IntegerField(default=0)
    used_cpu_m = models.BigIntegerField(null=True)
    used_memory_b = models.BigIntegerField(null=True)
    kubelet_version = models.CharField(max_length=60, blank=True)
    conditions = models.JSONField(default=list)
    taints = models.JSONField(default=list)
    created_at = models.DateTimeField(null=True)
    observed_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "uid"], name="node_once_per_cluster")]

    def __str__(self) -> str:
        return self.name


class PodQuerySet(models.QuerySet["Pod"]):
    """Reads of pods that most callers want."""

    def present(self) -> "PodQuerySet":
        """Without those that are known to be deleted."""
        return self.filter(deleted_at__isnull=True)


class Pod(models.Model):
    """A pod as last observed.

    `project`, `run`, `deployment` and `revision` repeat our own labels as indexed columns; they are empty for a pod
    that Flotilla did not make. `status` keeps what pages show: containers, conditions.
    """

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="pods")
    uid = models.CharField(max_length=64)
    resource_version = models.CharField(max_length=40, blank=True)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    labels = models.JSONField(default=dict)
    project = models.CharField(max_length=63, blank=True)
    run = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63, blank=True)
    revision = models.CharField(max_length=63, blank=True)
    owner_kind = models.CharField(max_length=63, blank=True)
    owner_name = models.CharField(max_length=253, blank=True)
    node_name = models.CharField(max_length=253, blank=True)
    pod_ip = models.CharField(max_length=45, blank=True)
    phase = models.CharField(max_length=16, blank=True)
    ready = models.BooleanField(default=False)
    restarts = models.IntegerField(default=0)
    health = models.CharField(max_length=16, choices=_choices(Health), default=Health.UNKNOWN)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    exit_code = models.IntegerField(null=True)
    requests_cpu_m = models.BigIntegerField(default=0)
    requests_memory_b = models.BigIntegerField(default=0)
    requests_gpu = models.IntegerField(default=0)
    requests_gpus = models.JSONField(default=dict)
    used_cpu_m = models.BigIntegerField(null=True)
    used_memory_b = models.BigIntegerField(null=True)
    status = models.JSONField(default=dict)
    created_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    observed_at = models.DateTimeField()

    objects = PodQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["namespace", "name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "uid"], name="pod_once_per_cluster")]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "namespace", "name"], name="pod_by_name"),
            models.Index(fields=["cluster", "node_name"], name="pod_by_node"),
            models.Index(fields=["project", "deployment"], condition=~Q(deployment=""), name="pod_of_deployment"),
            models.Index(fields=["run"], condition=~Q(run=""), name="pod_of_run"),
            models.Index(fields=["cluster"], condition=Q(deleted_at=None) & ~Q(health="Healthy"), name="pod_unwell"),
            models.Index(fields=["cluster"], condition=Q(reason="Unschedulable", deleted_at=None), name="pod_unplaced"),
            models.Index(fields=["deleted_at"], condition=Q(deleted_at__isnull=False), name="pod_deleted"),
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Workload(models.Model):
    """A Job, Deployment, Service, HorizontalPodAutoscaler or ScaledObject as last observed.

    `wanted` and `ready` count pods: replicas of a Deployment, completions of a Job, desired and current replicas of an
    autoscaler; a Service and a ScaledObject have none. `status` keeps what pages show, by kind: `observed/rows.py` says
    what that is. `project` is empty for what Flotilla did not make.
    """

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="workloads")
    uid = models.CharField(max_length=64)
    resource_version = models.CharField(max_length=40, blank=True)
    kind = models.CharField(max_length=63)
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    labels = models.JSONField(default=dict)
    project = models.CharField(max_length=63, blank=True)
    owner_kind = models.CharField(max_length=63, blank=True)
    owner_name = models.CharField(max_length=253, blank=True)
    health = models.CharField(max_length=16, choices=_choices(Health), default=Health.UNKNOWN)
    reason = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    wanted = models.IntegerField(null=True)
    ready = models.IntegerField(null=True)
    status = models.JSONField(default=dict)
    created_at = models.DateTimeField(null=True)
    observed_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["kind", "namespace", "name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "uid"], name="workload_once_per_cluster")]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "kind", "namespace", "name"], name="workload_by_name"),
            models.Index(fields=["project", "kind"], condition=~Q(project=""), name="workload_of_project"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class KubeEvent(models.Model):
    """A Kubernetes event: every warning, and the normal ones in namespaces that Flotilla uses."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="events")
    uid = models.CharField(max_length=64)
    resource_version = models.CharField(max_length=40, blank=True)
    namespace = models.CharField(max_length=63, blank=True)
    involved_kind = models.CharField(max_length=63, blank=True)
    involved_name = models.CharField(max_length=253, blank=True)
    involved_uid = models.CharField(max_length=64, blank=True)
    project = models.CharField(max_length=63, blank=True)
    type = models.CharField(max_length=16)
    reason = models.CharField(max_length=128, blank=True)
    message = models.TextField(blank=True)
    source = models.CharField(max_length=128, blank=True)
    count = models.IntegerField(default=1)
    first_at = models.DateTimeField()
    # In whole seconds, as most of those that report an event tell it; among those of one second, `written` tells which
    # was later: its resource version, as a number.
    last_at = models.DateTimeField()
    # The database has the default, too: while a new version is rolled out, watchers of the one before write rows.
    written = models.BigIntegerField(default=0, db_default=0)

    NEWEST_FIRST: ClassVar = ("-last_at", "-written", "-id")

    class Meta:
        ordering: ClassVar = ["-last_at", "-written", "-id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["cluster", "uid"], name="event_once_per_cluster")]
        indexes: ClassVar = [
            models.Index(fields=["cluster", "-last_at", "-written"], name="event_by_time"),
            models.Index(fields=["cluster", "namespace", "involved_name"], name="event_of_object"),
            models.Index(fields=["last_at"], name="event_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.reason} {self.involved_kind} {self.involved_name}"
