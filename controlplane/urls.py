"""Every URL of Flotilla. Each is tested: anonymous is refused, another project is not found."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from controlplane import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/v1/", include("apps.core.api.urls")),
    path("api/v1/", include("apps.clusters.api.urls")),
    path("api/v1/", include("apps.experiments.api.urls")),
    path("api/v1/", include("apps.deployments.api.urls")),
    path("", include("apps.experiments.mlflow.urls")),
    path("", include("apps.core.urls")),
    path("", include("apps.clusters.urls")),
    path("", include("apps.experiments.urls")),
    path("", include("apps.deployments.urls")),
]
handler400 = "apps.core.views.bad_request"
handler403 = "apps.core.views.forbidden"
handler404 = "apps.core.views.not_found"
handler500 = "apps.core.views.server_error"
