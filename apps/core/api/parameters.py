"""The parameters that an endpoint takes in its address: those that its schema declares, and no others.

A misspelt filter that is silently ignored answers with everything, and a word that nothing is called by with nothing:
both look like an answer.
"""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import SAFE_METHODS

from apps.core.errors import Invalid

# What endpoints of several apps take.
PROJECT = OpenApiParameter("project", OpenApiTypes.STR, description="Where the name is not unique.")
NUMBER = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH)
DRY_RUN = OpenApiParameter("dry_run", OpenApiTypes.BOOL, description="Answer with the manifests; change nothing.")

# Of each action and method: its parameters with the words that each takes, of which none are told where any is taken.
_KNOWN: dict[tuple[type, str, str], Mapping[str, tuple[str, ...]]] = {}


def refuse_unknown(view: Any) -> None:
    """Raises Invalid, which names what is known, for a parameter that this action of a viewset does not declare, and
    for a word that a parameter does not take."""
    asked, action = view.request.query_params, view.action
    if not asked or action is None:
        return
    method = "GET" if view.request.method == "HEAD" else view.request.method
    key = (type(view), action, method)
    known = _KNOWN.get(key)
    if known is None:
        known = _KNOWN[key] = _declared(view, action, method)
    # What can't be rehearsed says so itself.
    wrong = sorted(set(asked) - {*known, *(() if method in SAFE_METHODS else ("dry_run",))})
    if wrong:
        hint = f"Known are: {', '.join(sorted(known))}." if known else "It takes none."
        raise Invalid(f"This address takes no parameter {wrong[0][:100]!r}.", hint=hint, field=wrong[0][:100])
    for name, words in known.items():
        if words and any(value and value not in words for value in asked.getlist(name)):
            raise Invalid(f"{name} is one of: {', '.join(words)}.", field=name)


def _declared(view: Any, action: str, method: str) -> dict[str, tuple[str, ...]]:
    """The parameters of the query in the API's schema, those of pages of a list included."""
    of_action = getattr(getattr(view, action), "kwargs", {}).get("schema")
    schema = of_action() if of_action is not None else type(view.schema)()
    schema.view, schema.method = view, method
    known = {
        # Lists say themselves by which columns they can be sorted.
        each.name: () if each.name == "ordering" else tuple(map(str, each.enum or ()))
        for each in schema.get_override_parameters()
        if getattr(each, "location", "") == "query"
    }
    if method == "GET" and view.paginator is not None and schema._is_list_view():
        known |= {each["name"]: () for each in view.paginator.get_schema_operation_parameters(view)}
    return known
