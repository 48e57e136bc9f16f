"""REST URLs of deployments."""

from django.urls import URLPattern, URLResolver

from apps.core.api.viewsets import Router
from apps.deployments.api.sources import MetricsSourceViewSet
from apps.deployments.api.views import DeploymentViewSet, TargetViewSet

router = Router()
router.register("targets", TargetViewSet, basename="target")
router.register("metrics-sources", MetricsSourceViewSet, basename="metrics-source")
router.register("deployments", DeploymentViewSet, basename="deployment")
urlpatterns: list[URLPattern | URLResolver] = router.urls
