"""Asking for checks of clusters by what they are known by."""

from collections.abc import Iterable

from apps.clusters.models import Cluster
from apps.core import work

CHECK = "check"


def look_again(uids: Iterable[str]) -> None:
    """Ask for a check of every enabled cluster with one of these uids: how often it is registered has changed."""
    known = Cluster.objects.filter(identity__in=[uid for uid in uids if uid], enabled=True)
    work.ask_many(CHECK, [(pk, pk) for pk in known.values_list("pk", flat=True)], first=True)
