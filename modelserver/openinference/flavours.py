"""MLflow's flavours that this server knows, and the choice among those that a model has."""

from collections.abc import Callable, Mapping
from typing import Any

from . import scikit
from .errors import ModelError
from .model import Model

Files = Callable[[str], bytes]
"""Fetches a file of the model by its path."""

# Flotilla offers this server for these: apps/experiments/registry/flavours.py says the same.
FLAVOURS: Mapping[str, Callable[[Mapping[str, Any], Files], Model]] = {"sklearn": scikit.load}


def load(files: Files) -> Model:
    """The model. Raises ModelError where it has no flavour that is known here."""
    said = flavours_of(files("MLmodel"))
    for name, loader in FLAVOURS.items():
        if isinstance(said.get(name), Mapping):
            return loader(said[name], files)
    has = ", ".join(sorted(map(str, said))) or "none"
    raise ModelError(f"The model's flavours are {has}; this server knows {', '.join(FLAVOURS)}.")


def flavours_of(mlmodel: bytes) -> Mapping[str, Any]:
    """The entries of an MLmodel file, by flavour. Raises ModelError."""
    import yaml

    try:
        said = yaml.safe_load(mlmodel)["flavors"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ModelError("The version is no model that MLflow logged: its MLmodel file can't be read.") from error
    return said if isinstance(said, Mapping) else {}
