"""Fields of a new deployment that most people leave alone: where the model's files go, what runs the replicas, and how
many of them may be away while nodes are drained."""

from collections.abc import Mapping
from typing import Any

from django import forms

from apps.core.text.numbers import whole
from apps.deployments.specs import OWN_MODEL_PATH

KSERVE = "kserve"
RUNTIME = ("model_path", "runtime", "model_format", "serving_runtime", "max_unavailable")


class RuntimeFields(forms.Form):
    """All of them may be left out."""

    model_path = forms.CharField(
        label="Model's files at",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"placeholder": OWN_MODEL_PATH, "class": "mono", "spellcheck": "false"}),
        help_text="In an image of your own: an init step fetches the model's files there and checks them.",
    )
    runtime = forms.ChoiceField(
        label="Run by",
        required=False,
        choices=[("", "Kubernetes alone"), (KSERVE, "KServe")],
        help_text="Where the cluster has KServe.",
    )
    model_format = forms.CharField(
        label="Model format",
        required=False,
        max_length=100,
        help_text="Of KServe, such as mlflow or sklearn, which a serving runtime serves. Empty: it runs the image.",
    )
    serving_runtime = forms.CharField(
        label="Serving runtime",
        required=False,
        max_length=253,
        help_text="Empty: the one that KServe installs for the format.",
    )
    max_unavailable = forms.CharField(
        label="Away at once, at most",
        required=False,
        max_length=10,
        help_text="Of each target's replicas, while nodes are drained: a number, or a share such as 25%. Empty: all.",
    )

    def clean(self) -> dict[str, Any]:
        """A format and a serving runtime are KServe's."""
        values = super().clean() or self.cleaned_data
        for name in ("model_format", "serving_runtime"):
            if values.get(name) and values.get("runtime") != KSERVE:
                self.add_error(name, "This is KServe's. Let it run by KServe, or leave this out.")
        return values

    def asked_runtime(self) -> dict[str, Any]:
        """The parts of a spec that are said."""
        values, said = self.cleaned_data, dict[str, Any]()
        if values["model_path"]:
            said["model_path"] = values["model_path"]
        if values["runtime"] == KSERVE:
            named = {name: values[name] for name in ("model_format", "serving_runtime") if values[name]}
            said["runtime"] = {"kserve": named}
        if amount := values["max_unavailable"].strip():
            number = whole(amount)
            said["disruption_budget"] = {"max_unavailable": amount if number is None else number}
        return said


def runtime_initial(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields' first values, as a spec has it."""
    kserve = (spec.get("runtime") or {}).get("kserve")
    path = spec.get("model_path") or ""
    initial = {"model_path": path if path != OWN_MODEL_PATH else ""}
    if kserve is None:
        return initial
    return initial | {"runtime": KSERVE} | {name: kserve.get(name, "") for name in ("model_format", "serving_runtime")}
