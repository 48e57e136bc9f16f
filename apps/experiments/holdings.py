"""What runs are on a cluster, for who disables or removes it."""

from apps.clusters.accounts import NAMES_SHOWN, Holding
from apps.core import work
from apps.core.access import Principal
from apps.experiments.models import Run
from apps.experiments.services.launching import KIND
from apps.experiments.states import UNSETTLED, RunKind


def holdings(cluster_id: int) -> list[Holding]:
    """Runs that go on forbid the removal of their cluster; ended ones only forget where they were."""
    launched = Run.objects.filter(cluster_id=cluster_id, kind=RunKind.LAUNCHED)
    going = launched.filter(state__in=UNSETTLED).order_by("-id")
    named = going.select_related("experiment__project")[:NAMES_SHOWN]
    return [
        Holding(
            "unfinished run",
            going.count(),
            tuple(f"{each.experiment.project.name}/{each.experiment.name}/{each} ({each.state})" for each in named),
            blocks=True,
            remedy="Cancel the runs, or wait until they end.",
            namespaces=frozenset(going.order_by().values_list("namespace", flat=True)),
        ),
        Holding(
            "ended run",
            launched.exclude(state__in=UNSETTLED).count(),
            remedy="Ended runs stay with all that they logged, but no longer say where they ran.",
        ),
    ]


def give_up(cluster_id: int, principal: Principal) -> None:
    """Let the runs of a cluster that is gone for good look at themselves: without a cluster they end as lost."""
    going = Run.objects.filter(cluster_id=cluster_id, state__in=UNSETTLED).values_list("pk", flat=True)
    work.ask_many(KIND, [(pk, None) for pk in going])
