"""Looks of an analysis at what replicas say of themselves at /metrics: one number for each revision. Pure.

A number is that of the replicas together, and can be compared though one revision has more of them than the other:
values and rates are those of a replica on the average, quantiles and shares those of all requests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.text.jsontext import plain
from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.asked import Reading
from apps.deployments.rollout.figures import MAX_SAID, judged, silent
from apps.deployments.scrape.exposition import Sample
from apps.deployments.scrape.figures import Look, Span, increase, quantile, rate, total

# Of one replica that are kept for the next look; a histogram has some tens.
MAX_KEPT = 500


@dataclass(frozen=True)
class Seen:
    """What the replicas of one revision said, by "target/replica", now and at the look before."""

    now: Mapping[str, Look]
    before: Mapping[str, Look]

    @property
    def spans(self) -> list[Span]:
        """Of replicas that answered both times."""
        pairs = [(self.before[key], look) for key, look in self.now.items() if key in self.before]
        return [Span(before, look) for before, look in pairs]


def wanted_names(asked: Mapping[str, Any]) -> frozenset[str]:
    """The names of the samples that are read."""
    metric = str(asked["metric"])
    names = {f"{metric}_bucket"} if asked["read"] == Reading.QUANTILE else {metric}
    return frozenset(names | ({str(asked["over"]["metric"])} if "over" in asked else set()))


def needs_two(asked: Mapping[str, Any]) -> bool:
    """Whether the number is of what happens between two looks."""
    return asked["read"] != Reading.VALUE or "over" in asked


def by_scrape(asked: Mapping[str, Any], new: Seen, old: Seen, now: datetime, *, trouble: str = "") -> Measurement:
    """One look at both revisions. `trouble` says why replicas did not answer, where some did not."""
    name, value = called(asked), read(asked, new)
    if value is None:
        return silent(_why(asked, new, trouble), now)
    outcome, said, figures = judged(asked, name, value, read(asked, old))
    return Measurement(now, outcome, said, {**figures, "replicas": len(new.now)})


def called(asked: Mapping[str, Any]) -> str:
    """What the number is called: by whoever asked, or "p95 of request_seconds"."""
    if asked.get("name"):
        return str(asked["name"])
    metric, reading = plain(asked["metric"], MAX_SAID), asked["read"]
    if reading == Reading.QUANTILE:
        return f"p{100 * asked['quantile']:g} of {metric}"
    share = f" over {plain(asked['over']['metric'], MAX_SAID)}" if "over" in asked else ""
    return f"{'The rate of ' if reading == Reading.RATE and not share else ''}{metric}{share}"


def read(asked: Mapping[str, Any], seen: Seen) -> float | None:
    """The number that these replicas tell; None where they tell none."""
    metric, labels, spans = str(asked["metric"]), asked.get("labels") or {}, seen.spans
    if asked["read"] == Reading.QUANTILE:
        return quantile(spans, float(asked["quantile"]), metric, labels)
    if "over" in asked:
        whole = increase(spans, str(asked["over"]["metric"]), asked["over"].get("labels") or {})
        # What never happened may not be counted yet.
        return (increase(spans, metric, labels) or 0.0) / whole if whole else None
    if asked["read"] == Reading.RATE:
        return _average([rate([span], metric, labels) for span in spans])
    return _average([total(look, metric, labels) for look in seen.now.values()])


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _why(asked: Mapping[str, Any], new: Seen, trouble: str) -> str:
    if not new.now:
        return trouble or "No replica of the new revision is ready to be asked."
    metric = plain(asked["over"]["metric"] if "over" in asked else asked["metric"], MAX_SAID)
    told = any(sample.name in wanted_names(asked) for look in new.now.values() for sample in look.samples)
    if not told:
        return f"No replica of the new revision tells {plain(asked['metric'], MAX_SAID)}."
    if needs_two(asked) and not new.spans:
        return "No replica of the new revision was there at the look before."
    return f"Nothing was counted in {metric} since the look before."


def kept(looks: Mapping[str, Look]) -> dict[str, Any]:
    """What the next look is held against, as it is stored."""
    return {
        key: {
            "at": look.at,
            "samples": [[each.name, dict(each.labels), each.value] for each in look.samples[:MAX_KEPT]],
        }
        for key, look in looks.items()
    }


def remembered(stored: Mapping[str, Any]) -> dict[str, Look]:
    """What `kept` wrote."""
    return {
        key: Look(float(said["at"]), [Sample(name, labels, float(value)) for name, labels, value in said["samples"]])
        for key, said in stored.items()
    }
