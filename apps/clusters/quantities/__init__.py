"""Kubernetes quantities: "500m", "2Gi", "1e3" to whole numbers, and back for people. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import math
import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)?)", re.ASCII)
_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(1000),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("MGTPE", start=2)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def parse(text: str | float) -> Decimal:
    """The exact value of a quantity. Raises ValueError with a sentence when it is none."""
    match = _QUANTITY.fullmatch(str(text).strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 500m, 2 or 4Gi.")
    number, exponent, unit = match.groups()
    if exponent is not None:
        if abs(int(exponent[1:])) > 30:
            raise ValueError(f"{text!r} is too large or too small to be a quantity.")
        return Decimal(number + exponent)
    return Decimal(number) * _FACTORS[unit or ""]


def millicores(text: str | float) -> int:
    """CPU in thousandths of a core, rounded up as the scheduler does."""
    return math.ceil(parse(text) * 1000)


def amount(text: str | float) -> int:
    """A whole number of bytes, GPUs or pods, rounded up."""
    return math.ceil(parse(text))
