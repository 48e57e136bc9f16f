"""Targets, deployments and their placements, revisions and heals."""

from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from apps.clusters.models import Cluster
from apps.core.models import ApiToken, Project, validate_name
from apps.core.states import Health
from apps.deployments.health import heal_span, word_of, word_on_target
from apps.deployments.models.applied import AppliedObject
from apps.deployments.models.approvals import Approval
from apps.deployments.models.following import Follow
from apps.deployments.models.keptlogs import KeptLog
from apps.deployments.models.observed import AN_AUTOSCALER, THE_AUTOSCALER, THE_SCHEDULE, Observed
from apps.deployments.models.recordings import Recording
from apps.deployments.models.rollouts import AnalysisRun, Rollout, Stage
from apps.deployments.models.sources import MetricsSource
from apps.deployments.rollout.traffic import Phase, Share, Traffic
from apps.deployments.states import UNFINISHED, DeploymentState
from apps.experiments.models import ModelVersion

__all__ = [
    "AN_AUTOSCALER",
    "THE_AUTOSCALER",
    "THE_SCHEDULE",
    "AnalysisRun",
    "AppliedObject",
    "Approval",
    "Deployment",
    "Follow",
    "Heal",
    "KeptLog",
    "MetricsSource",
    "Observed",
    "Placement",
    "Recording",
    "Revision",
    "Rollout",
    "Stage",
    "Target",
]
DEPLOYMENT_STATES = [(state.value, state.value) for state in DeploymentState]


class Target(models.Model):
    """Where a deployment may go: a cluster, a namespace and an environment."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="targets")
    name = models.CharField(max_length=40, validators=[validate_name])
    cluster = models.ForeignKey(Cluster, models.PROTECT, related_name="targets")
    namespace = models.CharField(max_length=63)
    environment = models.CharField(max_length=40, validators=[validate_name])
    # What it allows, as `rollout.policy.Policy.to_json` says it. Empty: everything, to developers.
    policy = models.JSONField(default=dict, blank=True)
    # The Gateway that routes are attached to, as `routing.gateway.Gateway.to_json` says it. Empty: none.
    gateway = models.JSONField(default=dict, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="target_name_in_project")]
        indexes: ClassVar = [models.Index(fields=["cluster", "namespace"], name="target_by_namespace")]

    def __str__(self) -> str:
        return self.name


class Deployment(Observed):
    """A served model: a stable name, and what is wanted of it. What was observed is of all its placements together."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="deployments")
    name = models.CharField(max_length=40, validators=[validate_name])
    state = models.CharField(max_length=16, choices=DEPLOYMENT_STATES)
    # The revision that shall serve, and the one that last served alone.
    current = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    stable = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    last_revision = models.PositiveIntegerField(default=0)
    # How it rolls; as `rollout.strategy.Strategy.to_json` says it. Empty: as by default.
    strategy = models.JSONField(default=dict, blank=True)
    # What says how many replicas there are: `scaling.policy.Autoscaling`, or `rollout.spread.Spread` over all targets.
    autoscaling = models.JSONField(default=dict, blank=True)
    spread = models.JSONField(null=True, blank=True)
    # The windows of time with numbers of their own: [`scaling.schedule.Slot`].
    schedule = models.JSONField(default=list, blank=True)
    # `manifests.disruption.Budget`.
    disruption_budget = models.JSONField(default=dict, blank=True)
    # The alias out of which the model version that is wanted now was resolved, if it was.
    alias = models.CharField(max_length=250, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="deployment_name_in_project")]

    def __str__(self) -> str:
        return self.name

    @property
    def places(self) -> list["Placement"]:
        """Its placements, in the order in which they were named. Prefetch `placements` for lists.

        One that is being taken off is none of them, unless the whole deployment is deleted.
        """
        rows = sorted(self.placements.all(), key=lambda placement: placement.pk)
        goes = self.state == DeploymentState.DELETING
        return rows if goes else [row for row in rows if row.state == DeploymentState.ACTIVE]

    @property
    def leaving(self) -> list["Placement"]:
        """The placements that are being taken off while the deployment stays: their clusters still have something."""
        if self.state == DeploymentState.DELETING:
            return []
        return [row for row in self.placements.all() if row.state == DeploymentState.DELETING]

    @property
    def only(self) -> "Placement | None":
        """Its placement, where it has just one."""
        places = self.places
        return places[0] if len(places) == 1 else None

    @property
    def is_unheard(self) -> bool:
        """Whether nothing is known now of any of its replicas: where one target is lost, the others' are."""
        places = self.places
        return bool(places) and all(place.is_lost for place in places)

    @property
    def following(self) -> Follow | None:
        """The alias that it follows, if it does."""
        return getattr(self, "follow", None)

    @property
    def previews(self) -> list["Placement"]:
        """The placements on which a revision can be asked before it serves."""
        return [place for place in self.places if place.had_traffic.preview is not None]

    @property
    def as_of(self) -> datetime | None:
        """How fresh what is shown is: as its oldest placement; None where one was never seen."""
        times = [placement.as_of for placement in self.places]
        return min((time for time in times if time is not None), default=None) if all(times) else None

    @property
    def restore_asked(self) -> bool:
        """Whether somebody asked to put back what was edited by hand."""
        return any(placement.restore_asked for placement in self.places)

    @property
    def under_way(self) -> "Rollout | None":
        """The rollout that is not finished, if any. Prefetch `rollouts` as `unfinished` for lists."""
        known: list[Rollout] | None = getattr(self, "unfinished", None)
        if known is not None:
            return known[0] if known else None
        rows = self.rollouts.filter(state__in=UNFINISHED)
        return rows.select_related("from_revision", "to_revision").first()

    @property
    def word(self) -> str:
        """Its health, or why a rollout that fares well does not move on: pages and REST call it by this."""
        return word_of(self.health, self.under_way.state if self.under_way else "")


class Placement(Observed):
    """A deployment on one target: what shall serve there, and what was observed there. Its row alone says what a round
    brings about: `stable` serves, and `weight` percent of `coming` beside it."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="placements")
    target = models.ForeignKey(Target, models.PROTECT, related_name="placements")
    state = models.CharField(max_length=16, choices=DEPLOYMENT_STATES)
    # The revision that last served alone here, and the one that a rollout brings, with its share of the requests in
    # percent and how it stands beside the first.
    stable = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    coming = models.ForeignKey("Revision", models.SET_NULL, null=True, blank=True, related_name="+")
    weight = models.PositiveSmallIntegerField(default=0)
    phase = models.CharField(max_length=16, blank=True)
    # Of how many percent of the requests it gets copies, whose answers are dropped.
    mirror = models.PositiveSmallIntegerField(default=0)
    # Where requests went as the last round left it: `rollout.traffic.Traffic`.
    traffic = models.JSONField(default=dict, blank=True)
    # The token that its replicas fetch the model with. The value is only in the cluster's Secret.
    token = models.ForeignKey(ApiToken, models.SET_NULL, null=True, blank=True, related_name="+")
    # What its cluster's API server refuses of it, while it does (`rollout.refusals.condition`). Empty: nothing.
    refused = models.JSONField(default=dict, blank=True)
    # Somebody asked us for a number: it holds over what another field manager than an autoscaler has set.
    scale_asked = models.BooleanField(default=False)
    # Somebody asked to put back what was edited by hand.
    restore_asked = models.BooleanField(default=False)
    # Why this target was chosen, where nobody has named it (`rollout.anywhere.Choice.of`). Empty: somebody has.
    chosen = models.JSONField(default=dict, blank=True)
    # What a spread keeps of it, while it is not as it should be (`rollout.spread.Kept.to_json`).
    seat = models.JSONField(default=dict, blank=True)
    # Its replicas as the last round saw them, by revision (`health.rollcall.Call.to_json`), to tell what is lost.
    roll_call = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "target"], name="placement_of_deployment")
        ]

    def __str__(self) -> str:
        return f"{self.deployment} on {self.target}"

    @property
    def is_lost(self) -> bool:
        """Whether its cluster can't be asked, so that what is known of it is what was last seen."""
        return self.health == Health.UNKNOWN

    @property
    def known_ready(self) -> int:
        """How many replicas are ready now, as far as that is known: none while the cluster can't be asked."""
        return 0 if self.is_lost else self.ready_replicas

    @property
    def as_of(self) -> datetime | None:
        """How fresh what was observed is: of the watcher, or of a later round that the cluster answered."""
        return max(filter(None, (self.observed_at, self.target.cluster.as_of)), default=None)

    @property
    def word(self) -> str:
        """As `Deployment.word`, on this target."""
        waits = self.deployment.current_id != self.stable_id
        return word_on_target(self.deployment.word, self.health, waits=waits)

    @property
    def share(self) -> Share:
        """What is wanted of the coming revision."""
        return Share(self.weight, Phase(self.phase), self.mirror)

    @property
    def had_traffic(self) -> Traffic:
        """Where requests go, as the last round left it."""
        return Traffic.from_json(self.traffic)

    @property
    def serving(self) -> "Revision | None":
        """The revision that serves alone in the end of what is wanted now; None while nothing shall."""
        return self.coming if self.coming is not None and self.weight == 100 else self.stable


class Revision(models.Model):
    """An immutable, numbered snapshot of a deployment's spec."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    spec = models.JSONField()
    digest = models.CharField(max_length=16)
    # The alias out of which the model version was resolved when it was made; it tells nothing of what runs.
    alias = models.CharField(max_length=250, blank=True)
    model_version = models.ForeignKey(
        ModelVersion, models.SET_NULL, null=True, blank=True, related_name="deployment_revisions"
    )
    # The number of the revision that a rollback copied.
    copied_from = models.PositiveIntegerField(null=True, blank=True)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "number"], name="revision_number_in_deployment")
        ]

    def __str__(self) -> str:
        return f"{self.deployment} revision {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert only: a revision never changes. Raises ValidationError otherwise."""
        if self.pk is not None and not kwargs.get("force_insert"):
            raise ValidationError("A revision is immutable; make a new one.")
        super().save(*args, **kwargs)


class Heal(models.Model):
    """A time in which fewer replicas were ready than wanted without anybody asking for it, and how it ended."""

    placement = models.ForeignKey(Placement, models.CASCADE, related_name="heals")
    wanted = models.PositiveIntegerField()
    # The fewest that were seen ready: all of them, where it was over before anybody looked.
    lowest = models.PositiveIntegerField()
    # The cause that took the replica down, where Kubernetes says it.
    replica = models.CharField(max_length=253, blank=True)
    cause = models.TextField(blank=True)
    # What became of each replica meanwhile: [{"replica", "revision", "restarts", "is_gone", "said"}].
    losses = models.JSONField(default=list, blank=True)
    message = models.TextField(blank=True)
    dropped_at = models.DateTimeField()
    restored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["placement"], condition=Q(restored_at=None), name="one_open_heal")
        ]

    def __str__(self) -> str:
        return f"{self.placement} at {self.dropped_at:%Y-%m-%d %H:%M:%S}"

    @property
    def seconds(self) -> float | None:
        """How long it took until as many were ready as wanted; None while it still lasts."""
        return (self.restored_at - self.dropped_at).total_seconds() if self.restored_at else None

    @property
    def span(self) -> str:
        """The same for people: "2.1 s"; "< 1 s" where no round saw it, so that whole seconds are all that is known."""
        if self.seconds is None:
            return ""
        return "< 1 s" if self.seconds < 1 and self.lowest >= self.wanted else heal_span(self.seconds)
