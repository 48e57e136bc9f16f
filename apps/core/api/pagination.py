"""Cursor pagination: stable while rows are added, and as fast on the last page as on the first."""

from rest_framework.pagination import CursorPagination


class CursorPage(CursorPagination):
    """`?cursor=` and `?limit=` (1 to 500, 50 by default); answers `{next, previous, results}`."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "limit"
    ordering = "-id"
