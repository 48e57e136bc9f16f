"""The Open Inference Protocol's requests, right and wrong."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from modelserver.openinference.errors import InvalidRequest
from modelserver.openinference.model import Tensor
from modelserver.openinference.protocol import metadata, predict, read_request


class Stub:
    """Takes each picture for the number in its first pixel."""

    platform = "stub"

    def __init__(self, features: int = 64) -> None:
        self.input = Tensor("input", "FP64", (-1, features))
        self.outputs = [Tensor("label", "INT64", (-1,)), Tensor("probabilities", "FP64", (-1, 10))]

    def predict(self, rows: Any, wanted: Sequence[str]) -> dict[str, Any]:
        labels = rows[:, 0].astype(int)
        if labels.min() < 0:
            raise ValueError("There are no negative digits.")
        return {"label": labels, "probabilities": np.eye(10)[labels]}


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "pixels", "shape": [1, 64], "datatype": "FP64", "data": [3.0] + [0.0] * 63} | changes


def body(*tensors: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(tensors)} | more).encode()


def test_answers_with_every_output() -> None:
    rows = [[7] + [0] * 63, [2] + [0] * 63]
    answer = predict(Stub(), "digits", "4", body(tensor(shape=[2, 64], datatype="INT64", data=rows), id="r1"))
    assert answer == {
        "model_name": "digits",
        "model_version": "4",
        "id": "r1",
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [2], "data": [7, 2]},
            {
                "name": "probabilities",
                "datatype": "FP64",
                "shape": [2, 10],
                "data": [0.0] * 7 + [1.0, 0.0, 0.0] + [0.0, 0.0, 1.0] + [0.0] * 7,
            },
        ],
    }
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    "data",
    [[3.0] + [0.0] * 63, [[3.0] + [0.0] * 63], [[[3.0] + [0.0] * 7] + [[0.0] * 8] * 7]],
    ids=["flat", "rows", "pictures"],
)
@pytest.mark.parametrize("shape", [[1, 64], [1, 8, 8]])
@pytest.mark.parametrize("features", [64, -1])
def test_takes_data_flat_or_nested(shape: list[int], data: list[Any], features: int) -> None:
    rows, outputs, request_id = read_request(Stub(features), body(tensor(shape=shape, data=data)))
    assert rows.shape == (1, 64)
    assert rows[0, 0] == 3.0
    assert (outputs, request_id) == (["label", "probabilities"], None)


def test_answers_only_with_the_outputs_that_were_asked_for() -> None:
    answer = predict(Stub(), "digits", "1", body(tensor(), outputs=[{"name": "label"}]))
    assert [output["name"] for output in answer["outputs"]] == ["label"]


@pytest.mark.parametrize(
    ("request_body", "sentence"),
    [
        (b"{", "The body is not JSON"),
        (b"\xff", "The body is not JSON"),
        (b"[" * 100_000, "The body is not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "`inputs` must be a list of one tensor"),
        (body(tensor(), tensor()), "`inputs` must be a list of one tensor"),
        (body(tensor(datatype="BYTES")), "`datatype` must be one of FP64"),
        (body(tensor(datatype=None)), "`datatype` must be one of FP64"),
        (body(tensor(shape=[-1, 64])), "positive whole numbers"),
        (body(tensor(shape="1,64")), "positive whole numbers"),
        (body(tensor(shape=[True, 64])), "positive whole numbers"),
        (body(tensor(shape=[])), "`shape` must be [n, 64], not []."),
        (body(tensor(shape=[64])), "`shape` must be [n, 64], not [64]."),
        (body(tensor(shape=[1001, 64])), "send at most 1000"),
        (body(tensor(data=None)), "`data` must be a list of numbers"),
        (body(tensor(data=1)), "`data` must be a list of numbers"),
        (body(tensor(data="ab")), "`data` must be a list of numbers"),
        (body(tensor(data={"a": 1})), "`data` must be a list of numbers"),
        (body(tensor(data=[[1.0], [1.0, 2.0]])), "`data` must be a list of numbers"),
        (body(tensor(data=[1.0] * 63)), "`data` has 63 numbers, but `shape` [1, 64] asks for 64."),
        (body(tensor(data=[-1.0] * 64)), "The model refuses this: There are no negative digits."),
        (
            body(tensor(), outputs=[{"name": "secret"}]),
            "There is no output 'secret'; there is label and probabilities.",
        ),
        (body(tensor(), outputs=[{"name": []}]), "There is no output []"),
        (body(tensor(), outputs=["label"]), "`outputs` must be a list of objects"),
        (body(tensor(), id=7), "`id` must be a string."),
    ],
)
def test_says_what_is_wrong_with_a_request(request_body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        predict(Stub(), "digits", "1", request_body)
    assert sentence in str(refused.value)


def test_metadata_names_the_tensors_that_predict_takes_and_gives() -> None:
    described = metadata(Stub(), "digits", "2")
    answer = predict(Stub(), "digits", "2", body(tensor(name=described["inputs"][0]["name"])))
    assert [output["name"] for output in described["outputs"]] == [output["name"] for output in answer["outputs"]]
