"""The Open Inference Protocol, version 2: JSON in, JSON out. No network in here.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import InvalidRequest
from .model import Model, Numbers, Tensor, datatype_of

# A caller with more sends them in parts, so that others come in between.
LARGEST_BATCH = 1000
INPUT_TYPES = ("FP64", "FP32", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8", "BOOL")


def metadata(model: Model, name: str, version: str) -> dict[str, Any]:
    """The metadata of the model: its inputs and outputs."""
    return {
        "name": name,
        "versions": [version],
        "platform": model.platform,
        "inputs": [model.input.to_json()],
        "outputs": [output.to_json() for output in model.outputs],
    }


def read_request(model: Model, body: bytes) -> tuple[Numbers, list[str], str | None]:
    """(a row for each example, names of the wanted outputs, the request's id). Raises InvalidRequest."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise InvalidRequest("The body must be a JSON object with `inputs`.")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidRequest("`inputs` must be a list of one tensor: name, shape, datatype and data.")
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequest("`id` must be a string.")
    wanted = wanted_outputs(request.get("outputs"), [output.name for output in model.outputs])
    return read_tensor(model.input, inputs[0]), wanted, request_id


def read_tensor(takes: Tensor, tensor: dict[str, Any]) -> Numbers:
    """The examples of an input tensor, whose data may be flat or nested. Raises InvalidRequest."""
    if tensor.get("datatype") not in INPUT_TYPES:
        raise InvalidRequest(f"`datatype` must be one of {', '.join(INPUT_TYPES)}, not {tensor.get('datatype')!r}.")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise InvalidRequest("`shape` must be a list of positive whole numbers.")
    width, features = math.prod(shape[1:]), takes.shape[1]
    if len(shape) < 2 or (features > 0 and width != features):
        each = str(features) if features > 0 else "the number of features"
        raise InvalidRequest(f"`shape` must be [n, {each}], not {shape}.")
    if shape[0] > LARGEST_BATCH:
        raise InvalidRequest(f"{shape[0]} examples are too many for one request; send at most {LARGEST_BATCH}.")
    data = tensor.get("data")
    try:
        values = np.asarray(data if isinstance(data, list) else "no list", dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest("`data` must be a list of numbers, flat or nested as `shape` says.") from error
    if values.size != shape[0] * width:
        raise InvalidRequest(f"`data` has {values.size} numbers, but `shape` {shape} asks for {shape[0] * width}.")
    return values.reshape(shape[0], width)


def wanted_outputs(outputs: object, there: Sequence[str]) -> list[str]:
    """The names of the outputs that the request wants: all of them unless it says. Raises InvalidRequest."""
    if outputs is None or outputs == []:
        return list(there)
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise InvalidRequest("`outputs` must be a list of objects with a `name`.")
    names = [output.get("name") for output in outputs]
    for name in names:
        if name not in there:
            raise InvalidRequest(f"There is no output {name!r}; there is {' and '.join(there)}.")
    return names


def predict(model: Model, name: str, version: str, body: bytes) -> dict[str, Any]:
    """The answer to an inference request. Raises InvalidRequest."""
    rows, wanted, request_id = read_request(model, body)
    try:
        arrays = model.predict(rows, wanted)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"The model refuses this: {error}") from error
    outputs = [written(output, arrays[output]) for output in wanted]
    answer = {"model_name": name, "model_version": version, "outputs": outputs}
    if request_id is not None:
        answer["id"] = request_id
    return answer


def written(name: str, array: Any) -> dict[str, Any]:
    """An output tensor: its data are flat, in the order of rows."""
    kind = datatype_of(array)
    flat = array.ravel().tolist() if kind != "BYTES" else [str(value) for value in array.ravel()]
    return {"name": name, "datatype": kind, "shape": list(array.shape), "data": flat}
