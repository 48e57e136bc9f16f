"""Queues that runs wait in: Kueue's, on the clusters that have it.

https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
"""

from collections.abc import Iterable

from apps.clusters.connect.checks import engines_of
from apps.clusters.models import Cluster
from apps.core.errors import Invalid

# As `apps.clusters.connect.engines` calls it.
ENGINE = "Kueue"


def check_queues(asked: Iterable[tuple[str, Cluster | None]]) -> None:
    """Each pair is a run's queue ("" for none) and its cluster (None for any that fits). Raises Invalid where nobody
    would ever let the run out of its queue."""
    for queue, cluster in asked:
        if not queue:
            continue
        if cluster is None:
            hint = "Name the cluster, too."
            raise Invalid(f"{queue} is a queue of one cluster.", field="queue", hint=hint)
        there = engines_of(cluster.check_report)
        # Where the last check could not ask, the run itself tells what it waits for.
        if there is not None and ENGINE not in there:
            hint = "Leave the queue out, or have Kueue installed there and check the cluster again."
            raise Invalid(f"{cluster.name} has no Kueue, so {queue} lets nothing run there.", field="queue", hint=hint)
