"""The server's view of a model of any flavour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
# The protocol's names for NumPy's kinds of numbers.
_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64"}


@dataclass(frozen=True)
class Tensor:
    """The description of an input or an output. A size of -1 may be any."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As the protocol says it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class Model(Protocol):
    """A loaded model: one tensor of numbers in, a row for each example, and one or more tensors out."""

    platform: str
    input: Tensor
    outputs: Sequence[Tensor]

    def predict(self, rows: Numbers, wanted: Sequence[str]) -> dict[str, Any]:
        """The arrays of the `wanted` outputs, by name. ValueError and TypeError are the request's fault."""


def datatype_of(array: Any) -> str:
    """The protocol's word for what an array holds: text is BYTES."""
    return _DATATYPES.get(array.dtype.kind, "BYTES")
