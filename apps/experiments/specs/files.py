"""Files that a run finds when it begins, and those that are kept when it has ended. Its program needs no library: they
lie below `$FLOTILLA_INPUTS` and `$FLOTILLA_OUTPUTS`. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from apps.clusters.podoptions.volumes import Volume
from apps.core.errors import Invalid

MOUNT = "/flotilla"
INPUTS, OUTPUTS = f"{MOUNT}/inputs", f"{MOUNT}/outputs"
INPUTS_VARIABLE, OUTPUTS_VARIABLE = "FLOTILLA_INPUTS", "FLOTILLA_OUTPUTS"
INPUTS_VOLUME, OUTPUTS_VOLUME = "flotilla-inputs", "flotilla-outputs"
STAGE_STEP, COLLECT_STEP = "fetch-inputs", "collect-outputs"
KEPT_BELOW = "outputs"
"""The folder among a run's artifacts that has its outputs, each under its name."""
COLLECTED_TAG = "flotilla.outputs"
"""The tag that is written last: which outputs were kept (`COMPLETE` for all), or what is wrong with them."""
COMPLETE = "complete"
FILES, VALUE = "files", "value"
"""The kinds of outputs: a file, or a folder with all below it; or the text of a small file, which becomes a metric of
the run where it is a number, and else a tag."""
MOST = 100
MOST_PARTS = 1000
"""Runs that one input is made of: a step that reads what many have put out."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_SOURCE = re.compile(r"runs:/([0-9a-f]{32})/(.+)")


@dataclass(frozen=True)
class Files:
    """`inputs` are artifacts by name, as `runs:/<run>/<path>`: one, or a list of them; `outputs` what each one is."""

    inputs: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown, without what is empty."""
        inputs = {name: said if isinstance(said, str) else list(said) for name, said in self.inputs.items()}
        return {key: value for key, value in (("inputs", inputs), ("outputs", dict(self.outputs))) if value}


NO_FILES = Files()


def source_of(uri: str) -> tuple[str, str]:
    """The run's id and the path of an artifact. Raises Invalid."""
    match = _SOURCE.fullmatch(uri)
    path = PurePosixPath(match[2]) if match else PurePosixPath()
    if not match or path.is_absolute() or ".." in path.parts or not match[2].isprintable() or len(uri) > 1000:
        raise Invalid(f"{uri[:100]!r} is no artifact of a run.", hint="Such as runs:/<id of the run>/outputs/data.")
    return match[1], str(path)


def uri_of(run_uid: str, output: str) -> str:
    """Where another run finds an output of this one."""
    return f"runs:/{run_uid}/{KEPT_BELOW}/{output}"


def parse_files(
    data: Mapping[str, Any], env: Mapping[str, Any], volumes: tuple[Volume, ...] = (), workers: int = 1
) -> Files:
    """What `inputs` and `outputs` ask for, beside all else that a run has. Raises Invalid naming the field."""
    files = Files(_inputs(data.get("inputs")), _outputs(data.get("outputs")))
    if files.outputs and workers > 1:
        hint = "Let one worker log them with MLflow, or leave workers out."
        raise Invalid("Outputs are collected of runs with one worker.", field="outputs", hint=hint)
    for asked, variable in ((files.inputs, INPUTS_VARIABLE), (files.outputs, OUTPUTS_VARIABLE)):
        if asked and variable in env:
            raise Invalid(f"{variable} is set by Flotilla.", field="env", hint="Leave it out.")
    for volume in volumes if files != NO_FILES else ():
        path = PurePosixPath(volume.mount_path)
        if path.is_relative_to(MOUNT) or volume.name in (INPUTS_VOLUME, OUTPUTS_VOLUME):
            raise Invalid(f"{MOUNT} is where inputs and outputs lie.", field="volumes", hint="Mount it elsewhere.")
    return files


def _inputs(value: Any) -> dict[str, str | tuple[str, ...]]:
    return {name: _input(said, f"inputs.{name}") for name, said in _named(value, "inputs").items()}


def _input(said: Any, place: str) -> str | tuple[str, ...]:
    parts = said if isinstance(said, list | tuple) else [said]
    if not 1 <= len(parts) <= MOST_PARTS or not all(isinstance(part, str) for part in parts):
        raise Invalid(f"{place} is an artifact of a run, or a list of them.", field=place)
    for part in parts:
        try:
            source_of(part)
        except Invalid as error:
            raise Invalid(error.message, hint=error.hint, field=place) from error
    return said if isinstance(said, str) else tuple(parts)


def _outputs(value: Any) -> dict[str, str]:
    if isinstance(value, list | tuple):
        value = {name if isinstance(name, str) else "": FILES for name in value}
    found = dict(_named(value, "outputs"))
    for name, kind in found.items():
        if kind not in (FILES, VALUE):
            raise Invalid(f"outputs.{name} is one of: {FILES}, {VALUE}.", field=f"outputs.{name}")
    return found


def _named(value: Any, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MOST:
        raise Invalid(f"{place} is an object of at most {MOST} names.", field=place)
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            hint = "Letters, digits, '.', '_' and '-', and a letter first: it is the name of a file or folder."
            raise Invalid(f"{name!r} can't name one of the {place}.", field=place, hint=hint)
    return value
