"""URLs of the REST API of workflows."""

from apps.core.api.viewsets import Router
from apps.workflows.api.bundles import BundleViewSet
from apps.workflows.api.views import PipelineViewSet

router = Router()
router.register("pipelines", PipelineViewSet, basename="pipeline")
router.register("apply", BundleViewSet, basename="bundle")
urlpatterns = router.urls
