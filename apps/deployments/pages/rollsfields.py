"""Fields of a new deployment that say how it passes from one revision to the next."""

from typing import Any

from django import forms

from apps.core.errors import FlotillaError
from apps.core.text import safeyaml
from apps.deployments.pages.yamlerrors import put_error_at_line
from apps.deployments.rollout.strategy import Kind, parse_strategy

ROLLS = ("kind", "strategy")
_SAID = {
    Kind.ROLLING: "replica by replica",
    Kind.CANARY: "by shares of the requests, with pauses and checks",
    Kind.BLUE_GREEN: "all requests at once, back at once",
    Kind.SHADOW: "copies of requests first; it needs a Gateway",
    Kind.RECREATE: "the old one goes first",
}
# Of any kind: steps are a canary's, say, and would be refused under another.
_EXAMPLE = "progress_deadline_seconds: 900\non_failure: rollback"


class RollsFields(forms.Form):
    """A kind, and whatever else is said of it."""

    kind = forms.ChoiceField(
        label="Strategy",
        required=False,
        choices=[(kind.value, f"{kind.word.capitalize()}: {said}") for kind, said in _SAID.items()],
        initial=Kind.ROLLING.value,
        help_text="Of the rollouts that follow; the first revision is brought at once.",
    )
    strategy = forms.CharField(
        label="Steps, waves and limits",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(
            attrs={"rows": 5, "class": "mono", "spellcheck": "false", "placeholder": _EXAMPLE},
        ),
        help_text="YAML, as in REST; a canary has “steps:”. Empty: those of its kind, which its page shows.",
    )

    def clean_strategy(self) -> dict[str, Any]:
        """What it says, as an object."""
        text = self.cleaned_data["strategy"]
        try:
            said = safeyaml.load(text) if text.strip() else {}
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        if not isinstance(said, dict):
            raise forms.ValidationError('Begin with "steps:", "waves:" or another word of a strategy.')
        return said

    def clean(self) -> dict[str, Any]:
        """Check all of it, and show what is wrong at its line."""
        values = super().clean() or self.cleaned_data
        kind, said = values.get("kind") or Kind.ROLLING.value, values.get("strategy")
        if said is None:
            return values
        if said.get("kind", kind) != kind:
            self.add_error("strategy", f"Another kind is chosen above: {Kind(kind).word}. Leave “kind” out here.")
            return values
        try:
            parse_strategy({"kind": kind, **said})
        except FlotillaError as error:
            put_error_at_line(self, "strategy", self.data.get(self.add_prefix("strategy"), ""), error)
        return values

    @property
    def rolls_open(self) -> bool:
        """Whether the fold is open from the start."""
        is_usual = self["kind"].value() in (None, "", Kind.ROLLING.value) and not self["strategy"].value()
        return not is_usual or any(name in self.errors for name in ROLLS)

    @property
    def rolls_said(self) -> str:
        """The kind, in a line."""
        kind = Kind(value) if (value := self["kind"].value()) in list(Kind) else Kind.ROLLING
        return f"{kind.word}, {_SAID[kind]}"

    def rolls(self) -> dict[str, Any]:
        """The part of a spec that is said; nothing where it is as usual."""
        kind, said = self.cleaned_data["kind"] or Kind.ROLLING.value, self.cleaned_data["strategy"]
        return {"strategy": {"kind": kind, **said}} if said or kind != Kind.ROLLING else {}
