"""Predictions through Flotilla: how many each version answered, how fast, and whether any was lost."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from examples.demo.client import Api, ApiError, BrokenConnectionError

AT_ONCE = 4
# Between two predictions of one thread while something else is watched: a steady stream, not a load test.
PAUSE_S = 0.05
# A broken connection, to Flotilla itself (its web process was killed) or from there to the replica that had the request
# (it was killed), is tried again this long, as any client would to whom a second prediction of a digit is harmless.
RESEND_FOR_S = 20.0
# The title of the problem that Flotilla answers with when a replica broke off before its answer.
BROKEN_OFF = "The replica broke off"
RESEND_EVERY_S = 0.2


@dataclass
class Tally:
    """The answers."""

    sent: int = 0
    right: int = 0
    resent: int = 0
    retried: int = 0
    by_replica: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def accuracy(self) -> float:
        """Right answers among all that were sent, 0 to 1."""
        return self.right / self.sent if self.sent else 0.0

    @property
    def median_ms(self) -> float:
        """The median time of an answer in milliseconds."""
        return sorted(self.milliseconds)[len(self.milliseconds) // 2] if self.milliseconds else 0.0

    def answered(self, reply: dict[str, Any], label: int, milliseconds: float, resent: int) -> None:
        """Count an answer."""
        with self._lock:
            self.sent += 1
            self.resent += resent
            self.retried += int(reply["attempts"]) - 1
            self.right += predicted(reply) == label
            self.by_replica[str(reply["replica"])] += 1
            self.milliseconds.append(milliseconds)

    def failed(self, why: str) -> None:
        """Count a prediction that got no answer."""
        with self._lock:
            self.sent += 1
            self.lost.append(why)


@dataclass(frozen=True)
class Digits:
    """Held-out digits: 64 pixels each, and what they show."""

    inputs: Sequence[Sequence[float]]
    labels: Sequence[int]


def predicted(reply: dict[str, Any]) -> int:
    """The digit in an Open Inference v2 answer."""
    return int(reply["outputs"][0]["data"][0])


def predict_all(api: Api, path: str, digits: Digits) -> Tally:
    """Send every digit once, a few at a time."""
    tally = Tally()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for pixels, label in zip(digits.inputs, digits.labels, strict=True):
            pool.submit(_predict, api, path, pixels, label, tally)
    return tally


@contextmanager
def predicting(api: Api, path: str, digits: Digits) -> Iterator[Tally]:
    """Send digit after digit from a few threads for as long as the block runs."""
    tally, enough, turn = Tally(), threading.Event(), count()

    def send() -> None:
        while not enough.is_set():
            number = next(turn) % len(digits.labels)
            _predict(api, path, digits.inputs[number], digits.labels[number], tally)
            enough.wait(PAUSE_S)

    threads = [threading.Thread(target=send, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def _predict(api: Api, path: str, pixels: Sequence[float], label: int, tally: Tally) -> None:
    tensor = {"name": "pixels", "shape": [1, len(pixels)], "datatype": "FP64", "data": list(pixels)}
    began, resent = time.monotonic(), 0
    while True:
        try:
            reply = api.send("POST", path, {"inputs": [tensor], "outputs": [{"name": "label"}]})
        except (BrokenConnectionError, ApiError) as error:
            broken = isinstance(error, BrokenConnectionError) or error.title == BROKEN_OFF
            if not broken or time.monotonic() - began > RESEND_FOR_S:
                tally.failed(str(error))
                return
            resent += 1
            time.sleep(RESEND_EVERY_S)
        else:
            tally.answered(reply, label, (time.monotonic() - began) * 1000, resent)
            return
