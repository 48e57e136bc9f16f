"""Lists of named things, a page at a time, that a box above them filters by name."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core.pages.asked import page_of


def by_name(request: HttpRequest, rows: QuerySet[Any], per_page: int) -> dict[str, Any]:
    """The context of the page that is asked for: its rows, how many there are in all, whether it is filtered."""
    text = request.GET.get("q", "").strip()
    shown = page_of(request, rows.filter(name__icontains=text) if text else rows, per_page)
    return {"page_obj": shown, "total": rows.count() if text else shown.paginator.count, "filtered": bool(text)}
