"""The manifests that were applied, kept so that the cluster's objects can be compared with them and restored."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from apps.deployments.models import AppliedObject, Placement

Key = tuple[str, str]


def kept_of(placement: Placement) -> dict[Key, AppliedObject]:
    """The kept row of each object, by kind and name. One query."""
    return {(row.kind, row.name): row for row in AppliedObject.objects.filter(placement=placement)}


def remember(placement: Placement, asked: str, manifest: Mapping[str, Any]) -> None:
    """Keep what has just been applied, or what was found to have been. One statement; repeating it changes nothing."""
    AppliedObject.objects.update_or_create(
        placement=placement,
        kind=manifest["kind"],
        name=manifest["metadata"]["name"],
        defaults={"asked": asked, "manifest": manifest, "applied_at": timezone.now()},
    )


def forget(placement: Placement, kind: str, name: str) -> None:
    """The object is not wanted any longer."""
    AppliedObject.objects.filter(placement=placement, kind=kind, name=name).delete()
