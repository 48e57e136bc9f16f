"""Writes of targets."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from apps.clusters.connect.checks import engines_of
from apps.clusters.manifests import namespace_of
from apps.clusters.models import Cluster
from apps.core import audit, work
from apps.core.access import Principal, require_platform_admin, require_role
from apps.core.database.rows import Expect, held, put
from apps.core.errors import Conflict, Invalid, Missing
from apps.core.hints import hint
from apps.core.models import Project, User
from apps.core.states import Role
from apps.core.text.names import NAMESPACE_PREFIX, check_name, is_dns_label, is_own_namespace
from apps.deployments.models import Approval, Follow, Placement, Rollout, Target
from apps.deployments.rollout.gateway import ENGINE, parse_gateway
from apps.deployments.rollout.policy import Decided, parse_policy
from apps.deployments.rollout.strategy import Kind
from apps.deployments.services.common import CLOCK, FOLLOW, KIND
from apps.deployments.services.hostnames import Claim, check_hostnames
from apps.deployments.states import UNFINISHED

_SYSTEM_NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})


def create_target(
    *,
    principal: Principal,
    project: Project,
    name: str,
    cluster: str,
    namespace: str = "",
    environment: str = "production",
    policy: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
) -> Target:
    """Name a place where the project's deployments may go. Needs the admin role.

    The namespace is the project's own unless a platform administrator names another: who writes into a namespace
    may replace what runs there. Raises Invalid, Missing or Conflict with the field at fault.
    """
    require_role(principal, project, Role.ADMIN)
    check_name(name, "name")
    check_name(environment, "environment")
    said = parse_policy(policy)
    _check_people(project, said.people)
    allows = said.to_json()
    place = Cluster.objects.filter(name=cluster).first()
    if place is None:
        raise Missing(f"There is no cluster {cluster!r}.", field="cluster", hint="A platform administrator adds them.")
    routes = _checked_gateway(gateway, place)
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
                policy=allows,
                gateway=routes,
                created_by=principal.label,
            )
            after = {"cluster": cluster, "namespace": target.namespace, "environment": environment, "policy": allows}
            after |= {"gateway": routes} if routes else {}
            audit.record(principal=principal, action="target.create", obj=target, project=project, after=after)
            hint("deployments", project.pk)
    except IntegrityError as error:
        raise Conflict(f"There is a target {name!r} already.", field="name") from error
    return target


def edit_target(
    *,
    principal: Principal,
    target: Target,
    policy: Mapping[str, Any] | None = None,
    gateway: Mapping[str, Any] | None = None,
    expect: Expect | None = None,
) -> Target:
    """Let the target allow this from now on, or have its deployments' requests come by this Gateway; what is None stays
    as it is. Needs the admin role. Raises Invalid, and Conflict where a rollout is under way that its Gateway weighs.

    Rollouts that wait there look again: what is not asked for any more holds nobody. So do deployments whose alias has
    moved, and that were refused to go after it.
    """
    require_role(principal, target.project, Role.ADMIN)
    with transaction.atomic():
        target = held(target, "project", "cluster", expect=expect)
        before = {"policy": target.policy, "gateway": target.gateway}
        after = {
            "policy": target.policy if policy is None else parse_policy(policy).to_json(),
            "gateway": target.gateway if gateway is None else _checked_gateway(gateway, target.cluster),
        }
        if before == after:
            return target
        # A person who has left the project since may stay named: the rest of the policy can still be changed.
        allows, allowed = parse_policy(after["policy"]), parse_policy(before["policy"])
        _check_people(target.project, tuple(name for name in allows.people if name not in allowed.people))
        put(target, **after)
        if not allows.approval:
            waiting = Approval.objects.filter(target=target, state=Decided.WAITING)
            waiting.update(state=Decided.LAPSED, decided_at=timezone.now())
        if before["gateway"] != after["gateway"]:
            _route_anew(target)
        changed = [name for name in before if before[name] != after[name]]
        audit.record(
            principal=principal,
            action="target.gateway" if changed == ["gateway"] else "target.policy",
            obj=target,
            project=target.project,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )
        rolling = Rollout.objects.filter(state__in=UNFINISHED, stages__placement__target=target)
        work.ask_many(CLOCK, [(pk, None) for pk in rolling.order_by("deployment").values_list("deployment", flat=True)])
        refused = Follow.objects.filter(deployment__placements__target=target).exclude(refusal="")
        work.ask_many(FOLLOW, [(pk, None) for pk in refused.values_list("deployment", flat=True)])
        hint("deployments", target.project_id)
        hint("overview", target.project_id)
    return target


def _checked_gateway(gateway: Mapping[str, Any] | None, cluster: Cluster) -> dict[str, str]:
    """As it is stored. Raises Invalid, also where the cluster is known to have no Gateways."""
    named = parse_gateway(gateway)
    if named is None:
        return {}
    engines = engines_of(cluster.check_report)
    if engines is not None and ENGINE not in engines:
        raise Invalid(
            f"{cluster.name} has no Gateway API.",
            field="gateway.name",
            hint="Install it with a controller, check the cluster again, or name no Gateway.",
        )
    return named.to_json()


def _route_anew(target: Target) -> None:
    """Every deployment on a held target gets its route from another Gateway, or none. Raises Conflict."""
    places = Placement.objects.filter(target=target).order_by("pk")
    rolls = places.filter(coming__isnull=False).order_by("deployment__name")
    named = list(rolls.values_list("deployment__name", flat=True)[:5])
    if named:
        raise Conflict(
            f"A rollout of {', '.join(named)} is under way on {target.name}.",
            hint="Let it end, or take it back, before requests come another way.",
        )
    shadows = places.filter(deployment__strategy__kind=Kind.SHADOW).order_by("deployment__name")
    named = [] if target.gateway else list(shadows.values_list("deployment__name", flat=True)[:5])
    if named:
        raise Conflict(
            f"Without a Gateway on {target.name} nothing is mirrored to the shadow of {', '.join(named)}.",
            hint="Change the strategy there first, or name another Gateway.",
            field="gateway.name",
        )
    on = places.values_list("deployment__project__name", "deployment__name")
    check_hostnames([Claim(target, *names) for names in on], field="gateway.hostname")
    work.ask_many(KIND, [(pk, target.cluster_id) for pk in places.values_list("pk", flat=True)])


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


def _check_people(project: Project, names: tuple[str, ...]) -> None:
    """Raises Invalid for the first who could not deploy anyway: a name that is mistyped locks everybody out."""
    may_come = Q(memberships__project=project) | Q(is_superuser=True)
    known = set(User.objects.filter(may_come, username__in=names).values_list("username", flat=True)) if names else ()
    for name in names:
        if name not in known:
            raise Invalid(
                f"{name!r} is no member of {project.name}.",
                field="policy.deployers",
                hint="Write the name that they sign in with, or add them to the project first.",
            )


def _check_foreign_namespace(principal: Principal, project: Project, cluster: Cluster, namespace: str) -> None:
    taken = namespace in _SYSTEM_NAMESPACES or namespace.startswith(NAMESPACE_PREFIX)
    taken |= is_own_namespace(namespace, settings.NAMESPACE)
    if taken or not is_dns_label(namespace):
        raise Invalid(f"{namespace!r} can't be the namespace of a target.", field="namespace")
    require_platform_admin(principal)
    if Target.objects.filter(cluster=cluster, namespace=namespace).exclude(project=project).exists():
        raise Conflict(f"Another project deploys to {namespace} on {cluster.name}.", field="namespace")
