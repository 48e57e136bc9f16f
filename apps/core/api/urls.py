"""REST URLs of core."""

from django.urls import URLPattern, URLResolver

from apps.core.api.views import ProjectViewSet, TokenViewSet
from apps.core.api.viewsets import Router

router = Router()
router.register("projects", ProjectViewSet, basename="project")
router.register("tokens", TokenViewSet, basename="token")
urlpatterns: list[URLPattern | URLResolver] = router.urls
