"""A service names fields as REST does; a form calls them as it shows them."""

import pytest
from django import forms

from apps.core.errors import Invalid
from apps.core.pages.formtext import by_labels, put_error


class Asked(forms.Form):
    """A few fields with labels that are unlike their names."""

    min = forms.IntegerField(label="At least")
    max = forms.IntegerField(label="At most")
    cpu = forms.CharField(label="CPU")
    replicas = forms.IntegerField(label="How many")
    requests_per_replica = forms.IntegerField(label="Requests")
    triggers = forms.CharField(label="Triggers")
    how = forms.ChoiceField(choices=[("min_available", "So many stay ready")])


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("autoscaling.max is 4, and autoscaling.min is 5.", "“At most” is 4, and “At least” is 5."),
        ("resources.cpu is no amount: 'lots'.", "“CPU” is no amount: 'lots'."),
        ("Scale by a trigger, or by requests_per_replica.", "Scale by a trigger, or by “Requests”."),
        ("autoscaling.triggers[0].query is a PromQL query.", "“Triggers”[0].query is a PromQL query."),
        ("triggers[1] ends when it starts.", "“Triggers”[1] ends when it starts."),
        ("min_available is a number.", "“So many stay ready” is a number."),
        # Words that are fields of this form by chance, files, hosts, JSON, and paths of others.
        ("How many replicas at most?", "How many replicas at most?"),
        ('For example {"min": 1, "max": 8}.', 'For example {"min": 1, "max": 8}.'),
        ("At most 3 replicas. cpu may be 2.", "At most 3 replicas. cpu may be 2."),
        ("Ask prometheus.monitoring, not registry.k8s.io/cpu.", "Ask prometheus.monitoring, not registry.k8s.io/cpu."),
        ("spec.strategy is odd.", "spec.strategy is odd."),
    ],
)
def test_fields_are_called_by_their_labels(sentence: str, told: str) -> None:
    assert by_labels(Asked(), sentence) == told


def test_an_error_stands_at_its_field() -> None:
    form = Asked({})
    form.full_clean()
    form.errors.clear()
    put_error(form, Invalid("autoscaling.max is 4.", hint="See autoscaling.min.", field="autoscaling.max"))
    assert form.errors == {"max": ["“At most” is 4. See “At least”."]}
