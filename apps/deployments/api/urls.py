"""REST URLs of deployments."""

from django.urls import URLPattern, URLResolver

from apps.core.api.viewsets import Router
from apps.deployments.api.approvals import ApprovalViewSet
from apps.deployments.api.sources import MetricsSourceViewSet
from apps.deployments.api.targets import TargetViewSet
from apps.deployments.api.views import DeploymentViewSet

router = Router()
router.register("targets", TargetViewSet, basename="target")
router.register("metrics-sources", MetricsSourceViewSet, basename="metrics-source")
router.register("deployments", DeploymentViewSet, basename="deployment")
router.register("approvals", ApprovalViewSet, basename="approval")
urlpatterns: list[URLPattern | URLResolver] = router.urls
