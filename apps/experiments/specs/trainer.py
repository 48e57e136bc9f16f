"""A run that Kubeflow Trainer runs, by one of the cluster's training runtimes, as a TrainJob. Pure.

https://www.kubeflow.org/docs/components/trainer/
"""

from collections.abc import Mapping
from typing import Any

from apps.core.errors import Invalid
from apps.core.text.names import is_subdomain

CONTAINER = "node"
"""The container and the replicated job of every runtime that Kubeflow Trainer installs."""
# What a TrainJob can't ask of its runtime: a step before the container, and fields that it may not patch.
REFUSED = ("git", "inputs", "outputs", "topology_spread", "priority_class", "image_pull_policy")


def parse_trainer(value: Any) -> str:
    """The runtime that `runtime` names; "" for none. Raises Invalid naming the field."""
    if value is None or value == {}:
        return ""
    if not isinstance(value, Mapping) or set(value) != {"trainer"}:
        hint = 'For example {"trainer": "torch-distributed"}.'
        raise Invalid("runtime is an object with trainer.", field="runtime", hint=hint)
    name = value["trainer"]
    if name in (None, ""):
        return ""
    if not isinstance(name, str) or not is_subdomain(name):
        hint = 'Such as "torch-distributed".'
        raise Invalid(f"{name!r} can't be the name of a training runtime.", field="runtime.trainer", hint=hint)
    return name


def check_for_trainer(data: Mapping[str, Any]) -> None:
    """Raise Invalid for what a TrainJob can't have."""
    for name in REFUSED:
        if data.get(name):
            hint = "Leave it out, or leave the runtime out: then it is a Job."
            raise Invalid(f"A run of Kubeflow Trainer can't have {name}.", field=name, hint=hint)
