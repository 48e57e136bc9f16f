"""Conditions as the Gateway API writes them: with a reason and the generation that they speak of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Obj = dict[str, Any]


def condition(kind: str, ok: bool, reason: str = "", message: str = "") -> Obj:
    """One of them; `reason` is the condition's own name where all is well and nothing else is said."""
    return {"type": kind, "status": "True" if ok else "False", "reason": reason or kind, "message": message}


def dated(new: Iterable[Obj], old: Iterable[Mapping[str, Any]], generation: int, now: str) -> list[Obj]:
    """The new conditions of an object's generation: a transition time changes with the status alone."""
    before = {each["type"]: each for each in old}
    return [{**each, "observedGeneration": generation, "lastTransitionTime": _since(each, before, now)} for each in new]


def _since(new: Obj, before: Mapping[str, Mapping[str, Any]], now: str) -> Any:
    known = before.get(new["type"])
    return known["lastTransitionTime"] if known and known["status"] == new["status"] else now
