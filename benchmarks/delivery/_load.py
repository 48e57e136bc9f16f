"""A steady load of predictions on a Service's own address, as another workload of the cluster would send them."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BODY = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}).encode()
# A prediction that is made twice does no harm: proxies may ask another replica where one broke off.
HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "any"}
SENDERS, PAUSE_S, TIMEOUT_S = 4, 0.05, 10.0


@dataclass
class Tally:
    """The answers, by the words of the revision that gave them, and why others failed."""

    milliseconds: list[float] = field(default_factory=list)
    by_answer: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    processes: set[int] = field(default_factory=set)
    longest_gap: float = 0.0
    answered_at: float = field(default_factory=time.monotonic)

    @property
    def sent(self) -> int:
        """The number of requests."""
        return len(self.milliseconds) + len(self.failed)


@contextmanager
def load(host: str, port: int) -> Iterator[Tally]:
    """Send request after request, each on a connection of its own, for as long as the block runs. None is repeated."""
    tally, enough = Tally(), threading.Event()

    def send() -> None:
        while not enough.is_set():
            _one(host, port, tally)
            enough.wait(PAUSE_S)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def _one(host: str, port: int, tally: Tally) -> None:
    began = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/v2/models/app/infer", BODY, HEADERS)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"{answer.status} {text[:80]!r}")
        said = json.loads(text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        tally.failed.append(f"{type(error).__name__}: {error}")
    else:
        now = time.monotonic()
        tally.milliseconds.append((now - began) * 1000)
        tally.longest_gap, tally.answered_at = max(tally.longest_gap, now - tally.answered_at), now
        tally.by_answer[said["by"]] += 1
        tally.processes.add(said["pid"])
    finally:
        connection.close()
