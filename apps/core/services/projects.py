"""Writes of projects and of who is a member of them."""

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core import audit, holdings
from apps.core.access import Principal, require_platform_admin, require_role
from apps.core.database.rows import held, put
from apps.core.errors import Conflict, Missing
from apps.core.hints import hint, sight_changed
from apps.core.holdings import Holding
from apps.core.models import ApiToken, Membership, Project, User
from apps.core.states import Role
from apps.core.text.names import check_project_name


def create_project(*, principal: Principal, name: str, description: str = "") -> Project:
    """Make a project. Needs a platform administrator.

    Raises Invalid for a bad name or one whose namespace would be Flotilla's own, Conflict for a taken one.
    """
    require_platform_admin(principal)
    check_project_name(name, "name", settings.NAMESPACE)
    try:
        with transaction.atomic():
            project = Project.objects.create(name=name, description=description)
            audit.record(principal=principal, action="project.create", obj=project, project=project)
    except IntegrityError as error:
        raise Conflict(f"There is a project {name!r} already.", field="name") from error
    return project


@transaction.atomic
def update_project(*, principal: Principal, project: Project, description: str) -> Project:
    """Describe a project; its name is part of namespaces on clusters and stays. Needs the admin role."""
    require_role(principal, project, Role.ADMIN)
    now = held(project)
    before = {"description": now.description}
    if now.description != description:
        put(now, description=description)
        after = {"description": description}
        audit.record(principal=principal, action="project.update", obj=now, project=now, before=before, after=after)
    return now


def delete_project(*, principal: Principal, project: Project) -> tuple[Holding, ...]:
    """Delete a project in which everything has ended, with everything that it logged. Needs a platform administrator.

    Returns what was deleted. Raises Conflict, saying what is still alive and what to do about it, while something of
    the project runs on a cluster: nobody would end it there afterwards. The namespaces on the clusters stay.
    """
    require_platform_admin(principal)
    name = project.name
    try:
        with transaction.atomic():
            now = held(project)
            held_by_project = holdings.of_project(now.pk)
            alive = [each for each in held_by_project if each.blocks]
            if alive:
                raise Conflict(
                    f"Project {name} can't be deleted: {holdings.joined(alive)} would go on without it.",
                    hint=" ".join(each.remedy for each in alive),
                )
            after = {each.kind: each.count for each in held_by_project}
            audit.record(principal=principal, action="project.delete", obj=now, project=now, after=after)
            holdings.forget_project(now.pk)
            now.delete()
            hint("overview")
    except IntegrityError as error:
        # Deferred foreign keys are checked at the end: a launch in between has won.
        raise Conflict(f"Something was started in {name} meanwhile.", hint="Look again.") from error
    return held_by_project


@transaction.atomic
def set_member(*, principal: Principal, project: Project, username: str, role: Role | None) -> Membership | None:
    """Give a person a role in the project, or with None take it away. Needs the admin role.

    It holds from the person's next request on. Their tokens for this project alone end with the membership, and never
    say more than the person may.
    """
    require_role(principal, project, Role.ADMIN)
    user = User.objects.select_for_update(no_key=True).filter(username=username).first()
    if user is None:
        raise Missing(f"There is no person {username!r}.", hint="A platform administrator can add them.")
    old = Membership.objects.select_for_update().filter(project=project, user=user).first()
    if (old.role if old else None) == role:
        return old
    member: Membership | None = None
    tokens = ApiToken.objects.filter(project=project, user=user, revoked_at=None)
    if role is None:
        Membership.objects.filter(project=project, user=user).delete()
        touched = tokens.update(revoked_at=timezone.now())
    else:
        member, _ = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})
        touched = tokens.filter(role__in=[more for more in Role if not role.allows(more)]).update(role=role)
    audit.record(
        principal=principal,
        action="project.member",
        obj=user,
        project=project,
        before={"role": old.role} if old else None,
        after={"role": role, "narrowed": touched},
    )
    sight_changed(user.pk)
    return member
