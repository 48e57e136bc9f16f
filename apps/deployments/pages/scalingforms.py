"""The fields that say how many replicas there are, which the form of a new deployment shares with those that change it:
a number on each target, one over all of them, or as many as the load needs."""

from typing import Any

import yaml
from django import forms

from apps.core.pages.formfields import SHORT
from apps.core.text import safeyaml
from apps.deployments.models import Deployment
from apps.deployments.rollout.spread import MAX_GRACE_SECONDS, Spread
from apps.deployments.scaling import policy
from apps.deployments.specs import MAX_REPLICAS

EACH, ALL, LOAD = "each", "all", "load"
SCALING = ("min", "max", "cpu_percent", "memory_percent")
SCALING_MORE = ("requests_per_replica", "requests_metric", "scale_down_stabilization_seconds", "triggers")
SPREAD = ("grace_seconds", "return_after_seconds")


class _Asked(forms.NumberInput):
    """A number that is not always to be seen: a browser must not insist on one that nobody can fill in."""

    def use_required_attribute(self, initial: Any) -> bool:
        """Never: the form itself says that it is missing."""
        return False


def _number(label: str, help_text: str, least: int, most: int, *, missing: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=least,
        max_value=most,
        required=bool(missing),
        help_text=help_text,
        widget=_Asked(attrs=SHORT),
        error_messages={"required": missing} if missing else None,
    )


class SpreadFields(forms.Form):
    """When the replicas of a target that is lost run on others, and when they return."""

    grace_seconds = _number("Lost for, in seconds", "Until others run its replicas.", 0, MAX_GRACE_SECONDS)
    return_after_seconds = _number(
        "Back for, in seconds", "Without interruption, until they return.", 0, MAX_GRACE_SECONDS
    )

    def spread(self) -> dict[str, Any]:
        """What `set_spread` takes."""
        values = self.cleaned_data
        return {name: values[name] for name in Spread(0).to_json() if values.get(name) is not None}


class ScalingFields(forms.Form):
    """When there shall be more replicas and when fewer."""

    scaling_more = SCALING_MORE

    cpu_percent = _number("CPU in use", "Percent of what a replica asks for.", 1, 100)
    memory_percent = _number("Memory in use", "Percent of what a replica asks for.", 1, 100)
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

    def add_bounds(self) -> None:
        """The bounds, before all other fields: attributes of these names would hide Python's functions."""
        bounds = {
            "min": _number("At least", "Replicas on each target. 0 only with triggers.", 0, MAX_REPLICAS),
            "max": _number("At most", "Replicas on each target.", 1, MAX_REPLICAS, missing="How many at most?"),
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

    def scaling(self) -> dict[str, Any]:
        """What `set_autoscaling` takes."""
        return {name: self.cleaned_data[name] for name in (*SCALING, *SCALING_MORE)}

    @property
    def scaling_open(self) -> bool:
        """Whether something of the fold is in use, or wrong."""
        in_use = any(self[name].value() for name in ("requests_per_replica", "triggers"))
        return in_use or any(name in self.errors for name in SCALING_MORE)


def scaling_defaults(most: int) -> dict[str, Any]:
    """The first values of a policy for a form."""
    return {
        "min": 1,
        "max": most,
        "cpu_percent": policy.DEFAULT_CPU_PERCENT,
        "requests_metric": policy.DEFAULT_REQUESTS_METRIC,
        "scale_down_stabilization_seconds": policy.DEFAULT_STABILIZATION_SECONDS,
    }


class AutoscalingForm(ScalingFields):
    """When a deployment shall have more replicas and when fewer."""

    parts, part_fields = (("min", "deployments/scaling_fields.html"),), (*SCALING, *SCALING_MORE)

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        initial = scaling_defaults(max([4, *(2 * place.wanted_replicas for place in deployment.places)]))
        if deployment.autoscaling:
            # A target that the policy does not have is none.
            initial = {**initial, "cpu_percent": None, **deployment.autoscaling}
        text = {"triggers": _as_yaml(policy.stored_policy(deployment.autoscaling))}
        super().__init__(data, initial=initial | text, **kwargs)
        self.add_bounds()


class NumbersForm(SpreadFields, ScalingFields):
    """The part of the form of a new deployment that is about its replicas."""

    parts: tuple[tuple[str, str], ...] = (("how", "deployments/numbers.html"),)
    part_fields: tuple[str, ...] = ("how", "replicas", *SPREAD, *SCALING, *SCALING_MORE)

    how = forms.ChoiceField(
        label="How many replicas",
        choices=[
            (EACH, "A number for each target"),
            (ALL, "So many over all targets together"),
            (LOAD, "As many as the load needs"),
        ],
        initial=EACH,
        required=False,
        widget=forms.RadioSelect,
        help_text="Over all: a target that is lost has its replicas run on others. The load: an autoscaler on each.",
    )
    replicas = _number(
        "Replicas",
        "For each target, or for all together. With an autoscaler: to begin with.",
        0,
        MAX_REPLICAS,
        missing="How many replicas?",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        known = Spread(2).to_json() | scaling_defaults(4)
        kwargs["initial"] = known | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        self.add_bounds()

    def clean(self) -> dict[str, Any]:
        """What belongs to another choice is not looked at."""
        values = super().clean() or self.cleaned_data
        how = values["how"] = values.get("how") or EACH
        unused = (*(SPREAD if how != ALL else ()), *((*SCALING, *SCALING_MORE) if how != LOAD else ()))
        for name in unused:
            self.errors.pop(name, None)
        return values

    def numbers(self) -> dict[str, Any]:
        """What `NewDeployment` says of how many replicas there are."""
        values = self.cleaned_data
        if values["how"] == ALL:
            return {"spread": self.spread()}
        asked: dict[str, Any] = {"replicas": values["replicas"]}
        return asked | ({"autoscaling": self.scaling()} if values["how"] == LOAD else {})


def _as_yaml(stored: policy.Autoscaling | None) -> str:
    triggers = [trigger.to_json() for trigger in stored.triggers] if stored else []
    return str(yaml.safe_dump(triggers, sort_keys=False)) if triggers else ""
