"""The ASGI entry point of the web process."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from apps.core import garbage
from controlplane.bodylimit import BodyLimit
from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

application = BodyLimit(
    get_asgi_application(), usual=settings.DATA_UPLOAD_MAX_MEMORY_SIZE, largest=settings.ARTIFACT_MAX_BYTES
)
refuse_unfit_settings()
# All pages' code is loaded now, not by the first request.
get_resolver().url_patterns  # noqa: B018 - reading it loads them
garbage.settle()
