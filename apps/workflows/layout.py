"""Where the steps of a pipeline stand in its picture: columns by what they need, rows close to that. Pure.

Lengths are in pixels of a picture that is never scaled, so that its words stay readable at any number of steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 158, 52
"""Of the box of a step: six of them stand side by side on a page of 1440."""
GAP_X, GAP_Y = 26, 16
MARGIN = 12


@dataclass(frozen=True)
class Box:
    """The place of a step's box: its upper left corner."""

    name: str
    x: int
    y: int


@dataclass(frozen=True)
class Line:
    """A line from a step to one that needs it: `path` as SVG draws it."""

    source: str
    target: str
    path: str


@dataclass(frozen=True)
class Picture:
    """A whole graph."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int


def picture(needs: Mapping[str, Sequence[str]]) -> Picture:
    """The picture of a graph: `needs` has each step after all that it needs."""
    columns = _columns(needs)
    places = {name: (column, row) for column, names in enumerate(columns) for row, name in enumerate(names)}
    tallest = max(map(len, columns), default=0)
    boxes = {name: _box(name, column, row, len(columns[column]), tallest) for name, (column, row) in places.items()}
    lines = [
        Line(source, target, _curve(boxes[source], boxes[target]))
        for target, sources in _direct(needs).items()
        for source in sources
    ]
    return Picture(
        tuple(boxes[name] for name in needs),
        tuple(lines),
        2 * MARGIN + len(columns) * WIDTH + max(len(columns) - 1, 0) * GAP_X,
        2 * MARGIN + tallest * HEIGHT + max(tallest - 1, 0) * GAP_Y,
    )


def _columns(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each step one column behind the last of what it needs, and as high as the mean of that."""
    column: dict[str, int] = {}
    for name, sources in needs.items():
        column[name] = max((column[source] + 1 for source in sources), default=0)
    columns: list[list[str]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    height: dict[str, float] = {}
    for number, names in enumerate(columns):
        names += [name for name in needs if column[name] == number]
        names.sort(key=lambda name: _mean([height[source] for source in needs[name]]))
        height.update({name: row - len(names) / 2 for row, name in enumerate(names)})
    return columns


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _box(name: str, column: int, row: int, rows: int, tallest: int) -> Box:
    """A column is centred beside the tallest one."""
    above = (tallest - rows) * (HEIGHT + GAP_Y) // 2
    return Box(name, MARGIN + column * (WIDTH + GAP_X), MARGIN + above + row * (HEIGHT + GAP_Y))


def _direct(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The needs without those that follow from others: they would be lines across the picture that tell nothing."""
    behind: dict[str, set[str]] = {}
    direct: dict[str, list[str]] = {}
    for name, sources in needs.items():
        further = set().union(*(behind[source] for source in sources))
        direct[name] = [source for source in sources if source not in further]
        behind[name] = further | set(sources)
    return direct


def _curve(source: Box, target: Box) -> str:
    x1, y1 = source.x + WIDTH, source.y + HEIGHT // 2
    x2, y2 = target.x, target.y + HEIGHT // 2
    bend = x1 + GAP_X // 2
    # Level until the column before the target, so that a long line passes beside boxes, not through their words.
    return f"M{x1} {y1} C{bend} {y1} {bend} {y2} {x1 + GAP_X} {y2} L{x2} {y2}"
