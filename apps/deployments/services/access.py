"""The token with which a deployment's replicas fetch their model: made, renewed before it expires, revoked."""

from datetime import datetime, timedelta
from hmac import compare_digest

from django.db import transaction
from django.utils import timezone

from apps.core.access import token_is_valid
from apps.core.models import ApiToken
from apps.core.secrets.tokens import digest, issue_token
from apps.core.states import Role
from apps.deployments.models import Placement

LIFETIME = timedelta(days=30)
# Renewed this long before the end, so that a cluster that is away for days loses nothing.
RENEW_BEFORE = timedelta(days=10)


def token_in_place(placement: Placement, prefix_on_cluster: str, text_on_cluster: str, now: datetime) -> bool:
    """Whether the Secret with this token still serves: it is the current one, valid, and not to be renewed."""
    token = placement.token
    if token is None or token.prefix != prefix_on_cluster or not token_is_valid(token):
        return False
    if not compare_digest(token.digest, digest(text_on_cluster)):
        return False
    return token.expires_at is None or token.expires_at - now > RENEW_BEFORE


def issue_model_token(placement: Placement, *, prefix_on_cluster: str) -> tuple[ApiToken, str]:
    """Make the next token; the caller puts its text into the Secret and nowhere else.

    Tokens whose text is in no Secret (the process died between issuing and applying) are revoked, so that however
    often this is interrupted, one usable token at most is out there beside the one that the Secret holds.
    """
    with transaction.atomic():
        lost = ApiToken.objects.filter(name=_name(placement), project_id=placement.deployment.project_id, user=None)
        lost.filter(revoked_at=None).exclude(prefix=prefix_on_cluster or "-").update(revoked_at=timezone.now())
        token, text = issue_token(
            name=_name(placement),
            project=placement.deployment.project,
            role=Role.VIEWER,
            read_only=True,
            expires_at=timezone.now() + LIFETIME,
        )
        Placement.objects.filter(pk=placement.pk).update(token=token)
    placement.token = token
    return token, text


def revoke_model_tokens(placement: Placement) -> None:
    """Revoke all of them: the deployment is gone."""
    ApiToken.objects.filter(
        name=_name(placement), project_id=placement.deployment.project_id, user=None, revoked_at=None
    ).update(revoked_at=timezone.now())


def _name(placement: Placement) -> str:
    return f"placement {placement.deployment.name} #{placement.pk}"
