"""Flotilla's own model server: for which models it stands in where no image is named."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from apps.clusters.models import Cluster
from apps.core.errors import Invalid
from apps.deployments.manifests.modelfiles import Source
from apps.deployments.specs import OWN_MODEL_PATH, serves_a_format
from apps.experiments.models import ModelVersion
from apps.experiments.registry.flavours import flavours_of

# As modelserver/openinference/flavours.py has them.
FLAVOURS = ("sklearn",)
# The fields that belong to an image, and go when it goes.
OF_IMAGE = ("image", "command", "args", "shutdown", "model_path")
# Of an image that is not ours, which may know nothing of draining: as long as load balancers need to take note.
SHUTDOWN = {"drain_seconds": 5}


def with_image(spec: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """The spec with Flotilla's own server where it names no image. Raises Invalid when that can't serve the version."""
    image = str(spec.get("image") or "")
    if serves_a_format(spec) or (image and not is_own(image)):
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
    if image and image != settings.MODEL_SERVER_IMAGE:
        # An earlier one may know of no init step.
        return dict(spec)
    return {**spec, "image": settings.MODEL_SERVER_IMAGE, "model_path": spec.get("model_path") or OWN_MODEL_PATH}


def with_shutdown(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a newly named image, or serving runtime, with a way to end, unless it says one. Our own server drains
    by itself."""
    image = str(spec.get("image") or "")
    drains = not serves_a_format(spec) and (not image or is_own(image))
    if spec.get("shutdown") is not None or drains:
        return dict(spec)
    return {**spec, "shutdown": SHUTDOWN}


def source_on(cluster: Cluster) -> Source:
    """Where replicas on this cluster get their models from."""
    return Source(settings.PUBLIC_URL, settings.MODEL_SERVER_IMAGE, cluster.model_cache)


def is_own(image: str) -> bool:
    """Whether it is Flotilla's own server, in whichever version."""
    return _repository(image) == _repository(settings.MODEL_SERVER_IMAGE)


def _repository(image: str) -> str:
    folder, slash, name = image.partition("@")[0].rpartition("/")
    return folder + slash + name.partition(":")[0]
