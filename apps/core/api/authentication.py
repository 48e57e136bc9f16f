"""Authentication of the API: by a bearer token, or by a browser's session with its CSRF token."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication, exceptions
from rest_framework.request import Request

from apps.core.access import Principal, client_ip
from apps.core.models import ApiToken, User
from apps.core.secrets.tokens import find_token


class BearerAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`. A token that is unknown, expired or revoked is 401, never anonymous."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        """Find the token and remember the principal on the request."""
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        token = find_token(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise exceptions.AuthenticationFailed("This token is unknown, expired or revoked.")
        if token.run_uid:
            raise exceptions.AuthenticationFailed("A run's token works for the MLflow API of that run only.")
        remember(request, Principal(user=token.user, token=token, ip=client_ip(request._request)))
        return token.user or AnonymousUser(), token

    def authenticate_header(self, request: Request) -> str:
        """Makes the answer 401 rather than 403."""
        return 'Bearer realm="flotilla"'


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session; a write also needs the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Take the session's user and remember the principal on the request."""
        user_and_auth = super().authenticate(request)
        if user_and_auth is None:
            return None
        user: User = user_and_auth[0]
        remember(request, Principal(user=user, ip=client_ip(request._request)))
        return user, None

    def authenticate_header(self, request: Request) -> str:
        """Makes the answer 401 rather than 403."""
        return 'Bearer realm="flotilla"'


def remember(request: Request, principal: Principal) -> None:
    """Put the principal where `principal_of` finds it."""
    request._request.principal = principal  # type: ignore[attr-defined]


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How OpenAPI describes `BearerAuthentication`."""

    target_class = "apps.core.api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The security scheme object."""
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How OpenAPI describes `SessionAuthentication`."""

    target_class = "apps.core.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The security scheme object."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
