"""The audit trail: every change leaves a row in the transaction that makes it."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

from apps.core.access import Principal
from apps.core.database import prepared
from apps.core.models import AuditEntry, Project
from apps.core.secrets.scrub import scrub

# The kinds of objects. The action of an entry begins with one.
KINDS = (
    "cluster",
    "deployment",
    "experiment",
    "model",
    "person",
    "pipeline",
    "price",
    "project",
    "rollout",
    "run",
    "schedule",
    "source",
    "target",
    "token",
    "trace",
    "webhook",
)


def record(
    *,
    principal: Principal,
    action: str,
    obj: Model,
    project: Project | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> AuditEntry:
    """Append who did `action` ("deployment.scale") to `obj`, with the values before and after, scrubbed."""
    entry = _entry(principal, action, obj, project, before, after)
    prepared.insert(entry)
    return entry


def record_all(
    *, principal: Principal, action: str, objects: Iterable[tuple[Model, dict[str, Any] | None]], project: Project
) -> None:
    """The same for several objects, each with its values afterwards, in one statement."""
    prepared.insert_all([_entry(principal, action, obj, project, None, after) for obj, after in objects])


def _entry(
    principal: Principal,
    action: str,
    obj: Model,
    project: Project | None,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> AuditEntry:
    return AuditEntry(
        actor=principal.label if principal.is_authenticated else "flotilla",
        user=principal.user,
        project=project,
        action=action,
        object_type=obj._meta.label_lower,
        object_id=str(obj.pk),
        object_name=str(obj)[:250],
        before=scrub(before),
        after=scrub(after),
        source_ip=principal.ip,
    )
