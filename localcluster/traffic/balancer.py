"""Chooses the endpoint of the next request, ejects endpoints that fail, and counts what each was asked. Pure but for
its clock.

The fewest outstanding requests decide, as in Envoy's least-request and nginx' `least_conn`; an endpoint that refuses,
resets or does not answer is left out for a while that doubles with each failure, as by Envoy's outlier detection.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count

from localcluster.backoff import doubled
from localcluster.traffic.endpoints import Address

_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 30.0
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds

#: Namespace, name and port of a Service.
Port = tuple[str, str, str]


@dataclass(slots=True)
class Endpoint:
    """What is known of one of them."""

    outstanding: int = 0
    #: One after the other, since it last answered.
    failures: int = 0
    ejected_until: float = 0.0
    #: When it was chosen last, in choices.
    turn: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))
    seconds: float = 0.0


class Balancer:
    """The endpoints of all Services. One thread alone uses it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Port, dict[Address, Endpoint]] = {}
        self._turns = count(1)

    def choose(self, port: Port, addresses: Sequence[Address], tried: Collection[Address] = ()) -> Address | None:
        """The endpoint for the next request: of those that were not tried, are not ejected, and have the fewest
        outstanding requests the one that was idle for longest. None when all were tried.

        Where all are ejected, the one whose time ends first: better a doubtful one than none.
        """
        known = self._of(port, addresses)
        left = [each for each in addresses if each not in tried]
        if not left:
            return None
        now = self._clock()
        fit = [each for each in left if known[each].ejected_until <= now]
        if fit:
            chosen = min(fit, key=lambda each: (known[each].outstanding, known[each].turn))
        else:
            chosen = min(left, key=lambda each: known[each].ejected_until)
        known[chosen].turn = next(self._turns)
        return chosen

    def _of(self, port: Port, addresses: Sequence[Address]) -> dict[Address, Endpoint]:
        """The endpoints of a port; those that are gone and have nothing outstanding are forgotten."""
        known = self._known.setdefault(port, {})
        for address in addresses:
            known.setdefault(address, Endpoint())
        if len(known) > len(addresses):
            current = set(addresses)
            for address in [each for each in known if each not in current and not known[each].outstanding]:
                del known[address]
        return known

    def begin(self, port: Port, address: Address) -> Endpoint:
        """A request goes to it; `end` follows."""
        endpoint = self._known.setdefault(port, {}).setdefault(address, Endpoint())
        endpoint.outstanding += 1
        return endpoint

    def end(self, endpoint: Endpoint, code: str, seconds: float, *, failed: bool | None) -> None:
        """The request is over: with a status, or a word for why there is none.

        `failed` says that the endpoint did not answer as one that lives; None, that nothing is known (the client left).
        """
        endpoint.outstanding -= 1
        endpoint.codes[code] += 1
        endpoint.buckets[bisect_left(_BUCKETS, seconds)] += 1
        endpoint.seconds += seconds
        if failed:
            # Several requests that fail at once are one failure.
            if endpoint.ejected_until <= self._clock():
                endpoint.failures += 1
                away = doubled(_FIRST_SECONDS, endpoint.failures - 1, _LONGEST_SECONDS)
                endpoint.ejected_until = self._clock() + away
        elif failed is not None:
            endpoint.failures, endpoint.ejected_until = 0, 0.0

    def text(self) -> str:
        """Everything that was counted, in Prometheus' text format."""
        lines = [
            "# TYPE localcluster_requests_total counter",
            "# TYPE localcluster_requests_outstanding gauge",
            "# TYPE localcluster_endpoint_ejected gauge",
            "# TYPE localcluster_request_duration_seconds histogram",
        ]
        for (namespace, service, port), known in sorted(self._known.items()):
            for address, endpoint in sorted(known.items()):
                of = f'namespace="{namespace}",service="{service}",port="{port}",endpoint="{address[0]}:{address[1]}"'
                lines += self._lines(of, endpoint)
        return "\n".join(lines) + "\n"

    def _lines(self, of: str, endpoint: Endpoint) -> Iterator[str]:
        for code, number in sorted(endpoint.codes.items()):
            yield f'localcluster_requests_total{{{of},code="{code}"}} {number}'
        yield f"localcluster_requests_outstanding{{{of}}} {endpoint.outstanding}"
        yield f"localcluster_endpoint_ejected{{{of}}} {int(endpoint.ejected_until > self._clock())}"
        counts = list(accumulate(endpoint.buckets))
        name = "localcluster_request_duration_seconds"
        for bound, number in zip((*(f"{each:g}" for each in _BUCKETS), "+Inf"), counts, strict=True):
            yield f'{name}_bucket{{{of},le="{bound}"}} {number}'
        yield f"{name}_sum{{{of}}} {endpoint.seconds:.6f}"
        yield f"{name}_count{{{of}}} {counts[-1]}"
