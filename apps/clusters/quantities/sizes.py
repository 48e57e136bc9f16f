"""The sizes that a container may ask for: the least that starts, the most that there is, and what fits on a node. Pure.

Kubernetes takes any quantity, and what is nonsense never starts or waits for ever: `512m` of memory is half a byte.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from apps.clusters.quantities.words import amount as named
from apps.core.errors import Invalid
from apps.core.text.wording import bytes_text
from kubevalues.quantities import millicores, parse, whole

MIB, TIB = 1024**2, 1024**4
# runc needs about this much to set a container up within its own limit; below it "container init was OOM-killed".
MIN_MEMORY_B = 4 * MIB
# For clusters whose nodes are not known; the largest machines that one can rent have half of it.
MAX_MEMORY_B = 64 * TIB
MAX_VOLUME_B = 1024 * TIB
MIN_CPU_M = 1
MAX_CPU_M = 4096 * 1000
# The GPU resource that runs and replicas ask for.
GPU = "nvidia.com/gpu"
_FIELDS = {"cpu": "resources.cpu", "memory": "resources.memory", GPU: "resources.gpu"}
_NUMBER = re.compile(r"^[0-9]*\.?[0-9]+")


@dataclass(frozen=True)
class Size:
    """CPU in millicores, memory in bytes, whole GPUs: of a node (with its name), or asked for."""

    cpu_m: int
    memory_b: int
    gpu: int = 0
    node: str = ""

    def of(self, resource: str) -> int:
        """The amount of `cpu`, `memory` or `nvidia.com/gpu`."""
        return {"cpu": self.cpu_m, "memory": self.memory_b, GPU: self.gpu}[resource]


def sensible(cpu: str, memory: str, gpu: int) -> Size:
    """The size that a container asks for, if any machine could give it.

    Raises Invalid naming `resources.cpu` or `resources.memory` and saying what was probably meant; ValueError for what
    is no quantity.
    """
    _check_memory(memory)
    _check_cpu(cpu)
    return Size(millicores(cpu), whole(memory), gpu)


def _check_memory(text: str) -> None:
    value = parse(text)
    if value < MIN_MEMORY_B:
        raise Invalid(
            f"{text} of memory is {_size(value)}{' (m means thousandths)' if text.endswith('m') else ''}, "
            "and a container needs at least 4 MiB to start.",
            field=_FIELDS["memory"],
            hint=_meant(_more_memory(text)),
        )
    if value > MAX_MEMORY_B:
        number = _NUMBER.match(text)
        raise Invalid(
            f"{text} of memory is more than any machine has: at most 64 TiB.",
            field=_FIELDS["memory"],
            hint=_meant(f"{number[0]}Gi" if number and len(number[0]) <= 4 else ""),
        )


def _size(value: Decimal) -> str:
    if value < 1024:
        return "less than one byte" if value < 1 else f"{value.normalize():f} bytes"
    # 4095 KiB look like 4 MiB in three digits.
    return "less than 4 MiB" if value >= 4 * 10**6 else bytes_text(int(value))


def _check_cpu(text: str) -> None:
    value = parse(text) * 1000
    if value < MIN_CPU_M:
        raise Invalid(
            f"{text} CPU is less than 1m, a thousandth of a core, which is the least that there is.",
            field=_FIELDS["cpu"],
            hint='Write "500m" or "2".',
        )
    if value > MAX_CPU_M:
        raise Invalid(
            f"{text} CPU is more cores than any machine has: at most {MAX_CPU_M // 1000}.",
            field=_FIELDS["cpu"],
            hint=_meant(_less_cpu(text)),
        )


def check_volume(text: str, field: str) -> str:
    """The size of a volume, if it makes sense. Raises Invalid saying what was probably meant."""
    try:
        value = parse(text)
    except ValueError as error:
        raise Invalid(str(error), field=field, hint='Write "500Mi" or "10Gi".') from error
    if value < MIB:
        raise Invalid(f"{text} is less than 1 MiB.", field=field, hint=_meant(_more_memory(text), 'Write "10Gi".'))
    if value > MAX_VOLUME_B:
        raise Invalid(f"{text} is more than any volume has: at most 1,024 TiB.", field=field)
    return text


def misfit(asked: Size, nodes: Iterable[Size], cluster: str) -> Invalid:
    """Why no node of the cluster can ever take what is asked for. `nodes` are its largest ones, by any resource."""
    sizes = list(nodes)
    for resource, field in _FIELDS.items():
        largest = max(sizes, key=lambda size: size.of(resource))
        demand, there = asked.of(resource), largest.of(resource)
        if demand > there:
            return Invalid(
                f"No node of {cluster} has {named(resource, demand)}{_at_most(resource, largest, demand)}.",
                field=field,
                hint=_meant(_less_cpu(f"{demand // 1000}")) if resource == "cpu" and demand >= 100_000 else _ELSEWHERE,
            )
    parts = [named(resource, asked.of(resource)) for resource in _FIELDS if asked.of(resource)]
    return Invalid(
        f"No single node of {cluster} has {' and '.join([', '.join(parts[:-1]), parts[-1]])}.",
        field="resources",
        hint=_ELSEWHERE,
    )


def _at_most(resource: str, largest: Size, demand: int) -> str:
    if not largest.of(resource):
        return ""
    there = named(resource, largest.of(resource))
    if there == named(resource, demand):
        there = "a little less"  # 15.99 GiB and 16 GiB look the same in three digits
    return f": the largest, {largest.node}, has {there} to give"


_ELSEWHERE = "Ask for less, or choose a cluster with larger nodes."


def _more_memory(text: str) -> str:
    """The same number in the unit that people have in mind: 512m → 512Mi, 1.5 → 1.5Gi, 1Mi → 1Gi; "" for others."""
    number = _NUMBER.match(text)
    if number is None or re.search(r"[eE]", text) or not 0 < float(number[0]) < 1_000_000:
        return ""
    return f"{number[0]}{'Gi' if float(number[0]) <= 64 else 'Mi'}"


def _less_cpu(text: str) -> str:
    """1500 → 1500m: thousandths of a core, as others write them; "" where that makes no sense."""
    return f"{text}m" if re.fullmatch(r"[0-9]{3,6}", text) else ""


def _meant(text: str, otherwise: str = _ELSEWHERE) -> str:
    return f"{text} was probably meant." if text else otherwise
