"""Every URL of Flotilla. Each is tested: anonymous is refused, another project is not found."""

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.decorators.gzip import gzip_page
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.core.pages.shell_views import reference
from apps.core.pages.views import admin_login
from apps.workflows.api.hooks import receive
from controlplane import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    # The panel's own ways to sign in and to change a password would pass by the limits and the services.
    path("admin/login/", admin_login),
    path("admin/password_change/", login_required(RedirectView.as_view(pattern_name="core:password"))),
    path("admin/", admin.site.urls),
    path("api/schema/", gzip_page(SpectacularAPIView.as_view()), name="schema"),
    path("api/docs/", reference, name="docs"),
    path("api/docs/try/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="console"),
    path("api/v1/", include("apps.core.api.urls")),
    path("api/v1/", include("apps.clusters.api.urls")),
    path("api/v1/", include("apps.experiments.api.urls")),
    path("api/v1/", include("apps.deployments.api.urls")),
    path("api/v1/", include("apps.workflows.api.urls")),
    path("api/hooks/<slug:key>", receive, name="hook"),
    path("", include("apps.experiments.mlflow.urls")),
    path("", include("apps.core.pages.urls")),
    path("", include("apps.clusters.pages.urls")),
    path("", include("apps.experiments.pages.urls")),
    path("", include("apps.deployments.pages.urls")),
    path("", include("apps.workflows.pages.urls")),
]
handler400 = "apps.core.pages.views.bad_request"
handler403 = "apps.core.pages.views.forbidden"
handler404 = "apps.core.pages.views.not_found"
handler500 = "apps.core.pages.views.server_error"
