"""The owners of workloads: apps above know experiments and deployments, and register here how to find them.

workloads.experiments(lambda runs: {"17": Maker("demo", "digits", "/p/demo/experiments/digits/")})
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Maker:
    """An experiment or a deployment, with its page."""

    project: str
    name: str
    url: str = ""


ByRun = Callable[[set[str]], Mapping[str, Maker]]
ByName = Callable[[set[tuple[str, str]]], Mapping[tuple[str, str], Maker]]
_experiments: list[ByRun] = []
_deployments: list[ByName] = []


def experiments(resolver: ByRun) -> None:
    """Let `resolver` say whose runs these are, by the value of their label `flotilla.dev/run`. One query for all."""
    _experiments[:] = [resolver]


def deployments(resolver: ByName) -> None:
    """Let `resolver` say which of these deployments, by project and name, still exist. One query for all."""
    _deployments[:] = [resolver]


def experiments_of(runs: set[str]) -> Mapping[str, Maker]:
    """The experiments of these runs; a run that is gone is not in it."""
    return _experiments[0](runs) if _experiments and runs else {}


def deployments_of(names: set[tuple[str, str]]) -> Mapping[tuple[str, str], Maker]:
    """The deployments of these names; one that is gone is not in it."""
    return _deployments[0](names) if _deployments and names else {}
