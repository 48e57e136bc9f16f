"""The two fields of a target's forms that name its Gateway."""

from collections.abc import Mapping
from typing import Any

from django import forms

from apps.core.errors import FlotillaError
from apps.deployments.rollout.gateway import STANDARD_HOSTNAME, parse_gateway

_FORM = "namespace/name"


class GatewayFields(forms.Form):
    """By which Gateway requests come, if by any."""

    gateway = forms.CharField(
        max_length=400,
        required=False,
        label="Gateway",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false"}),
        help_text=(
            "As namespace/name, or namespace/name/listener. A canary's weights are then parts of the requests that it "
            "takes; without a Gateway they are ratios of replicas."
        ),
    )
    hostname = forms.CharField(
        max_length=253,
        required=False,
        label="Hostname of each deployment",
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "placeholder": STANDARD_HOSTNAME}),
        help_text="Such as {{deployment}}.models.example.com.",
    )

    def clean_gateway(self) -> dict[str, str]:
        """The parts of the name."""
        text = self.cleaned_data["gateway"].strip().strip("/")
        if not text:
            return {}
        parts = text.split("/")
        if not 2 <= len(parts) <= 3:
            raise forms.ValidationError(f"Write {_FORM}, or {_FORM}/listener.")
        return dict(zip(("namespace", "name", "section"), parts, strict=False))

    def clean(self) -> dict[str, Any]:
        """A hostname is one at a Gateway."""
        values = super().clean() or {}
        if values.get("hostname") and values.get("gateway") == {}:
            self.add_error("gateway", "Which Gateway takes requests for this hostname?")
        return values

    def asked_gateway(self) -> dict[str, str]:
        """The Gateway as services take it; {} for none."""
        values = self.cleaned_data
        hostname = {"hostname": values["hostname"]} if values["hostname"] else {}
        return values["gateway"] | hostname if values["gateway"] else {}

    def at_its_field(self, error: FlotillaError) -> FlotillaError:
        """The error at the field that has what it is about."""
        if error.field.startswith("gateway"):
            error.field = "hostname" if error.field == "gateway.hostname" else "gateway"
        return error


def shown_gateway(stored: Mapping[str, Any]) -> dict[str, str]:
    """A target's Gateway as the fields."""
    gateway = parse_gateway(stored)
    if gateway is None:
        return {}
    hostname = "" if gateway.hostname == STANDARD_HOSTNAME else gateway.hostname
    return {"gateway": "/".join(filter(None, (gateway.label, gateway.section))), "hostname": hostname}
