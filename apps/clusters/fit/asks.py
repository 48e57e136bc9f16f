"""What is asked of a cluster: pods of a size, labels, and what to prefer among those that fit. Pure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.clusters.podoptions import NO_OPTIONS, PodOptions
from apps.clusters.podoptions.scheduling import parse_labels
from apps.clusters.quantities.sizes import Size
from apps.clusters.quantities.words import plural
from apps.core.text.wording import bytes_text, cpu_text


class Prefer(enum.StrEnum):
    """What decides among clusters that fit: the lowest price, then the most room; or the most room alone."""

    PRICE = "price"
    ROOM = "room"


@dataclass(frozen=True)
class Ask:
    """`number` pods, each of this size and with these options, all of them on one cluster."""

    size: Size
    number: int = 1
    pod: PodOptions = NO_OPTIONS

    @property
    def text(self) -> str:
        """ "2 CPU, 4 GiB and 1 GPU": what each of the pods asks for."""
        parts = [f"{cpu_text(self.size.cpu_m)} CPU", bytes_text(self.size.memory_b)]
        if not self.size.gpu:
            return " and ".join(parts)
        return f"{', '.join(parts)} and {plural(self.size.gpu, 'GPU')}"


@dataclass(frozen=True)
class Wish:
    """An ask, with the labels that the cluster has to have. `avoid` is for clusters that are taken only where no other
    one fits, each with why; `shared` for those that are taken just before them."""

    ask: Ask
    labels: Mapping[str, str] = field(default_factory=dict)
    prefer: Prefer = Prefer.PRICE
    avoid: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    def last(self, name: str) -> str:
        """Why the cluster is one of the last choices; "" where it is not."""
        return ", ".join(why[name] for why in (self.avoid, self.shared) if name in why)


def parse_selector(value: Any, name: str = "cluster_selector") -> dict[str, str]:
    """The labels that a cluster has to have. Raises Invalid naming the field."""
    return parse_labels(value, name)
