"""URLs of the REST API of workflows."""

from apps.core.api.viewsets import Router
from apps.workflows.api.views import PipelineViewSet

router = Router()
router.register("pipelines", PipelineViewSet, basename="pipeline")
urlpatterns = router.urls
