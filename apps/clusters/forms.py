"""Forms of clusters, for the admin panel."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from apps.clusters import addresses, kubeconfig
from apps.clusters.models import Cluster
from apps.clusters.services import clean_labels
from apps.core.errors import FlotillaError


class SecretTextarea(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """A text area that never shows again what was typed into it."""

    def format_value(self, value: Any) -> str:
        """Always empty: a kubeconfig goes in and never comes out."""
        return ""


class ClusterForm(forms.ModelForm):  # type: ignore[type-arg] # Django takes no subscript
    """Registers a cluster, or edits it. A kubeconfig is pasted or uploaded, and is checked before it is saved."""

    kubeconfig = forms.CharField(
        required=False,
        strip=False,
        max_length=kubeconfig.MAX_BYTES,
        widget=SecretTextarea(attrs={"rows": 12, "spellcheck": "false", "autocomplete": "off"}),
        help_text="Paste the output of: kubectl config view --raw --minify --flatten. It is encrypted and never shown.",
    )
    kubeconfig_file = forms.FileField(
        required=False, label="Or upload it", widget=UnfoldAdminFileFieldWidget(), help_text="At most 128 KiB."
    )
    context = forms.CharField(
        required=False, max_length=500, help_text="Which context to use, when it is not the current one."
    )

    class Meta:
        model = Cluster
        fields: ClassVar = ["name", "labels", "enabled"]

    def clean_labels(self) -> dict[str, str]:
        """Kubernetes's own rules for labels."""
        try:
            return clean_labels(self.cleaned_data.get("labels") or {})
        except FlotillaError as error:
            raise forms.ValidationError(error.sentence) from error

    def clean(self) -> dict[str, Any]:
        """Read the kubeconfig and check its address, so that what is refused is said beside the field."""
        cleaned = super().clean() or {}
        text = self._text(cleaned)
        if not text:
            if self.instance.pk is None:
                self.add_error("kubeconfig", "A new cluster needs a kubeconfig: paste or upload one.")
            return cleaned
        try:
            parsed = kubeconfig.parse(text, cleaned.get("context") or "")
            addresses.checked_address(parsed.server, settings.CLUSTER_ALLOWED_NETWORKS)
        except FlotillaError as error:
            self.add_error("kubeconfig", error.sentence)
        cleaned["kubeconfig_text"] = text
        return cleaned

    def _text(self, cleaned: dict[str, Any]) -> str | bytes:
        upload = cleaned.get("kubeconfig_file")
        if upload is None:
            return str(cleaned.get("kubeconfig") or "")
        if upload.size > kubeconfig.MAX_BYTES:
            self.add_error("kubeconfig_file", f"The file is larger than {kubeconfig.MAX_BYTES // 1024} KiB.")
            return ""
        content: bytes = upload.read()
        return content
