"""Runs that need somebody, for the overview: those that failed lately and those that wait, equal ones as one line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.text import Truncator

from apps.clusters.selectors.visibility import visibility_of
from apps.core.pages import nav
from apps.core.pages import overview as page
from apps.core.pages.overview import Attention, FailureRow, Scope
from apps.experiments import selectors
from apps.experiments.models import Attempt, Run
from apps.experiments.pages.whys import last_lines, told, whys_of
from apps.experiments.states import FAILURES, RunKind, RunState

WAITING = (RunState.PENDING, RunState.QUEUED, RunState.STARTING)
# A failure needs somebody while it is this fresh and nobody has run it again; afterwards it is history.
FRESH = timedelta(hours=1)
# A run that waits longer than this says why.
PATIENCE = timedelta(seconds=45)
# The causes of so many runs are compared. So many causes are shown; the rest is counted.
COMPARED, TOLD = 24, 4
EARLIER_ROWS = 6
# Characters of the last log line that is quoted.
LOG_LINE = 180


@dataclass(frozen=True)
class _Group:
    """Runs with the same sentence: the newest that failed, or the one that has waited longest, and how many more."""

    run: Run
    state: str
    sentence: str
    at: datetime | None
    count: int = 1
    quote: str = ""
    experiments: frozenset[str] = frozenset()


def _runs(scope: Scope) -> QuerySet[Run]:
    return selectors.runs(experiment__project=scope.project)


def _fresh(now: datetime) -> Q:
    return Q(ended_at__gte=now - FRESH) & ~Q(Exists(Run.objects.filter(rerun_of=OuterRef("pk"))))


def attention(scope: Scope) -> list[Attention]:
    """The runs that failed, and those that wait."""
    return [*_failed(scope), *_waiting(scope)]


def earlier(scope: Scope) -> list[FailureRow]:
    """The failures that need nobody any more, the newest first: none of them is among those that do."""
    rows = _runs(scope).filter(state__in=FAILURES).exclude(_fresh(timezone.now()))
    newest = list(rows.order_by("-ended_at", "-id")[:EARLIER_ROWS])
    attempts = selectors.newest_attempts(newest)
    return [
        FailureRow(
            str(run), run.state, told(run, attempts.get(run.pk)), url_of(run), run.ended_at, _quote(run, attempts)
        )
        for run in newest
    ]


def _failed(scope: Scope) -> list[Attention]:
    rows = _runs(scope).filter(_fresh(timezone.now()), state__in=FAILURES)
    newest = list(rows.order_by("-ended_at", "-id")[: COMPARED + 1])
    total = rows.count() if len(newest) > COMPARED else len(newest)
    attempts = selectors.newest_attempts(newest)
    groups = _merged(
        _Group(run, run.state, told(run, attempts.get(run.pk)), run.ended_at, quote=_quote(run, attempts))
        for run in newest[:COMPARED]
    )
    return _lines(groups, total, "failed", scope)


def _waiting(scope: Scope) -> list[Attention]:
    """Runs that have waited for long: asked why once for all that the cluster says the same of."""
    long = Q(state__in=WAITING, kind=RunKind.LAUNCHED, created_at__lte=timezone.now() - PATIENCE)
    same = ("experiment", "cluster", "reason", "message", "spec__resources")
    grouped = Run.objects.filter(long, deleted_at=None, experiment__project=scope.project).order_by().values(*same)
    alike = list(grouped.annotate(first=Min("pk"), n=Count("pk")).order_by("first"))
    counts = {row["first"]: row["n"] for row in alike[:COMPARED]}
    rows = list(_runs(scope).filter(pk__in=counts).order_by("pk"))
    whys = whys_of(rows, visibility_of(scope.principal))
    groups: list[_Group] = []
    for run in rows:
        why = whys.get(run.pk)
        state, sentence = (why.state, why.sentence) if why else ("Unschedulable", run.message)
        if sentence:
            groups.append(_Group(run, state, sentence, run.created_at, counts[run.pk]))
    return _lines(_merged(groups), sum(row["n"] for row in alike), "waiting", scope)


def _merged(groups: Iterable[_Group]) -> list[_Group]:
    """Groups with equal sentences as one, in their order."""
    merged: dict[tuple[str, str], _Group] = {}
    for group in groups:
        first = merged.get((group.state, group.sentence))
        names = frozenset({group.run.experiment.name}) | (first.experiments if first else frozenset())
        merged[group.state, group.sentence] = (
            replace(first, count=first.count + group.count, quote="", experiments=names)
            if first
            else replace(group, experiments=names)
        )
    return list(merged.values())


def _lines(groups: Sequence[_Group], total: int, verb: str, scope: Scope) -> list[Attention]:
    shown = [_line(group, verb, scope) for group in groups[:TOLD]]
    rest = total - sum(line.count for line in shown)
    listed = nav.link("experiments:list", scope.project.name)
    why = "The newest are shown." if verb == "failed" else "Those that wait for longest are shown."
    return page.and_more(shown, of=len(shown) + rest, noun=f"run {verb}", url=listed, why=why)


def _line(group: _Group, verb: str, scope: Scope) -> Attention:
    run = group.run
    said = "was lost" if run.state == RunState.LOST else "is waiting" if verb == "waiting" else verb
    if group.count == 1:
        return Attention(
            group.state, f"run {run} {said}", group.sentence, f"run {verb}", url_of(run), group.at, quote=group.quote
        )
    if len(group.experiments) == 1:
        url = f"{nav.link('experiments:detail', scope.project.name, run.experiment.name)}?state={run.state}"
    else:
        url = nav.link("experiments:list", scope.project.name)
    many = {"was lost": "were lost", "is waiting": "are waiting"}.get(said, said)
    title = f"{group.count} runs {many}"
    return Attention(group.state, title, group.sentence, f"run {verb}", url, group.at, group.count)


def url_of(run: Run) -> str:
    """The address of a run's page."""
    return nav.link("experiments:run", run.experiment.project.name, run.uid)


def _quote(run: Run, attempts: dict[int, Attempt]) -> str:
    """The last line of a failed run's log, which mostly is the exception."""
    lines = last_lines(attempts.get(run.pk)) if run.state == RunState.FAILED else []
    return Truncator(lines[-1].strip()).chars(LOG_LINE) if lines else ""
