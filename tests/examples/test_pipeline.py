"""The example's pipeline: it is one that Flotilla takes, and its data survive being written and read."""

import importlib.util
import sys

import numpy

from apps.workflows.services import read
from apps.workflows.specs.expanding import items
from apps.workflows.specs.parameters import given

from .conftest import DIGITS


def test_the_pipeline_is_taken_and_trains_three():
    spec = read((DIGITS / "pipeline.yaml").read_text())
    assert [step.name for step in spec.steps] == ["prepare", "train", "evaluate", "register", "production"]
    assert {step.name: step.needs for step in spec.steps}["evaluate"] == ("train", "prepare")
    assert [step.name for step, _, _ in items(spec, given(spec.params, {}))].count("train") == 3
    for step in spec.steps:
        program = step.body.get("command", ["", ""])[1]
        assert not program or (DIGITS / program).is_file()


def test_the_parts_are_the_same_after_they_were_written_and_read(tmp_path):
    loader = importlib.util.spec_from_file_location("digits_data", DIGITS / "data.py")
    data = importlib.util.module_from_spec(loader)
    sys.modules["digits_data"] = data
    loader.loader.exec_module(data)
    split = data.load_split()
    data.write_split(split, tmp_path / data.FILE)
    again = data.read_split(tmp_path / data.FILE)
    for before, after in zip(split, again, strict=True):
        assert numpy.array_equal(before.inputs, after.inputs) and numpy.array_equal(before.labels, after.labels)
