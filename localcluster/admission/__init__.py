"""Admission of new objects, after validation and before they are stored: limit ranges and quotas.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcluster.admission import limitranges
from localcluster.admission.quotas import Quotas
from localcluster.errors import forbidden

if TYPE_CHECKING:
    from localcluster.resources import Resource
    from localcluster.store import Store

Obj = dict[str, Any]


class Admission:
    """The admission controllers LimitRanger and ResourceQuota."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.quotas = Quotas(store)

    def complete(self, row: Resource, obj: Obj) -> None:
        """Fill in what the namespace's limit ranges say, in place."""
        if row.key == "pods":
            for stored in self._store.scan("limitranges", obj["metadata"]["namespace"]):
                limitranges.fill_defaults(obj, stored.obj)

    def check(self, row: Resource, obj: Obj) -> None:
        """Raises StatusError 403 when a limit range or a quota forbids the object."""
        if not row.namespaced:
            return
        metadata = obj["metadata"]
        if row.key == "pods":
            ranges = [stored.obj for stored in self._store.scan("limitranges", metadata["namespace"])]
            if broken := [text for each in ranges for text in limitranges.violations(obj, each)]:
                text = broken[0] if len(broken) == 1 else f"[{', '.join(broken)}]"
                raise forbidden(row.plural, metadata["name"], text, row.group)
        if why := self.quotas.refusal(row, obj):
            raise forbidden(row.plural, metadata["name"], why, row.group)

    def check_change(self, row: Resource, old: Obj, new: Obj) -> None:
        """Raises StatusError 403 when a quota forbids what an object is to become (a service with a node port)."""
        if row.namespaced and (why := self.quotas.refusal(row, new, old)):
            raise forbidden(row.plural, new["metadata"]["name"], why, row.group)
