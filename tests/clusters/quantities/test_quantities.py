import pytest

from apps.clusters import quantities


@pytest.mark.parametrize(
    ("text", "milli"),
    [("500m", 500), ("2", 2000), ("0.1", 100), ("1n", 1), ("250u", 1), ("1e3", 1_000_000), (4, 4000), ("1.5", 1500)],
)
def test_cpu_is_read_in_millicores_rounded_up(text: str, milli: int) -> None:
    assert quantities.millicores(text) == milli


@pytest.mark.parametrize(
    ("text", "count"),
    [("2Gi", 2 * 1024**3), ("128974848", 128974848), ("129M", 129_000_000), ("1Ki", 1024), ("0", 0), ("1E", 10**18)],
)
def test_memory_is_read_in_bytes(text: str, count: int) -> None:
    assert quantities.amount(text) == count


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "5 Gi", "Gi", "1e999999999", "1KB"])
def test_what_is_no_quantity_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        quantities.parse(text)
