"""The API's default is no: without a principal nothing is answered. Roles are checked by `apps.core.access`."""

from typing import TYPE_CHECKING

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from apps.core.access import principal_of

if TYPE_CHECKING:  # REST framework loads this module while it loads its views
    from rest_framework.views import APIView


class DenyUnlessSignedIn(BasePermission):
    """A principal is needed, and a read-only token never writes."""

    message = "This token may only read."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """True for a known caller whose token allows the method."""
        # Touching `user` runs the authentication, which sets the principal.
        _ = request.user
        principal = principal_of(request._request)
        if not principal.is_authenticated:
            return False
        return request.method in SAFE_METHODS or not principal.read_only
