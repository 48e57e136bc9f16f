"""Requests, errors and latency out of the metrics that servers commonly have, by replica and by revision. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from apps.deployments.scrape.exposition import Sample
from apps.deployments.scrape.figures import Span, increase, quantile, rate

#: The labels in which servers say how a request ended: as "500", "5xx" or "5XX".
_CODES = ("code", "status", "status_code", "http_status")
_PATHS = ("handler", "path", "endpoint", "route", "uri")
# Probes come every few seconds and would hide what people ask.
_PROBE = re.compile(r"/(metrics|health\w*|livez?|readyz?|ping|v2/health/\w+|v2/models/[^/]+/ready)/?")


@dataclass(frozen=True, slots=True)
class Convention:
    """The counter of requests and the histogram of their seconds, as some servers name them."""

    requests: str
    duration: str


#: The first one that a server has is taken. The last two are KServe's Python servers and vLLM.
CONVENTIONS = (
    Convention("http_requests_total", "http_request_duration_seconds"),
    Convention("http_request_duration_seconds_count", "http_request_duration_seconds"),
    Convention("request_predict_seconds_count", "request_predict_seconds"),
    Convention("vllm:e2e_request_latency_seconds_count", "vllm:e2e_request_latency_seconds"),
)
_WANTED = {each.requests for each in CONVENTIONS} | {f"{each.duration}_bucket" for each in CONVENTIONS}
#: What a replica that counts nothing has to do.
WHAT_TO_COUNT = "Count requests in http_requests_total and their time in http_request_duration_seconds."


def is_wanted(name: str) -> bool:
    """Is it a metric that figures are made of?"""
    return name in _WANTED


def compact(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """The samples that figures need, added up over all labels but status (`code`) and bucket (`le`), without probes."""
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for each in samples:
        if not is_wanted(each.name) or any(_PROBE.fullmatch(each.labels.get(label, "")) for label in _PATHS):
            continue
        code = next((each.labels[label] for label in _CODES if label in each.labels), "")
        kept = {"code": code, "le": each.labels.get("le", "")}
        key = each.name, tuple((label, value) for label, value in kept.items() if value)
        sums[key] = sums.get(key, 0.0) + each.value
    return tuple(Sample(name, dict(labels), value) for (name, labels), value in sums.items())


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests a second, the percentage that failed (5xx), and milliseconds that half and 95 percent of them took.

    `requests` is how many that is made of. None is what is not counted, or can't be said of no requests.
    """

    requests: float
    per_second: float
    error_percent: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None


def figures_of(spans: Sequence[Span]) -> Figures | None:
    """The figures of one replica or of several together; None where none counts requests."""
    for convention in CONVENTIONS:
        requests = increase(spans, convention.requests)
        if requests is not None:
            return Figures(
                requests,
                rate(spans, convention.requests) or 0.0,
                _error_percent(spans, convention.requests, requests),
                _milliseconds(spans, 0.5, convention.duration),
                _milliseconds(spans, 0.95, convention.duration),
            )
    return None


def _error_percent(spans: Sequence[Span], counter: str, requests: float) -> float | None:
    codes = {each.labels.get("code", "") for span in spans for each in span.after.samples if each.name == counter}
    if not requests or codes <= {""}:
        return None
    failed = sum(increase(spans, counter, {"code": code}) or 0.0 for code in codes if code.startswith("5"))
    return 100 * failed / requests


def _milliseconds(spans: Sequence[Span], share: float, histogram: str) -> float | None:
    seconds = quantile(spans, share, histogram)
    return None if seconds is None else 1000 * seconds


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: its figures, or why there are none yet, in a sentence that says what to do."""

    uid: str
    name: str
    revision: int
    target: str
    ready: bool
    figures: Figures | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """The replicas of a revision, and what they do together."""

    number: int
    replicas: tuple[Replica, ...]
    figures: Figures | None = None
    #: How the busiest replica compares with what each would have if all had the same; "" where that can't be said.
    balance: str = ""
    balanced: bool = True


@dataclass(frozen=True, slots=True)
class Requests:
    """What all replicas said: newest revision first. Of more replicas than were asked, `left_out`."""

    at: float
    #: The time that the figures speak of; 0 at the first look, of which none can be made.
    seconds: float
    revisions: tuple[Revision, ...] = field(default_factory=tuple)
    left_out: int = 0


def revisions_of(replicas: Iterable[Replica], spans: Mapping[str, Span]) -> tuple[Revision, ...]:
    """The replicas by revision, newest first; `spans` are those of replicas by uid."""
    groups: dict[int, list[Replica]] = {}
    for each in replicas:
        groups.setdefault(each.revision, []).append(each)
    made = []
    for number, group in sorted(groups.items(), reverse=True):
        figures = figures_of([spans[each.uid] for each in group if each.uid in spans])
        balanced, words = balance_of([each.figures.requests for each in group if each.figures and each.ready])
        made.append(Revision(number, tuple(sorted(group, key=lambda each: each.name)), figures, words, balanced))
    return tuple(made)


# Fewer requests than this for each replica say nothing of how they are shared out.
_FEW = 10
_UNEVEN = 1.5


def balance_of(requests: Sequence[float]) -> tuple[bool, str]:
    """Whether ready replicas of a revision get about the same, and that in words; "" where too little was asked.

    What chance alone may do (three standard deviations of a fair share) is even.
    """
    if len(requests) < 2 or sum(requests) < _FEW * len(requests):
        return True, ""
    fair, most = sum(requests) / len(requests), max(requests)
    idle = sum(not each for each in requests)
    if idle:
        return False, f"{idle} of {len(requests)} get nothing"
    if most > _UNEVEN * fair and most - fair > 3 * fair**0.5:
        return False, f"the busiest gets {most / fair:.1f} times its share"
    return True, "evenly shared"
