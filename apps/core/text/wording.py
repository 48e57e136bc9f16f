"""How states, sizes and times are said to people: one word list and a few formats for all pages. Pure."""

import functools
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Look:
    """How a state looks: a tone (its colour) and a lucide icon (its shape). The word itself is the third sign."""

    tone: str
    icon: str


OK = Look("ok", "check")
DONE = Look("ok", "circle-check")
GO = Look("go", "loader-circle")
WAIT = Look("idle", "clock")
HOLD = Look("warn", "pause")
GAP = Look("warn", "circle-dashed")
WARN = Look("warn", "triangle-alert")
BAD = Look("bad", "triangle-alert")
DEAD = Look("bad", "circle-x")
CUT = Look("bad", "unplug")
LOST = Look("bad", "search-x")
OFF = Look("idle", "circle-slash")
DIM = Look("idle", "circle-dashed")
ASK = Look("idle", "circle-question-mark")

_WORDS: dict[Look, str] = {
    OK: "healthy ready serving active connected available bound true allowed valid live normal promoted passed"
    " champion",
    DONE: "succeeded successful finished completed complete approved applied",
    GO: "progressing running launching starting started rolling pulling containercreating podinitializing initializing"
    " terminating deleting retiring stopping canceling cancelling killing connecting checking scaling rollingback"
    " restarting applying observing inprogress launched",
    WAIT: "pending queued waiting scheduled new created requested submitted",
    HOLD: "suspended paused held schedulinggated",
    GAP: "missing inconclusive stale notready incomplete expiring",
    WARN: "warning unschedulable noroom limited rolledback rolled-back drifted",
    BAD: "degraded crashloopbackoff oomkilled imagepullbackoff errimagepull createcontainerconfigerror invalidimagename"
    " evicted backoff unhealthy denied forbidden preempting createcontainererror runcontainererror starterror"
    " prestarthookerror poststarthookerror nodeshutdown unexpectedadmissionerror"
    " errimageneverpull failedmount failedattachvolume failedmapvolume failedcreatepodsandbox failedcreate"
    " exceededquota failedquota limitrange podsecurity preempted preemptionbyscheduler evictionbyevictionapi"
    " deletionbytaintmanager deletionbypodgc terminationbykubelet podfailurepolicy failuretarget",
    DEAD: "failed error aborted rejected timedout deadlineexceeded invalid",
    CUT: "unreachable unauthorized disconnected offline",
    LOST: "lost vanished nodelost",
    OFF: "canceled cancelled killed disabled retired superseded archived revoked expired deleted stopped off skipped",
    DIM: "none idle inactive draft external empty absent",
    ASK: "unknown",
}
_LOOKS: dict[str, Look] = {word: look for look, words in _WORDS.items() for word in words.split()}
STATUS_ICONS: tuple[str, ...] = tuple(sorted({look.icon for look in _WORDS}))


# States whose stored word is not how one says it; reasons of Kubernetes stay as they are.
_SAID = {"RollingBack": "Rolling back"}


def said_of(state: str) -> str:
    """The word of a state as a person reads it."""
    return _SAID.get(state, state)


@functools.lru_cache(maxsize=1024)
def look_of(state: str) -> Look:
    """The look of any state word of the system. A word that is not known is grey, never an error."""
    key = state.strip().lower().replace(" ", "").replace("_", "")
    return _LOOKS.get(key, DIM)


def bytes_text(value: float | None) -> str:
    """Bytes in binary units with three significant digits: 1536 → "1.5 KiB"."""
    if value is None:
        return "–"
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{_three(size)} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def cpu_text(millicores: float | None) -> str:
    """Millicores as cores: 250 → "0.25", 4000 → "4"."""
    if millicores is None:
        return "–"
    cores = float(millicores) / 1000
    return f"{cores:.3f}".rstrip("0").rstrip(".") if cores < 1 else _three(cores)


def number_text(value: float | None) -> str:
    """A figure for people: thousands apart, four significant digits behind a point, never "1e-05" for what is 0."""
    if value is None:
        return "–"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "NaN")
    if 1e-3 <= abs(value) < 1e6:
        return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.3g}"


def duration_text(span: timedelta | float | None) -> str:
    """A span of time in at most two units: 4335 s → "1 h 12 min". Below a second in milliseconds."""
    if span is None:
        return "–"
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if 0 < abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    if whole < 86_400:
        hours, rest = divmod(whole, 3600)
        return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"
    days, rest = divmod(whole, 86_400)
    return f"{days} d {rest // 3600} h" if rest >= 3600 and days < 10 else f"{days} d"


def age_text(then: datetime, now: datetime) -> str:
    """How long ago `then` was, in one unit: "3 s", "12 min", "5 h", "6 d". live.js says the same while it ticks."""
    seconds = max(0, int((now - then).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} d"


def percent(part: float | None, whole: float | None) -> float | None:
    """`part` of `whole` in percent between 0 and 100; None where there is nothing to divide."""
    if part is None or not whole or whole <= 0:
        return None
    return max(0.0, min(100.0, 100.0 * float(part) / float(whole)))


def amount_text(value: float | None, unit: str) -> str:
    """A figure of a capacity: `unit` is "cpu" (millicores), "bytes", or anything else for plain numbers."""
    if unit == "cpu":
        return cpu_text(value)
    if unit == "bytes":
        return bytes_text(value)
    return number_text(value)


def sparkline_points(values: list[float], width: float = 96, height: float = 24) -> str:
    """`values` as the points of an SVG polyline, scaled to the box with 2 px around. Gaps (NaN) are left out."""
    finite = [(i, v) for i, v in enumerate(values) if math.isfinite(v)]
    if len(finite) < 2:
        return ""
    low, high = min(v for _, v in finite), max(v for _, v in finite)
    span = (high - low) or 1.0
    last = max(len(values) - 1, 1)
    return " ".join(f"{2 + i * (width - 4) / last:.1f},{2 + (high - v) * (height - 4) / span:.1f}" for i, v in finite)


def _three(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return text.rstrip("0").rstrip(".")


def plural(noun: str, count: int) -> str:
    """Say a noun of several things: `cluster unreachable` → `clusters unreachable`."""
    if count == 1:
        return noun
    first, _, rest = noun.partition(" ")
    return f"{first}s {rest}".rstrip()


def moment_text(moment: datetime | None, now: datetime) -> str:
    """A moment for people, in UTC: with its day where that is another one than today."""
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment.day} {moment:%b %H:%M} UTC"
