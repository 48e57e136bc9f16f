"""Flotilla's own model server: for which models it stands in where no image is named."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from apps.core.errors import Invalid
from apps.experiments.models import ModelVersion
from apps.experiments.registry.flavours import flavours_of

# As modelserver/openinference/flavours.py has them.
FLAVOURS = ("sklearn",)
# The fields that belong to an image, and go when it goes.
OF_IMAGE = ("image", "command", "args", "shutdown")
# Of an image that is not ours, which may know nothing of draining: as long as load balancers need to take note.
SHUTDOWN = {"drain_seconds": 5}


def with_image(spec: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """The spec with Flotilla's own server where it names no image. Raises Invalid when that can't serve the version."""
    image = str(spec.get("image") or "")
    if image and not is_own(image):
        return dict(spec)
    for name in ("command", "args"):
        if spec.get(name) and not image:
            raise Invalid("A command belongs to an image.", field=name, hint="Name the image, or leave this out.")
    flavours = flavours_of(version)
    if not flavours & set(FLAVOURS):
        kind = f"has {', '.join(sorted(flavours))}" if flavours else "is no model that MLflow has logged"
        raise Invalid(
            f"Flotilla's own server serves models of {' and '.join(FLAVOURS)}; {version} {kind}.",
            field="image",
            hint="Name an image that serves HTTP on $PORT.",
        )
    return {**spec, "image": image or settings.MODEL_SERVER_IMAGE}


def with_shutdown(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a newly named image with a way to end, unless it says one. Our own server drains by itself."""
    if spec.get("shutdown") is not None or not spec.get("image") or is_own(str(spec["image"])):
        return dict(spec)
    return {**spec, "shutdown": SHUTDOWN}


def is_own(image: str) -> bool:
    """Whether it is Flotilla's own server, in whichever version."""
    return _repository(image) == _repository(settings.MODEL_SERVER_IMAGE)


def _repository(image: str) -> str:
    folder, slash, name = image.partition("@")[0].rpartition("/")
    return folder + slash + name.partition(":")[0]
