"""The blue-green strategy: two whole revisions beside each other, and one Service that selects one of them. Pure.

As in Argo Rollouts (docs/features/bluegreen.md): the new revision comes up beside the old one and gets no request; the
Service is switched over when it is wholly ready; the old one stays for a while, so that switching back takes nothing.
Every way back is the same step in the other direction.

What the Service has just ceased to select gets requests until the whole cluster has heard of it, so it keeps its
replicas for `DRAIN`. And what shall get no requests comes only when the Service selects another revision for sure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from apps.deployments.rollout import rolling
from apps.deployments.rollout.decisions import NOTHING, Decision, RolloutStatus, changes, in_replicas, judge
from apps.deployments.rollout.rolling import RollingSpec
from apps.deployments.rollout.traffic import Selected, Traffic
from apps.deployments.specs import ObservedRevision

# The time in which every node's proxy follows a Service: kube-proxy gathers changes for a second, endpoints for less.
DRAIN = timedelta(seconds=5)


@dataclass(frozen=True)
class BlueGreenSpec:
    """What is wanted: `serve` gets all requests and has the `desired` replicas.

    `beside` are the replicas of others that stay or come up without requests. `target` is the revision whose progress
    counts.
    """

    desired: int
    serve: int
    target: int
    beside: Mapping[int, int] = field(default_factory=dict)
    preview: int | None = None
    progress_deadline: timedelta = timedelta(minutes=10)


def decide(
    spec: BlueGreenSpec,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    now: datetime,
) -> Decision:
    """Decide the next step from what is seen now. `selected` is None where there is no Service."""
    is_switched = selected is not None and selected.revision == spec.serve
    move = move_to(spec, status, observed, selected, now)
    taker = selected.revision if selected is not None else None
    drains = move.drains_until is not None
    decision = judge(
        status,
        observed,
        move.replicas,
        now,
        target=spec.target,
        deadline=spec.progress_deadline,
        done=_arrived(spec, move.replicas, observed, taker) if not move.going else None,
        waiting=_waiting(spec, observed, is_switched=is_switched, switches=move.selects == spec.serve, drains=drains),
        stuck=f"{_ready_of(spec, observed)}.",
        by_clock=drains,
    )
    return replace(decision, traffic=Traffic(move.selects, spec.preview), due=move.drains_until)


@dataclass(frozen=True)
class Move:
    """Replicas for each revision, and the one that the Service shall select. `going` are those that have more than is
    wanted beside what serves; while these wait for the Service's proxies it says until when."""

    replicas: dict[int, int]
    selects: int | None
    going: tuple[int, ...]
    drains_until: datetime | None


def move_to(
    spec: BlueGreenSpec,
    status: RolloutStatus,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    now: datetime,
) -> Move:
    """The next step towards `spec.serve` being whole and selected, with what stands beside it."""
    drained_at = selected.since + DRAIN if selected is not None else now
    if selected is not None and selected.revision is None:
        replicas, selects = _gather(spec, status, observed, now)
    else:
        numbers = (*observed, *spec.beside)
        replicas = {number: _replicas(spec, number, observed, selected, now >= drained_at) for number in numbers}
        replicas[spec.serve] = spec.desired
        selects = _selects(spec, observed, selected)
    taker = selected.revision if selected is not None else None
    going = tuple(
        number
        for number, seen in observed.items()
        if number not in (spec.serve, taker) and seen.pods > spec.beside.get(number, 0)
    )
    drains = bool(going) and taker == spec.serve and now < drained_at
    return Move(replicas, selects, going, drained_at if drains else None)


def _gather(
    spec: BlueGreenSpec, status: RolloutStatus, observed: Mapping[int, ObservedRevision], now: datetime
) -> tuple[dict[int, int], int | None]:
    """Replicas and what to select while the Service selects all revisions: as another strategy has left it.

    They pass replica by replica to the one that shall serve, or where that is broken to the one that does; what shall
    get no requests waits until this one is selected alone.
    """
    there = {number: seen for number, seen in observed.items() if number == spec.serve or number not in spec.beside}
    serve = there.get(spec.serve, NOTHING)
    best = max(there, key=lambda number: (there[number].surely_ready, number), default=spec.serve)
    one = best if not serve.ready and there.get(best, NOTHING).surely_ready else spec.serve
    rolls = rolling.decide(RollingSpec(spec.desired, one, stable=one), status, there, now)
    waits = {number: min(count, observed.get(number, NOTHING).wanted) for number, count in spec.beside.items()}
    is_whole = there.get(one, NOTHING).surely_ready >= spec.desired
    is_alone = not any(seen.ready for number, seen in observed.items() if number != one)
    return {**waits, **rolls.replicas}, one if is_whole or is_alone else None


def _selects(spec: BlueGreenSpec, observed: Mapping[int, ObservedRevision], selected: Selected | None) -> int | None:
    """The revision to select: the one that shall serve, as soon as it is wholly ready.

    It is selected earlier where it serves at all, and what is selected does not.
    """
    ready = observed.get(spec.serve, NOTHING).surely_ready
    if selected is None or selected.revision is None or ready >= spec.desired:
        return spec.serve
    serves_more = ready > 0 and not observed.get(selected.revision, NOTHING).ready
    return spec.serve if serves_more else selected.revision


def _replicas(
    spec: BlueGreenSpec,
    number: int,
    observed: Mapping[int, ObservedRevision],
    selected: Selected | None,
    is_drained: bool,
) -> int:
    """The replicas of a revision that shall not serve: what is wanted beside, and what requests still come to."""
    seen, wanted = observed.get(number, NOTHING), spec.beside.get(number, 0)
    if selected is None:
        return min(wanted, seen.wanted)
    count = max(wanted, min(seen.wanted, spec.desired)) if selected.revision == number else wanted
    return count if is_drained else max(count, seen.surely_ready)


def _previews(spec: BlueGreenSpec) -> bool:
    """Whether the target is there to be looked at, and gets no requests."""
    return spec.target != spec.serve


def _arrived(
    spec: BlueGreenSpec, replicas: Mapping[int, int], observed: Mapping[int, ObservedRevision], taker: int | None
) -> tuple[str, str] | None:
    """Reason and sentence when the target is whole, and `taker`, the one that is selected, is as it shall be.

    How a revision fares that is only kept does not count.
    """
    target = observed.get(spec.target, NOTHING)
    if taker in (None, spec.target) if _previews(spec) else taker != spec.serve:
        return None
    if changes(replicas, observed) or not target.fresh or not target.existing == target.wanted == target.surely_ready:
        return None
    ready = _ready_of(spec, observed)
    if _previews(spec):
        return "PreviewReady", f"{ready}, without traffic."
    if spec.beside:
        kept = " and ".join(f"revision {number}" for number in spec.beside)
        return "Switched", f"{ready}, with all traffic; {kept} is kept."
    return "Complete", f"{ready}."


def _waiting(
    spec: BlueGreenSpec,
    observed: Mapping[int, ObservedRevision],
    *,
    is_switched: bool,
    switches: bool,
    drains: bool,
) -> tuple[str, str]:
    """CamelCase reason and sentence for what is on its way."""
    target, count = observed.get(spec.target), _wanted(spec)
    beside = " beside what serves, without traffic" if _previews(spec) else ""
    if target is None:
        return "Creating", f"Revision {spec.target} is being created with {in_replicas(count)}{beside}."
    if target.surely_ready < count:
        return "WaitingForReady", f"{_ready_of(spec, observed)}."
    if not is_switched and switches:
        return "Switching", f"The Service is being switched to revision {spec.serve}."
    if not is_switched:
        return "WaitingForReady", f"Revision {spec.serve} gets the traffic when it is wholly ready."
    if drains:
        return "Draining", f"Revision {spec.serve} has all traffic; what served before goes in a moment."
    if not target.fresh:
        return "Observing", f"Waiting for Kubernetes to act on revision {spec.target}."
    return "WaitingForOld", f"{_ready_of(spec, observed)}; replicas that are told to go are still there."


def _wanted(spec: BlueGreenSpec) -> int:
    return spec.beside.get(spec.target, 0) if _previews(spec) else spec.desired


def _ready_of(spec: BlueGreenSpec, observed: Mapping[int, ObservedRevision]) -> str:
    ready = observed.get(spec.target, NOTHING).surely_ready
    return f"{ready} of {in_replicas(_wanted(spec))} of revision {spec.target} ready"
