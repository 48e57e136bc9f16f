"""Forms of pipelines: the file, the parameters of a run, the name of a webhook."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from apps.workflows.specs import Parameter, ParameterType
from apps.workflows.specs.expressions import as_text
from apps.workflows.specs.parameters import from_text

PREFIX = "param_"


class PipelineForm(forms.Form):
    """A pipeline as YAML."""

    yaml = forms.CharField(
        label="Pipeline",
        max_length=256 * 1024,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 28, "class": "mono", "spellcheck": "false"}),
        help_text="YAML. Its name says which pipeline this is a version of. Anyone in the project can read it.",
    )


class StartForm(forms.Form):
    """The parameters of a run: a field for each, with its default."""

    def __init__(self, data: Any, *, params: Sequence[Parameter], values: Mapping[str, Any] | None = None) -> None:
        """Offer what is declared; `values` are those of an earlier run."""
        super().__init__(data)
        self.params = params
        for each in params:
            now = (values or {}).get(each.name, each.default)
            self.fields[PREFIX + each.name] = forms.CharField(
                label=each.name,
                required=each.default is None,
                initial=as_text(now),
                strip=False,
                max_length=20_000,
                help_text=f"{each.description} ({each.type})" if each.description else f"{each.type}",
            )

        self.fields["anew"] = forms.BooleanField(
            label="Run everything anew",
            required=False,
            help_text="Also steps for which an earlier success would stand.",
        )

    def asked(self) -> dict[str, Any]:
        """The values that were typed, by name; what was emptied has its default."""
        read = {each.name: _value(each, self.cleaned_data[PREFIX + each.name]) for each in self.params}
        return {name: value for name, value in read.items() if value is not None}


def _value(parameter: Parameter, words: str) -> Any:
    if parameter.type is not ParameterType.LIST or not words.strip():
        return from_text(parameter, words)
    try:
        return json.loads(words)
    except (ValueError, RecursionError):
        return words


class WebhookForm(forms.Form):
    """A webhook's name."""

    name = forms.CharField(max_length=40, help_text="What will push: github, nightly.")


class CommentForm(forms.Form):
    """What is said to a step that waits for approval."""

    comment = forms.CharField(max_length=1000, required=False)
