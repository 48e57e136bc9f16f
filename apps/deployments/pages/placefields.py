"""The fields by which targets are chosen that nobody names: in the form of a new deployment, and of one more target."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms

from apps.clusters.fit import Prefer
from apps.clusters.services import is_away, why_silent
from apps.core.pages.formfields import SHORT
from apps.core.pages.formtext import pairs
from apps.deployments.models import Target

# The second is no name of a target.
NAMED, ANY = "named", "*"
ANY_OF = ("environment", "prefer", "cluster_selector")
_ORDERS = ((Prefer.PRICE.value, "The lowest price"), (Prefer.ROOM.value, "The most room"))


class AnyTargetFields(forms.Form):
    """What the targets shall be like, where any will do."""

    environment = forms.ChoiceField(required=False, label="Target environment", widget=forms.Select(attrs=SHORT))
    prefer = forms.ChoiceField(required=False, choices=_ORDERS, label="Prefer", widget=forms.Select(attrs=SHORT))
    cluster_selector = forms.CharField(
        label="Only clusters with",
        required=False,
        max_length=2000,
        widget=forms.TextInput(
            attrs={"placeholder": "region=eu accelerator=a100", "class": "mono", "spellcheck": "false"}
        ),
        help_text="Labels, with spaces between.",
    )

    def offer(self, rows: Sequence[Target]) -> None:
        """Let the environments of these targets be chosen."""
        names = sorted({row.environment for row in rows})
        self.fields["environment"].choices = [("", "Any"), *((name, name) for name in names)]  # type: ignore[attr-defined]

    def clean_cluster_selector(self) -> dict[str, str]:
        """Pairs out of words."""
        return pairs("\n".join(self.cleaned_data["cluster_selector"].replace(",", " ").split()))

    def anywhere(self) -> dict[str, Any]:
        """What services take as `anywhere`."""
        return {name: self.cleaned_data[name] for name in ANY_OF if self.cleaned_data.get(name)}


def asked_first(rows: Iterable[Target]) -> list[Target]:
    """Targets by name, those last whose clusters can't be asked now."""
    return sorted(rows, key=lambda row: (is_away(row.cluster), row.name))


def cluster_of(target: Target) -> str:
    """The target's cluster: "gke-eu", or "gke-eu can't be reached"."""
    return why_silent(target.cluster) or target.cluster.name


def how_many() -> forms.IntegerField:
    """How many targets are chosen."""
    widget = forms.NumberInput(attrs=SHORT)
    return forms.IntegerField(label="How many targets", min_value=1, required=False, initial=1, widget=widget)
