"""Writes what is used of each quota into its status, as the resource quota controller does."""

from __future__ import annotations

from localcluster.admission.quotas import RESOURCE
from localcluster.controllers.base import Controller, Key, Object
from localcluster.registry import Registry


class QuotaStatus(Controller):
    """Keeps ``status.hard`` and ``status.used`` of quotas."""

    name = "resourcequota-controller"
    resource = RESOURCE

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        registry.admission.quotas.on_change(lambda namespace, name: self.enqueue((namespace, name)))

    def sync(self, key: Key) -> float | None:
        """One round for one quota."""
        namespace, name = key
        if not self.registry.exists(RESOURCE, name, namespace):
            return None

        def write(quota: Object) -> None:
            hard = (quota.get("spec") or {}).get("hard") or {}
            quota["status"] = {"hard": hard, "used": self.registry.admission.quotas.used(namespace, name)}

        self.registry.mutate(RESOURCE, name, namespace, write, subresource="status")
        return None
