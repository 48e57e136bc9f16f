"""Consumption: hours asked for against hours used, what they cost, and who asks for much and uses little. Pure.

A reservation is paid for whether it is used or not, and use beyond it is paid for, too: the larger of both counts, as
in the OpenCost specification. https://opencost.io/docs/specification/
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import Any

GIB = 1024**3
# Somebody who uses less than this share of what they ask for, and leaves more than that idle, is worth a word.
LOW_SHARE = 0.5
IDLE_CORES = 0.25
IDLE_GIB = 1.0


def hours_text(hours: float) -> str:
    """Hours for people: 1,234.5; two digits of what is less than one hour, so that little is not nothing; "<0.001"."""
    if not hours:
        return "0"
    if hours < 0.001:
        return "<0.001"
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"


@dataclass(frozen=True)
class Amount:
    """Hours of one resource (core-hours or GiB-hours). `measured` is what was asked for while use was measured."""

    asked: float = 0.0
    used: float = 0.0
    measured: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.asked + other.asked, self.used + other.used, self.measured + other.measured)

    @property
    def share(self) -> float | None:
        """Used of what was asked for, 1 for all of it; None where nothing was measured or asked for."""
        return self.used / self.measured if self.measured > 0 else None

    @property
    def idle(self) -> float:
        """Hours that were asked for and not used, as far as that was measured."""
        return max(0.0, self.measured - self.used)

    @property
    def is_measured(self) -> bool:
        """Whether use was measured at all."""
        return self.measured > 0 or self.used > 0

    @property
    def said(self) -> dict[str, str]:
        """The figures as texts, by their names."""
        return {name: hours_text(getattr(self, name)) for name in ("asked", "used", "idle")}


@dataclass(frozen=True)
class Price:
    """The price of an hour on nodes with all of `labels`."""

    name: str
    labels: Mapping[str, str]
    cpu_core_hour: Decimal
    memory_gib_hour: Decimal
    gpu_hour: Decimal
    currency: str


@dataclass(frozen=True)
class Spent:
    """The amounts that one owner's pods had on one sort of nodes (`labels`) over a period.

    CPU in millicore-seconds, memory in byte-seconds, GPUs in seconds; `measured_*` while use was measured.
    """

    project: str
    name: str
    labels: Mapping[str, str]
    asked_cpu: float = 0.0
    used_cpu: float = 0.0
    measured_cpu: float = 0.0
    asked_memory: float = 0.0
    used_memory: float = 0.0
    measured_memory: float = 0.0
    asked_gpu: float = 0.0


@dataclass(frozen=True)
class Consumption:
    """An owner's use over a period. `costs` by currency; `unpriced` says that a part of it has no price."""

    project: str
    name: str
    cpu: Amount = field(default_factory=Amount)
    memory: Amount = field(default_factory=Amount)
    gpu_hours: float = 0.0
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    unpriced: bool = False
    url: str = ""

    @property
    def gpu_text(self) -> str:
        """GPU-hours as a text."""
        return hours_text(self.gpu_hours)

    @property
    def cost_text(self) -> str:
        """ "12.30 EUR + 4.00 USD"; "" where nothing has a price."""
        return " + ".join(f"{cost:,.2f} {currency}" for currency, cost in sorted(self.costs.items()))


def price_for(labels: Mapping[str, str], prices: Iterable[Price]) -> Price | None:
    """The price whose labels the node has, all of them; the one with most labels wins, then the first by name."""
    matching = [price for price in prices if price.labels.items() <= labels.items()]
    return min(matching, key=lambda price: (-len(price.labels), price.name), default=None)


def consumptions(spent: Iterable[Spent], prices: Sequence[Price]) -> list[Consumption]:
    """One row for each owner (project and name), over all sorts of nodes."""
    rows: dict[tuple[str, str], Consumption] = {}
    for part in spent:
        key = (part.project, part.name)
        rows[key] = _add(rows.get(key, Consumption(*key)), part, price_for(part.labels, prices))
    return list(rows.values())


def total(rows: Iterable[Consumption]) -> Consumption:
    """The sum of all rows."""
    return reduce(_together, rows, Consumption("", ""))


def _together(a: Consumption, b: Consumption) -> Consumption:
    return replace(
        a,
        cpu=a.cpu + b.cpu,
        memory=a.memory + b.memory,
        gpu_hours=a.gpu_hours + b.gpu_hours,
        costs=_sum(a.costs, b.costs),
        unpriced=a.unpriced or b.unpriced,
    )


def _add(row: Consumption, part: Spent, price: Price | None) -> Consumption:
    cpu, memory, gpu = _cpu(part), _memory(part), part.asked_gpu / 3600
    costs: dict[str, Decimal] = {}
    if price is not None:
        costs[price.currency] = (
            _money(max(cpu.asked, cpu.used), price.cpu_core_hour)
            + _money(max(memory.asked, memory.used), price.memory_gib_hour)
            + _money(gpu, price.gpu_hour)
        )
    return _together(
        row,
        Consumption(part.project, part.name, cpu=cpu, memory=memory, gpu_hours=gpu, costs=costs, unpriced=not costs),
    )


def _cpu(part: Spent) -> Amount:
    return Amount(*(value / 3_600_000 for value in (part.asked_cpu, part.used_cpu, part.measured_cpu)))


def _memory(part: Spent) -> Amount:
    return Amount(*(value / GIB / 3600 for value in (part.asked_memory, part.used_memory, part.measured_memory)))


def _money(hours: float, price: Decimal) -> Decimal:
    return Decimal(repr(hours)) * price


def _sum(a: Mapping[str, Decimal], b: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {currency: a.get(currency, Decimal(0)) + b.get(currency, Decimal(0)) for currency in {**a, **b}}


@dataclass(frozen=True)
class Verdict:
    """A sentence about all rows, and what it stands on."""

    state: str
    sentence: str
    detail: str


def hours_between(since: datetime, until: datetime) -> float:
    """Hours of a period, for averages; at least a minute."""
    return max((until - since).total_seconds(), 60.0) / 3600


def verdict(rows: Sequence[Consumption], hours: float) -> Verdict:
    """A sentence that names owners who ask for much and use little: average cores (or GiB) over `hours`."""
    if not rows:
        return Verdict("Idle", "Nothing is measured yet", "")
    for noun, amount_of, least in (("cores", _cpu_of, IDLE_CORES), ("GiB of memory", _memory_of, IDLE_GIB)):
        low = [row for row in rows if _is_low(amount_of(row), least, hours)]
        if low:
            worst = max(low, key=lambda row: amount_of(row).idle)
            amount, others = amount_of(worst), len(low) - 1
            asked, used = figure(amount.measured / hours), figure(amount.used / hours)
            also = f" {others} more {'does' if others == 1 else 'do'} so, too." if others else ""
            idle = f"{figure(amount.idle / hours)} {noun} stand idle on average.{also}"
            return Verdict("Warning", f"{worst.name} asks for {asked} {noun} and uses {used}", idle)
    whole = total(rows)
    if not whole.cpu.is_measured:
        cores = figure(whole.cpu.asked / hours)
        return Verdict("Unknown", f"{cores} cores are asked for", "Use is not measured: no metrics-server answers.")
    share = whole.cpu.share
    detail = f"{share:.0%} of the CPU that is asked for is used." if share is not None else ""
    return Verdict("Healthy", "Nobody leaves much idle", detail)


def _is_low(amount: Amount, least: float, hours: float) -> bool:
    return amount.share is not None and amount.share < LOW_SHARE and amount.idle / hours >= least


def _cpu_of(row: Consumption) -> Amount:
    return row.cpu


def _memory_of(row: Consumption) -> Amount:
    return row.memory


def figure(value: float) -> str:
    """A figure of a sentence: 42, 6.4, 0.05."""
    if value >= 10:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".") or "0"


_KEYS: dict[str, Callable[[Consumption], Any]] = {
    "name": lambda row: (row.name, row.project),
    "cpu": lambda row: row.cpu.asked,
    "used": lambda row: row.cpu.used if row.cpu.is_measured else None,
    "share": lambda row: row.cpu.share,
    "idle": lambda row: row.cpu.idle if row.cpu.is_measured else None,
    "memory": lambda row: row.memory.asked,
    "memory_used": lambda row: row.memory.used if row.memory.is_measured else None,
    "memory_share": lambda row: row.memory.share,
    "gpu": lambda row: row.gpu_hours,
    # Sums of different currencies have no order between them; the larger number is the best guess.
    "cost": lambda row: sum(row.costs.values()) if row.costs else None,
}
ORDERS = tuple(_KEYS)


def ordered(rows: Iterable[Consumption], order: str) -> list[Consumption]:
    """The rows by one of ORDERS, downwards with a "-" before it. What has no value comes last either way."""
    value, down = _KEYS[order.removeprefix("-")], order.startswith("-")
    by_name = sorted(rows, key=lambda row: (row.name, row.project))
    known = sorted((row for row in by_name if value(row) is not None), key=value, reverse=down)
    return known + [row for row in by_name if value(row) is None]
