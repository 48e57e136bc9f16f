"""What the page of a pipeline run shows: the graph, a line for each item, and the panel of the one that is chosen."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from django.urls import reverse
from django.utils import timezone

from apps.clusters.selectors.visibility import visibility_of
from apps.core.access import Principal, may
from apps.core.states import Role
from apps.core.text.wording import duration_text, look_of
from apps.experiments.pages.whys import whys_of
from apps.workflows import selectors
from apps.workflows.decision import word_of
from apps.workflows.layout import HEIGHT, WIDTH, Picture, picture
from apps.workflows.models import PipelineRun, Step
from apps.workflows.pages.files import StepFiles, files_of_step
from apps.workflows.pages.timeline import Bar, Span, bars
from apps.workflows.services.starting import CACHED
from apps.workflows.specs import Kind, PipelineSpec, StepSpec
from apps.workflows.states import PipelineRunState, StepState

# Of a name, so many letters fit into a box.
NAME_LETTERS = 15
# What a step with several items is while some have not ended: the first of these that one of them is.
_OPEN = (StepState.PAUSED, StepState.CANCELING, StepState.RUNNING, StepState.WAITING)


@dataclass(frozen=True)
class Node:
    """A step in the picture."""

    step: StepSpec
    rows: Sequence[Step]
    x: int
    y: int
    chosen: bool
    url: str

    width, height = WIDTH, HEIGHT

    @functools.cached_property
    def state(self) -> StepState:
        """What its items make of it."""
        states = [StepState(row.state) for row in self.rows]
        ended = word_of(states)
        if ended is not None:
            return ended
        if StepState.WAITING in states and StepState.SUCCEEDED in states and StepState.RUNNING not in states:
            return StepState.RUNNING
        return next(state for state in _OPEN if state in states)

    @property
    def tone(self) -> str:
        """The colour of its state."""
        return look_of(self.state).tone

    @property
    def icon(self) -> str:
        """The shape of its state."""
        return look_of(self.state).icon

    @property
    def label(self) -> str:
        """Its name as far as it fits."""
        name = self.step.name
        return name if len(name) <= NAME_LETTERS else f"{name[: NAME_LETTERS - 1]}…"

    @property
    def said(self) -> str:
        """What it does, how far it is, and how long it took: "run · 2 of 3 · 12 s"."""
        parts = [self.step.kind.value]
        if self.step.each is not None:
            done = sum(row.state == StepState.SUCCEEDED for row in self.rows)
            parts.append(f"{done} of {len(self.rows)}")
        if all(row.reason == CACHED for row in self.rows):
            return " · ".join([*parts, "not run again"])
        starts = [row.started_at for row in self.rows if row.started_at]
        ends = [row.ended_at for row in self.rows if row.ended_at]
        if starts and len(ends) == len(self.rows):
            parts.append(duration_text(max(ends) - min(starts)))
        elif self.state not in (StepState.RUNNING, StepState.WAITING):
            parts.append(self.state.value)
        return " · ".join(parts)


class Board:
    """A pipeline run as its page shows it; `chosen` is the label of the step whose panel is open."""

    def __init__(self, run: PipelineRun, principal: Principal, chosen: str) -> None:
        self.run = run
        self.spec: PipelineSpec = run.version.parsed
        self.rows = selectors.steps_of(run)
        self._principal = principal
        self._asked = chosen

    @functools.cached_property
    def chosen(self) -> Step | None:
        """The item whose panel is open: the one asked for, else what needs somebody, else what is under way."""
        by_label = {row.label: row for row in self.rows}
        named = [row for row in self.rows if row.name == self._asked]
        if self._asked and (self._asked in by_label or named):
            return by_label.get(self._asked) or _worst(named)
        return _worst(self.rows)

    @functools.cached_property
    def drawn(self) -> Picture:
        """The picture."""
        behind = {name for step in self.spec.steps for name in step.needs}
        lasts = [step.name for step in self.spec.steps if not step.on_exit and step.name not in behind]
        return picture({s.name: (s.needs or lasts) if s.on_exit else s.needs for s in self.spec.steps})

    @functools.cached_property
    def nodes(self) -> list[Node]:
        """The steps in it."""
        by_name: dict[str, list[Step]] = {}
        for row in self.rows:
            by_name.setdefault(row.name, []).append(row)
        steps = {step.name: step for step in self.spec.steps}
        open_one = self.chosen.name if self.chosen else ""
        return [
            Node(steps[box.name], by_name[box.name], box.x, box.y, box.name == open_one, f"?step={box.name}")
            for box in self.drawn.boxes
        ]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The lines, each with the tone of what it comes from once that has ended."""
        tones = {node.step.name: node.tone if node.state == StepState.SUCCEEDED else "" for node in self.nodes}
        return [(line.path, tones[line.source]) for line in self.drawn.lines]

    @property
    def step(self) -> StepSpec | None:
        """What the open panel's step is to do."""
        return next((each for each in self.spec.steps if self.chosen and each.name == self.chosen.name), None)

    @property
    def body(self) -> str:
        """The same as YAML, with its expressions as they were written."""
        return _yaml(self.step.body) if self.step is not None else ""

    @property
    def siblings(self) -> list[Step]:
        """The items of the open panel's step, where it has several."""
        return [row for row in self.rows if self.chosen and row.name == self.chosen.name and row.value is not None]

    @property
    def outputs(self) -> list[tuple[str, Any]]:
        """What later steps may read of the open one."""
        return sorted(self.chosen.outputs.items()) if self.chosen else []

    @functools.cached_property
    def bars(self) -> list[Bar]:
        """Where the time went: what has begun in this run, each as long as it took."""
        start, end = self.run.started_at, self.run.ended_at or timezone.now()
        spans = [
            Span(row.label, row.state, row.started_at, _began(row), row.ended_at)
            for row in self.rows
            if row.started_at is not None and row.started_at >= start
        ]
        return bars(spans, start, end)

    @functools.cached_property
    def files(self) -> StepFiles:
        """What the open one was given, and what it has kept."""
        run = self.chosen.run if self.chosen else None
        return files_of_step(run) if run is not None else StepFiles()

    @property
    def params(self) -> list[tuple[str, Any]]:
        """The parameters, as declared."""
        return [(each.name, self.run.params.get(each.name)) for each in self.spec.params]

    @property
    def link(self) -> str:
        """The page of the run, the rollout or the model version that the open step is; "" where it is none."""
        row, project = self.chosen, self.run.pipeline.project.name
        if row is None:
            return ""
        if row.run is not None:
            return reverse("experiments:run", args=[project, row.run.uid])
        if row.rollout is not None:
            return reverse("deployments:detail", args=[project, row.rollout.deployment.name])
        if row.child is not None:
            return reverse("workflows:run", args=[project, row.child.pipeline.name, row.child.number])
        if row.kind == Kind.REGISTER and row.outputs.get("model"):
            return reverse("experiments:model", args=[project, row.outputs["model"]])
        return ""

    @property
    def why(self) -> str:
        """Why the open step's run or rollout is as it is, in the words of its own page, while it has not ended."""
        row = self.chosen
        if row is None or not row.is_under_way:
            return ""
        if row.run is not None and (why := whys_of([row.run], visibility_of(self._principal)).get(row.run.pk)):
            return why.quoted
        linked = row.run or row.rollout or row.child
        return linked.message if linked is not None else ""

    @property
    def waits_for(self) -> list[str]:
        """The steps that have to end before the open one begins, while it waits for them."""
        if self.chosen is None or self.step is None or self.chosen.state != StepState.WAITING:
            return []
        going = {row.name for row in self.rows if not row.is_final}
        return [name for name in self.step.needs if name in going]

    @property
    def linked_state(self) -> str:
        """The state of the run or the rollout of the open step."""
        row = self.chosen
        linked = row and (row.run or row.rollout or row.child)
        return str(linked.state) if linked else ""

    @property
    def ended(self) -> int:
        """How many items have ended."""
        return sum(row.is_final for row in self.rows)

    @property
    def may_change(self) -> bool:
        """Whether the reader may start pipelines."""
        return may(self._principal, self.run.pipeline.project)

    @property
    def may_cancel(self) -> bool:
        """Whether there is something to cancel."""
        return self.may_change and self.run.state == PipelineRunState.RUNNING

    @property
    def may_retry(self) -> bool:
        """Whether there is something to do again."""
        return self.may_change and self.run.state in (PipelineRunState.FAILED, PipelineRunState.CANCELED)

    @property
    def may_decide(self) -> bool:
        """Whether the open step waits for the reader, among others."""
        if self.chosen is None or self.step is None or self.chosen.state != StepState.PAUSED:
            return False
        needed = Role(self.step.body.get("role") or Role.DEVELOPER)
        return self.run.state == PipelineRunState.RUNNING and may(self._principal, self.run.pipeline.project, needed)

    @property
    def topics(self) -> str:
        """What the page listens to: the run of the pipeline, and what the open step is."""
        row = self.chosen
        more = f"run:{row.run_id}" if row and row.run_id else ""
        if row and row.rollout is not None:
            more = f"deployment:{row.rollout.deployment_id}"
        if row and row.child_id:
            more = f"pipeline-run:{row.child_id}"
        return " ".join(filter(None, [f"pipeline-run:{self.run.pk}", more]))


def _began(row: Step) -> datetime | None:
    """When a run has got its place; anything else waits for none."""
    return row.run.started_at if row.run is not None else row.started_at


def _worst(rows: Sequence[Step]) -> Step | None:
    """The item that people look for first."""
    order = (StepState.PAUSED, StepState.FAILED, StepState.CANCELING, StepState.RUNNING)
    for state in order:
        found = next((row for row in rows if row.state == state), None)
        if found is not None:
            return found
    done = [row for row in rows if row.ended_at is not None and row.state == StepState.SUCCEEDED]
    return max(done, key=_end, default=rows[0] if rows else None)


def _end(row: Step) -> datetime:
    assert row.ended_at is not None  # noqa: S101 - tells mypy what was asked
    return row.ended_at


def _yaml(body: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(body), sort_keys=False, allow_unicode=True).strip() if body else ""
