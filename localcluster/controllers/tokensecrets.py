"""Secrets of type ``kubernetes.io/service-account-token``: filled in, and deleted with their ServiceAccount.

https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from localcluster.controllers.base import Controller, Key, Object
from localcluster.meta import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcluster.auth.tokens import Tokens
    from localcluster.registry import Registry

TYPE = "kubernetes.io/service-account-token"
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"


def account_name(secret: Object) -> str:
    """The ServiceAccount that such a Secret is for; '' when it is another Secret."""
    if secret.get("type") != TYPE:
        return ""
    return str((secret["metadata"].get("annotations") or {}).get(NAME, ""))


class TokenSecrets(Controller):
    """The token controller. ``authority`` is the CA certificate that goes with the token, as PEM."""

    name = "tokens-controller"
    resource = "secrets"
    also = ("serviceaccounts",)

    def __init__(self, registry: Registry, tokens: Tokens, authority: bytes) -> None:
        super().__init__(registry)
        self._tokens = tokens
        self._authority = authority

    def keys_for(self, resource: str, obj: Object) -> Iterable[Key]:
        """The token Secrets of a ServiceAccount."""
        namespace, name = key_of(obj)
        return [key_of(each) for each in self.registry.list("secrets", namespace) if account_name(each) == name]

    def sync(self, key: Key) -> float | None:
        """Fill in one Secret, or delete it."""
        namespace, name = key
        if not self.registry.exists("secrets", name, namespace):
            return None
        secret = self.registry.get("secrets", name, namespace)
        account = account_name(secret)
        if not account or secret["metadata"].get("deletionTimestamp"):
            return None
        if not self.registry.exists("serviceaccounts", account, namespace):
            self.registry.delete("secrets", name, namespace, uid=secret["metadata"]["uid"])
            return None
        service_account = self.registry.get("serviceaccounts", account, namespace)
        uid = secret["metadata"]["annotations"].get(UID)
        if uid and uid != service_account["metadata"]["uid"]:
            # It was another one's of the same name.
            self.registry.delete("secrets", name, namespace, uid=secret["metadata"]["uid"])
            return None
        self.registry.mutate("secrets", name, namespace, lambda each: self._fill(each, service_account))
        return None

    def _fill(self, secret: Object, account: Object) -> None:
        metadata = secret["metadata"]
        metadata["annotations"][UID] = account["metadata"]["uid"]
        data = secret["data"] = secret.get("data") or {}
        content = {"ca.crt": self._authority, "namespace": metadata["namespace"].encode()}
        if not data.get("token"):
            content["token"] = self._tokens.issue_for_secret(account, metadata["name"]).encode()
        data.update({name: base64.b64encode(value).decode() for name, value in content.items()})
