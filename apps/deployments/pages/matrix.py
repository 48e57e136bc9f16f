"""Deployments × targets: what serves where, and how it fares, for a page of deployments."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.urls import reverse

from apps.core.models import Project
from apps.deployments.models import Deployment, Placement, Revision, Target
from apps.deployments.pages.rows import model_text
from apps.deployments.selectors.narrowing import fits_place


def passes(place: Placement) -> bool:
    """Whether it is on its way from one revision to another, and has begun."""
    return place.stable is not None and place.coming is not None and place.weight > 0


def _has_ready(place: Placement, number: int) -> bool:
    return any(seen["revision"] == number and seen["ready"] > 0 for seen in place.observed)


@dataclass(frozen=True)
class Cell:
    """A deployment on a target. `behind`: another revision serves there than the one that is wanted, or none yet."""

    place: Placement
    url: str
    behind: bool
    stands: str
    wanted: int

    @property
    def serving(self) -> Revision | None:
        """The revision that serves there: the one before, as long as no replica of the one that comes is ready."""
        place = self.place
        if place.coming is not None and passes(place) and not _has_ready(place, place.coming.number):
            return place.stable
        return place.serving or place.coming

    @property
    def version(self) -> str:
        """ "digits:4", or "revision 4" where no registered model is served."""
        revision = self.serving
        if revision is None:
            return "nothing"
        return model_text(revision.spec, "") if revision.spec.get("model") else f"revision {revision.number}"

    @property
    def numbers(self) -> str:
        """ "r3" beside a model's version, and "r3 → r4, 20 %" while one takes the place of the other."""
        place, revision = self.place, self.serving
        if not passes(place):
            return f"r{revision.number}" if revision and revision.spec.get("model") else ""
        share = f", {place.weight} %" if place.weight < 100 else ""
        return f"r{place.stable.number} → r{place.coming.number}{share}"  # type: ignore[union-attr]

    @property
    def lags(self) -> str:
        """ "behind r3", or that what is coming serves nobody yet; "" where it is as wanted."""
        if not self.behind or (passes(self.place) and self.place.weight == 100):
            return ""
        return f"behind r{self.wanted}" if self.place.serving else "serves nobody yet"


@dataclass(frozen=True)
class MatrixRow:
    """A deployment, with a cell or None for each of the targets."""

    deployment: Deployment
    url: str
    cells: list[Cell | None]
    behind: int
    """On how many targets, shown or not, another revision serves than the one that is wanted."""

    @property
    def stands(self) -> str:
        """ "2 behind r3", "r3 everywhere", or "r3" where it has one target."""
        number = f"r{self.deployment.current.number}" if self.deployment.current else "r–"
        if self.behind:
            return f"{self.behind} behind {number}"
        return number if self.deployment.only else f"{number} everywhere"


@dataclass(frozen=True)
class Matrix:
    """The targets that occur on the page, by name, and its deployments."""

    targets: list[Target]
    rows: list[MatrixRow]


def matrix_of(project: Project, deployments: Iterable[Deployment], asked: Mapping[str, str]) -> Matrix:
    """The matrix of these deployments, whose placements are prefetched, over the targets that are asked for."""
    rows = list(deployments)
    found = {place.target_id: place.target for row in rows for place in row.places if fits_place(asked, place.target)}
    targets = sorted(found.values(), key=lambda target: target.name)
    return Matrix(targets, [_row(project, row, targets) for row in rows])


def _row(project: Project, row: Deployment, targets: list[Target]) -> MatrixRow:
    url = reverse("deployments:detail", args=[project.name, row.name])
    cells = {place.target_id: _cell(row, place, url) for place in row.places}
    behind = sum(cell.behind for cell in cells.values())
    return MatrixRow(row, url, [cells.get(target.pk) for target in targets], behind)


def _cell(row: Deployment, place: Placement, url: str) -> Cell:
    serving = place.serving
    behind = row.current_id is not None and (serving is None or serving.pk != row.current_id or passes(place))
    wanted = row.current.number if row.current else 0
    return Cell(place, url if row.only else f"{url}#placement-{place.pk}", behind, place.word, wanted)
