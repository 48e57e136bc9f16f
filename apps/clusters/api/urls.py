"""REST URLs of clusters."""

from django.urls import URLPattern, URLResolver

from apps.clusters.api.usage import UsageViewSet
from apps.clusters.api.views import ClusterViewSet
from apps.core.api.viewsets import Router

router = Router()
router.register("clusters", ClusterViewSet, basename="cluster")
router.register("usage", UsageViewSet, basename="usage")
urlpatterns: list[URLPattern | URLResolver] = router.urls
