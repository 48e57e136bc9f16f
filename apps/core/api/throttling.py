"""Rate limits by caller, counted in Redis. Without Redis nothing is limited, rather than everything refused."""

import logging
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from apps.core.access import principal_of

if TYPE_CHECKING:  # REST framework loads this module while it loads its views
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)


class TokenThrottle(SimpleRateThrottle):
    """One budget for each token, person or address."""

    scope = "token"

    def get_cache_key(self, request: Request, view: "APIView") -> str:
        """The key under which the caller's requests are counted."""
        return f"throttle:{principal_of(request._request).key}"

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Whether the caller has budget left; yes when Redis can't be asked."""
        try:
            return super().allow_request(request, view)
        except RedisError as error:
            logger.warning("rate limit not checked: %s", type(error).__name__)
            return True
