"""What expressions of a pipeline run see of its steps."""

from collections.abc import Sequence
from typing import Any

from apps.experiments.models import Run
from apps.experiments.specs.files import FILES, uri_of
from apps.workflows.models import PipelineRun, Step
from apps.workflows.specs import PipelineSpec, StepSpec, bodies, expanding
from apps.workflows.specs import expressions as ex
from apps.workflows.states import StepState


class Context:
    """The values of one pipeline run as they are now; `rows` are its steps with their runs."""

    def __init__(self, run: PipelineRun, spec: PipelineSpec, rows: Sequence[Step]) -> None:
        exits = {step.name for step in spec.steps if step.on_exit}
        ends = {row.state for row in rows if row.name not in exits}
        # What the steps before those on exit have come to.
        state = run.state if run.canceled_by else "Failed" if ends & {"Failed", "Canceled"} else "Succeeded"
        self._about = {"name": run.pipeline.name, "run": run.number, "state": state}
        self._params = run.params
        by_name: dict[str, list[Step]] = {}
        for row in rows:
            by_name.setdefault(row.name, []).append(row)
        several = {step.name for step in spec.steps if step.each is not None}
        self._steps = {
            name: _seen(items, name in several)
            for name, items in by_name.items()
            if all(row.state == StepState.SUCCEEDED for row in items)
        }

    def of(self, row: Step | None = None) -> dict[str, Any]:
        """What the expressions of a step see, for one of its items."""
        return expanding.context(self._about, self._params, self._steps, row.value if row else None)

    def holds(self, step: StepSpec) -> bool:
        """Whether the condition of a step is true: any value but false, null, 0 and what is empty. Raises Invalid."""
        return bool(ex.parse(step.when).value(self.of()))

    def body(self, step: StepSpec, row: Step) -> dict[str, Any]:
        """What the step is to do for one of its items. Raises Invalid."""
        return bodies.rendered(step.kind, step.body, self.of(row))


def _seen(items: Sequence[Step], several: bool) -> dict[str, Any]:
    runs = [row.run for row in items if row.run is not None]
    uids, files = [run.uid for run in runs], [files_of(run) for run in runs]
    if several:
        named = {name: [each[name] for each in files] for name in (files[0] if files else ())}
        return {"outputs": [row.outputs for row in items], "runs": uids, "files": named}
    of_run = {"run": uids[0], "runs": uids, "files": files[0]} if runs else {}
    return {"outputs": items[0].outputs, **of_run}


def files_of(run: Run) -> dict[str, str]:
    """The outputs of a run that are files, and where another run finds each of them."""
    kinds: dict[str, str] = run.spec.get("outputs") or {}
    return {name: uri_of(run.uid, name) for name, kind in kinds.items() if kind == FILES}
