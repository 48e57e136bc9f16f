"""The columns that ``kubectl get`` prints for custom objects: additionalPrinterColumns with JSONPaths. Pure.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#additional-printer-columns
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from localcluster.printers import age, born
from localcluster.resources import CustomKind

Obj = dict[str, Any]

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\]\\])+)
      | \[\?\(@\.(?P<key>[\w.-]+)\s*==\s*(?P<quote>["'])(?P<value>.*?)(?P=quote)\)\]
      | \[(?P<mark>["'])(?P<name>.*?)(?P=mark)\]
      | \[(?P<index>-?\d+|\*)\]""",
    re.VERBOSE,
)
_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[re.Match[str], ...]:
    return tuple(_STEP.finditer(path if path.startswith((".", "[")) else f".{path}"))


def lookup(obj: Any, path: str) -> list[Any]:
    """All values that a simple JSONPath finds: fields, ``['…']``, indices, ``*`` and ``[?(@.a=="b")]``."""
    values = [obj]
    for step in _steps(path):
        values = [value for each in values for value in _follow(each, step)]
    return values


def _follow(value: Any, step: re.Match[str]) -> list[Any]:
    name = step["field"] or step["name"]
    if name is not None:
        name = name.replace("\\", "") if step["field"] else name
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return list(value.values()) if step["index"] == "*" and isinstance(value, dict) else []
    if step["key"]:
        return [each for each in value if [str(got) for got in lookup(each, f".{step['key']}")] == [step["value"]]]
    if step["index"] == "*":
        return value
    index = int(step["index"])
    return [value[index]] if -len(value) <= index < len(value) else []


def columns_of(kind: CustomKind) -> tuple[Obj, ...]:
    """The columns after the name; the age alone where the definition states none."""
    return kind.columns or (_AGE,)


def definitions(kind: CustomKind) -> list[Obj]:
    """The columns as TableColumnDefinitions."""
    name = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
    return [name] + [
        {
            "name": column.get("name", ""),
            "type": column.get("type", "string"),
            "format": column.get("format", ""),
            "description": column.get("description", ""),
            "priority": column.get("priority", 0),
        }
        for column in columns_of(kind)
    ]


def _cell(obj: Obj, column: Obj) -> Any:
    path = column.get("jsonPath", "")
    if path == ".metadata.creationTimestamp":
        return born(obj)
    values = lookup(obj, path)
    if not values or values[0] is None:
        return None
    value = values[0]
    if column.get("type") == "date":
        return age(value) if isinstance(value, str) else "<invalid>"
    if column.get("type") in ("integer", "number"):
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(str(each) for each in values) if len(values) > 1 else str(value)


def cells(obj: Obj, kind: CustomKind) -> list[Any]:
    """One row."""
    return [obj["metadata"]["name"], *(_cell(obj, column) for column in columns_of(kind))]
