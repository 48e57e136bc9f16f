"""Forms of clusters, for the admin panel."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.clusters import services
from apps.clusters.connect import addresses, incluster, kubeconfig, twins
from apps.clusters.connect.kubeconfig import MAX_BYTES
from apps.clusters.models import Cluster
from apps.core.errors import FlotillaError


class SecretTextarea(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """A text area that never shows again what was typed into it."""

    def format_value(self, value: Any) -> str:
        """Always empty: a kubeconfig goes in and never comes out."""
        return ""


class LabelsField(forms.CharField):
    """Labels as lines of `name=value`."""

    def prepare_value(self, value: Any) -> Any:
        """The lines of a dict; what somebody typed as it is."""
        return "\n".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else value

    def to_python(self, value: Any) -> Any:
        """The dict of the lines. Raises ValidationError with what Kubernetes would refuse."""
        if isinstance(value, dict):
            return value
        lines = [line.strip() for line in str(value or "").splitlines() if line.strip()]
        wrong = next((line for line in lines if "=" not in line), None)
        if wrong is not None:
            raise forms.ValidationError(f"{wrong[:80]!r} is not of the form name=value.")
        try:
            pairs = (line.partition("=") for line in lines)
            return services.clean_labels({name.strip(): text.strip() for name, _, text in pairs})
        except FlotillaError as error:
            raise forms.ValidationError(error.sentence) from error


class ClusterForm(forms.ModelForm):  # type: ignore[type-arg] # Django takes no subscript
    """Registers a cluster, or edits it: by a kubeconfig that is pasted or uploaded, by the pod's own service account,
    or with a new token for the same server. What is given is checked before it is saved."""

    kubeconfig = forms.CharField(
        required=False,
        strip=False,
        max_length=MAX_BYTES,
        widget=SecretTextarea(attrs={"rows": 12, "spellcheck": "false", "autocomplete": "off"}),
        help_text="Paste the output of: kubectl config view --raw --minify --flatten. It is encrypted and never shown.",
    )
    kubeconfig_file = forms.FileField(
        required=False, label="Or upload it", widget=UnfoldAdminFileFieldWidget(), help_text="At most 128 KiB."
    )
    context = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Which context to use, when it is not the current one.",
    )
    in_cluster = forms.BooleanField(
        required=False,
        label="By service account (in-cluster)",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="The cluster that Flotilla itself runs in, by its pods' own service account. No secret is stored.",
    )
    token = forms.CharField(
        required=False,
        strip=True,
        max_length=MAX_BYTES,
        widget=SecretTextarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
        help_text="For the same server. It is tried first; pages go on showing what they show.",
    )
    force = forms.BooleanField(
        required=False,
        label="Store it although it fails",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Only where the cluster can't be reached now and you are sure.",
    )
    again = forms.BooleanField(
        required=False,
        label="Register it twice",
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Only where Flotilla says that it knows the cluster already, and you want it under both names.",
    )
    model_cache = forms.CharField(
        required=False,
        max_length=500,
        label="Models on nodes",
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false", "placeholder": "/var/lib/flotilla-models"}),
        help_text=(
            "A folder where each node keeps models for the next replicas there. It has to be on every node, and user "
            "65532 has to be able to write it. Empty: each replica fetches its model."
        ),
    )
    labels = LabelsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line, such as provider=gcp, region=europe-west4, accelerator=a100.",
    )

    class Meta:
        model = Cluster
        fields: ClassVar = ["name", "labels", "enabled", "model_cache"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None and "again" in self.fields:
            again = self.fields["again"]
            again.label, again.initial = "Registered twice on purpose", twins.is_meant(self.instance)
            again.help_text = "It has other names here, too. Checks tell of that until you say that it is meant."

    def clean(self) -> dict[str, Any]:
        """Read what is given and check its address, so that what is refused is said beside the field."""
        cleaned = super().clean() or {}
        text = self._text(cleaned)
        ways = [name for name in ("in_cluster", "token") if cleaned.get(name)] + (["kubeconfig"] if text else [])
        if len(ways) > 1:
            self.add_error(ways[0], "Give one of them: a kubeconfig, the service account, or a new token.")
        elif not ways and self.instance.pk is None:
            self.add_error("kubeconfig", "A new cluster needs a kubeconfig: paste or upload one.")
        elif ways and ways[0] != "token":
            self._check_connection(ways[0], text, cleaned.get("context") or "")
        cleaned["kubeconfig_text"] = text
        return cleaned

    def _check_connection(self, way: str, text: str | bytes, context: str) -> None:
        try:
            connection = kubeconfig.parse(text, context) if way == "kubeconfig" else incluster.here()
            addresses.checked_address(connection.server, settings.CLUSTER_ALLOWED_NETWORKS)
        except FlotillaError as error:
            self.add_error(way, error.sentence)
            return
        is_new = self.instance.pk is None
        if is_new and not self.cleaned_data.get("again") and (twin := twins.known_as(connection.server, connection.ca)):
            step = f"Open {twin} to give it a new connection; or switch “Register it twice” on, and send it once more."
            self.add_error(way, f"{twins.twice(twin)} {step}")

    def _text(self, cleaned: dict[str, Any]) -> str | bytes:
        upload = cleaned.get("kubeconfig_file")
        if upload is None:
            return str(cleaned.get("kubeconfig") or "")
        if upload.size > MAX_BYTES:
            self.add_error("kubeconfig_file", f"The file is larger than {MAX_BYTES // 1024} KiB.")
            return ""
        content: bytes = upload.read()
        return content
