"""What every page of the admin panel has in common."""

import re
from typing import Any

from django.forms import Media
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from apps.core.access import principal_of

# Scripts of Django's panel: those that no page of ours uses, which fill one field in out of another or open a related
# row in a window of its own; what acts on chosen rows of a list; and the library of forms within forms.
_OF_NOBODY = re.compile(r"/(xregexp|urlify|prepopulate|RelatedObjectLookups)\b")
_OF_LISTS = re.compile(r"/actions\b")
_OF_INLINES = re.compile(r"/jquery\b")


class PlatformAdmin(ModelAdmin):
    """Platform administrators look; nobody writes. The base of every page of the panel."""

    @property
    def media(self) -> Media:
        """Of Django's scripts those that a form here uses."""
        whole = _without(super().media, _OF_NOBODY, _OF_LISTS)
        return whole if self.inlines else _without(whole, _OF_INLINES)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with the scripts that a list uses."""
        media = _without(super().media, _OF_NOBODY, _OF_INLINES)
        answer: HttpResponse = super().changelist_view(request, {"media": media, **(extra_context or {})})
        return answer

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Platform administrators only."""
        return principal_of(request).is_platform_admin

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Platform administrators only."""
        return principal_of(request).is_platform_admin

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds rows by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody edits rows by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes rows by hand."""
        return False


def _without(media: Any, *left_out: re.Pattern[str]) -> Media:
    kept = [path for path in media._js if not any(names.search(str(path)) for names in left_out)]
    return Media(css=media._css, js=kept)
