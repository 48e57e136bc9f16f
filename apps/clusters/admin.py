"""The admin panel's pages of clusters: register, edit, check, remove."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from unfold.decorators import action

from apps.clusters import services
from apps.clusters.connect import reach, twins
from apps.clusters.models import Cluster
from apps.clusters.pages.forms import ClusterForm
from apps.clusters.usage import admin as usage_admin  # noqa: F401 - registers the page of prices
from apps.core.access import principal_of
from apps.core.admin import ServiceAdmin
from apps.core.errors import FlotillaError
from apps.core.text.publicurl import is_loopback

_OBSERVED = ("state", "reason", "message", "server_version", "measured_use", "last_seen_at", "runs_there")
_CONNECTION = ("server", "known_by", "credential_kind", "ca_fingerprint")
_KUBECONFIG = ("kubeconfig", "kubeconfig_file", "context", "in_cluster")


@admin.register(Cluster)
class ClusterAdmin(ServiceAdmin):
    """Clusters. Everything is written through services, so that address checks, encryption and audit are the same."""

    # A credential that replaces another one is tried first.
    one_transaction = False
    form = ClusterForm
    list_display = ("name", "state", "server", "server_version", "last_seen_at", "enabled")
    list_filter = ("state", "enabled")
    search_fields = ("name", "server")
    # Removal asks for the name of each cluster, so there is none for several at once.
    actions = None
    actions_detail: ClassVar = ["test_connection"]

    def get_readonly_fields(self, request: HttpRequest, obj: Cluster | None = None) -> tuple[str, ...]:
        """What is observed, and the name once it is in use."""
        return ("name", *_CONNECTION, *_OBSERVED) if obj else ()

    def get_fieldsets(
        self, request: HttpRequest, obj: Cluster | None = None
    ) -> list[tuple[str | None, dict[str, Any]]]:
        """Registration is short; the edit page also shows what is known."""
        if obj is None:
            connection: dict[str, Any] = {"fields": (*_KUBECONFIG, "again")}
            if is_loopback(settings.PUBLIC_URL):
                connection["description"] = (
                    f"Its pods must reach Flotilla, which tells them {settings.PUBLIC_URL}: only pods on this machine "
                    "can. For a cluster elsewhere, start Flotilla with FLOTILLA_PUBLIC_URL set to an address that "
                    "its pods reach."
                )
            return [(None, {"fields": ("name", "labels")}), ("Connection", connection)]
        token = "For the same server and certificate authority; the cluster stays watched while it is replaced."  # noqa: S105
        text = "A changed address or certificate authority needs the credential again, so the kubeconfig as a whole."
        twice = ("again",) if twins.has_any(obj) or twins.is_meant(obj) else ()
        return [
            (None, {"fields": ("name", "labels", "model_cache", "enabled")}),
            ("Observed", {"fields": _OBSERVED}),
            ("Connection", {"fields": (*_CONNECTION, *twice)}),
            ("New token", {"fields": ("token", "force"), "description": token, "classes": ["collapse"]}),
            ("New connection", {"fields": _KUBECONFIG, "description": text, "classes": ["collapse"]}),
        ]

    @admin.display(description="Certificate authority")
    def ca_fingerprint(self, cluster: Cluster) -> str:
        """The CA by its fingerprint."""
        return services.ca_fingerprint(cluster) or "the system's own"

    @admin.display(description="Uid of kube-system")
    def known_by(self, cluster: Cluster) -> str:
        """The cluster's identity, whatever its address."""
        return cluster.identity or "not known yet"

    @admin.display(description="Used CPU, memory")
    def measured_use(self, cluster: Cluster) -> str:
        """Whether there is a metrics-server: without one nothing is wrong."""
        if cluster.measures_use is None:
            return "not known yet"
        return "from metrics-server" if cluster.measures_use else "not measured (no metrics-server)"

    @admin.display(description="What runs there")
    def runs_there(self, cluster: Cluster) -> str:
        """What goes on running when the cluster is disabled or removed."""
        there = services.all_dependents(cluster.pk)
        return ", ".join([*(holding.said for holding in there.holdings), f"{there.pods} pods"])

    def save_model(self, request: HttpRequest, obj: Cluster, form: Any, change: bool) -> None:
        """Register or edit through the services."""
        values = form.cleaned_data
        if change:
            self._edit(request, obj, values)
            return
        named = {"principal": principal_of(request), "name": values["name"], "labels": values.get("labels") or {}}
        named["again"] = values["again"]
        if values["in_cluster"]:
            cluster = services.register_in_cluster(**named)
        else:
            cluster = services.register(
                **named, kubeconfig_text=values["kubeconfig_text"], context=values.get("context") or ""
            )
        obj.pk, obj.generation = cluster.pk, cluster.generation
        if advice := reach.advice(cluster.server, settings.PUBLIC_URL):
            messages.warning(request, advice)
        obj._state.adding = False

    def _edit(self, request: HttpRequest, obj: Cluster, values: dict[str, Any]) -> None:
        principal = principal_of(request)
        whose: dict[str, Any] = {"principal": principal, "cluster": obj, "force": values["force"]}
        if values.get("kubeconfig_text"):
            text, context = values["kubeconfig_text"], values.get("context") or ""
            services.replace_kubeconfig(**whose, kubeconfig_text=text, context=context)
        elif values["in_cluster"]:
            services.replace_by_in_cluster(**whose)
        elif values["token"]:
            services.replace_credential(**whose, token=values["token"])
        if "again" in values and values["again"] != twins.is_meant(obj):
            services.mean_twins(principal=principal, cluster=obj, meant=values["again"])
        was_enabled = Cluster.objects.values_list("enabled", flat=True).get(pk=obj.pk)
        services.update_cluster(
            principal=principal,
            cluster=obj,
            labels=values.get("labels") or {},
            enabled=values["enabled"],
            model_cache=values["model_cache"],
        )
        if was_enabled and not values["enabled"]:
            running = services.dependents_of(principal=principal, cluster=obj).running
            messages.warning(request, f"Cluster {obj.name} is disabled and no longer watched. {running}")

    def delete_model(self, request: HttpRequest, obj: Cluster) -> None:
        """Remove through the service."""
        services.delete_cluster(principal=principal_of(request), cluster=obj)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Say what runs there, ask for the cluster's name, and forget it through the service.

        Not Django's own page: that one would list every pod and event that was observed.
        """
        if not self.has_delete_permission(request):
            raise PermissionDenied
        cluster, principal = get_object_or_404(Cluster, pk=object_id), principal_of(request)
        error = ""
        if request.method == "POST":
            if request.POST.get("confirm", "").strip() != cluster.name:
                error = f"Type {cluster.name} to remove it."
            else:
                try:
                    abandon = request.POST.get("abandon") == "on"
                    left = services.delete_cluster(principal=principal, cluster=cluster, abandon=abandon)
                    messages.success(request, f"Cluster {cluster.name} is removed. {left.running}")
                    return redirect(reverse("admin:clusters_cluster_changelist"))
                except FlotillaError as refused:
                    error = refused.sentence
        context = {
            **self.admin_site.each_context(request),
            "title": f"Remove {cluster.name}",
            "cluster": cluster,
            "account": services.dependents_of(principal=principal, cluster=cluster),
            "error": error,
            "back": reverse("admin:clusters_cluster_change", args=[cluster.pk]),
        }
        return render(request, "clusters/admin_delete.html", context)

    def response_add(self, request: HttpRequest, obj: Cluster, post_url_continue: str | None = None) -> HttpResponse:
        """After registering, show at once what works."""
        messages.success(request, f"Cluster {obj.name} is registered; the watcher connects within seconds.")
        return redirect(reverse("admin:clusters_cluster_test_connection", args=[obj.pk]))

    @action(description="Check", url_path="test", permissions=["view"])  # type: ignore[untyped-decorator]
    def test_connection(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Check the cluster now: what works, and which permissions are missing."""
        cluster = get_object_or_404(Cluster, pk=object_id)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": f"Check of {cluster.name}",
            "cluster": cluster,
            "back": reverse("admin:clusters_cluster_change", args=[cluster.pk]),
        }
        try:
            context["report"] = services.check_connection(principal=principal_of(request), cluster=cluster)
        except FlotillaError as error:
            context["error"] = error
        return render(request, "clusters/admin_test.html", context)
