"""The card of requests, errors and latency: it asks the replicas, after the page is there and while looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.core.models import Project
from apps.core.pages.base import PageRequest, page
from apps.deployments import selectors
from apps.deployments.models import Deployment
from apps.deployments.pages.mirrors import copied_to
from apps.deployments.scrape.asking import NOT_YET, SERVE_METRICS, known_of, requests_of
from apps.deployments.scrape.requests import WHAT_TO_COUNT, Figures, Replica, Requests, Revision


@page(part_of="deployments:detail")
@require_safe
def requests(request: PageRequest, project: Project, name: str) -> HttpResponse:
    """The card, which fetches itself again every few seconds."""
    deployment = selectors.deployment(request.principal, name, project=project)
    card = Card(deployment, requests_of(principal=request.principal, deployment=deployment))
    return render(request, "deployments/requests.html", {"project": project, "deployment": deployment, "card": card})


# What is no trouble of a replica that serves.
_EXPECTED = ("counting", SERVE_METRICS, WHAT_TO_COUNT)


@dataclass(frozen=True)
class Row:
    """A revision, or one of its replicas. `note` is under its name, `remark` under its requests."""

    name: str
    figures: Figures | None
    note: str = ""
    remark: str = ""
    warns: bool = False
    url: str = ""

    @property
    def short(self) -> str:
        """What tells a replica from the others of its revision: the end of its name."""
        return self.name.rpartition("-")[2]

    @property
    def rate(self) -> str:
        """Requests a second: one digit behind the point tells enough, two where there are few."""
        return "–" if self.figures is None else _short(self.figures.per_second)

    @property
    def errors(self) -> str:
        """The percentage that failed."""
        percent = self.figures.error_percent if self.figures else None
        return "–" if percent is None else f"{percent:.1f} %" if percent else "0 %"

    @property
    def fails(self) -> bool:
        """Whether some failed."""
        return self.figures is not None and bool(self.figures.error_percent)

    @property
    def half(self) -> str:
        """The time that half of them took at most."""
        return _milliseconds(self.figures.p50_ms if self.figures else None)

    @property
    def most(self) -> str:
        """The time that 95 of a hundred took at most."""
        return _milliseconds(self.figures.p95_ms if self.figures else None)


class Card:
    """What the template shows. One that `asks` as soon as the page is there shows what was known last until then."""

    def __init__(self, deployment: Deployment, asked: Requests, *, asks: bool = False) -> None:
        self.asks = asks
        self._deployment, self._asked = deployment, asked
        self._copied_to = copied_to(deployment.places)
        self.replicas = [each for revision in asked.revisions for each in revision.replicas]
        self.at = datetime.fromtimestamp(asked.at, UTC)
        self.seconds = round(asked.seconds)
        self.left_out = asked.left_out
        self.busiest = max((each.figures.per_second for each in self.replicas if each.figures), default=0.0)

    @property
    def trouble(self) -> str:
        """What all replicas have in common that have no figures; "" where one has some, or they differ."""
        troubles = {each.trouble for each in self.replicas}
        # Until the first figures the table stands already, so that nothing jumps when they come.
        return troubles.pop() if len(troubles) == 1 and troubles != {NOT_YET} else ""

    @property
    def uncounted(self) -> bool:
        """Whether that is for the replicas to mend: they have to count their requests."""
        return self.trouble in (SERVE_METRICS, WHAT_TO_COUNT)

    @property
    def total(self) -> float:
        """Requests a second to all of them, each once: without copies."""
        return sum(
            each.figures.per_second
            for each in self._asked.revisions
            if each.figures and each.number not in self._copied_to
        )

    @property
    def rate(self) -> str:
        """ "12.3 requests/s" to all of them; "" where nobody counts them."""
        return f"{_short(self.total)} requests/s" if any(each.figures for each in self.replicas) else ""

    @property
    def rows(self) -> Iterator[tuple[Row, list[Row]]]:
        """The revisions, each with its replicas."""
        for revision in self._asked.revisions:
            yield self._of_revision(revision), [self._of_replica(each) for each in revision.replicas]

    def _of_revision(self, revision: Revision) -> Row:
        share = ""
        if len(self._asked.revisions) > 1 and self.total and revision.figures:
            part = f"{100 * revision.figures.per_second / self.total:.0f} %"
            share = f"{part} mirrored" if revision.number in self._copied_to else f"{part} of all"
        name = f"Revision {revision.number}"
        return Row(name, revision.figures, share, revision.balance, not revision.balanced)

    def _of_replica(self, replica: Replica) -> Row:
        url = reverse("deployments:replica", args=[self._deployment.project.name, self._deployment.name, replica.name])
        where = "" if self._deployment.only else replica.target
        remark = "counting" if replica.trouble == NOT_YET else replica.trouble or ("" if replica.ready else "not ready")
        return Row(replica.name, replica.figures, where, remark, bool(remark) and remark not in _EXPECTED, url)


def known_card(deployment: Deployment) -> Card:
    """The card as the page comes with it."""
    return Card(deployment, known_of(deployment), asks=True)


def _short(value: float) -> str:
    """Three digits, so that figures below each other compare."""
    if not value or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{_short(value)} ms" if value < 1000 else f"{_short(value / 1000)} s"
