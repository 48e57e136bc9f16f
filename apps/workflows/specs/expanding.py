"""The items of a pipeline run's steps, and what expressions see. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.core.errors import Invalid
from apps.workflows.specs import MAX_STEPS, PipelineSpec, StepSpec
from apps.workflows.specs import expressions as ex
from apps.workflows.specs.parameters import is_list


def items(spec: PipelineSpec, params: Mapping[str, Any]) -> list[tuple[StepSpec, int, Any]]:
    """Each step, once for each of its items, with the item's number from 0 and its value (None where it has no `each`).

    Raises Invalid where a list that parameters give is none, is empty or makes too many.
    """
    rows = [(step, number, value) for step in spec.steps for number, value in enumerate(_values(step, params))]
    if len(rows) > MAX_STEPS:
        raise Invalid(f"These are {len(rows)} steps, items counted: {MAX_STEPS} at most.", field="params")
    return rows


def _values(step: StepSpec, params: Mapping[str, Any]) -> Sequence[Any]:
    if step.each is None:
        return (None,)
    if not isinstance(step.each.items, str):
        return step.each.items
    found = ex.filled(step.each.items, {"params": params, "steps": {}})
    if not is_list(found) or not found:
        raise Invalid(f"Step {step.name}: its list has to have an item, and at most {MAX_STEPS}.", field="params")
    return list(found)


def context(
    about: Mapping[str, Any], params: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]], item: Any = None
) -> dict[str, Any]:
    """What expressions see: `about` is told as `pipeline`, `item` as `each`."""
    return {"pipeline": about, "params": params, "steps": steps, "each": item}
