"""What a person wrote, checked and made a pipeline of. Each refusal names the place. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from apps.core.errors import Invalid
from apps.core.text.names import check_name
from apps.workflows.specs import MAX_STEPS, Each, Kind, PipelineSpec, StepSpec
from apps.workflows.specs import expressions as ex
from apps.workflows.specs.bodies import check_body
from apps.workflows.specs.fields import MAX_DEADLINE_SECONDS, at, identifier, mapping, text, whole
from apps.workflows.specs.parameters import is_list, parse_parameters

_KEYS = ("name", "description", "params", "steps", "on_exit", "deadline_seconds")
MAX_EXITS = 20
_STEP_KEYS = ("name", "needs", "when", "each", "deadline_seconds", "cache", *Kind)


def parse_pipeline(data: Any) -> PipelineSpec:
    """Check a pipeline. Raises Invalid whose `field` is the path to the place, such as `steps.1.run.args.0`."""
    shape = mapping(data, "", _KEYS)
    name = text(shape.get("name"), "name", most=40, needed=True)
    check_name(name, "name")
    params = parse_parameters(shape.get("params"), "params")
    listed = shape.get("steps")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_STEPS:
        raise Invalid(f"steps is a list of 1 to {MAX_STEPS} steps.", field="steps")
    at_last = shape.get("on_exit") or []
    if not isinstance(at_last, list) or len(at_last) > MAX_EXITS:
        raise Invalid(f"on_exit is a list of at most {MAX_EXITS} steps.", field="on_exit")
    known = frozenset(each.name for each in params)
    return PipelineSpec(
        name=name,
        description=text(shape.get("description"), "description", most=2000),
        params=params,
        steps=_steps(listed, at_last, known),
        deadline_seconds=whole(shape.get("deadline_seconds"), "deadline_seconds", most=MAX_DEADLINE_SECONDS),
    )


def _steps(listed: list[Any], at_last: list[Any], params: frozenset[str]) -> tuple[StepSpec, ...]:
    steps = [_step(item, f"steps.{number}") for number, item in enumerate(listed)]
    exits = [replace(_step(item, f"on_exit.{number}"), on_exit=True) for number, item in enumerate(at_last)]
    _check_names(steps, exits)
    own, last = {each.name for each in steps}, {each.name for each in exits}
    for number, item in enumerate(listed):
        steps[number] = _linked(steps[number], item, f"steps.{number}", own, own, params)
    for number, item in enumerate(at_last):
        exits[number] = _linked(exits[number], item, f"on_exit.{number}", last, own | last, params)
    return (*_ordered(steps), *_ordered(exits))


def _step(item: Any, path: str) -> StepSpec:
    shape = mapping(item, path, _STEP_KEYS)
    name = identifier(shape.get("name"), at(path, "name"))
    kinds = [kind for kind in Kind if kind in shape]
    if len(kinds) != 1:
        raise Invalid(f"Step {name} has one of: {', '.join(Kind)}.", field=path)
    kind = kinds[0]
    needs = shape.get("needs") or []
    if isinstance(needs, str):
        needs = [needs]
    if not isinstance(needs, list) or not all(isinstance(each, str) for each in needs):
        raise Invalid("needs is a list of names of steps.", field=at(path, "needs"))
    # First, so that what is wrong with an expression is told at its place.
    for _ in _walk(shape[kind], at(path, kind.value)):
        pass
    return StepSpec(
        name=name,
        kind=kind,
        body=check_body(kind, shape[kind], at(path, kind.value)),
        needs=tuple(dict.fromkeys(needs)),
        when=_when(shape.get("when"), at(path, "when")),
        each=_each(shape["each"], at(path, "each")) if shape.get("each") is not None else None,
        deadline_seconds=_deadline(shape.get("deadline_seconds"), kind, at(path, "deadline_seconds")),
        cache=_cache(shape.get("cache"), kind, at(path, "cache")),
    )


def _deadline(value: Any, kind: Kind, path: str) -> int | None:
    if value is not None and kind not in (Kind.DEPLOY, Kind.APPROVE):
        hint = "Put it into the step's run: it covers all attempts." if kind is Kind.RUN else "Leave it out."
        raise Invalid(f"A {kind} step has no deadline of its own.", field=path, hint=hint)
    return whole(value, path, most=MAX_DEADLINE_SECONDS)


def _cache(value: Any, kind: Kind, path: str) -> bool | None:
    if value is not None and (kind is not Kind.RUN or not isinstance(value, bool)):
        raise Invalid("cache is true or false, of a step that is a run.", field=path)
    return value


def _when(value: Any, path: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise Invalid("when is an expression.", field=path, hint="Such as steps.train.outputs.accuracy > 0.9.")
    try:
        alone = ex.whole(value)
        return alone.text if alone is not None else ex.parse(value).text
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, field=path) from error


def _each(value: Any, path: str) -> Each:
    shape = value if isinstance(value, Mapping) else {"in": value}
    mapping(shape, path, ("in", "limit"))
    items = shape.get("in")
    limit = whole(shape.get("limit"), at(path, "limit"), most=MAX_STEPS)
    if isinstance(items, str):
        alone = ex.whole(items)
        if alone is None or alone.steps:
            hint = "Such as ${{ params.sizes }}. A list out of another step's outputs is not known when the run begins."
            raise Invalid("each is a list, or an expression that reads parameters.", field=path, hint=hint)
        return Each(items, limit)
    if not is_list(items) or not items:
        raise Invalid("each is a list of 1 to 1000 texts, numbers or flat objects.", field=path)
    return Each(tuple(items), limit)


def _check_names(steps: list[StepSpec], exits: list[StepSpec]) -> None:
    seen: set[str] = set()
    places = [*(f"steps.{number}" for number in range(len(steps))), *(f"on_exit.{n}" for n in range(len(exits)))]
    for place, step in zip(places, [*steps, *exits], strict=True):
        if step.name in seen:
            raise Invalid(f"There are two steps {step.name}.", field=f"{place}.name")
        seen.add(step.name)
        if step.on_exit and step.kind is Kind.APPROVE:
            raise Invalid("Nobody is asked on exit: it would wait for ever.", field=place)
    steps = [*steps, *exits]
    items = sum(len(step.each.items) if step.each and not isinstance(step.each.items, str) else 1 for step in steps)
    if items > MAX_STEPS:
        raise Invalid(f"These are {items} steps, items counted: {MAX_STEPS} at most.", field="steps")


def _linked(
    step: StepSpec, item: Mapping[str, Any], path: str, own: set[str], names: set[str], params: frozenset[str]
) -> StepSpec:
    """The step with all that it needs among its `own`, implied by what it reads. Raises Invalid where there is none."""
    for name in step.needs:
        if name not in own or name == step.name:
            raise Invalid(f"Step {step.name} needs {name}, which is no other step.", field=at(path, "needs"))
    implied = list(step.needs)
    for place, expression in _expressions(step, item, path):
        for name in sorted(expression.steps):
            if name not in names or name == step.name:
                raise Invalid(f"Step {step.name} reads steps.{name}, which is no other step.", field=place)
        for name in sorted(expression.params - params):
            raise Invalid(f"There is no parameter {name}.", field=place)
        if step.each is None and "each" in expression.program.variables():
            raise Invalid(f"Step {step.name} reads each, and has none.", field=place)
        implied += sorted(expression.steps & own)
    return replace(step, needs=tuple(dict.fromkeys(implied)))


def _expressions(step: StepSpec, item: Mapping[str, Any], path: str) -> Iterator[tuple[str, ex.Expression]]:
    if step.when:
        yield at(path, "when"), ex.parse(step.when)
    if step.each is not None and isinstance(step.each.items, str):
        yield from _walk(step.each.items, at(path, "each"))
    yield from _walk(item[step.kind], at(path, step.kind.value))


def _walk(value: Any, path: str) -> Iterator[tuple[str, ex.Expression]]:
    if isinstance(value, str):
        try:
            found = ex.found_in(value)
        except Invalid as error:
            raise Invalid(error.message, hint=error.hint, field=path) from error
        yield from ((path, expression) for expression in found)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, at(path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, at(path, number))


def _ordered(steps: list[StepSpec]) -> tuple[StepSpec, ...]:
    """Each after all that it needs, else in the order of the file. Raises Invalid naming a circle."""
    ordered: list[StepSpec] = []
    placed: set[str] = set()
    left = list(steps)
    while left:
        ready = [step for step in left if placed.issuperset(step.needs)]
        if not ready:
            raise Invalid(f"These steps need each other: {_circle(left)}.", field="steps")
        ordered += ready
        placed |= {step.name for step in ready}
        left = [step for step in left if step.name not in placed]
    return tuple(ordered)


def _circle(left: list[StepSpec]) -> str:
    """A circle among steps of which each needs another one of them: "a → b → a"."""
    by_name = {step.name: step for step in left}
    path = [left[0].name]
    while True:
        following = next(name for name in by_name[path[-1]].needs if name in by_name)
        if following in path:
            return " → ".join([*path[path.index(following) :], following])
        path.append(following)
