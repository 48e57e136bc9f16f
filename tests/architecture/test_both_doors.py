"""What services say is read on pages and by programs alike: it names what to do, not a request of REST."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

APPS = Path(__file__).resolve().parents[2] / "apps"
# Rooms that know no door. What pages and `api/` say is said at one door.
ROOMS = (
    *("services", "rollout", "scaling", "specs", "selectors"),
    *("podoptions", "scrape", "predict", "registry", "connect"),
)
REQUEST = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) […/]")


def sentences() -> Iterator[tuple[str, str]]:
    """Every text in the code of these rooms, but for docstrings, with its place."""
    for room in ROOMS:
        for path in [*APPS.glob(f"*/{room}.py"), *APPS.glob(f"*/{room}/**/*.py")]:
            tree = ast.parse(path.read_text())
            remarks = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
            docstrings = {node.value for node in remarks if isinstance(node.value, ast.Constant)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
                    yield f"{path.relative_to(APPS)}:{node.lineno}", node.value


def test_services_speak_of_no_door() -> None:
    everything = list(sentences())
    assert len(everything) > 1000
    assert [(place, text) for place, text in everything if REQUEST.search(text)] == []
