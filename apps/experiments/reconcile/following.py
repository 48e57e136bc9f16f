"""Runs follow the state of the cluster that they are on."""

from django.utils import timezone

from apps.clusters.models import Cluster
from apps.clusters.services import is_away
from apps.core import work
from apps.core.hints import hint
from apps.experiments.models import Run
from apps.experiments.services.away import why_away
from apps.experiments.services.placing import KIND, WOKEN, waiting_for_room
from apps.experiments.states import UNSETTLED, RunKind, RunState


def follow_cluster(cluster: Cluster) -> None:
    """Say of all runs there why they don't go on while the cluster is away, and look at them when it is back.

    One statement for all of them: while a cluster is away no reconcile comes by.
    """
    going = Run.objects.filter(cluster=cluster, kind=RunKind.LAUNCHED, state__in=UNSETTLED)
    projects = dict(going.order_by("pk").values_list("pk", "experiment__project"))
    away_now = is_away(cluster)
    rounds: dict[int, int | None] = dict.fromkeys(projects, cluster.pk)
    if away_now:
        # What was placed here and has not begun may be placed elsewhere: that calls no cluster.
        unbegun = going.filter(anywhere__isnull=False, state=RunState.PENDING)
        rounds |= dict.fromkeys(unbegun.values_list("pk", flat=True))
    else:
        rounds |= dict(waiting_for_room(WOKEN))
    if projects and away_now:
        reason, message = why_away(cluster)
        going.filter(pk__in=projects).update(reason=reason, message=message, updated_at=timezone.now())
        for project in set(projects.values()):
            hint("runs", project)
            hint("overview", project)
        for pk, project in projects.items():
            hint(f"run:{pk}", project)
    work.ask_many(KIND, rounds.items())
