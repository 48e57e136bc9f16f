"""The requests of containers and the room of nodes: cpu in millicores, memory in bytes, GPUs by kind. Pure.

A cluster is not trusted to be sane: what can't be read counts as nothing, and numbers are cut to their columns.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from apps.clusters.quantities.gpus import is_whole
from kubevalues import quantities

Object = Mapping[str, Any]

BIGINT, INT = 2**63 - 1, 2**31 - 1


def pod_requests(spec: Object) -> dict[str, int]:
    """The amounts that the scheduler reserves for a pod: cpu in millicores, memory in bytes, whole GPUs.

    What the pod asks for as a whole holds instead of what its containers do; the overhead is added to either.
    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#pod-level-resource-specification
    """
    asked = reserved(spec, resources)
    as_a_whole = _asked(spec)
    for name, read in (("cpu", millicores), ("memory", amount)):
        if name in as_a_whole:
            asked[name] = read(as_a_whole[name])
    overhead = resources(spec.get("overhead") or {})
    return {key: min(BIGINT, asked.get(key, 0) + overhead[key]) for key in overhead}


def reserved(spec: Object, read: Callable[[Mapping[str, Any]], dict[str, int]]) -> dict[str, int]:
    """The containers' sums, or the largest that an init container needs, where that is more.

    Init containers run one after another before the rest; those with restartPolicy Always go on from then on, beside
    the later ones and the rest. https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    running: Counter[str] = Counter()
    first: Counter[str] = Counter()
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            running.update(read(_asked(container)))
        else:
            first |= running + Counter(read(_asked(container)))
    for container in spec.get("containers") or []:
        running.update(read(_asked(container)))
    return dict(running | first)


def resources(quantities_by_name: Mapping[str, Any]) -> dict[str, int]:
    """cpu in millicores, memory in bytes and the number of whole GPUs of any make; slices are in `gpus` alone."""
    total = sum(amount(value) for name, value in quantities_by_name.items() if is_whole(str(name)))
    return {
        "cpu": millicores(quantities_by_name.get("cpu")),
        "memory": amount(quantities_by_name.get("memory")),
        "gpu": total,
    }


def gpus(quantities_by_name: Mapping[str, Any]) -> dict[str, int]:
    """GPUs by resource name; kinds of which there are none are left out."""
    counts = {str(name): min(INT, amount(value)) for name, value in quantities_by_name.items() if _is_gpu(str(name))}
    return {name: count for name, count in counts.items() if count}


def pod_gpus(spec: Object) -> dict[str, int]:
    """The GPUs that the scheduler reserves for a pod, by resource name."""
    return {kind: min(INT, count) for kind, count in sorted(reserved(spec, gpus).items())}


def _is_gpu(name: str) -> bool:
    # Slices and shares are counted as what they are: nvidia.com/mig-1g.5gb, nvidia.com/gpu.shared.
    resource = name.partition("/")[2]
    return resource == "gpu" or resource.startswith(("gpu.", "mig-")) or name.startswith("gpu.intel.com/")


def _asked(container: Object) -> Mapping[str, Any]:
    asked = container.get("resources") or {}
    # A limit without a request is the request, as the API server would default it.
    return {**(asked.get("limits") or {}), **(asked.get("requests") or {})}


def millicores(value: Any) -> int:
    """A quantity of CPU in millicores; 0 for what is none."""
    return _number(quantities.millicores, value)


def amount(value: Any) -> int:
    """A quantity in bytes or pieces; 0 for what is none."""
    return _number(quantities.whole, value)


def _number(read: Any, value: Any) -> int:
    if value is None:
        return 0
    try:
        return max(0, min(BIGINT, int(read(value))))
    except ValueError:
        # A quantity that no API server would accept: it must not stop the rest of the batch.
        return 0
