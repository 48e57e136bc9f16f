"""The manifests that were applied, kept so that the cluster's objects can be compared with them and restored."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from apps.core.database.prepared import FindAll
from apps.deployments.health import Verdict
from apps.deployments.models import AppliedObject, Placement

Key = tuple[str, str]
_of_placement = FindAll(AppliedObject, "placement")


def kept_of(placement: Placement) -> dict[Key, AppliedObject]:
    """The kept row of each object, by kind and name. One query."""
    return {(row.kind, row.name): row for row in _of_placement(placement.pk)}


def remember(placement: Placement, asked: str, manifest: Mapping[str, Any]) -> None:
    """Keep what has just been applied, or what was found to have been. One statement; repeating it changes nothing."""
    row = AppliedObject(
        placement=placement,
        kind=manifest["kind"],
        name=manifest["metadata"]["name"],
        asked=asked,
        manifest=manifest,
        applied_at=timezone.now(),
    )
    AppliedObject.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["placement", "kind", "name"],
        update_fields=["asked", "manifest", "applied_at"],
    )


def note_health(placement: Placement, kept: Mapping[Key, AppliedObject], key: Key, stands: Verdict) -> None:
    """Keep how a round found an object that nobody watches. No statement where that is known."""
    row, (kind, name) = kept.get(key), key
    if row is None or (row.health, row.message) != (stands.health, stands.message):
        rows = AppliedObject.objects.filter(placement=placement, kind=kind, name=name)
        rows.update(health=stands.health, message=stands.message)


def forget(placement: Placement, kind: str, name: str) -> None:
    """The object is not wanted any longer."""
    AppliedObject.objects.filter(placement=placement, kind=kind, name=name).delete()
