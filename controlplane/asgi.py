"""The ASGI entry point of the web process."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application

from controlplane.bodylimit import BodyLimit
from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

application = BodyLimit(
    get_asgi_application(), usual=settings.DATA_UPLOAD_MAX_MEMORY_SIZE, largest=settings.ARTIFACT_MAX_BYTES
)
refuse_unfit_settings()
