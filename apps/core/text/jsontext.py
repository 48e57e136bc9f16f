"""JSON that Postgres takes, of texts that others wrote. Pure.

A container's message, a label or a version may hold a NUL or half a surrogate pair, as JSON can; a text in Postgres can
not: https://www.postgresql.org/docs/current/datatype-json.html
"""

import json
import re
from typing import Any

# An escape of its own: behind an odd number of backslashes it is a backslash and four harmless letters.
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def storable(value: Any) -> str:
    """`value` as JSON: NULs are left out, halves of surrogate pairs become question marks."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    return _NUL.sub(r"\1", text) if "\\u0000" in text else text


def whole(value: object) -> str:
    """The same for a text that stands alone, without the quotes; "" for None."""
    text = str(value if value is not None else "")
    # Nearly all texts are plain, and tens of thousands come in one list.
    return text if text.isascii() and "\0" not in text else text.replace("\0", "").encode("utf-8", "replace").decode()


def plain(value: object, most: int) -> str:
    """A sentence for people, of at most `most` characters: cut with an ellipsis."""
    text = whole(value).strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"
