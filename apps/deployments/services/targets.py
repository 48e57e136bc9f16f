"""Writes of targets."""

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.clusters.manifests import namespace_of
from apps.clusters.models import Cluster
from apps.core import audit
from apps.core.access import Principal, require_platform_admin, require_role
from apps.core.database.rows import held
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Role
from apps.core.text.names import NAMESPACE_PREFIX, check_name, is_dns_label, is_own_namespace
from apps.deployments.models import Target

_SYSTEM_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def create_target(
    *,
    principal: Principal,
    project: Project,
    name: str,
    cluster: str,
    namespace: str = "",
    environment: str = "production",
) -> Target:
    """Name a place where the project's deployments may go. Needs the admin role.

    The namespace is the project's own unless a platform administrator names another: who writes into a namespace
    may replace what runs there. Raises Invalid, Missing or Conflict with the field at fault.
    """
    require_role(principal, project, Role.ADMIN)
    check_name(name, "name")
    check_name(environment, "environment")
    place = Cluster.objects.filter(name=cluster).first()
    if place is None:
        raise Missing(f"There is no cluster {cluster!r}.", field="cluster", hint="A platform administrator adds them.")
    own = namespace_of(project.name)
    if namespace and namespace != own:
        _check_foreign_namespace(principal, project, place, namespace)
    try:
        with transaction.atomic():
            target = Target.objects.create(
                project=project,
                name=name,
                cluster=place,
                namespace=namespace or own,
                environment=environment,
                created_by=principal.label,
            )
            after = {"cluster": cluster, "namespace": target.namespace, "environment": environment}
            audit.record(principal=principal, action="target.create", obj=target, project=project, after=after)
            hint("deployments", project.pk)
    except IntegrityError as error:
        raise Conflict(f"There is a target {name!r} already.", field="name") from error
    return target


def delete_target(*, principal: Principal, target: Target) -> None:
    """Forget a target that nothing is deployed to. Needs the admin role. Raises Conflict while something is."""
    require_role(principal, target.project, Role.ADMIN)
    with transaction.atomic():
        # Also keeps others from deploying there meanwhile: they hold the target while they do.
        target = held(target, "project")
        used = list(target.placements.order_by("deployment__name").values_list("deployment__name", flat=True)[:5])
        if used:
            raise Conflict(f"Target {target.name} is used by {', '.join(used)}.", hint="Delete those first.")
        audit.record(principal=principal, action="target.delete", obj=target, project=target.project)
        hint("deployments", target.project_id)
        target.delete()


def _check_foreign_namespace(principal: Principal, project: Project, cluster: Cluster, namespace: str) -> None:
    taken = namespace in _SYSTEM_NAMESPACES or namespace.startswith(NAMESPACE_PREFIX)
    taken |= is_own_namespace(namespace, settings.NAMESPACE)
    if taken or not is_dns_label(namespace):
        raise Invalid(f"{namespace!r} can't be the namespace of a target.", field="namespace")
    require_platform_admin(principal)
    if Target.objects.filter(cluster=cluster, namespace=namespace).exclude(project=project).exists():
        raise Conflict(f"Another project deploys to {namespace} on {cluster.name}.", field="namespace")
