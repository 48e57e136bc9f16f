"""Kubernetes quantities ("500m", "2Gi", "1e3") as exact numbers.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from kubevalues import numbers

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE])([+-]?[0-9]+)|(m|u|n|k|[MGTPE]|[KMGTPE]i)?)")
#: Every number that can be written is far from this many digits long: a larger exponent says no more.
_LARGEST_EXPONENT = 1_000_000
#: The largest and the smallest amount; values beyond are taken as these, as Kubernetes does.
LARGEST, SMALLEST = Decimal(2**63 - 1), Decimal("0.000000001")
_BINARY = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4, "Pi": 1024**5, "Ei": 1024**6}
_DECIMAL = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_SMALL = {"m": Decimal("0.001"), "u": Decimal("0.000001"), "n": SMALLEST}
_FACTORS = {**_SMALL, **{suffix: Decimal(factor) for suffix, factor in (_BINARY | _DECIMAL).items()}}


def parse(value: str | int | float) -> Decimal:
    """The number that a quantity means. Raises ValueError when it is none."""
    match = _QUANTITY.fullmatch(str(value))
    exponent = numbers.whole(match[3]) if match and match[2] else 0
    if match is None or exponent is None:
        raise ValueError(f"{str(value)[:64]!r} is not a quantity such as 500m, 2 or 4Gi.")
    number = Decimal(f"{match[1]}E{max(-_LARGEST_EXPONENT, min(exponent, _LARGEST_EXPONENT))}")
    if not number:
        return Decimal(0)
    exact = number.copy_abs() * _FACTORS[match[4]] if match[4] else number.copy_abs()
    return max(SMALLEST, min(exact, LARGEST)).copy_sign(number)


def millicores(value: str | int | float) -> int:
    """A CPU quantity in thousandths of a core, rounded up as the scheduler does."""
    return int((parse(value) * 1000).to_integral_value(ROUND_CEILING))


def nanocores(value: str | int | float) -> int:
    """A CPU quantity in billionths of a core, rounded up."""
    return int((parse(value) * 1_000_000_000).to_integral_value(ROUND_CEILING))


def whole(value: str | int | float) -> int:
    """A quantity of bytes or devices as a whole number, rounded up."""
    return int(parse(value).to_integral_value(ROUND_CEILING))


@lru_cache(maxsize=4096)
def amount(resource: str, value: str | int | float) -> int:
    """The integer that the scheduler adds up: millicores for "cpu", units for everything else."""
    return millicores(value) if resource == "cpu" else whole(value)


def canonical(value: Decimal, *, like: str = "") -> str:
    """A number as Kubernetes writes it, with the largest suffix that keeps it exact: 500m, 2, 3k, 1536Mi.

    The suffix is a binary one where that of ``like`` is.
    """
    if like.endswith("i") and value == value.to_integral_value():
        for suffix, factor in reversed(_BINARY.items()):
            if value and value % factor == 0:
                return f"{int(value) // factor}{suffix}"
    for suffix, factor in reversed(_DECIMAL.items()):
        if value and value % factor == 0:
            return f"{int(value) // factor}{suffix}"
    if value == value.to_integral_value():
        return str(int(value))
    for suffix, part in _SMALL.items():
        if value % part == 0:
            return f"{int(value / part)}{suffix}"
    return f"{int((value / _SMALL['n']).to_integral_value(ROUND_CEILING))}n"


def text(resource: str, value: int) -> str:
    """A sum of :func:`amount` values as a quantity."""
    if resource == "cpu":
        return str(value // 1000) if value % 1000 == 0 else f"{value}m"
    return str(value)
