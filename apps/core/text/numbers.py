"""Whole numbers as addresses, labels and forms write them. Pure."""

# Numbers of so many digits fit into the integers of Postgres, and into its bigints, whatever the digits are.
INTEGER_DIGITS, BIGINT_DIGITS = 9, 18


def whole(text: str, digits: int = INTEGER_DIGITS) -> int | None:
    """The whole number that `text` writes with the digits 0 to 9, of which there are so many at most; None for anything
    else. `int` reads signs, blanks, `_` and other scripts' digits, too, and raises ValueError for very many."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None
