"""What the server counts, in Prometheus' text format: requests for predictions by their status, and how long they took.

https://prometheus.io/docs/instrumenting/exposition_formats/. The names are those that HTTP servers commonly have. Only
predictions count: probes come every few seconds and would hide them.
"""

from bisect import bisect_left
from collections import Counter
from itertools import accumulate

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_HANDLER = 'handler="/v2/models/{model}/infer",method="POST"'


class Metrics:
    """Of one process; everything happens in the event loop's thread."""

    def __init__(self) -> None:
        # So that the counter is there before the first request.
        self._codes: Counter[int] = Counter({200: 0})
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._running = 0

    def begin(self) -> None:
        """A request came."""
        self._running += 1

    def end(self, code: int, seconds: float) -> None:
        """It was answered, or the client left."""
        self._running -= 1
        self._codes[code] += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self) -> str:
        """The exposition."""
        counts = list(accumulate(self._buckets))
        bounds = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]
        name = "http_request_duration_seconds"
        lines = [
            "# HELP http_requests_total Requests for predictions, by the status of the answer.",
            "# TYPE http_requests_total counter",
            *(f'http_requests_total{{{_HANDLER},code="{code}"}} {self._codes[code]}' for code in sorted(self._codes)),
            "# HELP http_requests_in_progress Requests for predictions that are not answered yet.",
            "# TYPE http_requests_in_progress gauge",
            f"http_requests_in_progress{{{_HANDLER}}} {self._running}",
            f"# HELP {name} The time that a request for a prediction took.",
            f"# TYPE {name} histogram",
            *(f'{name}_bucket{{{_HANDLER},le="{bound}"}} {count}' for bound, count in zip(bounds, counts, strict=True)),
            f"{name}_sum{{{_HANDLER}}} {self._seconds:.6f}",
            f"{name}_count{{{_HANDLER}}} {counts[-1]}",
        ]
        return "\n".join(lines) + "\n"
