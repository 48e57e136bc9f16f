"""The one door: strangers find nothing, roles bound what members do, tokens narrow what people may do."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.access import Principal, get_scoped, project_or_404, role_in, visible_projects
from apps.core.errors import Invalid, Missing, NotAllowed
from apps.core.models import ApiToken, Membership, Project, User
from apps.core.secrets.tokens import find_token, issue_token, revoke_tokens
from apps.core.states import Role

pytestmark = pytest.mark.django_db


@pytest.fixture
def projects() -> tuple[Project, Project]:
    return Project.objects.create(name="mine"), Project.objects.create(name="theirs")


@pytest.fixture
def person(projects: tuple[Project, Project]) -> User:
    user = User.objects.create_user("ada", password="a long enough one")
    Membership.objects.create(project=projects[0], user=user, role=Role.DEVELOPER)
    return user


@pytest.mark.parametrize(
    ("role", "needed", "allowed"),
    [
        (Role.VIEWER, Role.VIEWER, True),
        (Role.VIEWER, Role.DEVELOPER, False),
        (Role.DEVELOPER, Role.VIEWER, True),
        (Role.DEVELOPER, Role.ADMIN, False),
        (Role.ADMIN, Role.ADMIN, True),
    ],
)
def test_a_role_includes_the_smaller_ones(role: Role, needed: Role, allowed: bool) -> None:
    assert role.allows(needed) is allowed


def test_a_stranger_does_not_learn_that_the_project_exists(person: User) -> None:
    with pytest.raises(Missing) as hidden:
        project_or_404(Principal(user=person), "theirs")
    with pytest.raises(Missing) as absent:
        project_or_404(Principal(user=person), "absent")
    assert hidden.value.message.replace("theirs", "absent") == absent.value.message


def test_a_member_with_a_smaller_role_is_told_so(person: User) -> None:
    assert project_or_404(Principal(user=person), "mine", Role.DEVELOPER).name == "mine"
    with pytest.raises(NotAllowed, match="Your role in mine is developer; this needs admin"):
        project_or_404(Principal(user=person), "mine", Role.ADMIN)


def test_nobody_sees_nothing(projects: tuple[Project, Project]) -> None:
    assert not visible_projects(Principal()).exists()
    assert role_in(Principal(), projects[0]) is None


def test_a_project_token_sees_its_project_alone(projects: tuple[Project, Project]) -> None:
    token, _ = issue_token(name="ci", project=projects[0], role=Role.DEVELOPER)
    principal = Principal(token=token)
    assert [project.name for project in visible_projects(principal)] == ["mine"]
    assert role_in(principal, projects[0]) is Role.DEVELOPER
    assert role_in(principal, projects[1]) is None


def test_what_a_caller_sees_is_read_once_for_a_request(person: User) -> None:
    principal = Principal(user=person)
    with CaptureQueriesContext(connection) as queries:
        assert [principal.visible_names for _ in range(3)] == [{"mine"}] * 3
    assert len(queries) == 1
    Membership.objects.all().delete()
    assert Principal(user=person).visible_names == frozenset(), "the next request looks again"


def test_a_token_narrows_its_person(projects: tuple[Project, Project]) -> None:
    root = User.objects.create_superuser("root", password="a long enough one")
    token, _ = issue_token(name="narrow", user=root, project=projects[0], role=Role.VIEWER)
    principal = Principal(user=root, token=token)
    assert role_in(principal, projects[0]) is Role.VIEWER
    assert role_in(principal, projects[1]) is None
    assert not principal.is_platform_admin


def test_a_read_only_token_never_writes(person: User, projects: tuple[Project, Project]) -> None:
    token, _ = issue_token(name="reader", user=person, read_only=True)
    principal = Principal(user=person, token=token)
    assert project_or_404(principal, "mine")
    with pytest.raises(NotAllowed, match="only read"):
        project_or_404(principal, "mine", Role.DEVELOPER)


def test_tokens_end_by_expiry_revocation_and_with_their_person(person: User) -> None:
    _, text = issue_token(name="t", user=person, run_uid="0" * 32)
    assert find_token(text) is not None
    assert find_token(text + "x") is None
    person.is_active = False
    person.save()
    assert find_token(text) is None, "disabling a person kills their tokens at once"
    person.is_active = True
    person.save()
    ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert find_token(text) is None
    ApiToken.objects.update(expires_at=None)
    assert revoke_tokens(run_uid="0" * 32) == 1
    assert find_token(text) is None


def test_the_secret_is_not_stored(person: User) -> None:
    token, text = issue_token(name="t", user=person)
    stored = "".join(str(value) for value in ApiToken.objects.filter(pk=token.pk).values_list()[0])
    assert text not in stored
    assert text[12:] not in stored


def test_objects_are_loaded_through_the_door(person: User, projects: tuple[Project, Project]) -> None:
    own = Membership.objects.get(project=projects[0])
    other = Membership.objects.create(project=projects[1], user=person, role=Role.VIEWER)
    stranger = User.objects.create_user("eve")
    principal = Principal(user=person)
    assert get_scoped(Membership.objects.all(), principal, pk=own.pk) == own
    with pytest.raises(NotAllowed):
        get_scoped(Membership.objects.all(), principal, Role.ADMIN, pk=own.pk)
    with pytest.raises(Missing):
        get_scoped(Membership.objects.all(), Principal(user=stranger), pk=other.pk)
    with pytest.raises(Invalid, match="Several projects"):
        get_scoped(Membership.objects.all(), principal, user=person)
