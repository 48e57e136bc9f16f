"""What both revisions answer to the same requests, and what that says of the new one. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from statistics import median
from typing import Any

from apps.deployments.rollout.analysis import Measurement
from apps.deployments.rollout.verdicts import Outcome

# Of a value in a sentence.
MAX_SHORT = 40


@dataclass(frozen=True)
class Reply:
    """What a revision said to one request: whether it answered, in how many milliseconds, and its outputs."""

    answered: bool
    milliseconds: float = 0.0
    outputs: Any = None


@dataclass(frozen=True)
class Question:
    """A request that both revisions are sent: what tells it from the others of its analysis, and its name for people.

    One that is `recorded` was answered once by what served then.
    """

    key: str
    name: str
    body: bytes
    recorded: bool = False


@dataclass(frozen=True)
class Exchange:
    """What both revisions said to one request on one target; `old` is None where no replica of it is ready."""

    asked: Question
    new: Reply
    old: Reply | None = None

    @property
    def compares(self) -> bool:
        """Whether there are two answers."""
        return self.old is not None and self.new.answered and self.old.answered

    @property
    def is_stale(self) -> bool:
        """Whether it says nothing of the new revision: what was recorded the earlier one does not answer, either."""
        return self.asked.recorded and self.old is not None and not self.old.answered and not self.new.answered

    @property
    def agrees(self) -> bool:
        """Whether these are the same."""
        return self.old is not None and self.compares and alike(self.new.outputs, self.old.outputs)


def by_probe(
    asked: Mapping[str, Any],
    exchanges: Sequence[Exchange],
    now: datetime,
    *,
    silent: str = "",
    has_to_compare: bool = True,
) -> Measurement:
    """One look at what both revisions said to the same requests. `silent` says why nothing could be asked.

    Where answers are to be compared and no earlier revision is there, it tells nothing, unless it need not compare.
    """
    if exchanges and all(each.is_stale for each in exchanges):
        silent = silent or "Neither revision answers what is recorded. Forget that, and record other requests."
    if silent or not exchanges:
        return Measurement(now, Outcome.INCONCLUSIVE, silent or "Nobody could be asked.", {"requests": len(exchanges)})
    exchanges = [each for each in exchanges if not each.is_stale]
    errors = sum(not each.new.answered for each in exchanges)
    latency = round(median(each.new.milliseconds for each in exchanges))
    before = [each.old.milliseconds for each in exchanges if each.old is not None]
    compared = [each for each in exchanges if each.compares]
    value = {"requests": len(exchanges), "errors": errors, "latency_ms": latency}
    if before:
        value |= {"latency_before_ms": round(median(before))}
    if compared:
        value |= {"agreement": 100 * sum(each.agrees for each in compared) // len(compared)}
    if not compared and not has_to_compare:
        asked = {**asked, "min_agreement": None}
    return Measurement(now, *_judged(asked, value), value)


def _judged(asked: Mapping[str, Any], value: Mapping[str, int]) -> tuple[Outcome, str]:
    count = value["requests"]
    if 100 * value["errors"] > int(asked["max_errors"]) * count:
        return Outcome.FAILED, f"{value['errors']} of {count} requests failed."
    most, least = asked.get("max_latency_ms"), asked.get("min_agreement")
    if most is not None and value["latency_ms"] > most:
        return Outcome.FAILED, f"Half of the answers took longer than {value['latency_ms']} ms; {most} are allowed."
    if least is not None and "agreement" not in value:
        return Outcome.INCONCLUSIVE, "No replica of the earlier revision answered, so nothing can be compared."
    if least is not None and value["agreement"] < least:
        said = f"{value['agreement']} % of the answers agree with the earlier revision's; {least} % are wanted."
        return Outcome.FAILED, said
    agree = f", {value['agreement']} % agree" if "agreement" in value else ""
    return Outcome.SUCCESSFUL, f"{count - value['errors']} of {count} answered in {value['latency_ms']} ms{agree}."


@dataclass(frozen=True)
class Tally:
    """What both revisions said to one request, over all looks and targets. `difference` is the first one that was seen.

    `ms` is the sum of all milliseconds.
    """

    key: str
    name: str
    sent: int = 0
    errors: int = 0
    ms: float = 0.0
    sent_before: int = 0
    errors_before: int = 0
    ms_before: float = 0.0
    compared: int = 0
    agreed: int = 0
    difference: str = ""

    @property
    def latency_ms(self) -> int:
        """How long the new revision took on the average."""
        return round(self.ms / self.sent)

    @property
    def latency_before_ms(self) -> int | None:
        """How long the earlier one took; None where none of it was asked."""
        return round(self.ms_before / self.sent_before) if self.sent_before else None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Tally":
        """What `to_json` wrote."""
        return cls(**data)

    def plus(self, exchange: Exchange) -> "Tally":
        """With one more exchange."""
        new, old = exchange.new, exchange.old
        differs = exchange.compares and not exchange.agrees
        return replace(
            self,
            sent=self.sent + 1,
            errors=self.errors + (not new.answered),
            ms=self.ms + new.milliseconds,
            sent_before=self.sent_before + (old is not None),
            errors_before=self.errors_before + (old is not None and not old.answered),
            ms_before=self.ms_before + (old.milliseconds if old is not None else 0.0),
            compared=self.compared + exchange.compares,
            agreed=self.agreed + exchange.agrees,
            difference=self.difference or (difference(new.outputs, old.outputs) if differs and old else ""),
        )


def tallied(kept: Sequence[Tally], exchanges: Sequence[Exchange]) -> list[Tally]:
    """What was kept of each request, with the exchanges of one more look, in the order of the first."""
    by_key = {each.key: each for each in kept}
    for exchange in exchanges:
        asked = exchange.asked
        by_key[asked.key] = by_key.get(asked.key, Tally(asked.key, asked.name)).plus(exchange)
    return list(by_key.values())


def difference(new: Any, old: Any, place: str = "") -> str:
    """The first place at which two answers differ: "label[0] is 8, the earlier revision's 7"."""
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        pairs = [(f"{place}[{at}]", *pair) for at, pair in enumerate(zip(new, old, strict=True))]
        if not place:
            # Outputs have names.
            pairs = [(_named(one, where), one, other) for where, one, other in pairs]
    elif isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        # The data of an output is what is meant by its name.
        pairs = [(place if key == "data" else f"{place}.{key}", new[key], old[key]) for key in new]
    else:
        return f"{place or 'The answer'} is {_short(new)}, the earlier revision's {_short(old)}"
    return next((difference(one, other, where) for where, one, other in pairs if not alike(one, other)), "")


def _named(output: Any, otherwise: str) -> str:
    name = output.get("name") if isinstance(output, dict) else None
    return name[:MAX_SHORT] if isinstance(name, str) and name else f"outputs{otherwise}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHORT else f"{text[: MAX_SHORT - 1]}…"


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same, but for what floating point makes of equal sums in another order."""
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return bool(one == other)
