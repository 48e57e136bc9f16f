#!/usr/bin/env python3
"""Fails where a module is longer than 400 lines or a function longer than 50 (tests: 600 and 80).

A room that has grown too large is split by the domain's nouns, not by lines. So is an app that shows more than
seventeen names at its top: who looks for something finds it by the name of its room.
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {False: (400, 50), True: (600, 80)}
MOST_ROOMS = 18
# Modules that Django and Celery want there, whatever the app is about.
_FRAMEWORK = {"__init__", "admin", "apps", "management", "migrations", "tasks", "templatetags"}


def python_files() -> list[Path]:
    """The Python files that git knows or would add, without migrations, which Django writes."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    return [ROOT / name for name in names if "/migrations/" not in name and (ROOT / name).exists()]


def oversized(path: Path) -> list[str]:
    """The sizes that are too large in one file, as lines for people."""
    name = path.relative_to(ROOT).as_posix()
    module_limit, function_limit = LIMITS[name.startswith("tests/")]
    text = path.read_text()
    problems = []
    lines = text.count("\n")
    if lines > module_limit:
        problems.append(f"{name}: {lines} lines, at most {module_limit}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > function_limit:
                problems.append(f"{name}:{node.lineno}: {node.name} has {length} lines, at most {function_limit}")
    return problems


def crowded(paths: list[Path]) -> list[str]:
    """The apps that show too many names at their top, as lines for people."""
    rooms: dict[str, set[str]] = {}
    for path in paths:
        folder, *inside = path.relative_to(ROOT).parts
        if folder == "apps" and len(inside) > 1:
            rooms.setdefault(inside[0], set()).add(inside[1].removesuffix(".py"))
    counts = {app: len(names - _FRAMEWORK) for app, names in rooms.items()}
    return [f"apps/{app}: {count} rooms, at most {MOST_ROOMS}" for app, count in counts.items() if count > MOST_ROOMS]


def main() -> int:
    """Print what is oversized; 1 when anything is."""
    paths = python_files()
    problems = crowded(paths) + [line for path in paths for line in oversized(path)]
    print("\n".join(problems) or "sizes: every module and function is small enough")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
