"""Analysis of a new revision: (what was asked, measurements) → a verdict, and when to measure again. Pure.

As an AnalysisRun of Argo Rollouts (docs/features/analysis.md): a number of measurements at an interval, of which so
many may fail. One that says nothing, of a cluster that can't be reached, is inconclusive; where there are too many of
these, or no good one in the end, the whole is inconclusive, and a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.core.text.subjects import about
from apps.deployments.rollout.verdicts import Outcome, Verdict


@dataclass(frozen=True)
class Measurement:
    """One look, and what it says in a sentence."""

    at: datetime
    outcome: Outcome
    message: str
    value: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        said = {"outcome": self.outcome.value, "message": self.message, "value": dict(self.value)}
        return {"at": self.at.isoformat(), **said}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Measurement":
        """What `to_json` wrote."""
        at = datetime.fromisoformat(data["at"])
        return cls(at, Outcome(data["outcome"]), str(data["message"]), dict(data["value"]))


@dataclass(frozen=True)
class Fares:
    """The new revision on one target: ready replicas of those wanted there, restarts, and what is wrong, or ""."""

    target: str
    reachable: bool
    wanted: int
    ready: int
    restarts: int
    trouble: str = ""


def by_health(seen: Sequence[Fares], restarts_before: int, now: datetime, which: str = "") -> Measurement:
    """One look at the new revision's replicas: all ready, and none restarted since the analysis began.

    `which` names one that was restarted or is not ready, and why: "web-r2-abc restarted 1×, exit 137".
    """
    value = {
        "wanted": sum(each.wanted for each in seen),
        "ready": sum(each.ready for each in seen),
        "restarts": max(0, sum(each.restarts for each in seen) - restarts_before),
    }
    which = f" ({which})" if which else ""
    away = [each.target for each in seen if not each.reachable]
    bad = next((about(each.target, each.trouble) for each in seen if each.trouble), "")
    if bad:
        return Measurement(now, Outcome.FAILED, bad, value)
    if value["restarts"]:
        times = "once" if value["restarts"] == 1 else f"{value['restarts']} times"
        return Measurement(now, Outcome.FAILED, f"A replica of the new revision was restarted {times}{which}.", value)
    if away:
        return Measurement(now, Outcome.INCONCLUSIVE, f"{', '.join(away)} can't be asked.", value)
    if value["ready"] < value["wanted"]:
        short = f"{value['ready']} of {value['wanted']} replicas of the new revision are ready{which}."
        return Measurement(now, Outcome.FAILED, short, value)
    return Measurement(now, Outcome.SUCCESSFUL, f"{value['ready']} of {value['wanted']} ready, none restarted.", value)


@dataclass(frozen=True)
class Looks:
    """How many measurements were good, were bad, and said nothing."""

    good: int = 0
    bad: int = 0
    silent: int = 0

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> "Looks":
        """Those of these measurements."""
        outcomes = [each.outcome for each in measurements]
        bad, silent = outcomes.count(Outcome.FAILED), outcomes.count(Outcome.INCONCLUSIVE)
        return cls(len(outcomes) - bad - silent, bad, silent)

    def __add__(self, other: "Looks") -> "Looks":
        """Both together."""
        return Looks(self.good + other.good, self.bad + other.bad, self.silent + other.silent)

    @property
    def all(self) -> int:
        """How many there were."""
        return self.good + self.bad + self.silent


def verdict_of(
    asked: Mapping[str, Any],
    measurements: Sequence[Measurement],
    dropped: Looks = Looks(),
    what: str = "The analysis",
) -> Verdict:
    """How the analysis stands after these measurements, and earlier ones of which only the numbers are known.

    `what` begins the sentence of one that failed or came to no conclusion.
    """
    limit, count = int(asked["failure_limit"]), int(asked["count"])
    # Those that began before there was a limit of its own have none.
    most_silent = int(asked.get("inconclusive_limit", limit))
    looks = dropped + Looks.of(measurements)
    of = f"of {looks.all} measurement{'' if looks.all == 1 else 's'}"
    if looks.bad > limit:
        return Verdict(Outcome.FAILED, f"{what} failed, {looks.bad} {of}: {_last(measurements, Outcome.FAILED)}")
    if looks.silent > most_silent:
        why = f"{looks.silent} {of} said nothing: {_last(measurements, Outcome.INCONCLUSIVE)}"
        return Verdict(Outcome.INCONCLUSIVE, f"{what} came to no conclusion, {why}")
    if looks.all < count:
        return Verdict(Outcome.RUNNING)
    if not looks.good:
        last = _last(measurements, Outcome.INCONCLUSIVE if looks.silent else Outcome.FAILED)
        return Verdict(Outcome.INCONCLUSIVE, f"{what} came to no conclusion, none {of} was good: {last}")
    return Verdict(Outcome.SUCCESSFUL, f"{looks.good} {of} {'was' if looks.good == 1 else 'were'} good.")


def _last(measurements: Sequence[Measurement], outcome: Outcome) -> str:
    """What the last look of this outcome says."""
    return next((each.message for each in reversed(measurements) if each.outcome is outcome), "")


def next_at(asked: Mapping[str, Any], began: datetime, measurements: Sequence[Measurement]) -> datetime:
    """When to measure next: an interval after the last time, or after the beginning."""
    last = measurements[-1].at if measurements else began
    return last + timedelta(seconds=int(asked["interval_seconds"]))
