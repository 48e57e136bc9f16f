"""Clusters in the order in which they are chosen, each with why it is, or why it is not. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from apps.clusters.fit.asks import Ask, Prefer, Wish
from apps.clusters.fit.nodes import amounts_of, cost, could_be, slots, why_no_choice, without
from apps.clusters.quantities.sizes import GPU
from apps.clusters.quantities.words import bare, listed, plural
from apps.clusters.usage.consumption import Price
from apps.clusters.why.facts import NodeFacts

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Candidate:
    """A cluster as it is known, or a place on one: then `cluster` and `namespace` say which. `away` says why nothing
    can be had of it now, `barred` why nothing may be launched there; "" otherwise. `grows`: it makes nodes as they are
    needed. `promised` are pods that were launched there and have no node yet, but for those that the scheduler found
    no room for. Of two places on one cluster with the same `address` requests would reach one; "" is none."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[NodeFacts, ...] = ()
    away: str = ""
    barred: str = ""
    grows: bool = False
    promised: tuple[Ask, ...] = ()
    cluster: str = ""
    namespace: str = ""
    address: str = ""


@dataclass(frozen=True)
class Judged:
    """A candidate: whether it fits now, whether it ever could, and why in a few words. `room`: how many such pods it
    has room for; `price`: what all that are asked for cost there an hour. `away`: nothing can be had of it now.
    `unlike`: it has other labels than were asked for. `unseen`: it has no nodes that are known, so that it may be
    hoped for, and no more."""

    name: str
    fits: bool
    ever: bool
    why: str
    room: int = 0
    price: tuple[Decimal, str] | None = None
    grows: bool = False
    away: bool = False
    unlike: bool = False
    unseen: bool = False


@dataclass(frozen=True)
class Ranking:
    """The candidates, the best first."""

    judged: tuple[Judged, ...]

    @property
    def chosen(self) -> Judged | None:
        """The best, where it fits."""
        return self.judged[0] if self.judged and self.judged[0].fits else None

    @property
    def others(self) -> tuple[Judged, ...]:
        """All but the chosen one."""
        return self.judged[1:] if self.chosen else self.judged

    @property
    def ever(self) -> bool:
        """Whether any of them could ever hold what is asked."""
        return any(each.ever for each in self.judged)

    @property
    def hopeless(self) -> bool:
        """Whether none of those whose nodes are known could ever hold it: to wait would be to hope for another."""
        return not any(each.ever and not each.unseen for each in self.judged)


def rank(wish: Wish, candidates: Sequence[Candidate], prices: Sequence[Price] = ()) -> Ranking:
    """The candidates from the best to the worst. The same input in another order gives the same; more room that is free
    on a node, with nothing promised, never makes a cluster that fits one that doesn't."""
    judged = [_judged(wish, each, prices) for each in sorted(candidates, key=lambda each: each.name)]
    fitting = [each for each in judged if each.fits]
    currencies = {each.price[1] for each in fitting if each.price}
    by_price = wish.prefer is not Prefer.ROOM and len(currencies) == 1
    fitting.sort(key=lambda each: _order(each, wish, by_price))
    others = sorted((each for each in judged if not each.fits), key=lambda each: _patience(each, wish))
    return Ranking((*_compared(fitting, wish, by_price), *others))


def _order(each: Judged, wish: Wish, by_price: bool) -> tuple[bool, bool, bool, bool, Decimal, int, str]:
    price = each.price[0] if by_price and each.price else Decimal(0)
    unpriced = by_price and each.price is None
    last = each.name in wish.avoid, each.name in wish.shared
    return *last, each.grows and not each.room, unpriced, price, -each.room, each.name


def _patience(each: Judged, wish: Wish) -> tuple[bool, bool, bool, bool, int, str]:
    """The order of what does not fit now: first what could hold it some time, is there, and has most of the room; last
    what nobody asked for."""
    return not each.ever, each.unlike, each.away, bool(wish.last(each.name)), -each.room, each.name


def _compared(fitting: Sequence[Judged], wish: Wish, by_price: bool) -> list[Judged]:
    """The same, each with what it has over the others, or they over it."""
    said = []
    rivals = [each for each in fitting if not wish.last(each.name)]
    for number, each in enumerate(fitting):
        price = _money(each)
        if last := wish.last(each.name):
            best = "; no other fits" if len(fitting) == 1 else "; none that is better fits"
            tail = last + (best if number == 0 else "")
        elif number:
            tail = price if by_price else f"room for {each.room}" if each.room else ""
        elif len(rivals) == 1:
            tail = f"the only one that does{price and f', {price}'}"
        elif by_price and price:
            cheapest = all(other.price is None or other.price != each.price for other in rivals[1:])
            tail = f"{'cheapest' if cheapest else 'most room at the lowest price'} of {len(rivals)}, {price}"
        else:
            tail = f"most room of {len(rivals)}"
        said.append(replace(each, why=f"{each.why}{tail and f', {tail}'}"))
    return said


def _money(each: Judged) -> str:
    if each.price is None:
        return ""
    amount, currency = each.price
    return f"{amount.quantize(_CENT) if amount >= _CENT else amount.normalize():f} {currency} an hour"


def _judged(wish: Wish, each: Candidate, prices: Sequence[Price]) -> Judged:
    ask = wish.ask
    for key, value in sorted(wish.labels.items()):
        if key not in each.labels:
            return Judged(each.name, False, False, f"label {key}={value} missing", unlike=True)
        if each.labels[key] != value:
            return Judged(each.name, False, False, f"label {key} is {each.labels[key]}, not {value}", unlike=True)
    if each.barred:
        return Judged(each.name, False, False, each.barred)
    ever = each.grows or not each.nodes or any(could_be(ask, node) for node in each.nodes)
    if not ever:
        return Judged(each.name, False, False, _too_small(ask, each.nodes))
    unseen = not each.nodes and not each.grows
    if each.away:
        return Judged(each.name, False, True, each.away, away=True, unseen=unseen)
    nodes = without(each.promised, list(each.nodes), ask)
    by_node = {node.name: slots(ask, node) for node in nodes}
    room = sum(by_node.values())
    if room >= ask.number:
        many = sum(1 for count in by_node.values() if count)
        have = "has" if many == 1 else "have"
        why = f"fits: {many} of {plural(len(nodes), 'node')} {have} {ask.text} free"
        return Judged(each.name, True, True, why, room, _price(ask, nodes, prices), each.grows)
    if each.grows:
        return Judged(each.name, True, True, "fits: nodes are made there as they are needed", room, None, True)
    return Judged(each.name, False, True, _no_room(ask, nodes, room, bool(each.promised)), room, unseen=unseen)


def _price(ask: Ask, nodes: Sequence[NodeFacts], prices: Sequence[Price]) -> tuple[Decimal, str] | None:
    """What all pods cost an hour where they cost least; None where a part of it has no price, or another currency."""
    if not prices:
        return None
    costs = [(cost(ask, node, prices), slots(ask, node)) for node in nodes]
    known = sorted((each[0], count, each[1]) for each, count in costs if each is not None and count)
    total, left = Decimal(0), ask.number
    for amount, count, _ in known:
        total += amount * min(count, left)
        left -= min(count, left)
    currencies = {currency for _, _, currency in known}
    return (total, currencies.pop()) if not left and len(currencies) == 1 else None


def _too_small(ask: Ask, nodes: Sequence[NodeFacts]) -> str:
    """Why no node could hold such a pod even when it is empty."""
    for name, amount in _dearest_first(ask):
        largest = max(node.total(name) for node in nodes)
        if largest < amount:
            return f"no node is large enough: {_said(name, largest)} at most, {bare(name, amount)} wanted"
    if causes := _causes(ask, nodes):
        return f"no node may take it: {causes}"
    return f"no single node has {ask.text}"


def _no_room(ask: Ask, nodes: Sequence[NodeFacts], room: int, promised: bool) -> str:
    """The resources of which there is not enough now."""
    beside = " beside what is about to start there" if promised else ""
    if room:
        return f"room for {room} of {ask.number} pods{beside}"
    open_nodes = [node for node in nodes if not why_no_choice(ask, node)]
    if not nodes:
        return "it has no nodes now"
    if not open_nodes:
        return f"no node takes it now: {_causes(ask, nodes)}"
    for name, amount in _dearest_first(ask):
        free = max(node.free(name) for node in open_nodes)
        if free < amount:
            where = " on one node" if sum(node.free(name) for node in open_nodes) >= amount else ""
            noun = {"cpu": "CPU", "memory": "memory"}.get(name, "GPU")
            return f"not enough {noun}: {bare(name, free)} free{where}, {bare(name, amount)} wanted{beside}"
    return f"no single node has {ask.text} free{beside}"


def _dearest_first(ask: Ask) -> list[tuple[str, int]]:
    amounts = amounts_of(ask.size)
    return [(name, amounts[name]) for name in (GPU, "memory", "cpu") if name in amounts]


def _causes(ask: Ask, nodes: Sequence[NodeFacts]) -> str:
    counts = Counter(cause for node in nodes if (cause := why_no_choice(ask, node)))
    return listed([f"{count} {cause}" for cause, count in sorted(counts.items())])


def _said(name: str, amount: int) -> str:
    """ "3 CPU", "2 GiB", "1 GPU"."""
    if name == "memory":
        return bare(name, amount)
    if name == "cpu":
        return f"{bare(name, amount)} CPU"
    return plural(amount, "GPU")
