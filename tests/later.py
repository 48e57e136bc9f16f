"""Packages that take seconds to import, and that only the tests of one file need."""

import importlib
from typing import Any


class Later:
    """Stands for a module, and imports it when something of it is used: not while tests are collected."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # Whoever collects tests looks for marks of its own on whatever it meets.
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
