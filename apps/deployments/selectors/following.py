"""Reads of deployments that follow an alias."""

from django.db.models import F, QuerySet

from apps.core.models import Project
from apps.deployments.models import Deployment, Follow
from apps.experiments.models import ModelAlias


def _due() -> QuerySet[Follow]:
    """Where the alias points to a version that was neither brought nor passed over (`Course.is_due`)."""
    return Follow.objects.filter(version__isnull=False, model__isnull=False).exclude(done=F("moves"))


def left_behind() -> list[tuple[int, int | None]]:
    """Deployments whose alias has moved, and that have not gone after it; no cluster is called for them."""
    return [(pk, None) for pk in _due().values_list("deployment", flat=True)]


def refused(project: Project) -> QuerySet[Follow]:
    """Those of a project's deployments that could not go after the last move of their alias, the latest first."""
    rows = _due().filter(deployment__project=project).exclude(refusal="")
    return rows.select_related("deployment__project").order_by(F("moved_at").desc(nulls_last=True))


def alias_choices(project: Project, model: str = "", *, limit: int = 200) -> list[tuple[str, str, int]]:
    """(model, alias, version that it points to now) of a project's aliases, or of one model's."""
    rows = ModelAlias.objects.filter(model__project=project)
    rows = rows.filter(model__name=model) if model else rows
    return list(rows.order_by("model__name", "name").values_list("model__name", "name", "version__version")[:limit])


def served_version(deployment: Deployment) -> int | None:
    """The number of the model version that shall serve now; None where no model is served."""
    model = deployment.current.spec.get("model") if deployment.current else None
    return int(model["version"]) if model else None
