"""Weights and mirrors by an HTTPRoute: (a share, what was observed, what the Gateway follows, now) → replicas and
route. Pure.

As in Argo Rollouts with traffic routing (docs/features/traffic-management): the revision that serves stays whole, and
the one on trial has the replicas that its weight needs. The deployment's Service selects what serves and nothing else;
the trial has a Service of its own, which the HTTPRoute gives its weight.

- Capacity before traffic: a weight rises when all replicas that it needs are ready, and falls with them.
- Traffic before capacity on the way back: the weight goes first, and the replicas only when the Gateway has taken that
  and every proxy has had the time to hear of it. A Service of its own says for so long that requests may come to it.
- A mirror sends copies, whose answers are dropped: no client ever waits for the trial. It begins as a weight does, and
  ends at once.
- A promotion is the switch of a blue-green: when the new revision is whole, the Service selects it; then the route
  needs no second Service any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from apps.deployments.rollout.blue_green import DRAIN, BlueGreenSpec, Move, move_to
from apps.deployments.rollout.decisions import NOTHING, Decision, RolloutStatus, changes, in_replicas, judge
from apps.deployments.rollout.traffic import TO_SERVICE, Route, Routed, Selected, Traffic
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState


@dataclass(frozen=True)
class RoutedSpec:
    """What is wanted: `serve` is whole and gets all requests, but for what the `goal` gives the revision on trial.

    `is_back` when what serves is to come back alone: what a Gateway does not say then holds nobody for ever. `shadow`
    is how many replicas a mirror's trial has where somebody has said it. `by_shares`: a mirror may copy a part of the
    requests; else the cluster may know of none but of all.
    """

    desired: int
    serve: int
    goal: Route = TO_SERVICE
    max_surge: int = 1
    progress_deadline: timedelta = timedelta(minutes=10)
    is_back: bool = False
    shadow: int | None = None
    by_shares: bool = True

    @property
    def trial(self) -> int | None:
        """The revision on trial, if there is one."""
        return self.goal.to

    @property
    def target(self) -> int:
        """The revision whose progress counts."""
        return self.serve if self.trial is None else self.trial

    @property
    def size(self) -> int:
        """The replicas that the weight or the mirror needs: its part of those desired, rounded up."""
        if self.goal.mirror and self.shadow is not None:
            return min(self.shadow, self.desired)
        return -(-self.desired * (self.goal.weight or self.goal.mirror) // 100)

    @property
    def gets(self) -> str:
        """What the trial gets, for people."""
        if self.goal.mirror:
            return f"copies of {self.goal.mirror} % of the requests"
        return f"{self.goal.weight} % of the requests"


def decide(
    spec: RoutedSpec,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    routed: Routed,
    now: datetime,
) -> Decision:
    """Decide the next step from what is seen now; asking again with the same input gives the same answer."""
    route = _route(spec, observed, selected, routed, now)
    free = _is_free(routed, now, spec.progress_deadline)
    kept = _kept(observed, routed, spec.serve, free=free)
    beside = kept if spec.trial is None else kept | {spec.trial: _trial(spec, observed)}
    green = BlueGreenSpec(spec.desired, spec.serve, spec.target, beside, None, spec.progress_deadline)
    move = move_to(green, status, observed, selected, now)
    own = _own(spec, route, routed, free=free)
    waits_until = _clock(spec, routed, selected, now)
    decision = judge(
        status,
        observed,
        move.replicas,
        now,
        target=spec.target,
        deadline=spec.progress_deadline,
        done=_arrived(spec, move, observed, selected, routed, free=free),
        waiting=_waiting(spec, observed, selected, routed, route),
        stuck=_stuck(spec, observed, routed),
        by_clock=waits_until is not None or move.drains_until is not None,
    )
    dues = [due for due in (waits_until, move.drains_until) if due is not None]
    return replace(decision, traffic=Traffic(move.selects, None, route, own), due=min(dues, default=None))


def beside(
    decision: Decision, observed: Mapping[int, ObservedRevision], routed: Routed, deadline: timedelta, now: datetime
) -> Decision:
    """The same decision of a strategy that gives no weights: the route goes to the Service alone, and what an earlier
    rollout has given a weight keeps its replicas until no request can come to them."""
    free = _is_free(routed, now, deadline)
    kept = _kept(observed, routed, None, free=free)
    own = tuple(sorted(number for number in routed.own if not _has_left(number, routed, free=free)))
    decision = replace(decision, traffic=replace(decision.traffic, route=TO_SERVICE, own=own))
    if not own:
        return decision
    replicas = dict(decision.replicas) | {n: max(count, decision.replicas.get(n, 0)) for n, count in kept.items()}
    waits = replace(decision, replicas=replicas, progressed=True, due=_clock_of_route(routed, now) or decision.due)
    if decision.state is not RolloutState.HEALTHY:
        return waits
    message = "Requests that an earlier rollout gave a weight come to their end."
    return replace(waits, state=RolloutState.PROGRESSING, reason="Draining", message=message)


def _route(
    spec: RoutedSpec,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    routed: Routed,
    now: datetime,
) -> Route:
    """What the route shall say next."""
    there = routed.route
    if there is None:
        return TO_SERVICE
    taker, ready = there.to, observed.get(there.to or 0, NOTHING).surely_ready
    carried = 100 if ready >= spec.desired else 100 * ready // spec.desired
    has_switched = _has_switched(spec, selected)
    is_open = spec.trial is not None and has_switched and _is_known(spec.trial, routed, now)
    # A mirror begins when nobody waits any more for what an earlier rollout gave a weight.
    is_next = is_open and not (spec.goal.mirror and there.weight)
    if is_next and observed.get(spec.target, NOTHING).surely_ready >= spec.size:
        return spec.goal
    if there.mirror and not there.weight:
        # Nobody waits for the answer to a copy.
        copied = _carried(spec, ready) if is_open and taker == spec.trial else 0
        return Route(taker, 0, min(there.mirror, copied)) if copied else TO_SERVICE
    if is_next:
        weight = min(there.weight, carried) if taker == spec.trial else 0
    elif taker is not None and taker == spec.serve:
        is_drained = selected is not None and selected.revision == spec.serve and now >= selected.since + DRAIN
        weight = 0 if is_drained else min(there.weight, carried)
    else:
        weight = 0
    if weight < there.weight and ready and not _takes_plain(observed, selected):
        # What the Service selects serves nobody: then whoever can does.
        return there
    return Route(taker, weight) if weight else TO_SERVICE


def _carried(spec: RoutedSpec, ready: int) -> int:
    """Of how many percent of the requests so many replicas can carry copies."""
    if not spec.by_shares:
        return spec.goal.mirror if ready >= spec.size else 0
    return spec.goal.mirror * ready // spec.size


def _has_switched(spec: RoutedSpec, selected: Selected | None) -> bool:
    """Whether the Service selects what serves. Beside a trial that may be another one: where the stable revision is
    broken, what serves in its place stays until it is not needed."""
    if selected is None:
        return False
    return selected.revision == spec.serve if spec.trial is None else selected.revision not in (None, spec.trial)


def _takes_plain(observed: Mapping[int, ObservedRevision], selected: Selected | None) -> bool:
    """Whether what the Service selects has a ready replica."""
    if selected is None:
        return False
    return any(seen.ready for number, seen in observed.items() if selected.revision in (None, number))


def _is_known(revision: int, routed: Routed, now: datetime) -> bool:
    """Whether the revision's own Service has been there for as long as every proxy needs to hear of it."""
    return revision in routed.own and now >= routed.own[revision] + DRAIN


def _is_free(routed: Routed, now: datetime, deadline: timedelta) -> bool:
    """Whether requests go as the route says now and no other way. A Gateway that says nothing is not waited for longer
    than the deadline."""
    if routed.route is None and not routed.refused:
        return False
    settled = routed.taken or routed.refused or now - routed.since > deadline
    return settled and now >= routed.since + DRAIN


def _has_left(number: int, routed: Routed, *, free: bool) -> bool:
    return free and (routed.route is None or routed.route.to != number)


def _kept(observed: Mapping[int, ObservedRevision], routed: Routed, serve: int | None, *, free: bool) -> dict[int, int]:
    """The replicas of revisions to which requests may still come by a Service of their own."""
    return {
        number: observed[number].surely_ready
        for number in routed.own
        if number != serve and number in observed and not _has_left(number, routed, free=free)
    }


def _own(spec: RoutedSpec, route: Route, routed: Routed, *, free: bool) -> tuple[int, ...]:
    """The revisions that shall have a Service of their own: made before the route names it, gone after."""
    kept = {number for number in routed.own if not _has_left(number, routed, free=free)}
    named = {number for number in (spec.trial, route.to) if number is not None}
    return tuple(sorted(kept | named))


def _trial(spec: RoutedSpec, observed: Mapping[int, ObservedRevision]) -> int:
    """The replicas of the revision on trial: as many as a surge until one is ready, then all that its weight needs."""
    seen = observed.get(spec.target, NOTHING)
    return spec.size if seen.ready else min(spec.size, max(1, spec.max_surge, seen.wanted))


def _clock(spec: RoutedSpec, routed: Routed, selected: Selected | None, now: datetime) -> datetime | None:
    """When time alone lets the next step be taken."""
    times = []
    if spec.trial is not None and spec.trial in routed.own:
        times.append(routed.own[spec.trial] + DRAIN)
    if (at := _clock_of_route(routed, now)) is not None:
        times.append(at)
    if selected is not None and routed.route is not None and routed.route.to == spec.serve:
        times.append(selected.since + DRAIN)
    return min((time for time in times if time > now), default=None)


def _clock_of_route(routed: Routed, now: datetime) -> datetime | None:
    """When every proxy has heard of the route as it is; None where that waits for the Gateway, or is past."""
    at = routed.since + DRAIN
    return at if (routed.taken or routed.refused) and at > now else None


def _arrived(
    spec: RoutedSpec,
    move: Move,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    routed: Routed,
    *,
    free: bool,
) -> tuple[str, str] | None:
    """Reason and sentence when the target is whole, and requests go as they shall.

    How the revision that serves fares beside a trial does not count: a broken one is what a trial may be there for.
    """
    target, wanted = observed.get(spec.target, NOTHING), _wanted(spec)
    is_whole = target.fresh and target.existing == target.wanted == target.surely_ready >= wanted
    if not is_whole or not _has_switched(spec, selected) or move.going or changes(move.replicas, observed):
        return None
    if spec.trial is not None:
        dropped = "; its answers are dropped" if spec.goal.mirror else ""
        said = f"{_ready_of(spec, observed)}, with {spec.gets} by the HTTPRoute{dropped}."
        is_there = routed.route == spec.goal and routed.taken and set(routed.own) == {spec.trial}
        return ("MirrorReached" if spec.goal.mirror else "WeightReached", said) if is_there else None
    is_there = routed.route in (TO_SERVICE, None) and not routed.own and (free if spec.is_back else routed.taken)
    return ("Complete", f"{_ready_of(spec, observed)}.") if is_there else None


def _waiting(
    spec: RoutedSpec,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    routed: Routed,
    route: Route,
) -> tuple[str, str]:
    """CamelCase reason and sentence for what is on its way."""
    target = observed.get(spec.target)
    on_trial = f" beside what serves, for {spec.gets}" if spec.trial is not None else ""
    sets = "SettingMirror" if spec.goal.mirror else "SettingWeight"
    if routed.refused and not spec.is_back:
        return routed.reason, routed.message
    if target is None:
        return "Creating", f"Revision {spec.target} is being created with {in_replicas(_wanted(spec))}{on_trial}."
    if target.surely_ready < _wanted(spec):
        return "WaitingForReady", f"{_ready_of(spec, observed)}{on_trial}."
    if not _has_switched(spec, selected):
        return "Switching", f"The Service is being switched to revision {spec.serve}."
    if route != routed.route or (spec.trial is not None and route != spec.goal):
        if spec.trial is None:
            return "SettingWeight", f"The HTTPRoute goes back to revision {spec.serve}."
        return sets, f"Revision {spec.trial} gets a Service, then {spec.gets} by the HTTPRoute."
    if not routed.taken and not routed.refused:
        return routed.reason or "WaitingForGateway", routed.message or "Waiting for the Gateway to take the route."
    if routed.own and spec.trial is None:
        return "Draining", f"All requests go to revision {spec.serve}; what was on trial goes in a moment."
    if not target.fresh:
        return "Observing", f"Waiting for Kubernetes to act on revision {spec.target}."
    return "WaitingForOld", f"{_ready_of(spec, observed)}; replicas that are told to go are still there."


def _stuck(spec: RoutedSpec, observed: Mapping[int, ObservedRevision], routed: Routed) -> str:
    ready = observed.get(spec.target, NOTHING).surely_ready
    if ready >= _wanted(spec) and not routed.taken and routed.message:
        return routed.message
    return f"{_ready_of(spec, observed)}."


def _wanted(spec: RoutedSpec) -> int:
    return spec.desired if spec.trial is None else spec.size


def _ready_of(spec: RoutedSpec, observed: Mapping[int, ObservedRevision]) -> str:
    ready = observed.get(spec.target, NOTHING).surely_ready
    return f"{ready} of {in_replicas(_wanted(spec))} of revision {spec.target} ready"
