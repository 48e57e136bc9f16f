"""The entry point of the web process: streams in the event loop, everything else through plain WSGI on threads."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.wsgi import WSGIHandler
from django.urls import get_resolver
from django.utils.module_loading import import_string

from apps.core.process import collector
from controlplane.bodylimit import BodyLimit
from controlplane.edge import Edge
from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

# The first call sets Django up; what comes after it finds it so.
streams = get_asgi_application()
rest = WSGIHandler()
# All pages' code is loaded now, not by the first request.
get_resolver().url_patterns  # noqa: B018 - reading it loads them
application = BodyLimit(
    Edge(
        streams,
        rest,
        threads=settings.WEB_THREADS,
        gathered=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        short=import_string("apps.experiments.mlflow.urls.short")(),
    ),
    usual=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    largest=settings.ARTIFACT_MAX_BYTES,
)
refuse_unfit_settings()
collector.settle()
import_string("apps.experiments.files.sweeping.start")()
