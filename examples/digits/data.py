"""The digits that scikit-learn brings along, cut once and for all into three parts.

`python data.py` prints the held-out part as JSON (`{"inputs": [[64 numbers 0..16]], "labels": [int]}`), so that
a client can send them to a deployment without importing scikit-learn.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy
from numpy import float64, int64
from numpy.typing import NDArray

HELD_OUT = 200
VALIDATION = 297
FILE = "split.npz"
# Any number would do; it must only stay the same, or yesterday's model has seen today's held-out digits.
SPLIT_SEED = 20260


class Part(NamedTuple):
    """Digits and what they show."""

    inputs: NDArray[float64]
    labels: NDArray[int64]


class Split(NamedTuple):
    """Three disjoint parts: learn from `train`, choose by `validation`, judge by `held_out`."""

    train: Part
    validation: Part
    held_out: Part


def load_split() -> Split:
    """The same split each time: 1300 to train, 297 to validate, 200 held out; each digit has its share of each."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    rest_inputs, held_inputs, rest_labels, held_labels = train_test_split(
        inputs, labels, test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED
    )
    train_inputs, val_inputs, train_labels, val_labels = train_test_split(
        rest_inputs, rest_labels, test_size=VALIDATION, stratify=rest_labels, random_state=SPLIT_SEED
    )
    return Split(Part(train_inputs, train_labels), Part(val_inputs, val_labels), Part(held_inputs, held_labels))


def write_split(split: Split, path: Path) -> None:
    """Write the parts into one file."""
    named = [(name, kind) for name in Split._fields for kind in Part._fields]
    arrays = {f"{name}_{kind}": getattr(getattr(split, name), kind) for name, kind in named}
    numpy.savez_compressed(path, **arrays)


def read_split(path: Path) -> Split:
    """What `write_split` wrote."""
    with numpy.load(path) as arrays:
        parts = {name: Part(arrays[f"{name}_inputs"], arrays[f"{name}_labels"]) for name in Split._fields}
    return Split(**parts)


def main() -> None:
    """Print the held-out part as JSON."""
    # scikit-learn imports pandas where it finds it, which takes a second and is of no use here.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    import_module("sklearn.model_selection")
    del sys.modules["pandas"]
    held_out = load_split().held_out
    print(json.dumps({"inputs": held_out.inputs.tolist(), "labels": held_out.labels.tolist()}))


if __name__ == "__main__":
    main()
