"""The steps that bring a run's inputs into its pod and keep its outputs, and the volumes that they share. Pure.

Outputs are kept by a sidecar, which Kubernetes tells to end when the run's own container has ended, and waits for
(release 1.29 on). https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
"""

import json
from collections.abc import Sequence
from typing import Any

from apps.experiments.specs.files import (
    COLLECT_STEP,
    INPUTS,
    INPUTS_VARIABLE,
    INPUTS_VOLUME,
    OUTPUTS,
    OUTPUTS_VARIABLE,
    OUTPUTS_VOLUME,
    STAGE_STEP,
    Files,
)

# Programs of Flotilla's own image: modelserver/openinference/stage.py and collect.py.
STAGE, COLLECT = ("python", "-m", "openinference.stage"), ("python", "-m", "openinference.collect")
# What the sidecar asks for beside the run itself. It may use a core while it sends.
COLLECTOR = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}

Object = dict[str, Any]


def file_steps(files: Files, image: str, amounts: dict[str, str], access: Sequence[Object]) -> list[Object]:
    """The init steps: `image` has both programs, `amounts` are the run's own, and `access` are the variables that let
    them read and write artifacts as the run may."""
    steps = []
    if files.inputs:
        told = files.to_json()["inputs"]
        steps.append(
            {
                "name": STAGE_STEP,
                "image": image,
                "command": list(STAGE),
                "env": [*_folder(files, INPUTS_VARIABLE), _json("FLOTILLA_INPUT_SOURCES", told), *access],
                "resources": {"requests": dict(amounts), "limits": dict(amounts)},
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{"name": INPUTS_VOLUME, "mountPath": INPUTS}],
            }
        )
    if files.outputs:
        told = files.to_json()["outputs"]
        steps.append(
            {
                "name": COLLECT_STEP,
                "image": image,
                "command": list(COLLECT),
                "restartPolicy": "Always",
                "env": [*_folder(files, OUTPUTS_VARIABLE), _json("FLOTILLA_OUTPUT_KINDS", told), *access],
                "resources": {key: dict(value) for key, value in COLLECTOR.items()},
                "volumeMounts": [{"name": OUTPUTS_VOLUME, "mountPath": OUTPUTS, "readOnly": True}],
            }
        )
    return steps


def file_volumes(files: Files) -> list[Object]:
    """The pod's part."""
    names = [name for name, asked in ((INPUTS_VOLUME, files.inputs), (OUTPUTS_VOLUME, files.outputs)) if asked]
    return [{"name": name, "emptyDir": {}} for name in names]


def file_mounts(files: Files) -> tuple[list[Object], list[Object]]:
    """The container's part: its mounts, and the variables that tell where."""
    mounts: list[Object] = []
    if files.inputs:
        mounts.append({"name": INPUTS_VOLUME, "mountPath": INPUTS})
    if files.outputs:
        mounts.append({"name": OUTPUTS_VOLUME, "mountPath": OUTPUTS})
    return mounts, [*_folder(files, INPUTS_VARIABLE), *_folder(files, OUTPUTS_VARIABLE)]


def _folder(files: Files, variable: str) -> list[Object]:
    asked, path = (files.inputs, INPUTS) if variable == INPUTS_VARIABLE else (files.outputs, OUTPUTS)
    return [{"name": variable, "value": path}] if asked else []


def _json(name: str, value: Any) -> Object:
    # Kubernetes fills in $(NAME) of a variable's value; no name or address of ours has a "$".
    return {"name": name, "value": json.dumps(value)}
