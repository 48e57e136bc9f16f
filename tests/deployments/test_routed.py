"""Weights by an HTTPRoute: tables for each step, for what Gateways say of a route, and for what a target may name.

Revision 1 serves, revision 2 comes, 4 replicas are desired.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.deployments.manifests import Identity
from apps.deployments.manifests.routes import http_route, route_in
from apps.deployments.rollout.decisions import RolloutStatus
from apps.deployments.rollout.gateway import Gateway, parse_gateway
from apps.deployments.rollout.placement import Wanted, decide
from apps.deployments.rollout.standing import standing_of
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.rollout.traffic import (
    ALL,
    NOTHING,
    TO_SERVICE,
    Route,
    Routed,
    Selected,
    Share,
    Traffic,
    actual_mirror,
    actual_weight,
)
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
FIVE, HALF = Share(5), Share(50)
SHADOW, COPY = Share(0, mirror=40), Route(2, 0, 40)
GATEWAY = Gateway("public", "gateways")
APP = Identity("demo", "app", "ml")
# For so many seconds the route is taken; not yet; or refused.
TAKEN, SILENT, REFUSED = 60, "silent", "refused"
STEPS = [
    # name, share, selected, route, its standing, own Services and for how long, observed {revision: (existing, ready)},
    # replicas, what the Service shall select, the route, own Services, why
    ("at rest", NOTHING, 1, TO_SERVICE, TAKEN, {}, {1: (4, 4)}, {1: 4}, 1, TO_SERVICE, (), "Complete"),
    ("the Service selects what serves before a trial comes", FIVE, None, TO_SERVICE, TAKEN, {}, {1: (4, 4)},
     {1: 4, 2: 0}, 1, TO_SERVICE, (2,), "Creating"),
    ("the trial gets what its weight needs, and a Service", FIVE, 1, TO_SERVICE, TAKEN, {}, {1: (4, 4)},
     {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "Creating"),
    ("no weight before it is ready", FIVE, 1, TO_SERVICE, TAKEN, {2: 60}, {1: (4, 4), 2: (1, 0)},
     {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("nor before its Service is known", FIVE, 1, TO_SERVICE, TAKEN, {2: 1}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "SettingWeight"),
    ("then the weight", FIVE, 1, TO_SERVICE, TAKEN, {2: 60}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 1}, 1, Route(2, 5), (2,), "SettingWeight"),
    ("it waits for the Gateway", FIVE, 1, Route(2, 5), SILENT, {2: 60}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 1}, 1, Route(2, 5), (2,), "WaitingForGateway"),
    ("a Gateway that refuses says why", FIVE, 1, Route(2, 5), REFUSED, {2: 60}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 1}, 1, Route(2, 5), (2,), "NotAllowedByListeners"),
    ("there", FIVE, 1, Route(2, 5), TAKEN, {2: 60}, {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 1}, 1, Route(2, 5), (2,),
     "WeightReached"),
    ("a broken stable revision is no matter", FIVE, 1, Route(2, 5), TAKEN, {2: 60}, {1: (4, 1), 2: (1, 1)},
     {1: 4, 2: 1}, 1, Route(2, 5), (2,), "WeightReached"),
    ("nor another one that serves in its place", FIVE, 3, Route(2, 5), TAKEN, {2: 60},
     {1: (4, 0), 2: (1, 1), 3: (4, 4)}, {1: 4, 2: 1, 3: 4}, 3, Route(2, 5), (2,), "WeightReached"),
    ("more replicas first, as a surge proves them", HALF, 1, TO_SERVICE, TAKEN, {2: 60}, {1: (4, 4), 2: (1, 0)},
     {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("then all that the weight needs", HALF, 1, Route(2, 5), TAKEN, {2: 60}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 2}, 1, Route(2, 5), (2,), "WaitingForReady"),
    ("and more weight", HALF, 1, Route(2, 5), TAKEN, {2: 60}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 2}, 1, Route(2, 50), (2,), "SettingWeight"),
    ("what falls can carry less", HALF, 1, Route(2, 50), TAKEN, {2: 60}, {1: (4, 4), 2: (2, 1)},
     {1: 4, 2: 2}, 1, Route(2, 25), (2,), "WaitingForReady"),
    ("or nothing", HALF, 1, Route(2, 50), TAKEN, {2: 60}, {1: (4, 4), 2: (2, 0)},
     {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("but where nobody else serves", HALF, 1, Route(2, 50), TAKEN, {2: 60}, {1: (4, 0), 2: (2, 1)},
     {1: 4, 2: 2}, 1, Route(2, 50), (2,), "WaitingForReady"),
    ("promoted: it becomes whole", ALL, 1, Route(2, 50), TAKEN, {2: 60}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 4}, 1, Route(2, 50), (2,), "WaitingForReady"),
    ("then the Service selects it", ALL, 1, Route(2, 50), TAKEN, {2: 60}, {1: (4, 4), 2: (4, 4)},
     {1: 4, 2: 4}, 2, Route(2, 50), (2,), "Switching"),
    ("then the route goes to the Service", ALL, 2, Route(2, 50), TAKEN, {2: 60}, {1: (4, 4), 2: (4, 4)},
     {1: 0, 2: 4}, 2, TO_SERVICE, (2,), "SettingWeight"),
    ("its own Service stays until that is taken", ALL, 2, TO_SERVICE, SILENT, {2: 60}, {1: (0, 0), 2: (4, 4)},
     {1: 0, 2: 4}, 2, TO_SERVICE, (2,), "WaitingForGateway"),
    ("and every proxy knows", ALL, 2, TO_SERVICE, 2, {2: 60}, {1: (0, 0), 2: (4, 4)},
     {1: 0, 2: 4}, 2, TO_SERVICE, (2,), "Draining"),
    ("then it goes", ALL, 2, TO_SERVICE, TAKEN, {2: 60}, {1: (0, 0), 2: (4, 4)},
     {1: 0, 2: 4}, 2, TO_SERVICE, (), "Draining"),
    ("done", ALL, 2, TO_SERVICE, TAKEN, {}, {1: (0, 0), 2: (4, 4)}, {1: 0, 2: 4}, 2, TO_SERVICE, (), "Complete"),
    ("taken back: the weight goes first", NOTHING, 1, Route(2, 5), TAKEN, {2: 60}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "SettingWeight"),
    ("also where the stable revision lacks a replica", NOTHING, 1, Route(2, 5), TAKEN, {2: 60},
     {1: (4, 3), 2: (1, 1)}, {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("but not where it serves nobody", NOTHING, 1, Route(2, 5), TAKEN, {2: 60}, {1: (4, 0), 2: (1, 1)},
     {1: 4, 2: 1}, 1, Route(2, 5), (2,), "WaitingForReady"),
    ("the replicas stay while the Gateway has not taken it", NOTHING, 1, TO_SERVICE, SILENT, {2: 60},
     {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "WaitingForGateway"),
    ("and until every proxy knows", NOTHING, 1, TO_SERVICE, 2, {2: 60}, {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 1}, 1,
     TO_SERVICE, (2,), "Draining"),
    ("then they go", NOTHING, 1, TO_SERVICE, TAKEN, {2: 60}, {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 0}, 1, TO_SERVICE, (),
     "Draining"),
    ("a Gateway that refuses sends nobody anywhere", NOTHING, 1, TO_SERVICE, REFUSED, {2: 60},
     {1: (4, 4), 2: (1, 1)}, {1: 4, 2: 0}, 1, TO_SERVICE, (), "Draining"),
    ("a superseded trial goes as one that is taken back", FIVE, 1, Route(3, 50), TAKEN, {3: 60},
     {1: (4, 4), 3: (2, 2)}, {1: 4, 2: 1, 3: 2}, 1, TO_SERVICE, (2, 3), "Creating"),
    ("a shadow is made as a canary is", SHADOW, 1, TO_SERVICE, TAKEN, {}, {1: (4, 4)},
     {1: 4, 2: 1}, 1, TO_SERVICE, (2,), "Creating"),
    ("it has the part of the replicas that is mirrored", SHADOW, 1, TO_SERVICE, TAKEN, {2: 60}, {1: (4, 4), 2: (1, 1)},
     {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("no copy before its Service is known", SHADOW, 1, TO_SERVICE, TAKEN, {2: 1}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "SettingMirror"),
    ("then the mirror", SHADOW, 1, TO_SERVICE, TAKEN, {2: 60}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 2}, 1, COPY, (2,), "SettingMirror"),
    ("a mirror waits for the Gateway, too", SHADOW, 1, COPY, SILENT, {2: 60}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 2}, 1, COPY, (2,), "WaitingForGateway"),
    ("and is there", SHADOW, 1, COPY, TAKEN, {2: 60}, {1: (4, 4), 2: (2, 2)}, {1: 4, 2: 2}, 1, COPY, (2,),
     "MirrorReached"),
    ("a shadow that loses a replica gets less", SHADOW, 1, COPY, TAKEN, {2: 60}, {1: (4, 4), 2: (2, 1)},
     {1: 4, 2: 2}, 1, Route(2, 0, 20), (2,), "WaitingForReady"),
    ("and one without any nothing, whoever else serves", SHADOW, 1, COPY, TAKEN, {2: 60}, {1: (4, 0), 2: (2, 0)},
     {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("a shadow is promoted: the copies end first", ALL, 1, COPY, TAKEN, {2: 60}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 4}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("a shadow is taken back: the copies go first", NOTHING, 1, COPY, TAKEN, {2: 60}, {1: (4, 4), 2: (2, 2)},
     {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "SettingWeight"),
    ("also where nobody else serves", NOTHING, 1, COPY, TAKEN, {2: 60}, {1: (4, 0), 2: (2, 2)},
     {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "WaitingForReady"),
    ("its replicas stay while the Gateway has not taken it", NOTHING, 1, TO_SERVICE, SILENT, {2: 60},
     {1: (4, 4), 2: (2, 2)}, {1: 4, 2: 2}, 1, TO_SERVICE, (2,), "WaitingForGateway"),
    ("a superseded shadow gets nothing any more", SHADOW, 1, Route(3, 0, 100), TAKEN, {3: 60},
     {1: (4, 4), 3: (4, 4)}, {1: 4, 2: 1, 3: 4}, 1, TO_SERVICE, (2, 3), "Creating"),
    ("nor does a canary that a shadow supersedes, while somebody else can", SHADOW, 1, Route(3, 50), TAKEN,
     {2: 60, 3: 60}, {1: (4, 4), 2: (2, 2), 3: (2, 2)}, {1: 4, 2: 2, 3: 2}, 1, TO_SERVICE, (2, 3), "SettingMirror"),
    ("but where nobody else can, the mirror waits", SHADOW, 1, Route(3, 50), TAKEN,
     {2: 60, 3: 60}, {1: (4, 0), 2: (2, 2), 3: (2, 2)}, {1: 4, 2: 2, 3: 2}, 1, Route(3, 50), (2, 3), "SettingMirror"),
    ("no route yet", ALL, 0, None, SILENT, {}, {}, {2: 4}, 2, TO_SERVICE, (), "Creating"),
]  # fmt: skip


def routed(route: Route | None, stands: int | str, own: dict[int, int]) -> Routed:
    ago = 60 if isinstance(stands, str) else stands
    return Routed(
        route,
        NOW - timedelta(seconds=ago),
        taken=not isinstance(stands, str),
        refused=stands == REFUSED,
        reason="NotAllowedByListeners" if stands == REFUSED else "WaitingForGateway",
        message="Gateway gateways/public does not take it." if stands == REFUSED else "Waiting for Gateway.",
        own={number: NOW - timedelta(seconds=seconds) for number, seconds in own.items()},
    )


@pytest.mark.parametrize(
    ("steps", "ready", "route"),
    [
        # Where nobody copies a part of the requests, the cluster may know of no part: the field would be refused.
        ([100], 4, Route(2, 0, 100)),
        ([100], 3, TO_SERVICE),
        ([100], 0, TO_SERVICE),
        ([100, 100], 3, TO_SERVICE),
        ([20, 100], 3, Route(2, 0, 75)),
        ([20, 100], 0, TO_SERVICE),
    ],
)
def test_a_mirror_of_everything_is_all_or_nothing_where_no_step_copies_less(
    steps: list[int], ready: int, route: Route
) -> None:
    strategy = parse_strategy({"kind": "shadow", "steps": [{"mirror": percent} for percent in steps]})
    seen = {1: ObservedRevision(4, 4, 4), 2: ObservedRevision(4, 4, ready)}
    status, service = RolloutStatus(RolloutState.PROGRESSING, NOW, 4, 0), Selected(1, NOW - timedelta(minutes=1))
    there = routed(Route(2, 0, 100), TAKEN, {2: 60})
    decision = decide(Wanted(4, 1, 2, Share(0, mirror=100)), strategy, status, seen, NOW, service, there)
    assert decision.traffic.route == route
    said = http_route(APP, GATEWAY, "app.ml", decision.traffic.route)["spec"]["rules"][0].get("filters", ())
    assert all("percent" not in each["requestMirror"] for each in said) or min(steps) < 100
    back = decide(Wanted(4, 1, 2, Share(0, mirror=100)), strategy, status, {**seen, 2: seen[1]}, NOW, service, there)
    assert back.traffic.route == Route(2, 0, 100)


@pytest.mark.parametrize("row", STEPS, ids=[row[0] for row in STEPS])
def test_each_step(row: tuple[Any, ...]) -> None:
    _, share, selects, route, stands, own, observed, replicas, selects_next, route_next, own_next, reason = row
    service = None if selects == 0 else Selected(selects, NOW - timedelta(minutes=1))
    seen = {number: ObservedRevision(existing, existing, ready) for number, (existing, ready) in observed.items()}
    status = RolloutStatus(RolloutState.PROGRESSING, NOW, 4, 0)
    kind = "shadow" if share.mirror or (route and route.mirror) else "canary"
    strategy, wanted = parse_strategy({"kind": kind}), Wanted(4, 1, 2, share)
    decision = decide(wanted, strategy, status, seen, NOW, service, routed(route, stands, own))
    traffic = decision.traffic
    assert (dict(decision.replicas), traffic.selects, traffic.route, traffic.own, decision.reason) == (
        replicas, selects_next, route_next, own_next, reason,
    )  # fmt: skip
    assert decision.message.endswith(".")
    is_there = reason in ("WeightReached", "MirrorReached", "Complete")
    assert decision.state is (RolloutState.HEALTHY if is_there else RolloutState.PROGRESSING)


def test_a_shadow_has_the_replicas_that_are_asked_for_and_needs_a_gateway() -> None:
    seen, service = {1: ObservedRevision(4, 4, 4), 2: ObservedRevision(1, 1, 1)}, Selected(1, NOW - timedelta(hours=1))
    status, wanted = RolloutStatus(RolloutState.PROGRESSING, NOW, 1, 4), Wanted(4, 1, 2, SHADOW)
    for asked, has in ((1, 1), (3, 3), (9, 4)):
        strategy = parse_strategy({"kind": "shadow", "shadow_replicas": asked})
        decision = decide(wanted, strategy, status, seen, NOW, service, routed(TO_SERVICE, TAKEN, {2: 60}))
        assert decision.replicas == {1: 4, 2: has}
    decision = decide(wanted, parse_strategy({"kind": "shadow"}), status, seen, NOW, service)
    assert (decision.replicas, decision.traffic.route) == ({1: 4, 2: 0}, None)
    assert (decision.state, decision.reason) == (RolloutState.DEGRADED, "NoGateway")
    assert decision.message.endswith("let it name one, or change the strategy.")


def test_a_gateway_that_never_takes_the_route_is_degraded_and_says_why() -> None:
    seen = {1: ObservedRevision(4, 4, 4), 2: ObservedRevision(1, 1, 1)}
    status = RolloutStatus(RolloutState.PROGRESSING, NOW - timedelta(hours=1), 1, 4)
    route = routed(Route(2, 5), REFUSED, {2: 60})
    decision = decide(
        Wanted(4, 1, 2, FIVE), parse_strategy({"kind": "canary"}), status, seen, NOW,
        Selected(1, NOW - timedelta(hours=1)), route,
    )  # fmt: skip
    assert (decision.state, decision.reason) == (RolloutState.DEGRADED, "ProgressDeadlineExceeded")
    assert decision.message.endswith("Gateway gateways/public does not take it.")


@pytest.mark.parametrize("kind", ["rolling", "recreate", "blue_green"])
def test_another_strategy_waits_for_requests_by_the_route_of_an_earlier_rollout(kind: str) -> None:
    seen = {1: ObservedRevision(4, 4, 4), 3: ObservedRevision(2, 2, 2)}
    wanted, service = Wanted(4, 1), Selected(1 if kind == "blue_green" else None, NOW - timedelta(hours=1))
    status = RolloutStatus(RolloutState.PROGRESSING, NOW, 4, 0)

    def next_of(route: Route, stands: int | str) -> tuple[dict[int, int], Route | None, tuple[int, ...]]:
        route_seen = routed(route, stands, {3: 9})
        decision = decide(wanted, parse_strategy({"kind": kind}), status, seen, NOW, service, route_seen)
        return dict(decision.replicas), decision.traffic.route, decision.traffic.own

    assert next_of(Route(3, 50), TAKEN) == ({1: 4, 3: 2}, TO_SERVICE, (3,))
    assert next_of(TO_SERVICE, SILENT) == ({1: 4, 3: 2}, TO_SERVICE, (3,))
    assert next_of(TO_SERVICE, TAKEN)[1:] == (TO_SERVICE, ())
    assert next_of(TO_SERVICE, TAKEN)[0][3] == 0


@pytest.mark.parametrize(
    ("traffic", "weight"),
    [
        (Traffic(selects=1, route=Route(2, 5)), 5),
        (Traffic(selects=1, route=TO_SERVICE), 0),
        (Traffic(selects=2, route=Route(2, 50)), 100),
        (Traffic(selects=None, route=Route(2, 50)), 63),
        (Traffic(selects=1, route=Route(3, 50)), 0),
        (Traffic(selects=2, route=Route(3, 50)), 50),
        (Traffic(selects=1, route=Route(2, 0, 30)), 0),
    ],
)
def test_the_weight_that_is_had(traffic: Traffic, weight: int) -> None:
    seen = {1: ObservedRevision(3, 3, 3), 2: ObservedRevision(1, 1, 1)}
    assert actual_weight(seen, 2, traffic) == weight
    assert actual_mirror(2, traffic) == (30 if traffic.route == Route(2, 0, 30) else 0)
    assert Traffic.from_json(traffic.to_json()) == traffic


def test_the_route_as_the_gateway_api_documents_it() -> None:
    named = Gateway("public", "gateways", section="https", hostname="{{deployment}}.models.example.com")
    made = http_route(APP, named, named.hostname_of(deployment="app"), Route(2, 5))
    assert made == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "app", "namespace": "ml", "labels": APP.labels()},
        "spec": {
            "parentRefs": [
                {
                    "group": "gateway.networking.k8s.io",
                    "kind": "Gateway",
                    "namespace": "gateways",
                    "name": "public",
                    "sectionName": "https",
                }
            ],
            "hostnames": ["app.models.example.com"],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [
                        {"group": "", "kind": "Service", "name": "app", "port": 80, "weight": 95},
                        {"group": "", "kind": "Service", "name": "app-r2", "port": 80, "weight": 5},
                    ],
                }
            ],
        },
    }
    assert route_in(APP, made) == Route(2, 5)
    assert route_in(APP, http_route(APP, GATEWAY, "app.ml", TO_SERVICE)) == TO_SERVICE
    # Copies of a part; all of them are said without a share, as also before the Gateway API 1.3.
    reference = {"group": "", "kind": "Service", "name": "app-r2", "port": 80}
    for percent, share in ((20, {"percent": 20}), (100, {})):
        copies = http_route(APP, GATEWAY, "app.ml", Route(2, 0, percent))
        [rule] = copies["spec"]["rules"]
        assert rule["filters"] == [{"type": "RequestMirror", "requestMirror": {"backendRef": reference, **share}}]
        assert rule["backendRefs"] == [{**reference, "name": "app", "weight": 100}]
        assert route_in(APP, copies) == Route(2, 0, percent)
    rule["filters"][0]["requestMirror"]["fraction"] = {"numerator": 1, "denominator": 4}
    assert route_in(APP, copies) == Route(2, 0, 25)
    # A hand has written other weights, and another Service beside.
    made["spec"]["rules"][0]["backendRefs"] = [
        {"name": "app", "weight": 1},
        {"name": "app-r2"},
        {"name": "other", "weight": 2},
    ]
    assert route_in(APP, made) == Route(2, 25)


def condition(kind: str, status: str, generation: int = 3, reason: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason or kind,
        "message": "no.",
        "observedGeneration": generation,
    }


YES = [condition("Accepted", "True"), condition("ResolvedRefs", "True")]
OLD = [condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]
NO = [condition("Accepted", "False", reason="NotAllowedByListeners"), condition("ResolvedRefs", "True")]
LOST = [condition("Accepted", "True"), condition("ResolvedRefs", "False", reason="BackendNotFound")]
STANDINGS: list[tuple[str, list[tuple[dict[str, str], list[dict[str, Any]]]], str]] = [
    ("nobody speaks", [], "WaitingForGateway"),
    ("taken", [({}, YES)], ""),
    ("its namespace is the route's where none is said", [({"namespace": ""}, YES)], "WaitingForGateway"),
    ("of another generation", [({}, OLD)], "WaitingForGateway"),
    ("half", [({}, YES[:1])], "WaitingForGateway"),
    ("another Gateway has taken it", [({"name": "other"}, YES)], "WaitingForGateway"),
    ("another listener", [({"sectionName": "http"}, YES)], "WaitingForGateway"),
    ("not accepted", [({}, NO)], "NotAllowedByListeners"),
    ("not resolved", [({}, LOST)], "BackendNotFound"),
    ("one controller of two refuses", [({}, YES), ({}, NO)], "NotAllowedByListeners"),
    ("one of two has not spoken", [({}, YES), ({}, OLD)], "WaitingForGateway"),
    ("a refusal of long ago", [({}, [condition("Accepted", "False", 2)])], "WaitingForGateway"),
]


@pytest.mark.parametrize(("name", "parents", "reason"), STANDINGS, ids=[row[0] for row in STANDINGS])
def test_how_a_gateway_takes_the_route(name: str, parents: list[Any], reason: str) -> None:
    reference = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "gateways", "name": "public"}
    status = {"parents": [{"parentRef": reference | more, "conditions": said} for more, said in parents]}
    standing = standing_of({"metadata": {"namespace": "ml", "generation": 3}, "status": status}, GATEWAY)
    assert (standing.reason, standing.taken) == (reason, reason == "")
    assert standing.refused == (reason in ("NotAllowedByListeners", "BackendNotFound"))
    assert not standing.message or (standing.message[-1] in ".?" and "gateways/public" in standing.message)


def test_a_target_names_a_gateway() -> None:
    assert parse_gateway({}) is None and parse_gateway(None) is None
    short = parse_gateway({"name": "public", "namespace": "gateways"})
    assert short is not None and short.to_json() == {"name": "public", "namespace": "gateways"}
    assert short.hostname_of(deployment="app", namespace="ml") == "app.ml"
    whole = {"name": "g.x", "namespace": "n", "section": "https", "hostname": "{{deployment}}.{{ target }}.example.com"}
    named = parse_gateway(whole)
    assert named is not None and named.to_json() == whole
    assert named.hostname_of(deployment="app", target="eu") == "app.eu.example.com"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "public"}, "gateway.namespace"),
        ({"namespace": "gateways"}, "gateway.name"),
        ({"name": "Public", "namespace": "gateways"}, "gateway.name"),
        ({"name": "a", "namespace": "b.c"}, "gateway.namespace"),
        ({"name": "a", "namespace": "b", "section": "UP"}, "gateway.section"),
        ({"name": "a", "namespace": "b", "port": 80}, "gateway.port"),
        ({"name": "a", "namespace": "b", "hostname": "models.example.com"}, "gateway.hostname"),
        ({"name": "a", "namespace": "b", "hostname": "{{deployment}}.Example.com"}, "gateway.hostname"),
        ({"name": "a", "namespace": "b", "hostname": "{{deployment}}.{{cluster}}"}, "gateway.hostname"),
        ({"name": "a", "namespace": "b", "hostname": "{{deployment}}-{{namespace}}.example.com"}, "gateway.hostname"),
        ({"name": "a", "namespace": "b", "hostname": 5}, "gateway.hostname"),
        ("public", "gateway"),
    ],
)
def test_what_a_target_can_not_name(wrong: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_gateway(wrong)
    assert refused.value.field == field
