"""Amounts of a resource for people, and the names of resources as Kubernetes spells them. Pure."""

from collections.abc import Mapping

from apps.core.text.wording import bytes_text, cpu_text
from kubevalues import quantities


def amount(resource: str, value: int) -> str:
    """ "4 nvidia.com/gpu", "3.5 CPU", "64 GiB of memory"."""
    if resource == "cpu":
        return f"{cpu_text(value)} CPU"
    if resource in {"memory", "ephemeral-storage"}:
        return f"{bytes_text(value)} of {resource}"
    return f"{value} {resource}"


def bare(resource: str, value: int) -> str:
    """The figure alone, with its unit where the resource has one."""
    if resource == "cpu":
        return cpu_text(value)
    return bytes_text(value) if resource in {"memory", "ephemeral-storage"} else str(value)


def needed(resource: str, value: int) -> str:
    """ "4 free nvidia.com/gpu", "3.5 free CPU", "64 GiB of free memory"."""
    if resource in {"memory", "ephemeral-storage"}:
        return f"{bytes_text(value)} of free {resource}"
    return f"{bare(resource, value)} free {'CPU' if resource == 'cpu' else resource}"


def more(resource: str, value: int) -> str:
    """ "2 more nvidia.com/gpu are free", "0.5 more CPU are free", "8 GiB more memory is free"."""
    if resource in {"memory", "ephemeral-storage"}:
        return f"{bytes_text(value)} more {resource} is free"
    name = "CPU" if resource == "cpu" else resource
    return f"{bare(resource, value)} more {name} {'is' if resource != 'cpu' and value == 1 else 'are'} free"


def parse(resource: str, text: str) -> int | None:
    """A quantity in our units (millicores of CPU, bytes, pieces); None for nonsense. `limits.cpu` is CPU, too."""
    try:
        is_cpu = resource.rpartition(".")[2] == "cpu"
        return quantities.millicores(text) if is_cpu else quantities.whole(text)
    except ValueError:
        return None


def pairs(text: str) -> Mapping[str, str]:
    """ "requests.cpu=2,pods=1" as a mapping."""
    parts = (part.partition("=") for part in text.split(","))
    return {name.strip(): value.strip() for name, mark, value in parts if mark}


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 node", "3 nodes"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 3) -> str:
    """ "a, b and 4 more"."""
    shown, rest = names[:most], len(names) - most
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)
