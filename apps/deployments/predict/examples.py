"""An example of a model's input, out of the metadata that an Open Inference v2 server gives. Pure."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

MAX_ELEMENTS = 4096
UNKNOWN: dict[str, Any] = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [0, 1, 2, 3]}]}


def example_request(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A request that the model should take: each input with its fixed sizes, and 1 where the size is free."""
    inputs = []
    for tensor in metadata.get("inputs") or []:
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in tensor.get("shape") or [1]]
        count = math.prod(shape)
        if not 0 < count <= MAX_ELEMENTS:
            return UNKNOWN
        kind = str(tensor.get("datatype") or "FP64")
        inputs.append(
            {"name": tensor.get("name") or "input", "shape": shape, "datatype": kind, "data": _data(kind, count)}
        )
    return {"inputs": inputs} if inputs else UNKNOWN


def pretty(request: Mapping[str, Any], written: Callable[[Any], str] = json.dumps) -> str:
    """The request for a text box: one input a line, numbers side by side, eight to the line where they are many.

    `written` says how a value is written: as JSON, or in another language that has its brackets.
    """
    lines = []
    for tensor in request["inputs"]:
        head = written({key: value for key, value in tensor.items() if key != "data"})[:-1]
        numbers = [written(value) for value in tensor["data"]]
        width = math.isqrt(len(numbers)) if _is_square(len(numbers)) else 16
        rows = [", ".join(numbers[start : start + width]) for start in range(0, len(numbers), width)]
        data = rows[0] if len(rows) == 1 else "\n      " + ",\n      ".join(rows)
        lines.append(f'    {head}, "data": [{data}]}}')
    return '{\n  "inputs": [\n' + ",\n".join(lines) + "\n  ]\n}"


def _data(kind: str, count: int) -> list[Any]:
    if kind == "BOOL":
        return [index % 2 == 0 for index in range(count)]
    if kind == "BYTES":
        return ["text"] * count
    return _ring(math.isqrt(count)) if _is_square(count) else [index % 9 for index in range(count)]


def _is_square(count: int) -> bool:
    return count >= 16 and math.isqrt(count) ** 2 == count


def _ring(side: int) -> list[int]:
    """A square of numbers is most often a picture: draw a ring, which reads as a nought."""
    middle = (side - 1) / 2
    picture = []
    for row in range(side):
        for column in range(side):
            away = math.hypot((row - middle) / middle, (column - middle) / (middle * 0.72))
            picture.append(max(0, round(12 * (1 - abs(away - 0.82) / 0.42))))
    return picture
