"""The admin panel's page of prices."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from apps.clusters.pages.forms import LabelsField
from apps.clusters.usage import prices
from apps.clusters.usage.models import UsagePrice
from apps.core.access import principal_of
from apps.core.admin import ServiceAdmin
from apps.core.errors import FlotillaError


class UsagePriceForm(forms.ModelForm):
    """A price: which nodes, and what an hour on them costs."""

    labels = LabelsField(
        required=False,
        label="Node labels",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line, such as pool=a100. A node must have all of them. Empty: every node. "
        "Of several prices that fit, the one with most labels holds.",
    )

    class Meta:
        model = UsagePrice
        fields: ClassVar = ["name", "labels", "cpu_core_hour", "memory_gib_hour", "gpu_hour", "currency"]
        labels: ClassVar = {
            "cpu_core_hour": "A CPU core for an hour",
            "memory_gib_hour": "A GiB of memory for an hour",
            "gpu_hour": "A GPU for an hour",
        }
        help_texts: ClassVar = {"currency": "Such as EUR or USD. Costs in different currencies are not added up."}

    def clean(self) -> dict[str, Any]:
        """Say beside the fields what the service would refuse."""
        cleaned = super().clean() or {}
        same = UsagePrice.objects.filter(labels=cleaned.get("labels") or {}).exclude(pk=self.instance.pk).first()
        if same is not None:
            self.add_error("labels", f"The price {same.name!r} is there already for these nodes. Change that one.")
        for field in ("cpu_core_hour", "memory_gib_hour", "gpu_hour"):
            if field in cleaned and cleaned[field] < 0:
                self.add_error(field, "A price is a number from 0 on.")
        return cleaned

    def clean_currency(self) -> str:
        """Take a currency as the service takes it."""
        currency = str(self.cleaned_data["currency"])
        try:
            prices.check_currency(currency)
        except FlotillaError as error:
            raise forms.ValidationError(error.sentence) from error
        return currency


@admin.register(UsagePrice)
class UsagePriceAdmin(ServiceAdmin):
    """Prices. Everything is written through the services, so that checks and audit are the same."""

    form = UsagePriceForm
    list_display = ("name", "nodes", "cpu_core_hour", "memory_gib_hour", "gpu_hour", "currency")
    search_fields = ("name",)

    @admin.display(description="Nodes with")
    def nodes(self, price: UsagePrice) -> str:
        """The labels in a line."""
        return ", ".join(f"{key}={value}" for key, value in sorted(price.labels.items())) or "any labels"

    def save_model(self, request: HttpRequest, obj: UsagePrice, form: Any, change: bool) -> None:
        """Set through the service."""
        values = {field: form.cleaned_data[field] for field in UsagePriceForm.Meta.fields}
        values["labels"] = values["labels"] or {}
        # The form has filled `obj` already; what the audit row says was before is in the table.
        before = UsagePrice.objects.get(pk=obj.pk) if change else None
        obj.pk = prices.set_price(principal=principal_of(request), price=before, **values).pk
        obj._state.adding = False

    def delete_model(self, request: HttpRequest, obj: UsagePrice) -> None:
        """Remove through the service."""
        prices.delete_price(principal=principal_of(request), price=obj)
