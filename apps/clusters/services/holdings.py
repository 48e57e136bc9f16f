"""A project's pods on clusters as observed, for the deletion of the project."""

from apps.clusters.models import Pod
from apps.core.holdings import NAMES_SHOWN, Holding
from apps.core.models import Project


def of_project(pk: int) -> list[Holding]:
    """Pods that have not ended, whatever became of the run or deployment that made them."""
    name = Project.objects.values_list("name", flat=True).get(pk=pk)
    pods = Pod.objects.present().filter(project=name, phase__in=["Pending", "Running", "Unknown", ""])
    named = pods.select_related("cluster").order_by("cluster__name", "namespace", "name")[:NAMES_SHOWN]
    return [
        Holding(
            "running pod",
            pods.count(),
            tuple(f"{each.cluster.name}/{each.namespace}/{each.name}" for each in named),
            blocks=True,
            remedy="Wait until the pods have ended; those of a cluster that is gone for good go when it is removed.",
        )
    ]
