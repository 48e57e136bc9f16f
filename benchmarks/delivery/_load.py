"""A steady load of predictions on Services' own addresses, as another workload of the cluster would send them."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import percentile

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}).encode()
# A prediction that is made twice does no harm: proxies may ask another replica where one broke off.
HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "any"}
SENDERS, PAUSE_S, EASY_PAUSE_S, TIMEOUT_S = 4, 0.05, 2.0, 10.0

Address = tuple[str, int]


@dataclass
class Tally:
    """The answers, by the words of the revision that gave them, and why others failed.

    `turned` are those that another target has answered than the one that was asked first.
    """

    milliseconds: list[float] = field(default_factory=list)
    by_answer: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    processes: set[int] = field(default_factory=set)
    turned: int = 0
    longest_gap: float = 0.0
    answered_at: float = field(default_factory=time.monotonic)
    pause_s: float = PAUSE_S

    def ease(self, pause_s: float = EASY_PAUSE_S) -> None:
        """Let each sender wait so long between two requests from now on."""
        self.pause_s = pause_s

    @property
    def sent(self) -> int:
        """The number of requests."""
        return len(self.milliseconds) + len(self.failed)

    def beside(self) -> dict[str, Any]:
        """What makes the number of failed ones readable."""
        said: dict[str, Any] = {"requests": self.sent, "answers": dict(self.by_answer)}
        said["longest_gap_s"] = round(self.longest_gap, 2)
        if self.milliseconds:
            said["p50_ms"] = round(percentile(self.milliseconds, 50), 1)
            said["p99_ms"] = round(percentile(self.milliseconds, 99), 1)
        if self.failed:
            said["first_failure"] = self.failed[0]
        return said


@contextmanager
def load(*addresses: Address, host: str = "") -> Iterator[Tally]:
    """Send request after request, each on a connection of its own, for as long as the block runs.

    With one address none is repeated. With several the client asks them in turn, and where one does not answer the
    next: a request has failed when none of them has answered. A Gateway tells deployments apart by the `host`.
    """
    tally, enough, turns = Tally(), threading.Event(), itertools.count()

    def send() -> None:
        while not enough.is_set():
            first = next(turns) % len(addresses)
            _one([*addresses[first:], *addresses[:first]], tally, host)
            enough.wait(tally.pause_s)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def _one(addresses: list[Address], tally: Tally, host: str) -> None:
    began, failures = time.monotonic(), list[str]()
    for address in addresses:
        try:
            said = _ask(address, host)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"{type(error).__name__}: {error}")
            continue
        now = time.monotonic()
        tally.milliseconds.append((now - began) * 1000)
        tally.longest_gap, tally.answered_at = max(tally.longest_gap, now - tally.answered_at), now
        tally.by_answer[said["by"]] += 1
        tally.processes.add(said["pid"])
        tally.turned += bool(failures)
        return
    tally.failed.append("; ".join(failures))


def _ask(address: Address, host: str) -> dict[str, Any]:
    """One answer. Raises OSError, HTTPException and ValueError for anything else."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/v2/models/app/infer", BODY, HEADERS | ({"Host": host} if host else {}))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status} {text[:80]!r}")
        return dict(json.loads(text))
    finally:
        connection.close()
