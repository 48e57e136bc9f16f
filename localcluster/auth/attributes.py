"""The action that a request asks for, in the words that roles use: a verb on a resource, or on a path.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#review-your-request-attributes
"""

from __future__ import annotations

from dataclasses import dataclass

from localcluster.auth.users import User
from localcluster.errors import StatusError, forbidden_to


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
        message = f'{who} resource "{self.full_resource}" in API group "{self.group}" {where}'
        return forbidden_to(self.resource, self.name, message, self.group)
