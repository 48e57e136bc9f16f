"""The API's door: from a request to its user, and whether that user may.

Impersonation: https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localcluster.auth.attributes import Attributes
from localcluster.auth.users import AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, User, service_account
from localcluster.errors import bad_request, unauthorized

if TYPE_CHECKING:
    from localcluster.api.http import Request
    from localcluster.api.requestinfo import Target
    from localcluster.auth.rbac import Rbac
    from localcluster.auth.tokens import Tokens


_OF_ONE = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}
_OF_MANY = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
_NAMED = re.compile(r"(?:^|,)metadata\.name==?([^,]+)")


def bearer(request: Request) -> str:
    """The request's bearer token; '' when it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def attributes_of(request: Request, target: Target | None) -> Attributes:
    """The attributes of a request; ``target`` is what its path is about, if that is a resource."""
    if target is None:
        return Attributes(request.method.lower(), path=request.path)
    name = target.name or ""
    verb = (_OF_ONE if name else _OF_MANY).get(request.method, request.method.lower())
    if not name and verb in ("list", "deletecollection"):
        if request.flag("watch") and verb == "list":
            verb = "watch"
        # A role for one name lets its holder list and watch just that name, but not delete the collection:
        # https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
        match = _NAMED.search(request.query("fieldSelector"))
        if match and verb != "deletecollection":
            name = match[1]
    namespace = target.namespace or ""
    if target.resource == "namespaces" and target.name:
        namespace = target.name
    return Attributes(verb, target.group, target.resource, target.subresource or "", namespace, name)


class Access:
    """Tokens and roles together."""

    def __init__(self, tokens: Tokens, rbac: Rbac) -> None:
        self.tokens = tokens
        self.rbac = rbac

    def user_of(self, request: Request) -> User:
        """The user behind a request. Raises StatusError 401, and 400 or 403 for a forbidden impersonation."""
        user = self.tokens.user_of(bearer(request))
        if user is None:
            raise unauthorized()
        if "impersonate-user" in request.headers:
            return self._impersonated(request, user)
        if any(name.startswith("impersonate-") for name in request.headers):
            raise bad_request("requested impersonation without impersonating a user")
        return user

    def _impersonated(self, request: Request, user: User) -> User:
        name = request.headers["impersonate-user"]
        groups = request.headers.getlist("impersonate-group")
        namespace, _, account = name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
        if name.startswith(SERVICE_ACCOUNT_PREFIX):
            wishes = [Attributes("impersonate", "", "serviceaccounts", "", namespace, account)]
        else:
            wishes = [Attributes("impersonate", "", "users", name=name)]
        wishes += [Attributes("impersonate", "", "groups", name=group) for group in groups]
        for wish in wishes:
            self._check(user, wish)
        if name.startswith(SERVICE_ACCOUNT_PREFIX) and not groups:
            return service_account(namespace, account)
        return User(name, tuple(dict.fromkeys((*groups, AUTHENTICATED))))

    def authorize(self, user: User, request: Request, target: Target | None) -> None:
        """Let the request pass. Raises StatusError 403."""
        self._check(user, attributes_of(request, target))

    def authorize_create(self, user: User, target: Target) -> None:
        """Check ``create``, which an apply that makes the object needs besides ``patch``. Raises StatusError 403."""
        namespace, name = target.namespace or "", target.name or ""
        self._check(user, Attributes("create", target.group, target.resource, "", namespace, name))

    def _check(self, user: User, wish: Attributes) -> None:
        if self.rbac.allows(user, wish) is None:
            raise wish.refusal(user)
