"""The Secret with the token with which replicas fetch their model."""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import datetime

from apps.clusters.kube.client import KubeClient
from apps.deployments import manifests
from apps.deployments.models import Placement
from apps.deployments.reconcile.live import Object, present
from apps.deployments.services import access


def bring_secret(
    client: KubeClient,
    placement: Placement,
    identity: manifests.Identity,
    put: Callable[[Object], Object],
    now: datetime,
) -> None:
    """Make or renew it by `put`. The token's text is in the Secret alone: nothing of it is kept."""
    live = present(client, "Secret", identity.secret, identity.namespace) or {}
    annotations: Mapping[str, str] = (live.get("metadata") or {}).get("annotations") or {}
    held = annotations.get(manifests.TOKEN_PREFIX, "")
    if not access.token_in_place(placement, held, _token_in(live), now):
        token, text = access.issue_model_token(placement, prefix_on_cluster=held)
        put(manifests.token_secret(identity, prefix=token.prefix, token=text))


def _token_in(secret: Object) -> str:
    """The token's text in a Secret; "" where somebody has put something else there."""
    try:
        return b64decode((secret.get("data") or {}).get(manifests.TOKEN_KEY) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        return ""
