"""The line above a page that says what of its address was not understood."""

from typing import Any

from django import template
from django.http import HttpRequest
from django.template import Context

from apps.core.pages.addresses import own_address
from apps.core.pages.asked import unread_of

register = template.Library()


@register.inclusion_tag("components/unread.html", takes_context=True)
def unread(context: Context) -> dict[str, Any]:
    """What of the address the page did not understand, so that it is shown without it."""
    request: HttpRequest | None = context.get("request")
    left_out = unread_of(request) if request is not None else []
    return {"unread": left_out, "url": own_address(request, request.GET) if left_out and request is not None else ""}
