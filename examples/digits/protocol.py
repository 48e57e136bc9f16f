"""The Open Inference Protocol, version 2, for one classifier: JSON in, JSON out. No network in here.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = 64
BRIGHTEST = 16
# Ten requests of this size a second keep one core busy; a caller with more digits sends them in parts.
LARGEST_BATCH = 1000
INPUT_TYPES = ("FP64", "FP32", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
OUTPUTS = ("label", "probabilities")


class InvalidRequest(Exception):
    """The request can't be answered; the message tells its sender what to change."""


def metadata(name: str, version: str) -> dict[str, Any]:
    """What the model takes and gives."""
    return {
        "name": name,
        "versions": [version],
        "platform": "sklearn",
        "inputs": [{"name": "pixels", "datatype": "FP64", "shape": [-1, PIXELS]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, 10]},
        ],
    }


def read_request(body: bytes) -> tuple[NDArray[np.float64], list[str], str | None]:
    """(digits of shape [n, 64], names of the wanted outputs, the request's id). Raises InvalidRequest."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise InvalidRequest("The body must be a JSON object with `inputs`.")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidRequest("`inputs` must be a list of one tensor: name, shape, datatype and data.")
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequest("`id` must be a string.")
    return read_tensor(inputs[0]), wanted_outputs(request.get("outputs")), request_id


def read_tensor(tensor: dict[str, Any]) -> NDArray[np.float64]:
    """The digits of an input tensor, flat or nested. Raises InvalidRequest."""
    if tensor.get("datatype") not in INPUT_TYPES:
        raise InvalidRequest(f"`datatype` must be one of {', '.join(INPUT_TYPES)}, not {tensor.get('datatype')!r}.")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise InvalidRequest("`shape` must be a list of positive whole numbers.")
    if shape[1:] not in ([PIXELS], [8, 8]):
        raise InvalidRequest(f"`shape` must be [n, 64] or [n, 8, 8], not {shape}.")
    if shape[0] > LARGEST_BATCH:
        raise InvalidRequest(f"{shape[0]} digits are too many for one request; send at most {LARGEST_BATCH}.")
    data = tensor.get("data")
    try:
        values = np.asarray(data if isinstance(data, list) else "no list", dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest("`data` must be a list of numbers, flat or nested as `shape` says.") from error
    if values.size != shape[0] * PIXELS:
        raise InvalidRequest(f"`data` has {values.size} numbers, but `shape` {shape} asks for {shape[0] * PIXELS}.")
    # The comparison is false for NaN as well.
    if not ((values >= 0) & (values <= BRIGHTEST)).all():
        raise InvalidRequest(f"Pixels go from 0 to {BRIGHTEST}.")
    return values.reshape(shape[0], PIXELS)


def wanted_outputs(outputs: object) -> list[str]:
    """The names of the outputs that the request wants: all of them unless it says. Raises InvalidRequest."""
    if outputs is None or outputs == []:
        return list(OUTPUTS)
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise InvalidRequest("`outputs` must be a list of objects with a `name`.")
    names = [output.get("name") for output in outputs]
    for name in names:
        if name not in OUTPUTS:
            raise InvalidRequest(f"There is no output {name!r}; there are {' and '.join(OUTPUTS)}.")
    return names


def predict(model: Any, name: str, version: str, body: bytes) -> dict[str, Any]:
    """The answer to an inference request. Raises InvalidRequest."""
    digits, wanted, request_id = read_request(body)
    probabilities = model.predict_proba(digits)
    labels = model.classes_[probabilities.argmax(axis=1)]
    tensors = {
        "label": {"name": "label", "datatype": "INT64", "shape": [len(labels)], "data": labels.tolist()},
        "probabilities": {
            "name": "probabilities",
            "datatype": "FP64",
            "shape": list(probabilities.shape),
            "data": probabilities.ravel().tolist(),
        },
    }
    answer = {"model_name": name, "model_version": version, "outputs": [tensors[output] for output in wanted]}
    if request_id is not None:
        answer["id"] = request_id
    return answer
