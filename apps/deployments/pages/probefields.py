"""Fields of forms that make revisions: the port, and what Kubernetes asks a replica there."""

from collections.abc import Mapping
from typing import Any

from django import forms

from apps.core.pages.formfields import SHORT
from apps.deployments.specs import DEFAULT_PORT, MAX_STARTUP_SECONDS, Probes

PATHS = ("ready_path", "live_path")
PROBES = (*PATHS, "startup_seconds")
PORT = ("port", *PROBES)
USUAL: dict[str, Any] = {"port": DEFAULT_PORT, **Probes().to_json()}


def _path(label: str, help_text: str) -> forms.CharField:
    attrs = {"class": "mono", "spellcheck": "false"}
    return forms.CharField(
        label=label, required=False, max_length=200, help_text=help_text, widget=forms.TextInput(attrs=attrs)
    )


def _number(label: str, most: int, help_text: str) -> forms.IntegerField:
    widget = forms.NumberInput(attrs=SHORT)
    return forms.IntegerField(
        label=label, min_value=1, max_value=most, required=False, help_text=help_text, widget=widget
    )


class ProbeFields(forms.Form):
    """What is left out of what is sent is as usual; a path that is emptied is no probe."""

    port = _number("Port", 65535, "Where the image serves HTTP: it is told by $PORT.")
    ready_path = _path("Ready at", "Answers 200 when the model is loaded: only then it gets requests. Empty: no probe.")
    live_path = _path("Alive at", "Answers 200 while it works; it is started again when it does not. Empty: no probe.")
    startup_seconds = _number("Start within", MAX_STARTUP_SECONDS, "Seconds to load the model, before it is killed.")

    @property
    def probes_open(self) -> bool:
        """Whether the fold is open from the start: something in it is wrong, or not as usual."""
        return any(name in self.errors for name in PORT) or any(
            self[name].value() not in (None, value, str(value)) for name, value in self._usual.items()
        )

    @property
    def probes_said(self) -> str:
        """What is asked where, in a line."""
        port, ready = self["port"].value(), self["ready_path"].value()
        return f"{ready or 'no probe'} on {port or DEFAULT_PORT}" if ready is not None else ""

    def probes(self) -> dict[str, Any]:
        """The parts of a spec that were sent."""
        values = {name: value for name, value in self.cleaned_data.items() if name in PORT and self._was_sent(name)}
        port = {"port": values.pop("port") or DEFAULT_PORT} if "port" in values else {}
        if values.get("startup_seconds", 0) is None:
            values["startup_seconds"] = USUAL["startup_seconds"]
        return port | ({"probes": values} if values else {})

    @property
    def _usual(self) -> dict[str, Any]:
        return USUAL

    def _was_sent(self, name: str) -> bool:
        return self.add_prefix(name) in self.data


def probes_initial(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The fields' first values, as a spec has it."""
    return USUAL | {"port": spec.get("port") or DEFAULT_PORT} | dict(spec.get("probes") or {})
