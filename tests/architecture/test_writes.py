"""No row is read and then saved whole: what somebody else changed in between would go back to what it was."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.embedded.fleet import BASE_DIR

MODULES = [
    path
    for root in ("apps", "controlplane")
    for path in sorted((BASE_DIR / root).rglob("*.py"))
    if "migrations" not in path.parts
]


def whole_row_writes(source: str) -> Iterator[str]:
    """Calls that write every column of a row that may be old: `save()` of any but a new row."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        on_super = isinstance(node.func.value, ast.Call) and getattr(node.func.value.func, "id", "") == "super"
        # `commit` is a form's, which is asked for the row and writes nothing: the admin panel's base sees to that.
        named = {keyword.arg for keyword in node.keywords} & {"update_fields", "force_insert", "commit"}
        if node.func.attr == "save" and not named and not on_super:
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(BASE_DIR)))
def test_no_row_is_saved_whole(path: Path) -> None:
    writes = list(whole_row_writes(path.read_text()))
    assert not writes, f"{path}: use apps.core.database.rows.put, or name the columns: {writes}"


def test_the_walk_finds_what_it_is_for() -> None:
    assert list(whole_row_writes("model.last_version += 1\nmodel.save()")) == ["line 2: model.save()"]
    assert not list(whole_row_writes("row.save(update_fields=['a'])\nrow.save(force_insert=True)\nsuper().save(*args)"))
