"""What is known of a rollout over all its targets when somebody decides where it stands. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.deployments.rollout.plan import PlanStep
from apps.deployments.rollout.policy import Ruling
from apps.deployments.rollout.strategy import OnFailure
from apps.deployments.rollout.traffic import ALL, NOTHING, Share
from apps.deployments.rollout.verdicts import Verdict
from apps.deployments.states import RolloutState


@dataclass(frozen=True)
class FleetStatus:
    """What was recorded, and what people asked for since.

    `since` is when `step` began. `promote` goes past the present wait; `full` past all of them, wave by wave. `abort`
    is why a person takes the revision back, `verdict` why it is taken back by itself; "" where nobody does.
    """

    state: RolloutState
    step: int
    since: datetime
    paused: bool = False
    promote: bool = False
    full: bool = False
    abort: str = ""
    on_failure: OnFailure = OnFailure.HOLD
    verdict: str = ""


@dataclass(frozen=True)
class PlacementSeen:
    """A placement as its last round left it.

    `share` is what is wanted of it now; `arrived` when a round for just this share found it Healthy. `trouble` is a
    sentence when the new revision fares badly there, `refused` one when its API server refuses what is wanted. `had` is
    the percent of the requests that it gets there, None where nobody gets any, and `held` says that an autoscaler keeps
    it from its share.
    """

    target: str
    reachable: bool
    share: Share
    arrived: bool
    trouble: str = ""
    refused: str = ""
    had: int | None = None
    held: bool = False

    def is_at(self, share: Share) -> bool:
        """Whether it is wanted to have this share, and has it."""
        return self.share == share and self.arrived


@dataclass(frozen=True)
class Fleet:
    """All that one decision is made from. `whole` is the verdict over all waves, None where there is none to heed."""

    plan: Sequence[PlanStep]
    status: FleetStatus
    placements: Mapping[str, PlacementSeen]
    analyses: Mapping[int, Verdict]
    gates: Mapping[str, Ruling]
    now: datetime
    whole: Verdict | None = None

    def placed(self, targets: Sequence[str]) -> Iterator[PlacementSeen]:
        """Those of the targets that there still is a placement on."""
        return (self.placements[target] for target in targets if target in self.placements)

    def shares_at(self, index: int) -> dict[str, Share]:
        """The shares of all placements in a step. One that came after the plan was made keeps its own till the end."""
        if index >= len(self.plan):
            return dict.fromkeys(self.placements, ALL)
        planned = {target for step in self.plan for target in step.targets}
        shares = {target: NOTHING if target in planned else seen.share for target, seen in self.placements.items()}
        for step in self.plan[: index + 1]:
            if step.brings is not None:
                shares |= {seen.target: step.brings for seen in self.placed(step.targets)}
        return shares

    def as_it_is(self) -> dict[str, Share]:
        """The shares that are wanted already."""
        return {target: seen.share for target, seen in self.placements.items()}
