"""Where something fits: tables for each reason, and what must hold for any clusters."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.clusters.fit import Ask, Candidate, Prefer, Ranking, Taken, Wish, pick, places_for, rank
from apps.clusters.podoptions import NO_OPTIONS, PodOptions, parse
from apps.clusters.quantities.sizes import GPU, Size
from apps.clusters.usage.consumption import Price
from apps.clusters.why.facts import NodeFacts

GIB = 1024**3
ONE_GPU = Ask(Size(2000, 4 * GIB, 1))
PLAIN = Ask(Size(1000, GIB))


def node(name: str, cpu: float = 8, memory: int = 32, gpu: int = 0, **more: Any) -> NodeFacts:
    """A node with so much free; `used` is what pods have of it beside that, as CPU, GiB and GPUs."""
    used = more.pop("used", (0, 0, 0))
    total = {"cpu": int((cpu + used[0]) * 1000), "memory": (memory + used[1]) * GIB}
    total |= {GPU: gpu + used[2]} if gpu + used[2] else {}
    held = {"cpu": used[0] * 1000, "memory": used[1] * GIB, GPU: used[2]}
    return NodeFacts(name, {**total, **more.pop("also", {})}, held, **more)


def cluster(name: str, *nodes: NodeFacts, **more: Any) -> Candidate:
    return Candidate(name, nodes=nodes, **more)


def said(ranking: Ranking) -> list[str]:
    """ "+ eu: fits…" for what fits, "- eu: …" for what might some time, "x eu: …" for what never can."""
    return [f"{'+' if each.fits else '-' if each.ever else 'x'} {each.name}: {each.why}" for each in ranking.judged]


def price(name: str, core: str, **labels: str) -> Price:
    return Price(name, labels, Decimal(core), Decimal(0), Decimal(1), "EUR")


ELSEWHERE = cluster("zz", node("z", cpu=0, used=(8, 0, 0)))
SSD = PodOptions(node_selector={"disk": "ssd"})
TAINT = {"key": "team", "value": "a", "effect": "NoSchedule"}
ZONES = {"key": "zone", "operator": "In", "values": ["a"]}
IN_ZONE_A = parse({"affinity": {"nodeAffinity": {
    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [ZONES]}]}
}}})  # fmt: skip

REASONS = [
    # what is asked, a cluster, how it is judged alone
    (PLAIN, cluster("eu", node("a"), node("b", cpu=0.5)),
     "+ eu: fits: 1 of 2 nodes has 1 CPU and 1 GiB free, the only one that does"),
    (ONE_GPU, cluster("eu", node("a", gpu=1), node("b", gpu=2)),
     "+ eu: fits: 2 of 2 nodes have 2 CPU, 4 GiB and 1 GPU free, the only one that does"),
    # Two halves are not one whole.
    (Ask(Size(1000, GIB, 2)), cluster("eu", node("a", gpu=1, used=(0, 0, 1)), node("b", gpu=1, used=(0, 0, 1))),
     "- eu: not enough GPU: 1 free on one node, 2 wanted"),
    # The GPU is free on one node, the CPU on another.
    (ONE_GPU, cluster("eu", node("a", cpu=1, gpu=1, used=(4, 0, 0)), node("b")),
     "- eu: no single node has 2 CPU, 4 GiB and 1 GPU free"),
    (ONE_GPU, cluster("eu", node("a")), "x eu: no node is large enough: 0 GPUs at most, 1 wanted"),
    (PLAIN, cluster("eu", node("a", cpu=0.5, used=(2, 0, 0))), "- eu: not enough CPU: 0.5 free, 1 wanted"),
    (PLAIN, cluster("eu", node("a", memory=0, used=(0, 4, 0))), "- eu: not enough memory: 0 B free, 1 GiB wanted"),
    (Ask(PLAIN.size, 4), cluster("eu", node("a", cpu=2), node("b", cpu=1.5)), "- eu: room for 3 of 4 pods"),
    (Ask(PLAIN.size, 3), cluster("eu", node("a", cpu=2), node("b", cpu=1.5)),
     "+ eu: fits: 2 of 2 nodes have 1 CPU and 1 GiB free, the only one that does"),
    (PLAIN, cluster("eu", node("a"), away="unreachable since 14:02"), "- eu: unreachable since 14:02"),
    (PLAIN, cluster("eu", node("a"), barred="disabled"), "x eu: disabled"),
    (PLAIN, cluster("eu", node("a", schedulable=False)), "- eu: no node takes it now: 1 cordoned"),
    (PLAIN, cluster("eu", node("a", ready=False)), "- eu: no node takes it now: 1 not ready"),
    (PLAIN, cluster("eu", node("a", taints=(TAINT,))), "x eu: no node may take it: 1 with the taint team=a"),
    (Ask(PLAIN.size, pod=SSD), cluster("eu", node("a", labels={"disk": "hdd"})),
     "x eu: no node may take it: 1 without the labels that it demands"),
    (Ask(PLAIN.size, pod=SSD), cluster("eu", node("a"), node("b", labels={"disk": "ssd"})),
     "+ eu: fits: 1 of 2 nodes has 1 CPU and 1 GiB free, the only one that does"),
    (Ask(PLAIN.size, pod=IN_ZONE_A), cluster("eu", node("a", labels={"zone": "b"})),
     "x eu: no node may take it: 1 without the labels that it demands"),
    (Ask(PLAIN.size, pod=IN_ZONE_A), cluster("eu", node("a", labels={"zone": "a"})),
     "+ eu: fits: 1 of 1 node has 1 CPU and 1 GiB free, the only one that does"),
    # What the API server adds to a pod that asks for a GPU.
    (ONE_GPU, cluster("eu", node("a", gpu=1, taints=({"key": GPU, "effect": "NoSchedule"},))),
     "+ eu: fits: 1 of 1 node has 2 CPU, 4 GiB and 1 GPU free, the only one that does"),
    (PLAIN, cluster("eu", node("a", gpu=1, taints=({"key": GPU, "effect": "NoSchedule"},))),
     f"x eu: no node may take it: 1 with the taint {GPU}"),
    (PLAIN, cluster("eu", node("a", also={"pods": 0})),
     "+ eu: fits: 1 of 1 node has 1 CPU and 1 GiB free, the only one that does"),
    (PLAIN, cluster("eu", NodeFacts("a", {"cpu": 8000, "memory": GIB, "pods": 3}, {"pods": 3})),
     "- eu: no single node has 1 CPU and 1 GiB free"),
    (ONE_GPU, cluster("eu", node("a"), grows=True),
     "+ eu: fits: nodes are made there as they are needed, the only one that does"),
    (PLAIN, cluster("eu"), "- eu: it has no nodes now"),
    # Not listed yet: nothing is known, and nothing is promised.
    (PLAIN, cluster("eu", away="its nodes are not known yet"), "- eu: its nodes are not known yet"),
    # What was promised room there and has none yet comes first, but takes none that it can't use.
    (PLAIN, cluster("eu", node("a", cpu=2), promised=(Ask(PLAIN.size, 2),)),
     "- eu: not enough CPU: 0 free, 1 wanted beside what is about to start there"),
    (PLAIN, cluster("eu", node("a", cpu=2), promised=(Ask(Size(4000, GIB)),)),
     "+ eu: fits: 1 of 1 node has 1 CPU and 1 GiB free, the only one that does"),
    (ONE_GPU, cluster("eu", node("a", cpu=4, gpu=1), node("b", cpu=4), promised=(Ask(Size(4000, GIB)),)),
     "+ eu: fits: 1 of 2 nodes has 2 CPU, 4 GiB and 1 GPU free, the only one that does"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "there", "judged"), REASONS)
def test_a_cluster_is_judged_with_a_reason(ask: Ask, there: Candidate, judged: str) -> None:
    assert said(rank(Wish(ask), [there])) == [judged]


EU = cluster("eu", node("e", cpu=4), labels={"region": "eu"})
US = cluster("us", node("u", cpu=16), labels={"region": "us"})
DEAR, CHEAP = replace(US, nodes=(node("u", cpu=16, labels={"pool": "dear"}),)), EU
PRICES = [price("all", "0.1"), price("dear", "0.3", pool="dear")]

ORDERS = [
    # the wish, the clusters, the prices, and how they are ranked
    (Wish(PLAIN), [EU, US], (), ["us: …, most room of 2", "eu: …, room for 4"]),
    (Wish(PLAIN), [DEAR, CHEAP], PRICES, ["eu: …, cheapest of 2, 0.10 EUR an hour", "us: …, 0.30 EUR an hour"]),
    (Wish(PLAIN, prefer=Prefer.ROOM), [DEAR, CHEAP], PRICES, ["us: …, most room of 2", "eu: …, room for 4"]),
    (Wish(PLAIN), [DEAR, CHEAP], PRICES[1:], ["us: …, cheapest of 2, 0.30 EUR an hour", "eu: …"]),
    (Wish(PLAIN), [EU, US], PRICES, ["us: …, most room at the lowest price of 2, 0.10 EUR an hour",
                                     "eu: …, 0.10 EUR an hour"]),
    (Wish(PLAIN, {"region": "eu"}), [EU, US], (), ["eu: …, the only one that does", "us: label region is us, not eu"]),
    (Wish(PLAIN, {"gpu": "a100"}), [EU], (), ["eu: label gpu=a100 missing"]),
    (Wish(PLAIN, avoid={"us": "attempt 1 was lost there"}), [EU, US], (),
     ["eu: …, the only one that does", "us: …, attempt 1 was lost there"]),
    (Wish(PLAIN, avoid={"us": "attempt 1 was lost there"}), [US, ELSEWHERE], (),
     ["us: …, attempt 1 was lost there; no other fits", "zz: not enough CPU: 0 free, 1 wanted"]),
    (Wish(PLAIN), [replace(US, nodes=(), grows=True), EU], (),
     ["eu: …, most room of 2", "us: fits: nodes are made there as they are needed"]),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "there", "prices", "order"), ORDERS)
def test_clusters_are_ranked(wish: Wish, there: list[Candidate], prices: Any, order: list[str]) -> None:
    for given_order in (there, there[::-1]):
        ranking = rank(wish, given_order, prices)
        shown = [f"{each.name}: {each.why}" for each in ranking.judged]
        for expected, real in zip(order, shown, strict=True):
            start, mark, end = expected.partition("…")
            assert real.startswith(start) and real.endswith(end) and (mark or real == expected), (real, expected)


def test_prices_in_several_currencies_are_not_compared() -> None:
    prices = [price("all", "0.1"), replace(price("dear", "0.3", pool="dear"), currency="USD")]
    assert rank(Wish(PLAIN), [DEAR, CHEAP], prices).judged[0].name == "us"


def test_of_a_cluster_the_cheapest_nodes_are_counted() -> None:
    mixed = cluster("eu", node("a", cpu=1), node("b", cpu=4, labels={"pool": "dear"}))
    assert rank(Wish(Ask(PLAIN.size, 2)), [mixed], PRICES).judged[0].price == (Decimal("0.4"), "EUR")


def place(name: str, of: Candidate, namespace: str = "demo", **more: Any) -> Candidate:
    """A target: a namespace of a cluster."""
    return replace(of, name=name, cluster=of.name, namespace=namespace, **more)


FULL = cluster("full", node("f", cpu=0.5, used=(7, 0, 0)))
TIGHT = cluster("tight", node("a", cpu=0.5, used=(7, 0, 0)), node("b", cpu=1, used=(7, 0, 0)))
TWO = Ask(PLAIN.size, 2)
A, B, C = place("a", EU), place("b", EU, "other"), place("c", US)
PICKS = [
    # the wish, for each place how many pods, the places: what is chosen, how it is judged, and the others
    (Wish(PLAIN), [1], [A, C], ["+ c: …, most room of 2"], ["+ a: …, room for 4"]),
    # Two are on two clusters, although the first has room for both.
    (Wish(PLAIN), [1, 1], [place("a", US), place("b", US, "other"), place("c", EU)],
     ["+ a: …, most room of 3", "+ c: …, the only one that does"], ["+ b: …, on the same cluster as a"]),
    (Wish(PLAIN), [2, 2], [A, B], ["+ a: …, most room of 2", "+ b: …, on the same cluster as a; no other fits"], []),
    # What the first was given is no room for the second.
    (Wish(PLAIN), [4, 2], [A, B],
     ["+ a: …, most room of 2",
      "- b: not enough CPU: 0 free, 1 wanted beside what is about to start there"], []),
    (Wish(PLAIN), [1, 1], [A, place("b", EU)], ["+ a: …, most room of 2"], ["x b: the same namespace as a"]),
    # Without room the one that has most of it, and is there; one that could never hold it is none.
    (Wish(PLAIN), [2], [place("a", FULL), place("b", TIGHT), place("c", EU, away="unreachable")],
     ["- b: room for 1 of 2 pods"], ["- a: not enough CPU: 0.5 free, 1 wanted", "- c: unreachable"]),
    (Wish(PLAIN), [1], [place("a", EU, away="unreachable"), place("b", FULL)],
     ["- b: not enough CPU: 0.5 free, 1 wanted"], ["- a: unreachable"]),
    (Wish(ONE_GPU), [1, 1], [A, C], [], ["x a: no node is large …", "x c: no node is large …"]),
    (Wish(PLAIN), [1, 1], [A, place("c", US, barred="c has a quota")], ["+ a: …"], ["x c: c has a quota"]),
    # What waits for a person or a freeze is taken last.
    (Wish(PLAIN, avoid={"c": "frozen"}), [1], [A, C], ["+ a: …, the only one that does"], ["+ c: …, frozen"]),
    # Rather beside another one than where nothing may begin now.
    (Wish(PLAIN, avoid={"c": "frozen", "d": "frozen"}), [1, 1], [A, B, C, place("d", EU, "more")],
     ["+ a: …, most room of 2", "+ b: …, on the same cluster as a; none that is better fits"],
     ["+ c: …, frozen", "+ d: …, frozen, on the same cluster as a"]),
    (Wish(PLAIN, avoid={"a": "frozen", "c": "frozen"}), [1], [A, C],
     ["+ c: …, frozen; none that is better fits"], ["+ a: …, frozen"]),
    (Wish(PLAIN, avoid={"c": "frozen"}), [1], [C], ["+ c: …, frozen; no other fits"], []),
    (Wish(PLAIN), [0], [A], ["+ a: …"], []),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "numbers", "there", "chosen", "others"), PICKS)
def test_several_places_are_picked(
    wish: Wish, numbers: list[int], there: list[Candidate], chosen: list[str], others: list[str]
) -> None:
    for given_order in (there, there[::-1]):
        picked = pick(wish, numbers, given_order)
        for expected, judged in ((chosen, picked.chosen), (others, picked.others)):
            for line, real in zip(expected, said(Ranking(tuple(judged))), strict=True):
                start, _, end = line.partition("…")
                assert real.startswith(start) and (end in real if line.endswith("…") else real.endswith(end)), real
        assert picked.missing == len(numbers) - len(chosen)


def test_a_place_that_is_taken_already_counts() -> None:
    taken = [Taken("c", "us", "demo")]
    assert said(Ranking(pick(Wish(PLAIN), [1], [place("d", US, "other"), A], (), taken).chosen))[0].startswith("+ a: ")
    again = pick(Wish(PLAIN), [1], [place("d", US)], (), taken)
    assert (again.chosen, said(Ranking(again.others))) == ((), ["x d: the same namespace as c"])


nodes = st.builds(
    lambda name, cpu, memory, gpu, used, ready, ssd: node(
        name, cpu, memory, gpu, used=used, ready=ready, labels={"disk": "ssd"} if ssd else {}
    ),
    st.sampled_from("abcdefgh"), st.integers(0, 8), st.integers(0, 8), st.integers(0, 4),
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), st.booleans(), st.booleans(),
)  # fmt: skip
asks = st.builds(
    lambda cpu, memory, gpu, number, ssd: Ask(Size(cpu * 500, memory * GIB, gpu), number, SSD if ssd else NO_OPTIONS),
    st.integers(1, 9), st.integers(1, 5), st.integers(0, 3), st.integers(1, 5), st.booleans(),
)  # fmt: skip
fleets = st.lists(
    st.builds(
        lambda name, nodes, away, promised: Candidate(
            name, {"region": name}, tuple(nodes), "away" if away else "", promised=tuple(promised)
        ),
        st.sampled_from(["eu", "us", "asia", "local"]),
        st.lists(nodes, max_size=4, unique_by=lambda each: each.name),
        st.booleans(),
        st.lists(asks, max_size=2),
    ),
    max_size=4,
    unique_by=lambda each: each.name,
)


def packs(ask: Ask, there: Candidate) -> bool:
    """Whether the pods go onto the nodes one by one: by trying, not by counting."""
    left = {
        each.name: {name: each.free(name) for name in ("cpu", "memory", GPU)}
        for each in there.nodes
        if each.ready and (not ask.pod.node_selector or each.labels.get("disk") == "ssd")
    }
    wanted = {name: ask.size.of(name) for name in ("cpu", "memory", GPU)}
    for _ in range(ask.number):
        home = next((free for free in left.values() if all(free[name] >= wanted[name] for name in wanted)), None)
        if home is None:
            return False
        for name in wanted:
            home[name] -= wanted[name]
    return True


@settings(max_examples=40, deadline=None)
@given(asks, fleets, st.randoms())
def test_what_is_chosen_fits_whatever_the_order(ask: Ask, fleet: list[Candidate], random: Any) -> None:
    ranking = rank(Wish(ask), fleet)
    shuffled = list(fleet)
    random.shuffle(shuffled)
    assert rank(Wish(ask), shuffled) == ranking
    by_name = {each.name: each for each in fleet}
    for each in ranking.judged:
        there = by_name[each.name]
        assert not each.fits or (not there.away and packs(ask, there))
        assert each.fits or not each.ever or there.away or there.promised or not packs(ask, there)
        assert each.why and (each.ever or not each.fits)
    fits = [each.fits for each in ranking.judged]
    assert fits == sorted(fits, reverse=True)
    assert (ranking.chosen is not None) == any(fits)


@settings(max_examples=40, deadline=None)
@given(asks, fleets, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_more_room_never_makes_it_worse(ask: Ask, fleet: list[Candidate], cpu: int, memory: int, gpu: int) -> None:
    free = [replace(each, promised=()) for each in fleet]
    more = {"cpu": cpu * 1000, "memory": memory * GIB, GPU: gpu}

    def grown(each: NodeFacts) -> NodeFacts:
        return replace(each, allocatable={name: each.total(name) + more[name] for name in more})

    for there in free:
        wider = replace(there, nodes=tuple(map(grown, there.nodes)))
        before, after = rank(Wish(ask), [there]).judged[0], rank(Wish(ask), [wider]).judged[0]
        assert before.fits <= after.fits and before.ever <= after.ever and before.room <= after.room
        assert places_for(ask, there.nodes) <= places_for(ask, wider.nodes)
    if free and rank(Wish(ask), free).chosen:
        wider = replace(free[0], nodes=tuple(map(grown, free[0].nodes)))
        assert rank(Wish(ask), [wider, *free[1:]]).chosen


@st.composite
def targets(draw: st.DrawFn) -> list[Candidate]:
    """Places on the clusters of a fleet, some of which a policy refuses."""
    fleet = draw(fleets.filter(bool))
    named = draw(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["demo", "other"]), st.booleans()), max_size=6))
    return [
        place(f"t{number}", fleet[at % len(fleet)], space, barred="refused" if barred else "")
        for number, (at, space, barred) in enumerate(named)
    ]


@settings(max_examples=60, deadline=None)
@given(asks, targets(), st.lists(st.integers(1, 3), min_size=1, max_size=3), st.randoms(), st.sampled_from(Prefer))
def test_what_is_picked_is_the_best_and_never_refused(
    ask: Ask, there: list[Candidate], numbers: list[int], random: Any, prefer: Prefer
) -> None:
    wish, prices = Wish(ask, prefer=prefer), PRICES[:1]
    picked = pick(wish, numbers, there, prices)
    shuffled = list(there)
    random.shuffle(shuffled)
    assert pick(wish, numbers, shuffled, prices) == picked
    by_name = {each.name: each for each in there}
    chosen = [by_name[each.name] for each in picked.chosen]
    assert not any(each.barred for each in chosen) and all(each.ever and each.why for each in picked.chosen)
    spaces = [(each.cluster, each.namespace) for each in chosen]
    assert len(set(spaces)) == len(spaces) and len(chosen) + picked.missing == len(numbers)
    assert {each.name for each in chosen} | {each.name for each in picked.others} == set(by_name)
    # The first is what sorting by hand gives: of those that fit the cheapest, then that with most room.
    first = replace(ask, number=numbers[0])
    alone = {each.name: rank(Wish(first), [each], prices).judged[0] for each in there if not each.barred}
    fits = sorted(
        (judged for judged in alone.values() if judged.fits),
        key=lambda each: (each.price[0] if each.price and prefer is Prefer.PRICE else 0, -each.room, each.name),
    )
    if fits:
        assert picked.chosen[0].name == fits[0].name
    elif picked.chosen:
        waits = [judged for judged in alone.values() if judged.ever]
        best = min(waits, key=lambda each: (bool(by_name[each.name].away), -each.room, each.name))
        assert picked.chosen[0].name == best.name and not picked.chosen[0].fits
    else:
        assert not any(judged.ever for judged in alone.values())
