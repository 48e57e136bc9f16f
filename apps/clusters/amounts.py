"""What containers ask for and nodes have: cpu in millicores, memory in bytes, GPUs by kind. Pure.

A cluster is not trusted to be sane: what can't be read counts as nothing, and numbers are cut to their columns.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from apps.clusters import quantities

Object = Mapping[str, Any]

BIGINT, INT = 2**63 - 1, 2**31 - 1


def pod_requests(spec: Object) -> dict[str, int]:
    """What the scheduler reserves for a pod: cpu in millicores, memory in bytes, gpu.

    Ordinary init containers run one after another before the rest, so the larger of both counts; those with
    restartPolicy Always run beside the rest. https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    inits = spec.get("initContainers") or []
    sidecars = [found for found in inits if found.get("restartPolicy") == "Always"]
    running = _sum(_requests(found) for found in [*(spec.get("containers") or []), *sidecars])
    first = [_requests(found) for found in inits if found.get("restartPolicy") != "Always"]
    overhead = resources(spec.get("overhead") or {})
    return {key: min(BIGINT, max([running[key], *(found[key] for found in first)]) + overhead[key]) for key in running}


def resources(quantities_by_name: Mapping[str, Any]) -> dict[str, int]:
    """cpu in millicores, memory in bytes and the number of GPUs of any make."""
    total = sum(amount(value) for name, value in quantities_by_name.items() if _is_gpu(str(name)))
    return {
        "cpu": millicores(quantities_by_name.get("cpu")),
        "memory": amount(quantities_by_name.get("memory")),
        "gpu": total,
    }


def gpus(quantities_by_name: Mapping[str, Any]) -> dict[str, int]:
    """GPUs by resource name; kinds of which there are none are left out."""
    found = {str(name): min(INT, amount(value)) for name, value in quantities_by_name.items() if _is_gpu(str(name))}
    return {name: count for name, count in found.items() if count}


def pod_gpus(spec: Object) -> dict[str, int]:
    """The GPUs that the scheduler reserves for a pod, by resource name and by the rules of `pod_requests`."""
    running: dict[str, int] = {}
    first: dict[str, int] = {}
    for init, container in [
        *((True, found) for found in spec.get("initContainers") or []),
        *((False, found) for found in spec.get("containers") or []),
    ]:
        for kind, count in gpus(_asked(container)).items():
            if init and container.get("restartPolicy") != "Always":
                first[kind] = max(first.get(kind, 0), count)
            else:
                running[kind] = running.get(kind, 0) + count
    return {kind: min(INT, max(running.get(kind, 0), first.get(kind, 0))) for kind in sorted(running | first)}


def _is_gpu(name: str) -> bool:
    # Slices and shares are counted as what they are: nvidia.com/mig-1g.5gb, nvidia.com/gpu.shared.
    resource = name.partition("/")[2]
    return resource == "gpu" or resource.startswith(("gpu.", "mig-")) or name.startswith("gpu.intel.com/")


def _requests(container: Object) -> dict[str, int]:
    return resources(_asked(container))


def _asked(container: Object) -> Mapping[str, Any]:
    asked = container.get("resources") or {}
    # A limit without a request is the request, as the API server would default it.
    return {**(asked.get("limits") or {}), **(asked.get("requests") or {})}


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total = {"cpu": 0, "memory": 0, "gpu": 0}
    for part in parts:
        for key, value in part.items():
            total[key] += value
    return total


def millicores(value: Any) -> int:
    """A quantity of CPU in millicores; 0 for what is none."""
    return _number(quantities.millicores, value)


def amount(value: Any) -> int:
    """A quantity in bytes or pieces; 0 for what is none."""
    return _number(quantities.amount, value)


def _number(read: Any, value: Any) -> int:
    if value is None:
        return 0
    try:
        return max(0, min(BIGINT, int(read(value))))
    except ValueError:
        # A quantity that no API server would accept: it must not stop the rest of the batch.
        return 0
