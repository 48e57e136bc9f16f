"""A revision's spec as text that people edit: all of it as YAML, in the words of the REST API. Pure."""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from apps.clusters import podoptions
from apps.core.errors import Invalid
from apps.core.text import safeyaml
from apps.deployments.specs import DEFAULT_PORT, OWN_MODEL_PATH, Probes, parse_revision, serves_a_format

# In the order in which people read them, each with what stands for "nothing asked".
FIELDS: dict[str, Any] = {
    "model": None,
    "version": None,
    "alias": None,
    "image": "",
    "command": [],
    "args": [],
    "env": {},
    "resources": {},
    "port": DEFAULT_PORT,
    "probes": {},
    "shutdown": {},
    "model_path": "",
    "runtime": {},
    **podoptions.NO_OPTIONS.everything(),
}
# They are named together, or the present pair stays.
_MODEL = ("model", "version", "alias")


class Line(NamedTuple):
    """A line of a difference; `sign` is "+", "-" or " ", and "…" where lines are left out."""

    sign: str
    text: str


def as_text(spec: Mapping[str, Any], *, own_server: bool) -> str:
    """The spec as YAML, without what is as by default."""
    said: dict[str, Any] = {}
    if model := spec.get("model"):
        said |= {"model": model["name"], "version": model["version"]}
    # In the order of the code: Postgres keeps another one.
    parts = parse_revision(spec).to_json()
    parts["env"] = dict(sorted(parts["env"].items()))
    if own_server:
        parts["image"] = ""
    if (own_server or serves_a_format(parts)) and parts.get("model_path") == OWN_MODEL_PATH:
        parts["model_path"] = ""
    if parts["probes"] == Probes().to_json():
        parts["probes"] = {}
    said |= {name: parts[name] for name in FIELDS if name not in _MODEL and parts.get(name) not in (None, FIELDS[name])}
    return str(yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=10_000))


def changes_in(text: str, spec: Mapping[str, Any], *, own_server: bool) -> dict[str, Any]:
    """What the text asks for that the spec has not, as `deploy_revision` takes it: what was left out goes.

    Raises Invalid for text that is no YAML or has a field that nobody knows.
    """
    said = _read(text)
    before = _read(as_text(spec, own_server=own_server))
    wanted = {name: said.get(name, empty) for name, empty in FIELDS.items() if name not in _MODEL}
    changes = {name: value for name, value in wanted.items() if value != before.get(name, FIELDS[name])}
    model = {name: said[name] for name in _MODEL if said.get(name) is not None}
    if "version" in model and "alias" in model:
        raise Invalid("Name a version or an alias: the alias may stand for another one.", field="alias")
    if model != {name: before[name] for name in _MODEL if name in before}:
        if not model:
            raise Invalid(
                "A deployment that serves a model goes on serving one.",
                field="model",
                hint="Name it, or make another deployment.",
            )
        changes |= model
    return {name: FIELDS[name] if value is None else value for name, value in changes.items()}


def difference(before: str, after: str) -> list[Line]:
    """The lines that go and come, with three lines around them; empty where nothing differs."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3))
    # The first three are two headers and a place.
    return [Line("…", "") if line.startswith("@@") else Line(line[0], line[1:]) for line in lines[3:]]


def _read(text: str) -> dict[str, Any]:
    try:
        said = safeyaml.load(text)
    except ValueError as error:
        raise Invalid(str(error), field="spec") from error
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise Invalid("A spec is an object.", field="spec", hint='For example "image: team/digits:2".')
    unknown = next((str(name) for name in said if name not in FIELDS), None)
    if unknown is not None:
        known = ", ".join(FIELDS)
        raise Invalid(f"{unknown[:80]} is nothing that Flotilla knows.", field=unknown, hint=f"Known: {known}.")
    return said
