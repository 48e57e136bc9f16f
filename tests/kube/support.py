"""Manifests and waiting, for tests that drive a cluster."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass
class Images:
    """What the tests' pods run: a shell with its usual tools, and Python. Some clusters reach one registry only."""

    shell: str = "busybox"
    python: str = "python:3.11"


#: Set by the options --shell-image and --python-image.
images = Images()
#: Seconds. A real cluster may have to pull the image first.
PATIENCE = 90.0


def wait_until(what: str, condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """The first true value of ``condition``; fails with ``what`` when there is none in time."""
    ends = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > ends:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.1)
    return value


def container(*command: str, **more: Any) -> Object:
    """A container with a shell that asks for little."""
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    return {"name": "main", "image": images.shell, "command": list(command), "resources": resources, **more}


def pod(name: str, *command: str, labels: Object | None = None, **more: Any) -> Object:
    """A pod that runs one command once."""
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container(*command)], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def deployment(name: str, replicas: int, *command: str) -> Object:
    """A deployment of pods that run ``command`` (for ever, by default)."""
    labels = {"app": name}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container(*(command or ("sleep", "100000")))]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
