"""The ASGI entry point of the web process."""

import os

from django.core.asgi import get_asgi_application

from controlplane.fitness import refuse_unfit_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

application = get_asgi_application()
refuse_unfit_settings()
