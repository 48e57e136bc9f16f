"""The pretended usage of hollow pods: a share of their requests that moves slowly and is the same every time. Pure.

An annotation of the pod sets what each of its containers uses instead:

    localcluster/use-cpu: "250m"
    localcluster/use-memory: "1Gi"
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping
from typing import Any

from kubevalues import quantities
from localcluster.fit import container_requests
from localcluster.kubelet.usage import ContainerUsage

USE_CPU, USE_MEMORY = "localcluster/use-cpu", "localcluster/use-memory"
#: How often the figures change, in seconds (metrics-server's resolution).
WINDOW = 15.0
# The requests that are assumed for a container that states none (millicores, bytes).
_UNASKED_CPU, _UNASKED_MEMORY = 50, 64 * 1024**2
_MIB = 1024**2


def usage_of(pod: Mapping[str, Any], at: float) -> list[ContainerUsage]:
    """The figures of a running pod's containers at a Unix time; within a window the amounts stay the same."""
    moment = at - at % WINDOW
    annotations = pod["metadata"].get("annotations") or {}
    return [
        ContainerUsage(
            name=container["name"],
            cpu_nanocores=_cpu(container, annotations, _seed(pod, container, b"cpu"), moment),
            memory_bytes=_memory(container, annotations, _seed(pod, container, b"memory"), moment),
            window_seconds=WINDOW,
            at=at,
        )
        for container in pod["spec"]["containers"]
    ]


def _seed(pod: Mapping[str, Any], container: Mapping[str, Any], purpose: bytes) -> bytes:
    return hashlib.blake2b(f"{pod['metadata']['uid']}/{container['name']}".encode() + purpose, digest_size=4).digest()


def _share(seed: bytes, moment: float, least: float, most: float, swing: float) -> float:
    """Between least and most for every container another, up and down by `swing` within 20 to 60 minutes."""
    middle = least + (most - least) * seed[0] / 255
    period = 1200 + 2400 * seed[1] / 255
    return middle + swing * math.sin(2 * math.pi * (moment / period + seed[2] / 255))


def _said(annotations: Mapping[str, str], name: str) -> str | None:
    """An annotation's quantity, where it is one."""
    with contextlib.suppress(ValueError):
        if quantities.parse(annotations.get(name, "")) >= 0:
            return annotations[name]
    return None


def _cpu(container: Mapping[str, Any], annotations: Mapping[str, str], seed: bytes, moment: float) -> int:
    stated = _said(annotations, USE_CPU)
    if stated is not None:
        return quantities.nanocores(stated)
    asked = container_requests(container).get("cpu") or _UNASKED_CPU
    return int(asked * 1_000_000 * _share(seed, moment, 0.1, 0.8, 0.08))


def _memory(container: Mapping[str, Any], annotations: Mapping[str, str], seed: bytes, moment: float) -> int:
    stated = _said(annotations, USE_MEMORY)
    if stated is not None:
        return quantities.whole(stated)
    asked = container_requests(container).get("memory") or _UNASKED_MEMORY
    return int(asked * _share(seed, moment, 0.3, 0.9, 0.05)) // _MIB * _MIB or _MIB
