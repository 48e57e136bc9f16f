"""The decision about a pipeline run of a thousand steps: at its start, half way through, and canceled."""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from apps.workflows.decision import Seen, Stop, decide
from apps.workflows.specs import MAX_STEPS, Kind, PipelineSpec, StepSpec
from apps.workflows.specs import expressions as ex
from apps.workflows.states import PipelineRunState, StepState
from benchmarks.figures import Figure

NOW = datetime(2026, 12, 1, tzinfo=UTC)
LAYER, ROUNDS = 50, 50


def run() -> Iterator[Figure]:
    """Twenty layers of fifty steps, each with a condition and five needs in the layer before."""
    spec = PipelineSpec("wide", tuple(map(_step, range(MAX_STEPS))))
    outputs = {step.name: {"outputs": {"accuracy": 0.9}} for step in spec.steps}
    for name, done, stop in (
        ("start", 0, None),
        ("half_way", MAX_STEPS // 2, None),
        ("canceled", MAX_STEPS // 2, Stop(PipelineRunState.CANCELED, "Canceled", "")),
    ):
        rows = {step.name: [_seen(number, done)] for number, step in enumerate(spec.steps)}
        spent = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            decide(spec, rows, NOW, holds=lambda step: bool(ex.parse(step.when).value({"steps": outputs})), stop=stop)
            spent.append((time.perf_counter() - began) * 1000)
        beside = {"steps": MAX_STEPS, "ended": done, "p95": round(sorted(spent)[int(ROUNDS * 0.95)], 3)}
        yield Figure(f"decision_{name}", statistics.median(spent), "ms", goal=20.0, beside=beside)


def _step(number: int) -> StepSpec:
    first = (number // LAYER - 1) * LAYER
    needs = tuple(f"s{first + (number + away) % LAYER}" for away in range(5)) if first >= 0 else ()
    when = f"steps.{needs[0]}.outputs.accuracy > 0.5" if needs else ""
    return StepSpec(f"s{number}", Kind.RUN, needs=needs, when=when)


def _seen(number: int, done: int) -> Seen:
    return Seen(StepState.SUCCEEDED if number < done else StepState.WAITING, NOW)
