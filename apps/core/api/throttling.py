"""Rate limits of the REST API, by caller."""

import functools
from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.core.access import principal_of
from apps.core.limits import LIMITS, Rate

if TYPE_CHECKING:  # REST framework loads this module while it loads its views
    from rest_framework.views import APIView


@functools.cache
def _rate(text: str) -> Rate:
    return Rate.parse(text)


class TokenThrottle(BaseThrottle):
    """One budget for each token, person or address."""

    _wait = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Whether the caller has budget left; yes when Redis can't be asked."""
        self._wait = LIMITS.take(f"api {principal_of(request._request).key}", _rate(settings.API_RATE))
        return self._wait == 0.0

    def wait(self) -> float | None:
        """Seconds until the next request fits."""
        return self._wait
