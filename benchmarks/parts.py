"""The command `python -m benchmarks.<plane> [part …]`: run every part of a plane, or those that are named."""

import importlib
import pkgutil
import sys
from pathlib import Path

from benchmarks.figures import machine


def main(plane: str, parts: list[str]) -> int:
    """Print the figures of the parts; 2 when a part is not known."""
    folder = Path(__file__).parent / plane
    known = sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if module.name[0] != "_")
    unknown = [name for name in parts if name not in known]
    if unknown:
        print(f"There is no part {', '.join(unknown)}; there are {', '.join(known)}.", file=sys.stderr)
        return 2
    print(machine().line(), flush=True)
    for name in parts or known:
        for figure in importlib.import_module(f"benchmarks.{plane}.{name}").run():
            print(figure.line(), flush=True)
    return 0
