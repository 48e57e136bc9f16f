"""The same cluster registered twice, said to be meant: its checks tell of it until an administrator has said so.

`connect/twins.py` finds the other registrations.
"""

from django.db import transaction

from apps.clusters.connect import checks
from apps.clusters.connect.twins import with_uid
from apps.clusters.models import Cluster
from apps.clusters.services.asking import look_again
from apps.core import audit
from apps.core.access import Principal, require_platform_admin
from apps.core.database.rows import Expect, held, put
from apps.core.hints import hint


def unmeant(cluster: Cluster, uid: str) -> list[str]:
    """The other names of the cluster with this uid that nobody has said to be meant."""
    together = with_uid(uid)
    for one in together:
        if one.registered_again and len(together) > 1:
            _settle(one, together)
    meant = set(cluster.meant_twins.values_list("pk", flat=True))
    return [other.name for other in together if other.pk != cluster.pk and other.pk not in meant]


def mean_twins(*, principal: Principal, cluster: Cluster, meant: bool, expect: Expect | None = None) -> Cluster:
    """Say that the cluster is meant to be registered under its other names, too, so that no check tells of it any
    more; or take that back. A name that is added later is told of again. Needs a platform administrator.
    """
    require_platform_admin(principal)
    with transaction.atomic():
        cluster = held(cluster, expect=expect)
        before, together = _described(cluster), with_uid(cluster.identity)
        if meant and len(together) > 1:
            _settle(cluster, together)
            put(cluster, check_report=checks.without_twins(cluster.check_report))
        elif meant:
            put(cluster, registered_again=True)
        else:
            cluster.meant_twins.clear()
            put(cluster, registered_again=False)
        if before != (after := _described(cluster)):
            audit.record(principal=principal, action="cluster.twins", obj=cluster, before=before, after=after)
            look_again([cluster.identity])
    hint(f"cluster-check:{cluster.pk}")
    hint("clusters")
    return cluster


def _settle(cluster: Cluster, together: list[Cluster]) -> None:
    """Remember that these are one on purpose; what is registered after them is not meant by that."""
    cluster.meant_twins.add(*(other.pk for other in together if other.pk != cluster.pk))
    put(cluster, registered_again=False)


def _described(cluster: Cluster) -> dict[str, object]:
    return {
        "meant_twins": sorted(cluster.meant_twins.values_list("name", flat=True)),
        "registered_again": cluster.registered_again,
    }
