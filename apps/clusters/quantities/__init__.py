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


def format_cpu(milli: int) -> str:
    """Cores for people: 250 → "0.25", 4000 → "4"."""
    return f"{Decimal(milli) / 1000:.3f}".rstrip("0").rstrip(".")


def format_bytes(count: int) -> str:
    """Bytes for people in binary units: 1536 MiB → "1.5 GiB"."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 or size == int(size) else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
