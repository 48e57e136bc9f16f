"""How a rollout came past its steps: what a decision says of each that it leaves behind. Pure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class How(enum.StrEnum):
    """Why a step was left.

    `Done`: what it asks for was there, or its time over. `Promoted`: a person went past what it waited for. `Skipped`:
    the rollout was promoted fully, or has served before, and did not wait. `Failed`, `Aborted`: it was taken back here.
    """

    DONE = "Done"
    PROMOTED = "Promoted"
    SKIPPED = "Skipped"
    FAILED = "Failed"
    ABORTED = "Aborted"


@dataclass(frozen=True)
class Passage:
    """A step that a decision leaves: its place in the plan, since when the rollout stood at it, and why it left."""

    step: int
    since: datetime
    how: How


@dataclass(frozen=True)
class Passed:
    """The same as it is kept, with when it left, and what share each of the step's targets had then, in percent."""

    step: int
    since: datetime
    at: datetime
    how: How
    had: Mapping[str, int]

    @property
    def seconds(self) -> float:
        """How long the rollout stood at it."""
        return (self.at - self.since).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """The form that is stored."""
        times = {"since": self.since.isoformat(), "at": self.at.isoformat()}
        return {"step": self.step, **times, "how": self.how.value, "had": dict(self.had)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Passed":
        """What `to_json` wrote."""
        since, at = datetime.fromisoformat(data["since"]), datetime.fromisoformat(data["at"])
        return cls(int(data["step"]), since, at, How(data["how"]), dict(data["had"]))
