"""Looks of an analysis that are one number, judged by the bounds that were asked for. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.text.jsontext import plain
from apps.core.text.wording import number_text
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.bounds import Better
from apps.deployments.rollout.promql import Series
from apps.deployments.rollout.verdicts import Outcome

# Characters of a metric's name in a sentence.
MAX_SAID = 60


@dataclass(frozen=True)
class Logged:
    """What the registry knows of a metric of the version that a revision serves: its name ("digits 4", or "" where it
    serves no model), the value, and which metrics there are."""

    version: str
    value: float | None = None
    known: Sequence[str] = ()


def by_model(asked: Mapping[str, Any], new: Logged, old: Logged | None, now: datetime) -> Measurement:
    """One look at the registry: the new version's metric, by itself or against that of the version it replaces."""
    metric = plain(asked["metric"], MAX_SAID)
    if not new.version:
        return silent("The new revision serves no model version, so the registry has no metric of it.", now)
    if new.value is None:
        there = f"it has {_few(new.known)}" if new.known else "its run has none"
        return silent(f"{new.version} has no metric {metric}: {there}.", now)
    outcome, said, value = judged(asked, f"{metric} of {new.version}", new.value, old.value if old else None)
    return Measurement(now, outcome, said, value)


def silent(why: str, now: datetime) -> Measurement:
    """A look that told nothing, and why."""
    return Measurement(now, Outcome.INCONCLUSIVE, why, {})


def by_prometheus(asked: Mapping[str, Any], seen: Sequence[tuple[str, Series]], now: datetime) -> Measurement:
    """One look at what a query gave, by the target that it was about ("" where there is one): each series has to hold,
    and the worst one is told."""
    name = str(asked.get("name") or "The query's value")
    found = [(series, *judged(asked, _called(name, target, series), series.value)) for target, series in seen]
    if not found:
        return silent("Nothing could be asked.", now)
    _, outcome, said, value = min(found, key=lambda each: _WORST.index(each[1]))
    return Measurement(now, outcome, said, {**value, "series": len(found)} if len(found) > 1 else value)


_WORST = (Outcome.FAILED, Outcome.INCONCLUSIVE, Outcome.SUCCESSFUL)


def _called(name: str, target: str, series: Series) -> str:
    about = ", ".join(part for part in (target, series.labels) if part)
    return f"{name} ({about})" if about else name


def _few(names: Sequence[str]) -> str:
    """Some names, and how many more."""
    more = len(names) - 5
    return ", ".join([*names[:5], *([f"{more} more"] if more > 0 else [])])


def judged(
    asked: Mapping[str, Any], what: str, value: float | None, before: float | None = None
) -> tuple[Outcome, str, dict[str, float]]:
    """The outcome, a sentence, and the figures: `value`, `before` of the earlier revision, and the bounds that held
    (`least`, `most`). What is no finite number says nothing."""
    value, before = _finite(value), _finite(before)
    least, most = _limits(asked, before)
    figures = {"value": value, "before": before, "least": least, "most": most}
    known = {name: number for name, number in figures.items() if number is not None}
    if value is None:
        return Outcome.INCONCLUSIVE, f"{what} is no number.", known
    is_ = f"{what} is {number_text(value)}"
    than = f", the earlier revision's {number_text(before)}" if before is not None and "better" in asked else ""
    if least is not None and value < least and not math.isclose(value, least, rel_tol=1e-9):
        return Outcome.FAILED, f"{is_}{than}: at least {_apart(least, value)} is wanted.", known
    if most is not None and value > most and not math.isclose(value, most, rel_tol=1e-9):
        return Outcome.FAILED, f"{is_}{than}: at most {_apart(most, value)} is allowed.", known
    if "better" in asked and before is None:
        return Outcome.INCONCLUSIVE, f"{is_}, but the earlier revision has none to compare it with.", known
    bound = f", at least {number_text(least)}" if least is not None else ""
    bound += f", at most {number_text(most)}" if most is not None else ""
    return Outcome.SUCCESSFUL, f"{is_}{than}{bound}, as wanted.", known


def _limits(asked: Mapping[str, Any], before: float | None) -> tuple[float | None, float | None]:
    """The least and the greatest good number: of two bounds of one side the stricter."""
    least, most = asked.get("min"), asked.get("max")
    if "better" in asked and before is not None:
        percent = asked.get("tolerance_percent")
        allowed = asked.get("tolerance", 0.0) if percent is None else abs(before) * percent / 100
        if asked["better"] == Better.GREATER:
            least = before - allowed if least is None else max(least, before - allowed)
        elif asked["better"] == Better.LESS:
            most = before + allowed if most is None else min(most, before + allowed)
    return least, most


def _apart(bound: float, value: float) -> str:
    """The bound, with as many digits as tell it from the number that misses it."""
    text = number_text(bound)
    return text if text != number_text(value) else f"{text} ({abs(bound - value):.1g} off)"


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
