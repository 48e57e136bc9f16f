"""The holdings of a project, and of a cluster: counted before either is removed.

Core knows the shape, the apps above say what they have: `holdings.register(provider, forget)` in their
`AppConfig.ready()`. The holdings of a cluster have the same shape (`apps.clusters.services.dependents`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

NAMES_SHOWN = 20


@dataclass(frozen=True)
class Holding:
    """Things of one kind ("deployment"): how many, some by name, and whether they forbid the removal.

    `remedy` says what to do about them, or what becomes of them.
    """

    kind: str
    count: int
    names: tuple[str, ...] = ()
    blocks: bool = False
    remedy: str = ""
    namespaces: frozenset[str] = frozenset()

    @property
    def said(self) -> str:
        """ "3 deployments"."""
        return f"{self.count} {self.kind}{'' if self.count == 1 else 's'}"

    @property
    def more(self) -> int:
        """How many are not named."""
        return self.count - len(self.names)


def joined(holdings: Iterable[Holding]) -> str:
    """ "3 deployments, 1 run and 2 targets"."""
    said = [each.said for each in holdings]
    return " and ".join([", ".join(said[:-1]), said[-1]] if said[1:] else said)


Provider = Callable[[int], Iterable[Holding]]
Forget = Callable[[int], None]
_providers: list[Provider] = []
_forgets: list[Forget] = []


def register(provider: Provider, forget: Forget | None = None) -> None:
    """Let `provider(project_pk)` tell the holdings of a project in its app. Those that count nothing are left out.

    `forget(project_pk)` deletes the rows that no foreign key leads to, inside the transaction that deletes the project.
    """
    if provider not in _providers:
        _providers.append(provider)
    if forget is not None and forget not in _forgets:
        _forgets.append(forget)


def of_project(pk: int) -> tuple[Holding, ...]:
    """The holdings of a project in all apps."""
    return tuple(holding for provider in _providers for holding in provider(pk) if holding.count)


def forget_project(pk: int) -> None:
    """Let all apps, those above first, delete what they have of a project. Call it where nothing forbids it."""
    for forget in reversed(_forgets):
        forget(pk)
