"""Write the OpenAPI schema to docs/openapi.yaml, or with --check say how it differs from the code."""

import argparse
import difflib
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "docs" / "openapi.yaml"


def generate(path: Path) -> None:
    """Write the schema of the code to `path`; warnings of the generator are errors."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("spectacular", file=str(path), validate=True, fail_on_warn=True)


def main() -> int:
    """Exit code 1 when the committed schema is not that of the code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    if not parser.parse_args().check:
        generate(COMMITTED)
        return 0
    with tempfile.TemporaryDirectory() as directory:
        current = Path(directory) / "openapi.yaml"
        generate(current)
        old = COMMITTED.read_text().splitlines() if COMMITTED.exists() else []
        changes = list(difflib.unified_diff(old, current.read_text().splitlines(), "committed", "code", lineterm=""))
    if changes:
        print("\n".join(changes[:60]))
        print("docs/openapi.yaml is not the schema of the code. Run: make schema", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
