#!/usr/bin/env python3
"""Compiles every template and refuses what the Content-Security-Policy would block: inline scripts and styles."""

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "frontend" / "templates"
FORBIDDEN = {
    re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")", re.IGNORECASE): "an inline script",
    re.compile(r"<style\b", re.IGNORECASE): "an inline stylesheet",
    re.compile(r"\sstyle=", re.IGNORECASE): "a style attribute",
    re.compile(r"\son[a-z]+=\"", re.IGNORECASE): "an inline event handler",
    re.compile(r"(src|href)=\"(https?:)?//", re.IGNORECASE): "something loaded from another host",
    re.compile(r"\|safe\b"): "the safe filter, which switches escaping off",
}


def complaints(path: Path) -> list[str]:
    """The problems of one template's text."""
    name = path.relative_to(ROOT).as_posix()
    problems = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        problems += [f"{name}:{number}: {what}" for pattern, what in FORBIDDEN.items() if pattern.search(line)]
    return problems


def main() -> int:
    """Print every complaint; 1 when there is one."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    os.environ.setdefault("FLOTILLA_ENV", "development")
    import django
    from django.template import TemplateSyntaxError
    from django.template.loader import get_template

    django.setup()
    problems: list[str] = []
    paths = sorted(path for path in TEMPLATES.rglob("*") if path.suffix in {".html", ".svg", ".txt"})
    for path in paths:
        try:
            get_template(path.relative_to(TEMPLATES).as_posix())
        except TemplateSyntaxError as error:
            problems.append(f"{path.relative_to(ROOT)}: {error}")
        problems += complaints(path)
    print("\n".join(problems) or f"templates: {len(paths)} compile and load nothing inline")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
