"""A toy Gateway: it takes what the HTTPRoute says when a test lets it, and until then follows what it took before."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from apps.deployments.rollout.blue_green import DRAIN
from apps.deployments.rollout.traffic import Route, Routed, Traffic
from apps.deployments.specs import ObservedRevision

Seen = Mapping[int, ObservedRevision]


class Gateway:
    """The HTTPRoute of one deployment, the Services that revisions have of their own, and where requests may go."""

    def __init__(self, now: datetime) -> None:
        self.route: Route | None = None
        self.since = now
        self.is_taken = False
        # While it refuses it says so, and follows nothing.
        self.refuses = False
        self.own: dict[int, datetime] = {}
        # The revisions to which it may send by a Service of their own, and when it ceased to.
        self.sends_to: set[int] = set()
        self.left_at: dict[int, datetime] = {}

    def seen(self, now: datetime) -> Routed:
        """As a round sees it."""
        since = self.since if self.route is not None else now
        message = "Gateway kube-system/local does not take the HTTPRoute."
        refused = self.refuses and not self.is_taken
        return Routed(self.route, since, self.is_taken, refused, "NotAllowedByListeners", message, dict(self.own))

    def apply(self, traffic: Traffic, now: datetime) -> None:
        """What the shell does with a decision: Services first, then the route."""
        self.own = {number: self.own.get(number, now) for number in traffic.own}
        if traffic.route is not None and traffic.route != self.route:
            self.route, self.since, self.is_taken = traffic.route, now, False
            self.sends_to |= self._named()
            self.act(now)

    def act(self, now: datetime, *, takes: bool = False) -> None:
        """The Gateway's controller looks."""
        if self.route is None or self.is_taken or not (takes or self.refuses):
            return
        named = set[int]() if self.refuses else self._named()
        self.left_at |= dict.fromkeys(self.sends_to - named, now)
        self.sends_to = named
        if not self.refuses:
            self.is_taken, self.since = True, now

    def keeps(
        self,
        decision: Traffic,
        replicas: Mapping[int, int],
        seen: Seen,
        desired: int,
        now: datetime,
        deadline: timedelta,
        shadow: int | None = None,
    ) -> None:
        """Capacity before traffic, on the way there and back; and a Service for whatever the route names."""
        before, after = self.route or Route(), decision.route or Route()
        if after.to is not None:
            assert after.to in self.own and after.to in decision.own, (before, after, self.own)
            raised = after.weight > (before.weight if before.to == after.to else 0)
            ready = seen[after.to].surely_ready if after.to in seen else 0
            assert not raised or 100 * ready >= after.weight * desired, (before, after, seen)
            copies = after.mirror > (before.mirror if before.to == after.to else 0)
            assert not copies or 100 * ready >= after.mirror * min(desired, shadow or desired), (before, after, seen)
            assert not (raised or copies) or now - self.own[after.to] >= DRAIN, (self.own, now)
        if not self.is_taken and now - self.since > deadline:
            return
        for number in self.sends_to | {number for number, at in self.left_at.items() if now - at < DRAIN}:
            if number in self.own and number in seen:
                assert number in decision.own, (number, decision)
                assert replicas.get(number, 0) >= min(seen[number].surely_ready, desired), (number, replicas, seen)

    def _named(self) -> set[int]:
        route = self.route or Route()
        return {route.to} if route.to is not None and (route.weight or route.mirror) else set()
