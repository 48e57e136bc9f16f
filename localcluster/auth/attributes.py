"""What a request wants to do, in the words that roles use: a verb on a resource, or on a path.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#review-your-request-attributes
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localcluster.errors import StatusError, forbidden_to

if TYPE_CHECKING:
    from localcluster.api.http import Request
    from localcluster.api.requestinfo import Target
    from localcluster.auth.users import User

_OF_ONE = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}
_OF_MANY = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
_NAMED = re.compile(r"(?:^|,)metadata\.name==?([^,]+)")


@dataclass(frozen=True, slots=True)
class Attributes:
    """A wish. ``resource`` is '' when it is about ``path``."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """The resource as roles write it, e.g. ``pods/log``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, user: User) -> StatusError:
        """The 403 in the words of a real API server."""
        who = f'User "{user.name}" cannot {self.verb}'
        if not self.resource:
            return forbidden_to("", "", f'{who} path "{self.path}"')
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        what = f'{who} resource "{self.full_resource}" in API group "{self.group}" {where}'
        return forbidden_to(self.resource, self.name, what, self.group)


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
        found = _NAMED.search(request.query("fieldSelector"))
        if found and verb != "deletecollection":
            name = found[1]
    namespace = target.namespace or ""
    if target.resource == "namespaces" and target.name:
        namespace = target.name
    return Attributes(verb, target.group, target.resource, target.subresource or "", namespace, name)
