"""REST URLs of experiments."""

from django.urls import URLPattern, URLResolver

from apps.core.api.viewsets import Router
from apps.experiments.api.bins import BinViewSet
from apps.experiments.api.models import ModelViewSet
from apps.experiments.api.runs import ExperimentViewSet, RunViewSet

router = Router()
router.register("experiments", ExperimentViewSet, basename="experiment")
router.register("runs", RunViewSet, basename="run")
router.register("bin", BinViewSet, basename="bin")
router.register("models", ModelViewSet, basename="model")
urlpatterns: list[URLPattern | URLResolver] = router.urls
