"""GPUs by kind: sums of {resource name: count}, and what people call the kinds. Pure."""

from collections.abc import Iterable, Mapping


def label(kind: str) -> str:
    """A resource name in short: "nvidia.com/gpu" → "nvidia", "nvidia.com/mig-1g.5gb" → "mig-1g.5gb"."""
    domain, _, resource = kind.partition("/")
    maker = next((part for part in domain.split(".") if part not in {"gpu", "com", "io"}), domain)
    if resource == "gpu" or not resource:
        return maker
    if resource.startswith("mig-"):
        return resource
    return f"{maker} {resource.removeprefix('gpu.')}"


def is_whole(kind: str) -> bool:
    """Whether one of a kind is a whole GPU, and not a slice or a share of one."""
    return kind.endswith("/gpu") or kind.startswith("gpu.intel.com/")


def total(counted: Iterable[tuple[Mapping[str, int] | None, int]]) -> dict[str, int]:
    """The sum by kind of amounts that occur so many times each, in the order of the kinds' names."""
    sums: dict[str, int] = {}
    for amounts, times in counted:
        for kind, count in (amounts or {}).items():
            sums[kind] = sums.get(kind, 0) + int(count) * times
    return dict(sorted(sums.items()))
