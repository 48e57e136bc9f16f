"""Fields that several forms share. Short ones stand side by side where there is room."""

from django import forms

SHORT = {"class": "short"}


def amount(label: str, initial: str, help_text: str) -> forms.CharField:
    """A Kubernetes quantity, such as 500m or 2Gi; the service checks it."""
    widget = forms.TextInput(attrs=SHORT)
    return forms.CharField(label=label, max_length=20, initial=initial, help_text=help_text, widget=widget)


def gpus() -> forms.IntegerField:
    """A number of GPUs; empty is none."""
    widget = forms.NumberInput(attrs=SHORT)
    return forms.IntegerField(label="GPUs", min_value=0, initial=0, required=False, widget=widget)
