"""What else is to run a run, or to hold it back, on the clusters that have it: Kubeflow Trainer, and Kueue's queues.

https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
"""

from collections.abc import Iterable

from apps.clusters.connect.checks import engines_of, is_before, version_of
from apps.clusters.models import Cluster
from apps.core.errors import Invalid
from apps.experiments.manifests import trainer

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


# The first version whose TrainJobs patch their runtime.
TRAINER_SINCE = (2, 2)


def check_trainers(asked: Iterable[tuple[str, Cluster | None]]) -> None:
    """Each pair is a run's training runtime ("" for none) and its cluster (None for any that fits).

    Raises Invalid where nobody would run it.
    """
    for runtime, cluster in asked:
        if not runtime:
            continue
        field = "runtime.trainer"
        if cluster is None:
            hint = "Name the cluster, too."
            raise Invalid(f"{runtime} is a training runtime of one cluster.", field=field, hint=hint)
        there = engines_of(cluster.check_report)
        # Where the last check could not ask, the run itself tells why it does not begin.
        if there is not None and trainer.ENGINE not in there:
            hint = f"Leave the runtime out, or have {trainer.ENGINE} installed there and check the cluster again."
            raise Invalid(
                f"{cluster.name} has no {trainer.ENGINE}, so {runtime} runs nothing there.", field=field, hint=hint
            )
        version = version_of(cluster.check_report, trainer.ENGINE)
        if is_before(version, TRAINER_SINCE):
            raise Invalid(
                f"{cluster.name} has {trainer.ENGINE} {version}, whose TrainJobs don't patch their runtime.",
                field=field,
                hint=f"Upgrade it to {TRAINER_SINCE[0]}.{TRAINER_SINCE[1]} or later, and check the cluster again.",
            )
