"""Administration: deployments are looked at here, and changed on their pages or by REST, where services run."""

from django.contrib import admin

from apps.core.pages.panel import PlatformAdmin
from apps.deployments.models import (
    AppliedObject,
    Approval,
    Deployment,
    Heal,
    KeptLog,
    MetricsSource,
    Placement,
    Recording,
    Revision,
    Rollout,
    Target,
)


@admin.register(Target)
class TargetAdmin(PlatformAdmin):
    """Targets."""

    list_display = ("name", "project", "cluster", "namespace", "environment")
    list_filter = ("cluster", "environment")
    search_fields = ("name",)
    list_select_related = ("project", "cluster")


@admin.register(MetricsSource)
class MetricsSourceAdmin(PlatformAdmin):
    """Metrics sources. Their tokens are shown to nobody."""

    list_display = ("name", "project", "address", "has_token", "created_by", "created_at")
    search_fields = ("name",)
    list_select_related = ("project",)


@admin.register(Deployment)
class DeploymentAdmin(PlatformAdmin):
    """Deployments."""

    list_display = ("name", "project", "state", "health", "ready_replicas", "desired_replicas", "observed_at")
    list_filter = ("health", "state")
    search_fields = ("name",)
    list_select_related = ("project",)


@admin.register(Placement)
class PlacementAdmin(PlatformAdmin):
    """Placements."""

    list_display = ("deployment", "target", "state", "stable", "coming", "weight", "health", "ready_replicas")
    list_filter = ("health", "state")
    list_select_related = ("deployment", "target", "stable__deployment", "coming__deployment")


@admin.register(KeptLog)
class KeptLogAdmin(PlatformAdmin):
    """The last lines of replicas whose revision was taken back."""

    list_display = ("replica", "target", "rollout", "why", "taken_at")
    search_fields = ("replica", "rollout__deployment__name")
    list_select_related = ("rollout__to_revision__deployment",)


@admin.register(Recording)
class RecordingAdmin(PlatformAdmin):
    """Requests that analyses send again. What they hold is shown to a project's developers alone."""

    list_display = ("deployment", "number", "name", "inputs", "revision", "created_by", "created_at")
    search_fields = ("name", "deployment__name")
    list_select_related = ("deployment",)
    exclude = ("body", "digest")


@admin.register(Revision)
class RevisionAdmin(PlatformAdmin):
    """Revisions."""

    list_display = ("deployment", "number", "model_version", "copied_from", "created_by", "created_at")
    list_select_related = ("deployment", "model_version__model")


@admin.register(Rollout)
class RolloutAdmin(PlatformAdmin):
    """Rollouts."""

    list_display = ("deployment", "from_revision", "to_revision", "state", "message", "started_at", "ended_at")
    list_filter = ("state",)
    list_select_related = ("deployment", "from_revision__deployment", "to_revision__deployment")


@admin.register(Approval)
class ApprovalAdmin(PlatformAdmin):
    """Approvals."""

    list_display = ("rollout", "target", "state", "asked_at", "decided_by", "decided_at")
    list_filter = ("state",)
    list_select_related = ("rollout__to_revision__deployment", "target")


@admin.register(Heal)
class HealAdmin(PlatformAdmin):
    """Heals."""

    list_display = ("placement", "wanted", "lowest", "cause", "message", "dropped_at", "restored_at")
    list_select_related = ("placement__deployment", "placement__target")


@admin.register(AppliedObject)
class AppliedObjectAdmin(PlatformAdmin):
    """The manifests that were applied."""

    list_display = ("placement", "kind", "name", "asked", "applied_at")
    list_filter = ("kind",)
    list_select_related = ("placement__deployment", "placement__target")
