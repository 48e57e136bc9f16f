"""The deployments on a cluster, for people who disable or remove it, and of a project, for people who delete it."""

from apps.core import audit
from apps.core.access import Principal
from apps.core.holdings import NAMES_SHOWN, Holding
from apps.deployments.health import ready_text
from apps.deployments.models import Deployment, MetricsSource, Placement, Target
from apps.deployments.services.observing import record_gone


def holdings(cluster_id: int) -> list[Holding]:
    """Deployments with their replicas, and targets. Both forbid the removal of their cluster."""
    served = Placement.objects.filter(target__cluster_id=cluster_id)
    rows = served.select_related("deployment__project", "target")
    rows = rows.order_by("deployment__project__name", "deployment__name")
    targets = Target.objects.filter(cluster_id=cluster_id).order_by("project__name", "name").select_related("project")
    return [
        Holding(
            "deployment",
            served.count(),
            tuple(
                f"{each.deployment.project.name}/{each.deployment.name} "
                f"({ready_text(each.known_ready, each.wanted_replicas, each.health)}, {each.target.name})"
                for each in rows[:NAMES_SHOWN]
            ),
            blocks=True,
            remedy="Delete the deployments first; each can be made anew on another target.",
        ),
        Holding(
            "target",
            targets.count(),
            tuple(f"{each.project.name}/{each.name}" for each in targets[:NAMES_SHOWN]),
            blocks=True,
            remedy="Delete the targets.",
            namespaces=frozenset(targets.order_by().values_list("namespace", flat=True)),
        ),
    ]


def give_up(cluster_id: int, principal: Principal) -> None:
    """Forget deployments and targets of a cluster that is gone for good; their tokens are revoked."""
    served = Placement.objects.filter(target__cluster_id=cluster_id)
    # By deployment, since each is held from here until all are given up.
    for placement in served.select_related("deployment__project", "target").order_by("deployment_id", "pk"):
        deployment = placement.deployment
        audit.record(principal=principal, action="deployment.abandon", obj=deployment, project=deployment.project)
        record_gone(placement)
    for target in Target.objects.filter(cluster_id=cluster_id).select_related("project"):
        audit.record(principal=principal, action="target.abandon", obj=target, project=target.project)
        target.delete()


def of_project(pk: int) -> list[Holding]:
    """Deployments forbid the deletion of their project until the cluster confirmed that they are gone."""
    served = Deployment.objects.filter(project_id=pk).order_by("name")
    return [
        Holding(
            "deployment",
            served.count(),
            tuple(f"{each.name} ({each.state})" for each in served[:NAMES_SHOWN]),
            blocks=True,
            remedy="Delete the deployments, and wait until they are gone.",
        ),
        Holding("target", Target.objects.filter(project_id=pk).count(), remedy="Forgotten, too."),
        Holding(
            "metrics source",
            MetricsSource.objects.filter(project_id=pk).count(),
            remedy="Forgotten, too, with its token.",
        ),
    ]
