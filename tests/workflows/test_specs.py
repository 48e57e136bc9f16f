"""Pipelines as people write them: what is taken, what is refused and where, and what expressions do."""

import copy
from typing import Any

import pytest

from apps.core.errors import Invalid
from apps.core.text import safeyaml
from apps.experiments.specs import parse_spec
from apps.workflows.specs import Kind, PipelineSpec, bodies, expanding
from apps.workflows.specs import expressions as ex
from apps.workflows.specs.caching import fingerprint
from apps.workflows.specs.parameters import from_text, given
from apps.workflows.specs.parsing import parse_pipeline
from tests.workflows.pipelines import DIGITS, digits


def test_a_pipeline_is_read_and_its_order_follows_from_what_is_read():
    data = digits()
    data["steps"].reverse()
    spec = parse_pipeline(data)
    assert [step.name for step in spec.steps] == ["prepare", "train", "evaluate", "register", "approve", "deploy"]
    needs = {step.name: step.needs for step in spec.steps}
    assert needs == {
        "prepare": (),
        "train": ("prepare",),
        "evaluate": ("train",),
        "register": ("evaluate",),
        "approve": ("register",),
        "deploy": ("approve", "register"),
    }
    assert PipelineSpec.from_json(spec.to_json()) == spec


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(data)
    inner: Any = data
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        inner = inner[part]
    inner[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "field", "said"),
    [
        ("name", "Digits!", "name", "lower-case"),
        ("colour", 1, "colour", "There is no 'colour'"),
        ("params", {"a-b": 1}, "params.a-b", "can't be a name"),
        ("params", {"a": {"type": "money"}}, "params.a.type", "one of"),
        ("params", {"a": {"type": "int", "default": 1.5}}, "params.a.default", "whole number"),
        ("params", {"a": float("nan")}, "params.a", "finite"),
        ("params", {"sizes": [1], "least": 1.0}, "steps.1.run.params.epochs", "no parameter epochs"),
        ("steps", [], "steps", "1 to 1000"),
        ("steps.0", {"name": "a", "run": {}, "approve": {}}, "steps.0", "one of"),
        ("steps.0.name", "train", "steps.1.name", "two steps train"),
        ("steps.0.name", "Prepare", "steps.0.name", "can't be a name"),
        ("steps.0.needs", ["deploy"], "steps", "prepare → deploy → approve → register → evaluate → train → prepare"),
        ("steps.0.needs", ["nobody"], "steps.0.needs", "no other step"),
        ("steps.0.needs", ["prepare"], "steps.0.needs", "no other step"),
        ("steps.0.deadline_seconds", 5, "steps.0.deadline_seconds", "deadline"),
        ("steps.0.run.image", "", "steps.0.run.image", "container image"),
        ("steps.0.run.resources", {"cpu": "lots"}, "steps.0.run.resources.cpu", "lots"),
        ("steps.0.run.matrix", {"a": [1]}, "steps.0.run.matrix", "There is no 'matrix'"),
        ("steps.0.run.env", {"A": "${{ each }}"}, "steps.0.run.env.A", "has none"),
        ("steps.0.run.command", ["a", "${{ steps.x.run }}"], "steps.0.run.command.1", "no other step"),
        ("steps.0.run.command", ["a", "${{ 1 + }}"], "steps.0.run.command.1", "no expression"),
        ("steps.0.run.command", ["a", "${{ open('x') }}", "${{ os.path }}"], "steps.0.run.command.2", "'os'"),
        ("steps.0.run.command", ["${{ [1].map(x, x) }}"], "steps.0.run.command.0", "map"),
        ("steps.0.run.command", ["${{ steps['train'].run }}"], "steps.0.run.command.0", "name one of the steps"),
        ("steps.1.each", [], "steps.1.each", "1 to 1000"),
        ("steps.1.each", list(range(996)), "steps", "1001 steps"),
        ("steps.1.each", "${{ steps.prepare.outputs.list }}", "steps.1.each", "parameters"),
        ("steps.1.each.limit", 0, "steps.1.each.limit", "from 1"),
        ("steps.3.when", 5, "steps.3.when", "expression"),
        ("steps.3.when", "steps.evaluate.outputs.accuracy >", "steps.3.when", "no expression"),
        ("steps.3.when", "a" * 501, "steps.3.when", "500"),
        ("steps.3.register.run", None, "steps.3.register.run", "1 to"),
        ("steps.4.approve.role", "king", "steps.4.approve.role", "developer or admin"),
        ("steps.5.deploy", {"deployment": "d", "model": "m"}, "steps.5.deploy.version", "Which version"),
        ("steps.5.deploy.strategy", {"kind": "magic"}, "steps.5.deploy.strategy.kind", "kind"),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(path, value, field, said):
    with pytest.raises(Invalid) as refused:
        parse_pipeline(put(digits(), path, value))
    assert refused.value.field == field
    assert said in refused.value.sentence


@pytest.mark.parametrize("data", [None, 3, "text", [], {"name": "a"}, {"steps": [None]}])
def test_what_is_no_pipeline_at_all_is_refused(data):
    with pytest.raises(Invalid):
        parse_pipeline(data)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("steps.1.run.command.3", 17),
        ("params.least.default", 7),
        ("steps.5", 30),
        ("steps.5.deploy.nothing", 32),
        ("steps." + "9" * 5000, 8),
    ],
)
def test_a_place_in_a_file_has_a_line(path, line):
    assert safeyaml.line_of(DIGITS, path) == line


CONTEXT = expanding.context(
    {"name": "digits", "run": 3},
    {"n": 2, "rate": 0.5, "names": ["a", "b"], "on": True},
    {"train": {"outputs": {"accuracy": 0.95, "val/loss": 0.1}, "run": "r1"}},
    {"hidden": 8},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${{ params.n }}", 2),
        (" ${{ params.n + 1 }} ", 3),
        ("n=${{ params.n }}, on=${{ params.on }}", "n=2, on=true"),
        ("${{ params.names }}", ["a", "b"]),
        ("${{ params.names }}!", '["a", "b"]!'),
        ("${{ each.hidden }}", 8),
        ("${{ steps.train.outputs.accuracy > 0.9 && params.on }}", True),
        ('${{ steps.train.outputs["val/loss"] }}', 0.1),
        ("${{ 'steps.nobody' + \"}\" }}", "steps.nobody}"),
        ("${{ has(steps.train.outputs.recall) ? 1 : 0 }}", 0),
        ("$(HOME) {{ x }} $5", "$(HOME) {{ x }} $5"),
    ],
)
def test_expressions_have_values(text, value):
    assert ex.filled(text, CONTEXT) == value


@pytest.mark.parametrize(
    "text",
    [
        "${{ params.missing }}",
        "${{ steps.train.outputs.recall }}",
        "${{ steps.other.run }}",
        "${{ params.n > 'a' }}",
        "${{ 1 / 0 }}",
        "${{ 1.0 / 0.0 }}",
        "${{ nothing() }}",
        "${{ b'bytes' }}",
        "${{ timestamp('2026-01-01T00:00:00Z') }}",
    ],
)
def test_an_expression_without_a_value_is_refused_with_a_sentence(text):
    with pytest.raises(Invalid) as refused:
        ex.filled(text, CONTEXT)
    assert text[4:-3] in refused.value.message


def test_the_longest_expressions_end_and_nothing_else_does():
    assert ex.parse("+".join("1" * 250)).value({"steps": {}}) == 250
    for nested in ("(" * 249 + "1" + ")" * 249, "!" * 496 + "true", "[" * 250 + "]" * 250):
        try:
            ex.parse(nested).value({"steps": {}})
        except Invalid:
            continue


def test_parameters_are_given_checked_or_left_to_their_defaults():
    params = parse_pipeline(digits()).params
    assert given(params, {"epochs": 7, "least": 1}) == {"epochs": 7, "sizes": [8, 32, 64], "least": 1.0}
    for values, field in [
        ({"epochs": "7"}, "params.epochs"),
        ({"epochs": True}, "params.epochs"),
        ({"sizes": [[1]]}, "params.sizes"),
        ({"other": 1}, "params.other"),
    ]:
        with pytest.raises(Invalid) as refused:
            given(params, values)
        assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [("epochs", " 7 ", 7), ("epochs", "many", "many"), ("least", "0.5", 0.5), ("epochs", "", None)],
)
def test_what_is_typed_becomes_a_value(name, words, value):
    parameter = next(each for each in parse_pipeline(digits()).params if each.name == name)
    assert from_text(parameter, words) == value


def test_items_follow_from_a_list_or_from_parameters():
    spec = parse_pipeline(digits())
    rows = [(step.name, number, value) for step, number, value in expanding.items(spec, {"sizes": [1, 2]})]
    assert rows[:3] == [("prepare", 0, None), ("train", 0, 1), ("train", 1, 2)]
    for sizes in ([], list(range(996))):
        with pytest.raises(Invalid):
            expanding.items(spec, {"sizes": sizes})


def test_a_body_is_rendered_with_texts_where_only_texts_go():
    body = bodies.rendered(
        Kind.RUN,
        {"args": ["${{ params.n }}", "x"], "env": {"N": "${{ params.on }}"}, "retries": "${{ params.n }}"},
        CONTEXT,
    )
    assert body == {"args": ["2", "x"], "env": {"N": "true"}, "retries": 2}


def test_numbers_out_of_expressions_wait_for_the_start():
    body = {"image": "a", "retries": "${{ params.epochs }}", "resources": {"cpu": "${{ params.epochs }}"}}
    assert bodies.check_body(Kind.RUN, body, "steps.0.run") == body


PINNED = f"team/train@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("asked", "is_pinned"),
    [
        ({"image": PINNED}, True),
        ({"image": "team/train:1"}, False),
        ({"image": PINNED, "git": {"url": "https://a.b/c", "ref": "a" * 40}}, True),
        ({"image": PINNED, "git": {"url": "https://a.b/c", "ref": "main"}}, False),
        ({"image": PINNED, "volumes": [{"mountPath": "/x", "emptyDir": {}}]}, True),
        ({"image": PINNED, "volumes": [{"mountPath": "/x", "persistentVolumeClaim": {"claimName": "c"}}]}, False),
        ({"image": PINNED, "secret_env": {"KEY": {"secretName": "s", "key": "k"}}}, False),
        ({"image": PINNED, "checkpoints": {"size": "1Gi"}}, False),
    ],
)
def test_by_itself_only_what_is_pinned_is_reused(asked, is_pinned):
    spec = parse_spec(asked)
    assert bool(fingerprint(spec, {}, {}, asked=None)) is is_pinned
    assert fingerprint(spec, {}, {}, asked=True) and not fingerprint(spec, {}, {}, asked=False)
    assert not fingerprint(spec, {}, {"x": ("",)}, asked=True), "nobody knows the content of its input"


def test_a_result_does_not_follow_from_where_and_for_how_long_it_may_run():
    def mark(params={}, digests={}, **more):  # noqa: B006
        return fingerprint(parse_spec({"image": PINNED, **more}), params, digests, asked=None)

    same = mark(inputs={"x": f"runs:/{'a' * 32}/outputs/x"}, digests={"x": ("1",)})
    assert same == mark(inputs={"x": f"runs:/{'b' * 32}/outputs/x"}, digests={"x": ("1",)}, deadline_seconds=9)
    assert same == mark(digests={"x": ("1",)}, resources={"cpu": "2"}, retries=3)
    different = [mark(digests={"x": ("2",)}), mark(args=["1"]), mark(env={"A": "1"}), mark(params={"a": "1"}), mark()]
    assert len({same, *different}) == 6
