"""The client's pure parts, what it imports, and completion."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apps.deployments.states import RolloutState
from apps.experiments.states import SETTLED, RunState
from tests.client.flotilla import CLIENT, Flotilla

# As a person's shell would find it: it is no package of Flotilla's.
sys.path.insert(0, str(CLIENT))
from flotilla_client import outcomes, show
from flotilla_client.commands import deployments, pipelines, reading
from flotilla_client.tails import news, whole_lines

LINES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=12)


@given(LINES, LINES, st.integers(1, 12))
def test_what_is_news_ends_the_tail_and_is_all_that_came(start: list[str], more: list[str], tail: int):
    before, now = start[-tail:], (start + more)[-tail:]
    new = list(news(before, now))
    assert now[len(now) - len(new) :] == new
    if len(start) + len(more) <= tail:
        assert new == more or not start


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c", "d"], ["c", "d"]),
        (["a", "b"], ["x", "y"], ["x", "y"]),
        (["a"], [], []),
    ],
)
def test_what_of_a_tail_is_new(before: Sequence[str], now: Sequence[str], new: Sequence[str]):
    assert list(news(before, now)) == list(new)


def test_a_line_that_is_still_being_written_waits():
    assert whole_lines("a\nb", ended=False) == ["a"]
    assert whole_lines("a\nb", ended=True) == whole_lines("a\nb\n", ended=False) == ["a", "b"]


def test_every_end_of_a_run_and_of_a_rollout_is_known():
    assert {state for state in RunState if outcomes.run_ended({"state": state}) is not None} == SETTLED
    for state in RolloutState:
        rollout: dict[str, Any] = {"state": str(state), "from_revision": 1, "to_revision": 2}
        assert (outcomes.verdict(rollout, 2) is not None) == state.is_final
        assert (outcomes.verdict(rollout, 2) is True) == (state == RolloutState.HEALTHY)
        assert (outcomes.verdict(rollout, 1) is True) == (state in (RolloutState.ABORTED, RolloutState.FAILED))
    assert outcomes.verdict(None, 1) is True


SCHEMA: dict[str, Any] = yaml.load((CLIENT.parent / "docs/openapi.yaml").read_text(), yaml.CSafeLoader)


def sample(schema: dict[str, Any]) -> Any:
    """The smallest thing that the API may say where its schema is this one."""
    if "$ref" in schema:
        return sample(SCHEMA["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "properties" in schema:
        return {name: sample(each) for name, each in schema["properties"].items()}
    kinds = schema.get("type", "null")
    kind = kinds if isinstance(kinds, str) else "null" if "null" in kinds else kinds[0]
    return {"string": "x", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}.get(kind)


@pytest.mark.parametrize("name", reading.KINDS)
def test_a_table_has_columns_for_what_the_api_says(name: str):
    of = reading.KINDS[name]
    answer = SCHEMA["paths"][f"/api/v1/{of.path}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    page = SCHEMA["components"]["schemas"][answer["$ref"].rpartition("/")[2]]
    item = sample(page["properties"]["results"]["items"])
    assert all(show.coloured(read(item)) for _, read in of.columns)


def test_tables_of_steps_and_placements_have_columns_for_what_the_api_says():
    for name, columns in (("Step", pipelines.STEPS), ("Placement", deployments.PLACES)):
        item = sample(SCHEMA["components"]["schemas"][name])
        assert all(show.coloured(read(item)) for _, read in columns)


def test_nothing_that_is_shown_is_taken_as_markup():
    assert show.coloured("Healthy: [red]x[/red]") == r"[green]Healthy[/green]: \[red]x\[/red]"
    assert show.coloured(None) == "–"


def test_it_imports_only_what_its_own_project_names():
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    named = {text.split(">")[0] for text in project["dependencies"]}
    allowed = sys.stdlib_module_names | {"flotilla_client"} | {"yaml" if name == "pyyaml" else name for name in named}
    for path in sorted((CLIENT / "flotilla_client").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, tmp_path):
    script = Flotilla(tmp_path)("completion", shell).stdout
    assert f"_FLOTILLA_COMPLETE={shell}_complete" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)
        asked = {"_FLOTILLA_COMPLETE": "bash_complete", "COMP_WORDS": "flotilla pipe", "COMP_CWORD": "1"}
        assert Flotilla(tmp_path, asked)().stdout.strip() == "plain,pipeline"
