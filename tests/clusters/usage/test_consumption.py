"""The arithmetic of consumption: hours, shares, prices, the sentence."""

from decimal import Decimal

import pytest

from apps.clusters.usage.consumption import (
    ORDERS,
    Amount,
    Consumption,
    Price,
    Spent,
    consumptions,
    figure,
    hours_text,
    ordered,
    price_for,
    total,
    verdict,
)

GIB = 1024**3
HOUR = 3600


def price(name: str, currency: str = "EUR", cpu: str = "0.04", gpu: str = "2", **labels: str) -> Price:
    return Price(name, labels, Decimal(cpu), Decimal("0.005"), Decimal(gpu), currency)


def spent(name: str = "ranker", project: str = "search", *, hours: float = 1, **values: float) -> Spent:
    """Four cores, 8 GiB and one GPU asked for over `hours`, with one core and 2 GiB used."""
    seconds = hours * HOUR
    figures = {
        "asked_cpu": 4000 * seconds,
        "used_cpu": 1000 * seconds,
        "measured_cpu": 4000 * seconds,
        "asked_memory": 8 * GIB * seconds,
        "used_memory": 2 * GIB * seconds,
        "measured_memory": 8 * GIB * seconds,
        "asked_gpu": seconds,
    }
    return Spent(project, name, {"pool": "a100"}, **(figures | values))


def test_hours_of_cores_memory_and_gpus() -> None:
    [row] = consumptions([spent(hours=1.5)], [])
    assert row.cpu == Amount(6, 1.5, 6) and row.memory == Amount(12, 3, 12) and row.gpu_hours == 1.5
    assert row.cpu.share == 0.25 and row.cpu.idle == 4.5


def test_an_owner_on_several_sorts_of_nodes_is_one_row() -> None:
    rows = consumptions([spent(), spent(), spent("other")], [])
    assert [(row.name, row.cpu.asked) for row in rows] == [("ranker", 8), ("other", 4)]
    assert total(rows).cpu == Amount(12, 3, 12)


def test_what_was_not_measured_is_neither_used_nor_idle() -> None:
    [row] = consumptions([spent(used_cpu=500 * HOUR, measured_cpu=1000 * HOUR)], [])
    assert row.cpu.share == 0.5 and row.cpu.idle == 0.5, "only the measured hour in four counts"
    [blind] = consumptions([spent(used_cpu=0, measured_cpu=0)], [])
    assert blind.cpu.share is None and blind.cpu.idle == 0 and not blind.cpu.is_measured


PRICES = [
    price("any"),
    price("a100", pool="a100"),
    price("a100-spot", pool="a100", spot="true"),
    price("b-also-a100", pool="a100"),
]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, "any"),
        ({"pool": "t4"}, "any"),
        ({"pool": "a100"}, "a100"),
        ({"pool": "a100", "zone": "b"}, "a100"),
        ({"pool": "a100", "spot": "true"}, "a100-spot"),
    ],
)
def test_the_most_specific_price_wins_then_the_first_by_name(labels: dict[str, str], expected: str) -> None:
    chosen = price_for(labels, list(reversed(PRICES)))
    assert chosen is not None and chosen.name == expected


def test_without_a_match_there_is_no_price() -> None:
    assert price_for({"pool": "t4"}, [price("a100", pool="a100")]) is None
    [row] = consumptions([spent()], [price("t4", pool="t4")])
    assert row.costs == {} and row.cost_text == "" and row.unpriced


def test_a_reservation_is_paid_for_and_so_is_use_beyond_it() -> None:
    [reserved] = consumptions([spent()], [price("any")])
    assert reserved.costs == {"EUR": Decimal("0.16") + Decimal("0.04") + 2} and not reserved.unpriced
    [beyond] = consumptions([spent(used_cpu=6000 * HOUR)], [price("any")])
    assert beyond.costs["EUR"] - reserved.costs["EUR"] == Decimal("0.08")
    assert beyond.cpu.share == 1.5 and beyond.cpu.idle == 0


def test_currencies_are_never_added_up() -> None:
    parts = [spent(), Spent("search", "ranker", {"pool": "t4"}, asked_cpu=1000 * HOUR), Spent("search", "ranker", {})]
    prices = [price("a100", pool="a100"), price("t4", "USD", pool="t4")]
    [row] = consumptions(parts, prices)
    assert row.cost_text == "2.20 EUR + 0.04 USD" and row.unpriced, "a part of it runs where no price is set"


def owner(
    name: str, asked: float, used: float, measured: float | None = None, memory: Amount | None = None
) -> Consumption:
    return Consumption("p", name, Amount(asked, used, asked if measured is None else measured), memory or Amount())


@pytest.mark.parametrize(
    ("rows", "state", "sentence"),
    [
        ([], "Idle", "Nothing is measured yet"),
        ([owner("search", 420, 60), owner("ads", 20, 19)], "Warning", "search asks for 42 cores and uses 6"),
        ([owner("ads", 20, 19)], "Healthy", "Nobody leaves much idle"),
        # Little is asked for: two thirds of almost nothing is not worth a word.
        ([owner("tiny", 0.9, 0.1)], "Healthy", "Nobody leaves much idle"),
        # The largest leaves most idle, as large ones do, but uses more than half.
        ([owner("large", 1000, 600), owner("lazy", 100, 5)], "Warning", "lazy asks for 10 cores and uses 0.5"),
        ([owner("blind", 40, 0, 0)], "Unknown", "4 cores are asked for"),
        (
            [owner("cache", 1, 1, memory=Amount(640, 64, 640))],
            "Warning",
            "cache asks for 64 GiB of memory and uses 6.4",
        ),
    ],
)
def test_the_verdict_says_who_asks_for_much_and_uses_little(rows: list[Consumption], state: str, sentence: str) -> None:
    judged = verdict(rows, 10)
    assert (judged.state, judged.sentence) == (state, sentence)


def test_the_verdict_counts_the_others() -> None:
    rows = [owner("a", 400, 60), owner("b", 40, 2), owner("c", 50, 2), owner("d", 10, 9)]
    assert verdict(rows, 10).detail == "34 cores stand idle on average. 2 more do so, too."


@pytest.mark.parametrize(("value", "text"), [(42.4, "42"), (6.04, "6"), (6.44, "6.4"), (0.049, "0.05"), (0, "0")])
def test_figures_of_a_sentence(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [(1234.56, "1,234.6"), (12.04, "12.0"), (0.0441, "0.044"), (0.75, "0.75"), (2.5e-05, "<0.001"), (0, "0")],
)
def test_hours_in_a_table(hours: float, text: str) -> None:
    assert hours_text(hours) == text


def test_rows_are_sorted_either_way_with_what_has_no_value_last() -> None:
    rows = [owner("b", 10, 5), owner("a", 10, 0, 0), owner("c", 10, 1)]
    assert [row.name for row in ordered(rows, "share")] == ["c", "b", "a"]
    assert [row.name for row in ordered(rows, "-share")] == ["b", "c", "a"]
    assert [row.name for row in ordered(rows, "-name")] == ["c", "b", "a"]
    for order in ORDERS:
        assert len(ordered(rows, order)) == len(ordered(rows, f"-{order}")) == 3
