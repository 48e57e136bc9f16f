"""The entry point of the web process: streams in the event loop, everything else through plain WSGI on threads."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.wsgi import WSGIHandler
from django.urls import get_resolver

from apps.core.process import collector
from controlplane.bodylimit import BodyLimit
from controlplane.edge import Edge
from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

application = BodyLimit(
    # The first call sets Django up; the second handler finds it so.
    Edge(
        get_asgi_application(),
        WSGIHandler(),
        threads=settings.WEB_THREADS,
        gathered=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    ),
    usual=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    largest=settings.ARTIFACT_MAX_BYTES,
)
refuse_unfit_settings()
# All pages' code is loaded now, not by the first request.
get_resolver().url_patterns  # noqa: B018 - reading it loads them
collector.settle()
