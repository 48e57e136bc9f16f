"""The objects of Flotilla on a cluster: asked for before the cluster is disabled or removed.

Apps above clusters say what they have there: `dependents.register(holdings)` in their `AppConfig.ready()`.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from apps.core.access import Principal
from apps.core.holdings import Holding


@dataclass(frozen=True)
class Dependents:
    """All that is known to live on a cluster. `pods` are those of Flotilla that have not ended."""

    holdings: tuple[Holding, ...]
    pods: int
    namespaces: tuple[str, ...]

    @property
    def blocking(self) -> list[Holding]:
        """The holdings that forbid the removal."""
        return [holding for holding in self.holdings if holding.blocks]

    @property
    def running(self) -> str:
        """A sentence that says what goes on running there, whatever is done here."""
        if not self.pods:
            return "Nothing on the cluster itself is touched, and no pod of Flotilla's runs there."
        many = self.pods != 1
        places = len(self.namespaces)
        return (
            f"Nothing on the cluster itself is touched: {self.pods} pod{'s' if many else ''} of Flotilla's in "
            f"{places} namespace{'' if places == 1 else 's'} keep{'' if many else 's'} running."
        )

    def as_dict(self) -> dict[str, Any]:
        """For REST."""
        return {
            "sentence": self.running,
            "removable": not self.blocking,
            "pods": self.pods,
            "namespaces": list(self.namespaces),
            "holdings": [
                {key: value for key, value in asdict(holding).items() if key != "namespaces"}
                | {"names": list(holding.names)}
                for holding in self.holdings
            ],
        }


Provider = Callable[[int], Iterable[Holding]]
GiveUp = Callable[[int, Principal], None]
_providers: list[Provider] = []
_given_up: list[GiveUp] = []


def register(provider: Provider, give_up: GiveUp | None = None) -> None:
    """Let `provider(cluster_pk)` tell what its app has on a cluster; what there is none of is left out.

    `give_up(cluster_pk, principal)` forgets what forbids the removal of a cluster that is gone for good, without
    asking it; it is called inside the transaction that removes the cluster.
    """
    if provider not in _providers:
        _providers.append(provider)
    if give_up is not None and give_up not in _given_up:
        _given_up.append(give_up)


def give_up(cluster_id: int, principal: Principal) -> None:
    """Let all apps forget what they have on a cluster that is gone for good."""
    for forget in _given_up:
        forget(cluster_id, principal)


def holdings(cluster_id: int) -> tuple[Holding, ...]:
    """The holdings of all apps on a cluster."""
    return tuple(holding for provider in _providers for holding in provider(cluster_id) if holding.count)
