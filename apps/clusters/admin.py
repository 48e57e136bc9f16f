"""The admin panel's pages of clusters: register, edit, test the connection."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action

from apps.clusters import services
from apps.clusters.forms import ClusterForm
from apps.clusters.models import Cluster
from apps.core.access import Principal, principal_of
from apps.core.errors import FlotillaError

_OBSERVED = ("state", "reason", "message", "server_version", "has_metrics", "last_seen_at")
_CONNECTION = ("server", "credential_kind", "ca_fingerprint")


@admin.register(Cluster)
class ClusterAdmin(ModelAdmin):
    """Clusters. Everything is written through services, so that address checks, encryption and audit are the same."""

    form = ClusterForm
    list_display = ("name", "state", "server", "server_version", "last_seen_at", "enabled")
    list_filter = ("state", "enabled")
    search_fields = ("name", "server")
    actions_detail: ClassVar = ["test_connection"]

    def get_readonly_fields(self, request: HttpRequest, obj: Cluster | None = None) -> tuple[str, ...]:
        """What is observed, and the name once it is in use."""
        return ("name", *_CONNECTION, *_OBSERVED) if obj else ()

    def get_fieldsets(
        self, request: HttpRequest, obj: Cluster | None = None
    ) -> list[tuple[str | None, dict[str, Any]]]:
        """Registration is short; the edit page also shows what is known."""
        credential = ("kubeconfig", "kubeconfig_file", "context")
        if obj is None:
            return [(None, {"fields": ("name", "labels")}), ("Connection", {"fields": credential})]
        text = "A changed address or certificate authority needs the credential again, so the kubeconfig as a whole."
        return [
            (None, {"fields": ("name", "labels", "enabled")}),
            ("Observed", {"fields": _OBSERVED}),
            ("Connection", {"fields": _CONNECTION}),
            ("New connection", {"fields": credential, "description": text, "classes": ["collapse"]}),
        ]

    @admin.display(description="Certificate authority")
    def ca_fingerprint(self, cluster: Cluster) -> str:
        """The CA by its fingerprint."""
        return services.ca_fingerprint(cluster) or "the system's own"

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Platform administrators only."""
        return principal_of(request).is_platform_admin

    def has_view_permission(self, request: HttpRequest, obj: Cluster | None = None) -> bool:
        """Platform administrators only."""
        return principal_of(request).is_platform_admin

    has_add_permission = has_module_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission

    def save_model(self, request: HttpRequest, obj: Cluster, form: Any, change: bool) -> None:
        """Register or edit through the services."""
        principal, values = principal_of(request), form.cleaned_data
        if not change:
            made = services.register(
                principal=principal,
                name=values["name"],
                labels=values.get("labels") or {},
                kubeconfig_text=values["kubeconfig_text"],
                context=values.get("context") or "",
            )
            obj.pk, obj.generation = made.pk, made.generation
            obj._state.adding = False
            return
        if values.get("kubeconfig_text"):
            services.replace_kubeconfig(
                principal=principal,
                cluster=obj,
                kubeconfig_text=values["kubeconfig_text"],
                context=values.get("context") or "",
            )
        services.update_cluster(
            principal=principal, cluster=obj, labels=values.get("labels") or {}, enabled=values["enabled"]
        )

    def delete_model(self, request: HttpRequest, obj: Cluster) -> None:
        """Forget through the service."""
        self._delete(request, principal_of(request), obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Cluster]) -> None:
        """The same for several."""
        for cluster in queryset:
            self._delete(request, principal_of(request), cluster)

    def _delete(self, request: HttpRequest, principal: Principal, cluster: Cluster) -> None:
        try:
            services.delete_cluster(principal=principal, cluster=cluster)
        except FlotillaError as error:
            messages.error(request, error.sentence)

    def response_add(self, request: HttpRequest, obj: Cluster, post_url_continue: str | None = None) -> HttpResponse:
        """After registering, show at once what works."""
        messages.success(request, f"Cluster {obj.name} is registered; the watcher connects within seconds.")
        return redirect(reverse("admin:clusters_cluster_test_connection", args=[obj.pk]))

    @action(description="Test connection", url_path="test", permissions=["view"])  # type: ignore[untyped-decorator]
    def test_connection(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Say what works with the cluster now, and which permissions are missing."""
        cluster = get_object_or_404(Cluster, pk=object_id)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": f"Connection to {cluster.name}",
            "cluster": cluster,
            "back": reverse("admin:clusters_cluster_change", args=[cluster.pk]),
        }
        try:
            context["report"] = services.check_connection(principal=principal_of(request), cluster=cluster)
        except FlotillaError as error:
            context["error"] = error
        return render(request, "clusters/admin_test.html", context)
