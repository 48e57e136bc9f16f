"""Moving a held pipeline run on as far as it goes now: observe, decide, and store what follows, all in the transaction
that is open. Doing it twice changes nothing.

A pass makes one model version or rollout at most, so that the locks of two never wait for each other crosswise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.core.access import require_alive
from apps.core.database import transitions
from apps.core.database.rows import put
from apps.core.errors import FlotillaError, Unavailable
from apps.workflows import selectors
from apps.workflows.decision import Decision, Key, Seen, Stop, decide
from apps.workflows.models import PipelineRun, Step
from apps.workflows.services.common import tell
from apps.workflows.services.context import Context
from apps.workflows.services.observing import OVERDUE, Ended, endings, stop
from apps.workflows.services.starting import begin
from apps.workflows.specs import Kind, PipelineSpec
from apps.workflows.states import ENDED, RUN_MOVES, STEP_MOVES, PipelineRunState, StepState

# So many runs are launched, or stopped, in one transaction.
MOST_AT_ONCE = 50


@dataclass(frozen=True)
class Moved:
    """Whether there is more to do at once, and when to look again though nothing happens."""

    more: bool = False
    due: datetime | None = None


def move(run: PipelineRun, now: datetime | None = None) -> Moved:
    """Bring a held run a pass further. Raises Unavailable where something is needed that does not answer now."""
    if run.state in ENDED:
        return Moved()
    return _Pass(run, now or timezone.now()).go()


class _Pass:
    def __init__(self, run: PipelineRun, now: datetime) -> None:
        self.run, self.now = run, now
        self.spec: PipelineSpec = run.version.parsed
        self.steps = {step.name: step for step in self.spec.steps}
        self.rows = selectors.steps_of(run)
        self.by_key: dict[Key, Step] = {(row.name, row.item): row for row in self.rows}
        self.changed = False

    def go(self) -> Moved:
        for row, outcome in endings(self.rows):
            self._end(row, outcome)
        context = Context(self.run, self.spec, self.rows)
        deadline = self._deadline()
        decision = decide(self.spec, self._seen(), self.now, holds=context.holds, stop=self._stop(deadline))
        for end in decision.end:
            self._end(self.by_key[end.key], Ended(end.state, end.reason, end.message))
        stopped = self._portion(decision.stop)
        for key in stopped:
            self._stop_step(self.by_key[key], decision)
        started = self._portion(decision.start)
        for key in started:
            self._start(self.by_key[key], context)
        self._settle(decision)
        if self.changed:
            tell(self.run.pipeline, self.run)
        more = bool(started) or len(stopped) < len(decision.stop)
        # A deadline that has passed has been acted upon: what it stopped tells when it has ended.
        return Moved(more, min((at for at in (decision.due, deadline) if at and at > self.now), default=None))

    def _seen(self) -> dict[str, list[Seen]]:
        seen: dict[str, list[Seen]] = {step.name: [] for step in self.spec.steps}
        for row in self.rows:
            seen[row.name].append(Seen(StepState(row.state), row.started_at))
        return seen

    def _portion(self, keys: Sequence[Key]) -> Sequence[Key]:
        """As many of them as one transaction takes: runs together, anything else alone."""
        runs = [key for key in keys if self.by_key[key].kind == Kind.RUN]
        return runs[:MOST_AT_ONCE] if runs else keys[:1]

    def _deadline(self) -> datetime | None:
        seconds = self.spec.deadline_seconds
        return self.run.started_at + timedelta(seconds=seconds) if seconds is not None else None

    def _stop(self, deadline: datetime | None) -> Stop | None:
        if self.run.canceled_by:
            return Stop(PipelineRunState.CANCELED, "Canceled", f"{self.run.canceled_by} canceled it.")
        over = self.run.state == PipelineRunState.RUNNING and all(
            self.by_key[key].is_final for key in self.by_key if not self.steps[key[0]].on_exit
        )
        if deadline is not None and deadline <= self.now and not over:
            said = f"It took longer than {self.spec.deadline_seconds} s."
            return Stop(PipelineRunState.FAILED, OVERDUE, said)
        return None

    def _start(self, row: Step, context: Context) -> None:
        try:
            require_alive(self.run.principal)
            with transaction.atomic():
                begun = begin(self.run, row, context.body(self.steps[row.name], row))
        except Unavailable:
            raise
        except FlotillaError as error:
            return self._refused(row, error)
        made = {"run": begun.run, "rollout": begun.rollout, "fingerprint": begun.fingerprint}
        self._put(row, **made, child=begun.child, outputs=dict(begun.outputs), started_at=self.now)
        if begun.state is StepState.SUCCEEDED:
            self._end(row, Ended(begun.state, begun.reason, begun.message, dict(begun.outputs)))
        else:
            self._advance(row, begun.state, "Started", begun.message)
        return None

    def _refused(self, row: Step, error: FlotillaError) -> None:
        self._end(row, Ended(StepState.FAILED, type(error).__name__, error.sentence))

    def _stop_step(self, row: Step, decision: Decision) -> None:
        overdue = decision.state is PipelineRunState.RUNNING
        with transaction.atomic():
            refusal = stop(row, self.run.who_cancels)
        said = f"It took longer than {self.steps[row.name].deadline_seconds} s." if overdue else decision.message
        self._advance(row, StepState.CANCELING, OVERDUE if overdue else decision.reason, f"{said} {refusal}".strip())

    def _end(self, row: Step, outcome: Ended) -> None:
        more: dict[str, object] = {"outputs": outcome.outputs} if outcome.outputs else {}
        if row.started_at is not None or outcome.state is not StepState.SKIPPED:
            more["ended_at"] = self.now
        self._put(row, **more)
        self._advance(row, outcome.state, outcome.reason, outcome.message)

    def _advance(self, row: Step, to: StepState, reason: str, message: str) -> None:
        words = {"reason": reason[:100], "message": message[:2000]}
        if not transitions.advance(row, to=to, allowed=STEP_MOVES, **words, columns=words):
            raise RuntimeError(f"{row} can't go from {row.state} to {to}")
        self.changed = True

    def _put(self, row: Step, **columns: object) -> None:
        if columns:
            put(row, **columns)

    def _settle(self, decision: Decision) -> None:
        """Let the whole be what its steps make of it."""
        if decision.state in (self.run.state, PipelineRunState.RUNNING):
            return
        words = {"reason": decision.reason[:100], "message": decision.message[:2000]}
        ending = {"ended_at": self.now} if decision.state in ENDED else {}
        transitions.advance(self.run, to=decision.state, allowed=RUN_MOVES, **words, columns={**words, **ending})
        self.changed = True
