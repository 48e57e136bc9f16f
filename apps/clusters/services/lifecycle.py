"""Labels, the switch, and the removal of a cluster."""

import re
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError
from django.utils import timezone

from apps.clusters.kube import pool
from apps.clusters.models import Cluster, Pod, WatcherLease
from apps.clusters.observed.clusterstate import derive
from apps.clusters.observed.conditions import conditions, merge
from apps.clusters.observed.observation import Observation
from apps.clusters.services import dependents
from apps.clusters.services.asking import CHECK, look_again
from apps.clusters.services.dependents import Dependents
from apps.clusters.services.following import follow_state
from apps.clusters.services.labels import clean_folder, clean_labels
from apps.clusters.services.registration import announce, described
from apps.clusters.states import MOVES, ClusterState
from apps.core import audit, work
from apps.core.access import Principal, require_platform_admin
from apps.core.database import transitions
from apps.core.database.rows import Expect, held, put
from apps.core.errors import Conflict, Invalid, Missing, NotAllowed
from apps.core.hints import hint

_UID = re.compile(r"[0-9A-Za-z-]{1,64}")


def update_cluster(
    *,
    principal: Principal,
    cluster: Cluster,
    labels: dict[str, str] | None = None,
    enabled: bool | None = None,
    model_cache: str | None = None,
    expect: Expect | None = None,
) -> Cluster:
    """Change labels, or the nodes' folder for models, or stop and resume watching. None leaves a value as it is.

    Needs a platform administrator.
    """
    require_platform_admin(principal)
    with transaction.atomic():
        cluster = held(cluster, expect=expect)
        before = described(cluster)
        if labels is not None:
            put(cluster, labels=clean_labels(labels))
        if model_cache is not None:
            put(cluster, model_cache=clean_folder(model_cache))
        if enabled is not None and enabled != cluster.enabled:
            put(cluster, enabled=enabled, generation=cluster.generation + 1)
            if enabled:
                work.ask(CHECK, cluster.pk, cluster=cluster.pk)
        if before != described(cluster):
            audit.record(
                principal=principal, action="cluster.update", obj=cluster, before=before, after=described(cluster)
            )
        _follow_switch(cluster, principal)
    announce(cluster)
    return cluster


def accept_identity(*, principal: Principal, cluster: Cluster, identity: str, expect: Expect | None = None) -> Cluster:
    """Take the cluster with this uid for the registered one: it was rebuilt in its place, and the old one is gone.

    What Flotilla had on the old one is then found absent. Raises Invalid for what is no uid.
    Needs a platform administrator.
    """
    require_platform_admin(principal)
    if not _UID.fullmatch(identity):
        hint = "The cluster's page names the one that answers."
        raise Invalid("That is no uid of a namespace.", hint=hint, field="identity")
    with transaction.atomic():
        cluster = held(cluster, expect=expect)
        if identity == cluster.identity:
            return cluster
        before = described(cluster)
        put(cluster, identity=identity, generation=cluster.generation + 1)
        audit.record(
            principal=principal, action="cluster.identity", obj=cluster, before=before, after=described(cluster)
        )
        work.ask(CHECK, cluster.pk, cluster=cluster.pk)
        look_again([before["identity"], identity])
    announce(cluster)
    return cluster


def dependents_of(*, principal: Principal, cluster: Cluster) -> Dependents:
    """All that Flotilla has on the cluster, of all projects; so for platform administrators."""
    if not principal.is_platform_admin:
        raise NotAllowed("Only a platform administrator sees what all projects have there.")
    return all_dependents(cluster.pk)


def delete_cluster(
    *, principal: Principal, cluster: Cluster, abandon: bool = False, expect: Expect | None = None
) -> Dependents:
    """Forget a cluster and what was observed on it; nothing on the cluster itself is touched.

    Returns what was left there. Raises Conflict, with what was found as its extension, while something depends on it.
    With `abandon` what depends on it is forgotten, too: for a disabled cluster that is gone for good, and would never
    confirm that anything has ended. Needs a platform administrator.
    """
    require_platform_admin(principal)
    pk = cluster.pk
    try:
        with transaction.atomic():
            # The lease first, as the watcher does, which holds it while it writes rows that refer to the cluster: else
            # each could wait for the other.
            WatcherLease.objects.select_for_update().filter(cluster=pk).first()
            # Waits for a transaction that is about to put something there, and makes the next one meet no cluster.
            locked = Cluster.objects.select_for_update().filter(pk=pk).first()
            if locked is None:
                raise Missing(f"Cluster {cluster.name} is removed already.")
            if expect is not None:
                expect(locked)
            left = all_dependents(pk)
            if abandon and locked.enabled:
                raise Conflict("Only a disabled cluster can be given up.", hint="Disable it first.")
            if left.blocking and not abandon:
                raise _still_used(locked, left)
            audit.record(
                principal=principal,
                action="cluster.delete",
                obj=locked,
                before=described(locked),
                after={"left_there": left.as_dict(), "abandoned": abandon},
            )
            if abandon:
                dependents.give_up(pk, principal)
            cluster.delete()
            work.forget(CHECK, pk)
            look_again([locked.identity])
            work.open_up(pk)
    except ProtectedError as error:
        kinds = sorted({str(obj._meta.verbose_name_plural) for obj in error.protected_objects})
        raise Conflict(
            f"Cluster {cluster.name} is still used by {', '.join(kinds)}.", hint="Delete these first, or disable it."
        ) from error
    pool.forget(pk)
    hint("clusters")
    hint(f"cluster:{pk}")
    return left


def all_dependents(pk: int) -> Dependents:
    """All that Flotilla has on a cluster, for callers that have checked the principal."""
    ours = Pod.objects.present().filter(cluster=pk, phase__in=["Pending", "Running", "Unknown", ""]).exclude(project="")
    holdings = dependents.holdings(pk)
    places: set[str] = set(ours.order_by().values_list("namespace", flat=True).distinct())
    for holding in holdings:
        places |= holding.namespaces
    return Dependents(holdings, ours.count(), tuple(sorted(places)))


_WAY_OUT = "Or disable it; a disabled cluster that is gone for good can be abandoned with all of that."


def _still_used(cluster: Cluster, left: Dependents) -> Conflict:
    holdings = left.blocking
    dependants = " and ".join(
        [", ".join(holding.said for holding in holdings[:-1]), holdings[-1].said]
        if holdings[1:]
        else [holdings[0].said]
    )
    extensions: dict[str, Any] = {"account": left.as_dict()}
    return Conflict(
        f"Cluster {cluster.name} can't be removed: {dependants} depend{'s' if _one(left) else ''} on it.",
        hint=" ".join([*(holding.remedy for holding in holdings), _WAY_OUT]),
        extensions=extensions,
    )


def _one(left: Dependents) -> bool:
    return sum(each.count for each in left.blocking) == 1


def _follow_switch(cluster: Cluster, principal: Principal) -> None:
    """Show at once what follows: of a disabled cluster a watcher writes nothing, of an enabled one within seconds."""
    seen = Observation(enabled=cluster.enabled)
    state, reason, message = derive(seen)
    if (state == ClusterState.DISABLED) == (cluster.state == ClusterState.DISABLED):
        return
    switched = "Enabled" if cluster.enabled else "Disabled"
    if transitions.advance(cluster, to=state, allowed=MOVES, actor=principal.label, reason=switched):
        known = merge(cluster.conditions, conditions(seen), timezone.now())
        cluster.reason, cluster.message, cluster.conditions = reason, message, known
        words = {"reason": reason, "message": message, "conditions": known}
        Cluster.objects.filter(pk=cluster.pk, state=state).update(**words)
        follow_state(cluster)
    if not cluster.enabled:
        pool.forget(cluster.pk)
