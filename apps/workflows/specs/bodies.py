"""What a step of each kind may hold. Its texts may hold expressions, whose values are known only when it starts; what
can be checked before is checked here. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from apps.clusters.podoptions import NO_OPTIONS
from apps.core.errors import Invalid
from apps.core.states import Role
from apps.deployments.rollout.strategy import parse_strategy
from apps.experiments.specs import ONLY_OF_RUNS, RunSpec, parse_spec
from apps.experiments.specs.places import parse_anywhere
from apps.workflows.specs import Kind
from apps.workflows.specs import expressions as ex
from apps.workflows.specs.fields import at, mapping, text, whole

_ABOUT_RUN = ("experiment", "name", "params", "tags", "cluster", "cluster_selector", "prefer")
RUN_KEYS = tuple(dict.fromkeys([*RunSpec("").to_json(), *NO_OPTIONS.everything(), *ONLY_OF_RUNS, *_ABOUT_RUN]))
REGISTER_KEYS = ("model", "run", "artifact_path", "alias", "description")
# Of a revision and, where there is no such deployment yet, of the one that is made.
REVISION_KEYS = ("model", "version", "alias", "image", "command", "args", "env", "resources", "strategy")
NEW_KEYS = ("targets", "replicas")
DEPLOY_KEYS = ("deployment", *REVISION_KEYS, *NEW_KEYS)
APPROVE_KEYS = ("message", "role")
PIPELINE_KEYS = ("pipeline", "params", "version")
# Values that are no texts: an expression there is only known when the step starts.
_NUMBERS = ("deadline_seconds", "workers", "retries", "resources", "replicas", "version")
# An input as it might be.
_SOURCE = f"runs:/{'0' * 32}/0"
# Texts whatever an expression gives.
_TEXTS = ("command", "args")
_TEXTS_BY_NAME = ("env", "params", "tags")


def check_body(kind: Kind, value: Any, path: str) -> dict[str, Any]:
    """The body of a step. Raises Invalid naming the field."""
    keys, check = _KINDS[kind]
    body = dict(mapping({} if value is None else value, path, keys))
    try:
        check(body)
    except Invalid as error:
        raise Invalid(error.message, hint=error.hint, field=at(path, error.field) if error.field else path) from error
    return body


def rendered(kind: Kind, body: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """The body with all expressions evaluated: for a container as texts. Raises Invalid."""
    filled: dict[str, Any] = ex.filled(body, context)
    return filled if kind is Kind.PIPELINE else _texts(filled)


def _texts(filled: dict[str, Any]) -> dict[str, Any]:
    for key in _TEXTS:
        if isinstance(filled.get(key), list):
            filled[key] = [ex.as_text(each) for each in filled[key]]
    for key in _TEXTS_BY_NAME:
        if isinstance(filled.get(key), dict):
            filled[key] = {name: ex.as_text(each) for name, each in filled[key].items()}
    return filled


def _probe(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as it might be: with a text in place of each expression, and without numbers that one tells."""
    known = {key: value for key, value in body.items() if key not in _NUMBERS or not ex.found_in(value)}
    if isinstance(known.get("inputs"), Mapping):
        known["inputs"] = {name: _SOURCE if ex.found_in(said) else said for name, said in known["inputs"].items()}
    return _texts(ex.replaced(known, lambda _: "0"))


def _run(body: dict[str, Any]) -> None:
    probe = _probe(body)
    parse_spec(probe)
    parse_anywhere(probe)
    for key in ("params", "tags"):
        if not isinstance(probe.get(key) or {}, dict):
            raise Invalid(f"{key} is an object of names and values.", field=key)
    text(probe.get("experiment"), "experiment", most=500)
    text(probe.get("name"), "name", most=250)


def _register(body: dict[str, Any]) -> None:
    text(body.get("model"), "model", most=250, needed=True)
    text(body.get("run"), "run", most=1000, needed=True)
    for key in ("artifact_path", "alias", "description"):
        text(body.get(key), key, most=1000)


def _deploy(body: dict[str, Any]) -> None:
    text(body.get("deployment"), "deployment", most=1000, needed=True)
    text(body.get("model"), "model", most=1000)
    if body.get("model") and body.get("version") in (None, "") and not body.get("alias"):
        raise Invalid("Which version of the model?", field="version", hint="Give a version or an alias.")
    if isinstance(body.get("strategy"), Mapping) and not ex.found_in(body["strategy"]):
        parse_strategy(body["strategy"])
    targets = body.get("targets")
    if targets is not None and (not isinstance(targets, list) or not all(isinstance(each, str) for each in targets)):
        raise Invalid("targets is a list of names.", field="targets")


def _approve(body: dict[str, Any]) -> None:
    text(body.get("message"), "message", most=1000)
    if body.get("role") not in (None, Role.DEVELOPER, Role.ADMIN):
        raise Invalid("role is developer or admin.", field="role")


def _pipeline(body: dict[str, Any]) -> None:
    text(body.get("pipeline"), "pipeline", most=1000, needed=True)
    if not isinstance(body.get("params") or {}, Mapping):
        raise Invalid("params is an object of names and values.", field="params")
    if not ex.found_in(body.get("version")):
        whole(body.get("version"), "version", most=10**9)


_KINDS: Mapping[Kind, tuple[tuple[str, ...], Callable[[dict[str, Any]], None]]] = {
    Kind.RUN: (RUN_KEYS, _run),
    Kind.REGISTER: (REGISTER_KEYS, _register),
    Kind.DEPLOY: (DEPLOY_KEYS, _deploy),
    Kind.APPROVE: (APPROVE_KEYS, _approve),
    Kind.PIPELINE: (PIPELINE_KEYS, _pipeline),
}
