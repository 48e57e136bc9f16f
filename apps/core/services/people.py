"""Writes of people: by platform administrators, and of one's own password."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from apps.core import audit
from apps.core.access import Principal, require_platform_admin
from apps.core.database.rows import held, put
from apps.core.errors import Conflict, Invalid, NotAllowed
from apps.core.hints import sight_changed
from apps.core.models import ApiToken, User
from apps.core.states import Role

_COLUMNS = ("username", "first_name", "last_name", "email", "is_active", "is_superuser")


def create_person(*, principal: Principal, username: str, password: str | None = None, **columns: Any) -> User:
    """Add a person; without a password they can't sign in yet. Needs a platform administrator.

    `columns` may name `first_name`, `last_name`, `email`, `is_active` and `is_superuser`. Raises Conflict when the
    name is taken, Invalid for what can't be a name or a password.
    """
    require_platform_admin(principal)
    person = User(username=username, password=make_password(password), **_checked(columns))
    person.is_staff = person.is_superuser
    _check(person, password)
    try:
        with transaction.atomic():
            person.save(force_insert=True)
            audit.record(principal=principal, action="person.create", obj=person, after=_described(person))
    except IntegrityError as error:
        raise Conflict(f"There is a person {username!r} already.", field="username") from error
    return person


def update_person(*, principal: Principal, user: User, **columns: Any) -> User:
    """Rename, disable, enable or promote a person. Needs a platform administrator.

    A disabled person loses sessions and tokens at once and for good. A former platform administrator loses the
    sessions, and the tokens that were made to act as one. Raises Conflict for the last platform administrator.
    """
    require_platform_admin(principal)
    try:
        with transaction.atomic():
            administrators = _lock_administrators()
            now = held(user)
            before, changes = _described(now), _checked(columns)
            if now.pk in administrators and not (changes.get("is_superuser", True) and changes.get("is_active", True)):
                _refuse_last(administrators, now)
            after = {**before, **changes}
            if after == before:
                return now
            put(now, **changes, is_staff=after["is_superuser"])
            _check(now, None)
            recorded = {**after, "revoked": _end_access(now, before, after)}
            audit.record(principal=principal, action="person.update", obj=now, before=before, after=recorded)
            sight_changed(now.pk)
    except IntegrityError as error:
        raise Conflict(f"There is a person {columns.get('username')!r} already.", field="username") from error
    return now


@transaction.atomic
def set_password(*, principal: Principal, user: User, password: str | None) -> User:
    """Give a person another password, or with None none at all, which ends their sessions.

    Everybody may set their own; for others it needs a platform administrator. Raises Invalid for a weak one.
    """
    own = principal.user is not None and principal.user.pk == user.pk and principal.token is None
    if not own:
        require_platform_admin(principal)
    if password is None and own:
        raise NotAllowed("You would lock yourself out.")
    now = held(user)
    _check(now, password)
    put(now, password=make_password(password))
    audit.record(principal=principal, action="person.password", obj=now, after={"usable": password is not None})
    sight_changed(now.pk)
    return now


@transaction.atomic
def delete_person(*, principal: Principal, user: User) -> None:
    """Remove a person with their memberships and tokens. Their entries in the audit trail stay, under their name.

    Needs a platform administrator. Raises Conflict for the last one.
    """
    require_platform_admin(principal)
    administrators = _lock_administrators()
    now = held(user)
    if now.pk in administrators:
        _refuse_last(administrators, now)
    audit.record(principal=principal, action="person.delete", obj=now, before=_described(now))
    sight_changed(now.pk)
    now.delete()


def _lock_administrators() -> list[int]:
    """Lock the administrators and give their keys: of two that remove each other at the same time, one is refused."""
    administrators = User.objects.select_for_update(no_key=True).filter(is_superuser=True, is_active=True)
    return [user.pk for user in administrators.order_by("pk")]


def _refuse_last(administrators: list[int], user: User) -> None:
    if administrators == [user.pk]:
        raise Conflict(f"{user} is the last platform administrator.", hint="Make somebody else one first.")


def _end_access(user: User, before: dict[str, Any], after: dict[str, Any]) -> int:
    """End what the person must not have any more; returns how many tokens were revoked."""
    disabled = before["is_active"] and not after["is_active"]
    demoted = before["is_superuser"] and not after["is_superuser"]
    if not (disabled or demoted):
        return 0
    User.objects.filter(pk=user.pk).update(sessions_ended=F("sessions_ended") + 1)
    tokens = ApiToken.objects.filter(user=user, revoked_at=None)
    if not disabled:
        tokens = tokens.filter(project=None, role=Role.ADMIN)
    return tokens.update(revoked_at=timezone.now())


def _checked(columns: dict[str, Any]) -> dict[str, Any]:
    unknown = columns.keys() - set(_COLUMNS)
    if unknown:
        raise Invalid(f"A person has no {', '.join(sorted(unknown))} that can be set.")
    return columns


def _check(user: User, password: str | None) -> None:
    try:
        user.clean_fields(exclude=["password", "last_login", "date_joined"])
        if password is not None:
            validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages)) from error


def _described(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in _COLUMNS}
