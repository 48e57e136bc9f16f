"""ResourceQuota: how much a namespace uses, kept up to date change by change, and who would use too much."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kubevalues.quantities import canonical, parse
from localcluster.admission.usage import Amounts, in_scope, missing_of, usage_of
from localcluster.resources import RESOURCES
from localcluster.store import ANY

if TYPE_CHECKING:
    from localcluster.resources import Resource
    from localcluster.store import Change, Store

Obj = dict[str, Any]
log = logging.getLogger(__name__)

RESOURCE = "resourcequotas"
_NONE = Decimal(0)

_GROUPED = {row.key: (row.plural, row.group) for row in RESOURCES}


@dataclass(slots=True)
class _Quota:
    """One quota, and the amounts of it that are in use."""

    obj: Obj
    hard: Amounts
    used: Amounts = field(default_factory=dict)

    def count(self, key: str, obj: Obj, amounts: Amounts, sign: int) -> bool:
        """Add (or take away) what an object uses; True when that changes anything."""
        if not amounts.keys() & self.hard.keys() or not in_scope(self.obj, key, obj):
            return False
        for name in amounts.keys() & self.hard.keys():
            self.used[name] += sign * amounts[name]
        return True


def _names(key: str) -> tuple[str, str, str]:
    """(key, plural, group) of a store's resource, as far as quotas tell kinds apart."""
    return key, *_GROUPED.get(key, (key.partition(".")[0], key.partition(".")[2]))


class Quotas:
    """The quotas of all namespaces. A namespace without any costs a look into a dictionary."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._quotas: dict[str, dict[str, _Quota]] = {}
        self._heard: list[Callable[[str, str], None]] = []
        for stored in store.scan(RESOURCE):
            self._take(stored.obj)
        store.listen((ANY,), self._changed)

    def on_change(self, listener: Callable[[str, str], None]) -> None:
        """Call ``listener`` with namespace and name when what is used of a quota changes."""
        self._heard.append(listener)

    def used(self, namespace: str, name: str) -> Obj:
        """The amounts of a quota that are in use, as quantities."""
        quota = self._quotas.get(namespace, {}).get(name)
        if quota is None:
            return {}
        stated = quota.obj["spec"]["hard"]
        return {each: canonical(value, like=str(stated[each])) for each, value in sorted(quota.used.items())}

    # -- admission

    def refusal(self, row: Resource, obj: Obj, old: Obj | None = None) -> str:
        """Why a quota forbids a new object, or what ``old`` is to become, in a real API server's words; else ''."""
        for name, quota in self._quotas.get(obj["metadata"].get("namespace", ""), {}).items():
            if not in_scope(quota.obj, row.key, obj):
                continue
            if old is None and row.key == "pods" and (missing := missing_of(obj, quota.hard)):
                return f"failed quota: {name}: {missing}"
            amounts = usage_of(row.key, row.plural, row.group, obj)
            if old is not None and in_scope(quota.obj, row.key, old):
                before = usage_of(row.key, row.plural, row.group, old)
                amounts = {each: max(value - before.get(each, _NONE), _NONE) for each, value in amounts.items()}
            over = [
                each
                for each in sorted(amounts.keys() & quota.hard.keys())
                if amounts[each] and quota.used[each] + amounts[each] > quota.hard[each]
            ]
            if over:
                return self._exceeded(name, quota, amounts, over)
        return ""

    def _exceeded(self, name: str, quota: _Quota, amounts: Amounts, over: list[str]) -> str:
        stated = quota.obj["spec"]["hard"]

        def listed(values: Amounts) -> str:
            return ",".join(f"{each}={canonical(values[each], like=str(stated[each]))}" for each in over)

        sums = f"requested: {listed(amounts)}, used: {listed(quota.used)}, limited: {listed(quota.hard)}"
        return f"exceeded quota: {name}, {sums}"

    # -- what is used

    def _take(self, obj: Obj) -> None:
        metadata = obj["metadata"]
        try:
            hard = {name: parse(value) for name, value in ((obj.get("spec") or {}).get("hard") or {}).items()}
        except ValueError as error:
            # It was stored by a version that did not check it yet.
            log.warning("ResourceQuota %s/%s limits nothing: %s", metadata["namespace"], metadata["name"], error)
            return
        quota = _Quota(obj, hard, dict.fromkeys(hard, Decimal(0)))
        for key in self._store.resources():
            for stored in self._store.scan(key, metadata["namespace"]):
                if stored.obj["metadata"].get("namespace"):
                    quota.count(key, stored.obj, usage_of(*_names(key), stored.obj), 1)
        self._quotas.setdefault(metadata["namespace"], {})[metadata["name"]] = quota
        self._tell(metadata["namespace"], metadata["name"])

    def _drop(self, obj: Obj) -> None:
        namespace = obj["metadata"]["namespace"]
        self._quotas.get(namespace, {}).pop(obj["metadata"]["name"], None)
        if not self._quotas.get(namespace, True):
            del self._quotas[namespace]

    def _changed(self, change: Change) -> None:
        if change.resource == RESOURCE and self._redefined(change):
            self._drop(change.stored.obj)
            if change.type != "DELETED":
                self._take(change.stored.obj)
                return
        for name, quota in self._quotas.get(change.stored.obj["metadata"].get("namespace", ""), {}).items():
            changed = False
            for stored, sign in ((change.old, -1), (change.stored if change.type != "DELETED" else None, 1)):
                if stored is not None:
                    amounts = usage_of(*_names(change.resource), stored.obj)
                    changed |= quota.count(change.resource, stored.obj, amounts, sign)
            if changed:
                self._tell(change.stored.obj["metadata"]["namespace"], name)

    @staticmethod
    def _redefined(change: Change) -> bool:
        return (
            change.old is None
            or change.type == "DELETED"
            or change.old.obj.get("spec") != change.stored.obj.get("spec")
        )

    def _tell(self, namespace: str, name: str) -> None:
        for listener in self._heard:
            listener(namespace, name)
