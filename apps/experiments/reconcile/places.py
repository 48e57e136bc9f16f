"""The place of a run's next attempt: chosen, or waited for. No cluster is called."""

from datetime import datetime, timedelta

from apps.clusters.models import Cluster
from apps.clusters.services import is_away
from apps.core.work import DONE, Again, Outcome
from apps.experiments.reconcile.case import Case
from apps.experiments.services.placing import choose
from apps.experiments.specs.places import Placing
from apps.experiments.states import Cause

# A run that waits looks for room again after a quarter of the time that it has waited for, within these bounds: what
# makes room is a run that ends, which is told, or something that nobody tells.
FIRST_LOOK, LAST_LOOK = timedelta(seconds=3), timedelta(minutes=2)


def is_due(case: Case, begin: int) -> bool:
    """Whether the attempt of this number has yet to be given a cluster: none was chosen for it, or one that went away
    before anything was made of it.

    A run with checkpoints stays where they are, as long as that cluster can be asked.
    """
    if not begin or case.run.anywhere is None:
        return False
    if stays_of(case) and case.run.cluster is not None and not is_away(case.run.cluster):
        return False
    placing = Placing.from_json(case.run.placing)
    if placing is None or placing.attempt != begin or case.run.cluster is None:
        return True
    return is_away(case.run.cluster)


def find(case: Case, begin: int, now: datetime) -> Outcome:
    """Give the attempt a cluster: then a round there is asked for. Without one, look again later."""
    before = Placing.from_json(case.run.placing)
    waits = before is not None and before.attempt == begin and before.since is not None
    since = before.since if before is not None and waits and before.since is not None else now
    placing = choose(case.run, begin, avoid=_avoided(case), since=since, left=_left_behind(case))
    if placing is None:
        return Again(0.0)
    if placing.cluster:
        return DONE
    pause = min(max((now - since) / 4, FIRST_LOOK), LAST_LOOK)
    return Again(pause.total_seconds())


def stays_of(case: Case) -> bool:
    """Whether it has checkpoints on the cluster of its last attempt."""
    last, run = case.last, case.run
    return bool(run.spec.get("checkpoints")) and last is not None and last.cluster_id == run.cluster_id


def _left_behind(case: Case) -> str:
    """The name of the cluster that has the run's checkpoints; "" where there are none."""
    if not case.run.spec.get("checkpoints") or case.last is None or case.last.cluster_id is None:
        return ""
    return Cluster.objects.filter(pk=case.last.cluster_id).values_list("name", flat=True).first() or ""


def _avoided(case: Case) -> dict[str, str]:
    """The cluster that interrupted the last attempt: it is taken again only where no other one has room."""
    last = case.last
    if last is None or last.cause != Cause.INTERRUPTED or last.cluster_id is None:
        return {}
    name = Cluster.objects.filter(pk=last.cluster_id).values_list("name", flat=True).first()
    return {name: f"attempt {last.number} was interrupted there"} if name else {}
