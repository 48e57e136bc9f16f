"""The form of a deployment's autoscaling."""

from typing import Any

import yaml
from django import forms

from apps.core.text import safeyaml
from apps.deployments.models import Deployment
from apps.deployments.scaling import policy
from apps.deployments.specs import MAX_REPLICAS


def _bound(label: str, least: int, help_text: str) -> forms.IntegerField:
    return forms.IntegerField(min_value=least, max_value=MAX_REPLICAS, label=label, help_text=help_text)


class AutoscalingForm(forms.Form):
    """When a deployment shall have more replicas and when fewer."""

    advanced = ("requests_per_replica", "requests_metric", "scale_down_stabilization_seconds", "triggers")
    advanced_about = "requests, how soon it goes down, KEDA's triggers"

    cpu_percent = forms.IntegerField(
        min_value=1, max_value=100, required=False, label="CPU", help_text="Percent of what a replica asks for."
    )
    memory_percent = forms.IntegerField(
        min_value=1, max_value=100, required=False, label="Memory", help_text="Percent of what a replica asks for."
    )
    requests_per_replica = forms.IntegerField(
        min_value=1,
        max_value=policy.MAX_REQUESTS,
        required=False,
        label="Requests",
        help_text="A second, for each replica. The cluster has to serve custom metrics.",
    )
    requests_metric = forms.CharField(
        max_length=200, required=False, label="Metric of requests", help_text="As the cluster calls it."
    )
    scale_down_stabilization_seconds = forms.IntegerField(
        min_value=0,
        max_value=policy.MAX_STABILIZATION_SECONDS,
        required=False,
        label="Wait before scaling down",
        help_text="Seconds for which fewer must have been enough.",
    )
    triggers = forms.CharField(
        required=False,
        label="Triggers",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 5, "class": "mono", "spellcheck": "false"}),
        help_text=(
            "As YAML, where the cluster has KEDA, which then scales, also to zero: “- {type: prometheus, "
            "server_address: http://prometheus.monitoring:9090, query: sum(rate(http_requests_total[1m])), "
            "threshold: 20}”."
        ),
    )

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        initial = deployment.autoscaling or {
            "min": 1,
            "max": max([4, *(2 * place.wanted_replicas for place in deployment.places)]),
            "cpu_percent": policy.DEFAULT_CPU_PERCENT,
        }
        more = {
            "requests_metric": policy.DEFAULT_REQUESTS_METRIC,
            "scale_down_stabilization_seconds": policy.DEFAULT_STABILIZATION_SECONDS,
        }
        text = {"triggers": _as_yaml(policy.stored_policy(deployment.autoscaling))}
        super().__init__(data, initial=more | initial | text, **kwargs)
        # Not as attributes of the class, where they would hide the functions of these names.
        bounds = {
            "min": _bound("At least", 0, "Replicas on each target. 0 only with triggers."),
            "max": _bound("At most", 1, "Replicas on each target."),
        }
        self.fields = {**bounds, **self.fields}

    def clean_triggers(self) -> list[Any]:
        """The list that the YAML says."""
        try:
            said = safeyaml.load(self.cleaned_data["triggers"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        if not isinstance(said or [], list):
            raise forms.ValidationError("Triggers are a list: begin each with “- type: ”.")
        return said or []

    @property
    def advanced_open(self) -> bool:
        """Whether something of the fold is in use, or wrong."""
        return any(self.initial.get(name) for name in ("requests_per_replica", "triggers")) or any(
            name in self.errors for name in self.advanced
        )


def _as_yaml(stored: policy.Autoscaling | None) -> str:
    triggers = [trigger.to_json() for trigger in stored.triggers] if stored else []
    return str(yaml.safe_dump(triggers, sort_keys=False)) if triggers else ""
