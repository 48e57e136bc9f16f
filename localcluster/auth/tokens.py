"""Bearer tokens: the administrator's, and those of ServiceAccounts, which are signed and looked up again at every use.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

import base64
import hmac
import time
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import jwt

from localcluster.auth.users import ADMIN, User, service_account

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from localcluster.registry import Registry

Obj = dict[str, Any]

ISSUER = "https://kubernetes.default.svc.cluster.local"
_LEGACY_ISSUER = "kubernetes/serviceaccount"
#: Tokens whose signature is known to be good, so that it is not computed for every request.
_REMEMBERED = 4096
_ALGORITHM = "ES256"


def claims_of(token: str, key: ec.EllipticCurvePublicKey) -> Obj | None:
    """The claims of a token that ``key`` signed, whenever it holds and for whom; None of any other."""
    try:
        # Its times and audience are looked at whenever it is used, its signature once.
        return jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidTokenError:
        return None


class Tokens:
    """Issues and recognises tokens. A token ends with its time, its ServiceAccount, or what it is bound to."""

    def __init__(self, registry: Registry, *, admin: str, key: ec.EllipticCurvePrivateKey) -> None:
        self._registry = registry
        self._admin = admin.encode()
        self._key = key
        self._verified: OrderedDict[str, Obj] = OrderedDict()

    def is_admin(self, token: str) -> bool:
        """Is it the administrator's token?"""
        return hmac.compare_digest(token.encode(), self._admin)

    def user_of(self, token: str) -> User | None:
        """The user that a token stands for; None when it is unknown or no longer valid."""
        if self.is_admin(token):
            return ADMIN
        claims = self._claims(token)
        if claims is None:
            return None
        if claims.get("iss") == _LEGACY_ISSUER:
            return self._of_secret(token, claims)
        if claims.get("iss") != ISSUER or ISSUER not in claims.get("aud", ()):
            return None
        if not claims.get("nbf", 0) - 1 <= time.time() < claims.get("exp", 0):
            return None
        return self._of_account(claims.get("kubernetes.io") or {})

    def _claims(self, token: str) -> Obj | None:
        known = self._verified.get(token)
        if known is None:
            known = claims_of(token, self._key.public_key())
            if known is None:
                return None
            self._verified[token] = known
            if len(self._verified) > _REMEMBERED:
                self._verified.popitem(last=False)
        return known

    def _of_account(self, bound: Obj) -> User | None:
        namespace, account = bound.get("namespace", ""), bound.get("serviceaccount") or {}
        for resource, reference in (
            ("serviceaccounts", account),
            ("pods", bound.get("pod")),
            ("secrets", bound.get("secret")),
        ):
            if reference is not None and not self._is_there(resource, namespace, reference):
                return None
        return service_account(namespace, account["name"], account["uid"])

    def _is_there(self, resource: str, namespace: str, reference: Obj) -> bool:
        name = reference.get("name", "")
        if not self._registry.exists(resource, name, namespace):
            return False
        metadata = self._registry.get(resource, name, namespace)["metadata"]
        # An object that is being deleted keeps its tokens until it is gone; ours has no 60 s on top.
        return bool(metadata["uid"] == reference.get("uid"))

    def _of_secret(self, token: str, claims: Obj) -> User | None:
        prefix = "kubernetes.io/serviceaccount"
        namespace, name = claims.get(f"{prefix}/namespace", ""), claims.get(f"{prefix}/secret.name", "")
        if not self._registry.exists("secrets", name, namespace):
            return None
        held = (self._registry.get("secrets", name, namespace).get("data") or {}).get("token", "")
        if not hmac.compare_digest(base64.b64encode(token.encode()), held.encode()):
            return None
        account = {"name": claims[f"{prefix}/service-account.name"], "uid": claims[f"{prefix}/service-account.uid"]}
        return self._of_account({"namespace": namespace, "serviceaccount": account})

    def issue(self, account: Obj, *, audiences: list[str], seconds: int, bound: Obj | None = None) -> tuple[str, float]:
        """A token for a ServiceAccount, and when it ends (Unix seconds).

        ``bound`` is the Pod or Secret without which it is worth nothing.
        """
        metadata, begins = account["metadata"], int(time.time())
        inner: Obj = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            inner[bound["kind"].lower()] = {"name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"]}
        claims = {
            "aud": audiences or [ISSUER],
            "exp": begins + seconds,
            "iat": begins,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": inner,
            "nbf": begins,
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        return jwt.encode(claims, self._key, _ALGORITHM), float(begins + seconds)

    def issue_for_secret(self, account: Obj, secret: str) -> str:
        """The token of a Secret of type kubernetes.io/service-account-token: it ends with the Secret."""
        metadata, prefix = account["metadata"], "kubernetes.io/serviceaccount"
        claims = {
            "iss": _LEGACY_ISSUER,
            f"{prefix}/namespace": metadata["namespace"],
            f"{prefix}/secret.name": secret,
            f"{prefix}/service-account.name": metadata["name"],
            f"{prefix}/service-account.uid": metadata["uid"],
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        }
        return jwt.encode(claims, self._key, _ALGORITHM)
