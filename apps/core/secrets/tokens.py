"""API tokens: made, shown once, found again by digest."""

import hashlib
import secrets
from datetime import datetime, timedelta

from django.utils import timezone

from apps.core.access import token_is_valid
from apps.core.database import prepared
from apps.core.database.prepared import FindOne
from apps.core.models import ApiToken, Project, User
from apps.core.states import Role

PREFIX = "flt_"
# A request a second must not become a write a second: `last_used_at` is this coarse.
LAST_USED_RESOLUTION = timedelta(minutes=1)

_by_digest = FindOne(ApiToken, "digest", related=("user", "project"))


def issue_token(
    *,
    name: str,
    user: User | None = None,
    project: Project | None = None,
    run_uid: str = "",
    role: Role = Role.DEVELOPER,
    read_only: bool = False,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make a token and return it with its secret text, which can't be had again."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        name=name,
        prefix=text[:12],
        digest=digest(text),
        user=user,
        project=project,
        run_uid=run_uid,
        role=role,
        read_only=read_only,
        expires_at=expires_at,
    )
    prepared.insert(token)
    return token, text


def digest(text: str) -> str:
    """SHA-256 in hex. A token has 256 random bits, so no salt or slow hash is needed."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_token(text: str) -> ApiToken | None:
    """The valid token with this text, or None. Costs one query, and a write at most once a minute."""
    if not text.startswith(PREFIX):
        return None
    token = _by_digest(digest(text))
    if token is None or not token_is_valid(token):
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_RESOLUTION:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke_tokens(*, run_uid: str) -> int:
    """Revoke the tokens of a run that has ended; returns how many were still valid."""
    return ApiToken.objects.filter(run_uid=run_uid, revoked_at=None).update(revoked_at=timezone.now())


def restore_tokens(*, run_uid: str, since: datetime) -> int:
    """Make the tokens of a run valid again that were revoked at or after `since`, when it was thought to have ended."""
    return ApiToken.objects.filter(run_uid=run_uid, revoked_at__gte=since).update(revoked_at=None)
