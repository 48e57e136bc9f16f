"""A request of `calls`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.architecture.world import World

Body = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request. `form` sends a page's form, else the body is JSON; what it writes is rolled back afterwards."""

    method: str
    path: str
    body: Body | None = None
    many: Callable[[World], Body] | None = None
    form: bool = False
    platform: bool = False
    """Sent by a platform administrator, not by an administrator of the project."""

    @property
    def name(self) -> str:
        """How `query_counts.json` calls it."""
        return self.path if self.method == "GET" else f"{self.method} {self.path}"


def get(*paths: str) -> list[Ask]:
    """Requests without a body."""
    return [Ask("GET", path) for path in paths]
