"""Finding a container's image, and what the kubelet says when there is none."""

from __future__ import annotations

import time
from collections.abc import Callable

from localcluster.kubelet.backoff import Backoff
from localcluster.kubelet.images import Image, ImageTable
from localcluster.kubelet.plan import Container

Event = Callable[[str, str, str], None]

_FIRST_LOOK_SECONDS = 2.0  # so long a failed pull shows as ErrImagePull, before it is a back-off


class Puller:
    """Pulls images for one pod, with a back-off per image."""

    def __init__(self, images: ImageTable, event: Event) -> None:
        self._images = images
        self._event = event
        self._failures: dict[str, tuple[Backoff, float]] = {}

    def pull(self, container: Container) -> Image | None:
        """The image, or None: then the container waits for a reason, and `retry_at` says until when."""
        name = str(container.spec["image"])
        image = self._images.find(name)
        if image is not None:
            self._failures.pop(name, None)
            self._event("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return image
        now = time.time()
        if container.spec.get("imagePullPolicy") == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            self._event("Warning", "ErrImageNeverPull", message)
            container.waiting, container.retry_at = ("ErrImageNeverPull", message), now + 10.0
            return None
        backoff, failed_at = self._failures.get(name, (Backoff(), 0.0))
        cause = not_found(name)
        wait = backoff.wait(failed_at, now)
        if wait:
            self._event("Normal", "BackOff", f'Back-off pulling image "{name}"')
            self._event("Warning", "Failed", "Error: ImagePullBackOff")
            message = f'Back-off pulling image "{name}": ErrImagePull: {cause}'
            container.waiting, container.retry_at = ("ImagePullBackOff", message), now + wait
            return None
        self._event("Normal", "Pulling", f'Pulling image "{name}"')
        self._event("Warning", "Failed", f'Failed to pull image "{name}": {cause}')
        self._event("Warning", "Failed", "Error: ErrImagePull")
        self._failures[name] = (backoff.after(now), now)
        container.waiting, container.retry_at = ("ErrImagePull", cause), now + _FIRST_LOOK_SECONDS
        return None


def not_found(name: str) -> str:
    """The answer to a pull of an unknown image: containerd's words, and the places where this cluster looked."""
    return (
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{name}": failed to resolve reference '
        f'"{name}": {name}: not found in the local cluster\'s table of images'
    )
