"""The Open Inference Protocol's requests, right and wrong."""

import json

import numpy as np
import pytest

from examples.digits.protocol import InvalidRequest, metadata, predict, read_request


class StubModel:
    """Takes each digit for the number in its first pixel."""

    classes_ = np.arange(10)

    def predict_proba(self, digits):
        return np.eye(10)[digits[:, 0].astype(int)]


def tensor(**changes) -> dict:
    return {"name": "pixels", "shape": [1, 64], "datatype": "FP64", "data": [3.0] + [0.0] * 63} | changes


def body(*tensors: dict, **more) -> bytes:
    return json.dumps({"inputs": list(tensors)} | more).encode()


def test_answers_with_labels_and_probabilities():
    digits = [[7] + [0] * 63, [2] + [0] * 63]
    answer = predict(StubModel(), "digits", "4", body(tensor(shape=[2, 64], datatype="INT64", data=digits), id="r1"))
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
def test_takes_data_flat_or_nested(shape: list[int], data: list):
    digits, outputs, request_id = read_request(body(tensor(shape=shape, data=data)))
    assert digits.shape == (1, 64)
    assert digits[0, 0] == 3.0
    assert (outputs, request_id) == (["label", "probabilities"], None)


def test_answers_only_with_the_outputs_that_were_asked_for():
    answer = predict(StubModel(), "digits", "1", body(tensor(), outputs=[{"name": "label"}]))
    assert [output["name"] for output in answer["outputs"]] == ["label"]


@pytest.mark.parametrize(
    ("request_body", "sentence"),
    [
        (b"{", "The body is not JSON"),
        (b"\xff", "The body is not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "`inputs` must be a list of one tensor"),
        (body(tensor(), tensor()), "`inputs` must be a list of one tensor"),
        (body(tensor(datatype="BYTES")), "`datatype` must be one of FP64"),
        (body(tensor(datatype=None)), "`datatype` must be one of FP64"),
        (body(tensor(shape=[-1, 64])), "positive whole numbers"),
        (body(tensor(shape="1,64")), "positive whole numbers"),
        (body(tensor(shape=[True, 64])), "positive whole numbers"),
        (body(tensor(shape=[])), "`shape` must be [n, 64] or [n, 8, 8], not []."),
        (body(tensor(shape=[64])), "`shape` must be [n, 64] or [n, 8, 8], not [64]."),
        (body(tensor(shape=[1001, 64])), "send at most 1000"),
        (body(tensor(data=None)), "`data` must be a list of numbers"),
        (body(tensor(data=1)), "`data` must be a list of numbers"),
        (body(tensor(data="ab")), "`data` must be a list of numbers"),
        (body(tensor(data={"a": 1})), "`data` must be a list of numbers"),
        (body(tensor(data=[[1.0], [1.0, 2.0]])), "`data` must be a list of numbers"),
        (body(tensor(data=[1.0] * 63)), "`data` has 63 numbers, but `shape` [1, 64] asks for 64."),
        (body(tensor(data=[255.0] * 64)), "Pixels go from 0 to 16."),
        (body(tensor(data=[-1.0] * 64)), "Pixels go from 0 to 16."),
        (body(tensor(data=[float("nan")] * 64)), "Pixels go from 0 to 16."),
        (
            body(tensor(), outputs=[{"name": "secret"}]),
            "There is no output 'secret'; there are label and probabilities.",
        ),
        (body(tensor(), outputs=[{"name": []}]), "There is no output []"),
        (body(tensor(), outputs=["label"]), "`outputs` must be a list of objects"),
        (body(tensor(), id=7), "`id` must be a string."),
    ],
)
def test_says_what_is_wrong_with_a_request(request_body: bytes, sentence: str):
    with pytest.raises(InvalidRequest) as refused:
        read_request(request_body)
    assert sentence in str(refused.value)


def test_metadata_names_the_tensors_that_predict_takes_and_gives():
    described = metadata("digits", "2")
    answer = predict(StubModel(), "digits", "2", body(tensor(name=described["inputs"][0]["name"])))
    assert [output["name"] for output in described["outputs"]] == [output["name"] for output in answer["outputs"]]
    assert (described["name"], described["versions"]) == ("digits", ["2"])
