"""Aliases that move: the apps above hear of it in the transaction that moves one, and ask there for what follows."""

from collections.abc import Callable
from dataclasses import dataclass

from apps.core.access import Principal
from apps.experiments.models import ModelAlias, RegisteredModel


@dataclass(frozen=True)
class Move:
    """An alias of a model points to another version from now on; `version` is None where it points to none."""

    model: RegisteredModel
    alias: str
    version: int | None
    principal: Principal


Hears = Callable[[Move], None]

_hearers: list[Hears] = []


def register(hears: Hears) -> None:
    """Let `hears` be called for each move, inside its transaction and with the model locked."""
    if hears not in _hearers:
        _hearers.append(hears)


def tell(principal: Principal, model: RegisteredModel, alias: str, version: int | None) -> None:
    """An alias of a held model has just been moved by somebody, or taken away."""
    for hears in _hearers:
        hears(Move(model, alias, version, principal))


def tell_gone(principal: Principal, model: RegisteredModel, *, version: int | None = None) -> None:
    """All aliases of a held model, or those of one of its versions, are about to go with what they point to."""
    rows = ModelAlias.objects.filter(model=model)
    rows = rows if version is None else rows.filter(version__version=version)
    for alias in rows.order_by("name").values_list("name", flat=True):
        tell(principal, model, alias, None)
