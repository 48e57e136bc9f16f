"""What the deployment's page shows of the rollout that is under way, or of the last one."""

import functools
from datetime import datetime

from django.utils import timezone

from apps.core.database.transitions import transitions_of
from apps.deployments import selectors
from apps.deployments.models import AnalysisRun, Deployment, Rollout, Stage
from apps.deployments.pages.comparing import Changes, changes_of
from apps.deployments.pages.evidence import AnalysisRow, analyses_of, key_of
from apps.deployments.pages.keptlogs import KeptLines, lines_kept
from apps.deployments.pages.requests import Card, known_card
from apps.deployments.pages.rolling import Bar, Step, bars_of, steps_of, traffic_of, weights_by
from apps.deployments.pages.rows import rollout_stands, who
from apps.deployments.pages.stepper import current_step, due_of, is_plain
from apps.deployments.pages.story import StoryRow, story_of
from apps.deployments.pages.summary import RolloutCell, TrafficCell, rollout_cell, traffic_cell
from apps.deployments.pages.waves import Waves, near, waves_of
from apps.deployments.rollout.steps import Do
from apps.deployments.rollout.strategy import Kind, parse_strategy
from apps.deployments.rollout.verdicts import Outcome
from apps.deployments.services import Stood
from apps.deployments.states import RolloutState


class RolloutBoard:
    """All of it, each part read once, and only when the template asks."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.now = timezone.now()

    @functools.cached_property
    def rollout(self) -> Rollout | None:
        """The rollout under way, or else the last one."""
        return self.deployment.under_way or selectors.rollouts_of(self.deployment).first()

    @functools.cached_property
    def stages(self) -> list[Stage]:
        """Where the shown rollout stands on each target, in the order of the waves."""
        if self.rollout is None:
            return []
        rows = list(self.rollout.stages.select_related("placement__target__cluster"))
        places = {place.pk: place for place in self.deployment.places}
        for row in rows:
            # With its revisions.
            row.placement = places.get(row.placement_id, row.placement)
        return rows

    @functools.cached_property
    def _runs(self) -> list[AnalysisRun]:
        return list(self.rollout.analyses.all()) if self.rollout else []

    @property
    def kind(self) -> Kind:
        """How the deployment rolls."""
        return parse_strategy(self.deployment.strategy).kind

    @property
    def weights(self) -> str:
        """What gives a canary its weight; "" of other kinds."""
        return weights_by(self.deployment.places) if self.kind is Kind.CANARY else ""

    @property
    def plain(self) -> bool:
        """Whether the rollout is nothing but replicas replaced on one target."""
        return self.rollout is not None and is_plain(self.rollout)

    @property
    def stood(self) -> str:
        """Where the rollout stands, for the forms that let it go on from there and no further."""
        return str(Stood(self.rollout.pk, self.rollout.step)) if self.rollout else ""

    @property
    def waits(self) -> bool:
        """Whether the rollout is at a step that a person may go past: one that lets time pass, or an analysis that
        was not good."""
        step = current_step(self.rollout) if self.rollout else None
        if self.rollout is not None and self.rollout.reason in ("AnalysisFailed", "Inconclusive"):
            return True
        return step is not None and step.do in (Do.PAUSE, Do.SOAK, Do.KEEP)

    @property
    def due(self) -> datetime | None:
        """When the rollout goes on by itself, where it only lets time pass."""
        return due_of(self.rollout) if self.rollout else None

    @property
    def rollout_stands(self) -> str:
        """The word at the head of the shown rollout."""
        return rollout_stands(self.deployment, self.rollout, in_trouble=self.in_trouble) if self.rollout else ""

    @property
    def in_trouble(self) -> bool:
        """Whether replicas that the rollout brings are in trouble anywhere."""
        return any(stage.trouble for stage in self.stages)

    @property
    def rolled_by(self) -> str:
        """The principal that started the rollout."""
        return who(self.rollout.created_by) if self.rollout else ""

    @functools.cached_property
    def analyses(self) -> list[AnalysisRow]:
        """The analyses of the shown rollout, the last first."""
        return analyses_of(self.rollout, self._runs) if self.rollout else []

    @property
    def running(self) -> list[AnalysisRow]:
        """Those that go on: they stand where the rollout does."""
        return [row for row in self.analyses if self.is_shown and row.run.state == Outcome.RUNNING]

    @property
    def ended(self) -> list[AnalysisRow]:
        """The others, the last first."""
        return [row for row in self.analyses if row not in self.running]

    @property
    def evidence(self) -> str:
        """The analysis out of which follows why the rollout stands or was taken back, by its key."""
        said = self.rollout.message if self.rollout else ""
        decided = [run for run in self._runs if run.state in (Outcome.FAILED, Outcome.INCONCLUSIVE)]
        return next((key_of(run) for run in reversed(decided) if run.message in said), "")

    @functools.cached_property
    def story(self) -> list[StoryRow]:
        """What the shown rollout has been through, the last first."""
        return story_of(self.rollout, transitions_of(self.rollout)) if self.rollout else []

    @functools.cached_property
    def waves(self) -> Waves:
        """The plan of the shown rollout, with what it took; none where replicas tell it all."""
        rollout = self.rollout
        if rollout is None or (is_plain(rollout) and not self.taken_back):
            return near([])
        return near(waves_of(rollout, self.stages, self._runs, self.now))

    @functools.cached_property
    def changes(self) -> Changes:
        """What the shown rollout changes of the revision that it came from."""
        rollout = self.rollout
        return changes_of(rollout.from_revision, rollout.to_revision) if rollout else Changes([])

    @property
    def short_waves(self) -> bool:
        """Whether several waves stand beside each other."""
        rows = self.waves.near
        return len(rows) > 1 and not any(row.folded for row in rows)

    @property
    def is_shown(self) -> bool:
        """Whether there is a rollout that matters now: one under way, or one that was taken back."""
        return self.deployment.under_way is not None or self.taken_back

    @property
    def taken_back(self) -> bool:
        """Whether the last rollout took itself back, or somebody did."""
        return self.rollout is not None and self.rollout.state in (RolloutState.FAILED, RolloutState.ABORTED)

    @property
    def kept_logs(self) -> list[KeptLines]:
        """The last lines of the revision that was taken back; none of a rollout that was not."""
        return lines_kept(self.rollout.kept_logs.all()) if self.rollout is not None and self.taken_back else []

    @property
    def steers(self) -> bool:
        """Whether a rollout is under way that can be told anything."""
        rollout = self.deployment.under_way
        return rollout is not None and rollout.state != RolloutState.ROLLING_BACK and self.deployment.state == "Active"

    @property
    def steps(self) -> list[Step]:
        """The steps of a rollout that is under way and that its replicas tell of."""
        rollout = self.deployment.under_way
        if rollout is None or not is_plain(rollout):
            return []
        new = self._entry(rollout.to_revision.number)
        return steps_of(
            rollout,
            desired=self.deployment.wanted_replicas,
            ready=new["ready"],
            pods=new["existing"],
            old_left=sum(entry["existing"] for entry in self.deployment.observed if entry is not new),
        )

    @property
    def rollout_cell(self) -> RolloutCell:
        """Where the rollout stands, in a line."""
        kind = Kind(self.rollout.strategy.get("kind", Kind.ROLLING)) if self.rollout else self.kind
        # Of one that has ended nothing is read but when and how.
        waves = self.waves if self.deployment.under_way else near([])
        return rollout_cell(self.rollout, self.rollout_stands, kind.word, waves, self.steps)

    @property
    def traffic_cell(self) -> TrafficCell:
        """Where requests go now, in a line."""
        return traffic_cell(self.deployment)

    @functools.cached_property
    def known_card(self) -> Card:
        """Requests, errors and latency as they were known last."""
        return known_card(self.deployment)

    @property
    def bars(self) -> list[Bar]:
        """The replicas of each revision while one replaces another."""
        rollout, wanted = self.deployment.under_way, self.deployment.wanted_replicas
        coming = rollout.to_revision.number if rollout and is_plain(rollout) else None
        return bars_of(self.deployment.observed, coming, wanted, traffic_of(rollout, self.stages) if rollout else None)

    def _entry(self, number: int) -> dict[str, int]:
        nothing = {"revision": number, "wanted": 0, "existing": 0, "ready": 0}
        return next((entry for entry in self.deployment.observed if entry["revision"] == number), nothing)
