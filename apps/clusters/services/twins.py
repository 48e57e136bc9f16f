"""One cluster that is registered under several names: its checks tell, until an administrator says that it is meant."""

from django.db import transaction

from apps.clusters.connect import checks
from apps.clusters.models import Cluster
from apps.clusters.services.asking import look_again
from apps.core import audit
from apps.core.access import Principal, require_platform_admin
from apps.core.database.rows import Expect, held, put
from apps.core.hints import hint


def unmeant(cluster: Cluster, uid: str) -> list[str]:
    """The other names of the cluster with this uid that nobody has said to be meant."""
    together = _with_uid(uid)
    for one in together:
        if one.registered_again and len(together) > 1:
            _settle(one, together)
    meant = set(cluster.meant_twins.values_list("pk", flat=True))
    return [other.name for other in together if other.pk != cluster.pk and other.pk not in meant]


def is_meant(cluster: Cluster) -> bool:
    """Whether somebody has said that the cluster is meant to be registered under its other names, too."""
    return cluster.registered_again or cluster.meant_twins.exists()


def has_any(cluster: Cluster) -> bool:
    """Whether the cluster is registered under another name, too."""
    return len(_with_uid(cluster.identity)) > 1


def mean_twins(*, principal: Principal, cluster: Cluster, meant: bool, expect: Expect | None = None) -> Cluster:
    """Say that the cluster is meant to be registered under its other names, too, so that no check tells of it any
    more; or take that back. A name that is added later is told of again. Needs a platform administrator.
    """
    require_platform_admin(principal)
    with transaction.atomic():
        cluster = held(cluster, expect=expect)
        before, together = _described(cluster), _with_uid(cluster.identity)
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


def _with_uid(uid: str) -> list[Cluster]:
    return list(Cluster.objects.filter(identity=uid).exclude(identity="").order_by("name"))


def _settle(cluster: Cluster, together: list[Cluster]) -> None:
    """Remember that these are one on purpose; what is registered after them is not meant by that."""
    cluster.meant_twins.add(*(other.pk for other in together if other.pk != cluster.pk))
    put(cluster, registered_again=False)


def _described(cluster: Cluster) -> dict[str, object]:
    return {
        "meant_twins": sorted(cluster.meant_twins.values_list("name", flat=True)),
        "registered_again": cluster.registered_again,
    }
