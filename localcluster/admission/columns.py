"""The columns that ``kubectl get`` prints for quotas. Pure."""

from __future__ import annotations

from typing import Any

from localcluster.printers import Cells, born

Obj = dict[str, Any]


def quota_cells(quota: Obj) -> Cells:
    """In the order of its table's columns: name, age, requests and limits."""
    status = quota.get("status") or {}
    hard, used = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}, status.get("used") or {}
    shown = {name: f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard)}
    limits = [text for name, text in shown.items() if name.startswith("limits")]
    requests = [text for name, text in shown.items() if not name.startswith("limits")]
    return [quota["metadata"]["name"], born(quota), ", ".join(requests), ", ".join(limits)]
