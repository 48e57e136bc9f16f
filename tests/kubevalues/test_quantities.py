"""https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/"""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubevalues import numbers
from kubevalues.quantities import LARGEST, SMALLEST, amount, canonical, millicores, parse, whole


@pytest.mark.parametrize(
    ("text", "milli"),
    [("500m", 500), ("2", 2000), ("0.1", 100), (0.1, 100), ("1n", 1), ("250u", 1), ("1e3", 1_000_000), (4, 4000)],
)
def test_cpu_is_read_in_millicores_rounded_up(text: Any, milli: int) -> None:
    assert (millicores(text), amount("cpu", text)) == (milli, milli)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *[("2Gi", 2 * 1024**3), ("1.5Ki", 1536), ("128974848", 128974848), ("129M", 129_000_000), ("1Ki", 1024)],
        *[("0", 0), ("1E", 10**18), ("1E3", 1000), ("1e3", 1000), (".5k", 500), ("1.", 1), ("+1", 1), ("-1", -1)],
    ],
)
def test_memory_is_read_in_bytes(text: str, count: int) -> None:
    assert (whole(text), amount("memory", text)) == (count, count)


@pytest.mark.parametrize(
    "text",
    [
        *["", "abc", "1.2.3", "5 Gi", " 5Gi", "5Gi\n", "Gi", "1Gib", "--1", "1K", "1ki", "1KB", "e3", "1e", "1_0", "٥"],
        *["1e99999999999999999999", True, None],
    ],
)
def test_what_is_no_quantity_is_refused_with_the_text(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e999999999", LARGEST), ("9" * 5000, LARGEST), ("8Ei", LARGEST), ("-1e999", -LARGEST), ("1e-999999", SMALLEST)],
)
def test_what_is_too_large_or_too_small_is_cut_as_by_kubernetes(text: str, number: Decimal) -> None:
    assert parse(text) == number
    assert parse("0e999999999") == 0


@given(st.from_regex(r"[+-]?[0-9]{0,40}\.?[0-9]{0,40}([eE][+-]?[0-9]{1,25}|[a-zA-Z]{0,2})", fullmatch=True) | st.text())
@example("1e9223372036854775808")
def test_any_text_is_a_quantity_that_can_be_written_again_or_none(text: str) -> None:
    try:
        number = parse(text)
    except ValueError:
        return
    assert number == 0 or SMALLEST <= abs(number) <= LARGEST
    assert abs(parse(canonical(number, like=text)) - number) <= SMALLEST


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        ("1.5", "1", "1500m"),
        ("2", "1", "2"),
        ("2000", "1", "2k"),
        (str(3584 * 2**20), "4Gi", "3584Mi"),
        ("1000000000", "1", "1G"),
        ("0.0005", "1", "500u"),
        ("0", "1Gi", "0"),
        ("0.0000000001", "1", "1n"),
    ],
)
def test_quantities_are_written_canonically(value: str, like: str, text: str) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/: no precision is lost, no
    fractional digits are emitted, the suffix is as large as possible."""
    assert canonical(Decimal(value), like=like) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("+7", 7), ("-7", -7), ("007", 7), (str(2**63 - 1), 2**63 - 1), (str(-(2**63)), -(2**63))],
        *[(text, None) for text in ("", "1_000", " 7", "7\n", "٧", "²", "--5", "1.0", "1e3", str(2**63), "9" * 5000)],
    ],
)
def test_whole_numbers_are_read_as_go_reads_them(text: str, number: int | None) -> None:
    assert numbers.whole(text) == number
