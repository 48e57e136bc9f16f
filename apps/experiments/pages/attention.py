"""Runs that need somebody, for the overview: those that failed lately and those that wait, equal ones as one line."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Exists, Func, Min, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django.utils.text import Truncator

from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.services import cause_of
from apps.core.pages import nav
from apps.core.pages import overview as page
from apps.core.pages.overview import Attention, Scope
from apps.core.text.alike import NAMED, Member, grouped
from apps.experiments import selectors
from apps.experiments.models import Attempt, Run
from apps.experiments.models.waiting import SINCE, long, waiting_since
from apps.experiments.pages.whys import how_it_failed, last_lines, told, whys_of
from apps.experiments.states import FAILURES, RunState

# A failure needs somebody while it is this fresh and nobody has run it again; afterwards it is history.
FRESH = timedelta(hours=1)
# The causes of so many runs are compared. So many causes are shown; the rest is counted.
COMPARED, TOLD = 24, 4
EARLIER_ROWS = 6
# Characters of the last log line that is quoted.
LOG_LINE = 180


@dataclass(frozen=True)
class _Group:
    """Runs with the same sentence: the newest that failed, or the one that has waited longest, and the others."""

    run: Run
    state: str
    sentence: str
    at: datetime | None
    count: int = 1
    quote: str = ""
    next_step: str = ""
    experiments: frozenset[str] = frozenset()
    pks: tuple[int, ...] = ()
    """The first of them."""
    cause: str = ""
    """What they wait because of."""


def _runs(scope: Scope) -> QuerySet[Run]:
    return selectors.runs(experiment__project=scope.project)


def _fresh(now: datetime) -> Q:
    return Q(ended_at__gte=now - FRESH) & ~Q(Exists(Run.objects.filter(rerun_of=OuterRef("pk"))))


def attention(scope: Scope) -> list[Attention]:
    """The runs that failed, and those that wait."""
    return [*_failed(scope), *_waiting(scope)]


def earlier(scope: Scope) -> list[Attention]:
    """The failures that need nobody any more, the newest first: none of them is among those that do."""
    rows = _runs(scope).filter(state__in=FAILURES).exclude(_fresh(timezone.now()))
    groups = _failures(list(rows.order_by("-ended_at", "-id")[:COMPARED]))[:EARLIER_ROWS]
    named = _members(groups)
    return [replace(_line(group, "failed", scope, named), title=_title(group), next_step="") for group in groups]


def _title(group: _Group) -> str:
    return str(group.run) if group.count == 1 else f"{group.run} and {group.count - 1} more"


def _failures(runs: Sequence[Run]) -> list[_Group]:
    attempts = selectors.newest_attempts(runs)
    whys = {run.pk: how_it_failed(run, attempts.get(run.pk)) for run in runs}
    return _merged(
        _Group(
            run,
            run.state,
            told(run, attempts.get(run.pk)),
            run.ended_at,
            quote=_quote(run, attempts),
            next_step=why.next_step if (why := whys[run.pk]) else "",
            pks=(run.pk,),
        )
        for run in runs
    )


def _failed(scope: Scope) -> list[Attention]:
    rows = _runs(scope).filter(_fresh(timezone.now()), state__in=FAILURES)
    newest = list(rows.order_by("-ended_at", "-id")[: COMPARED + 1])
    total = rows.count() if len(newest) > COMPARED else len(newest)
    return _lines(_failures(newest[:COMPARED]), total, "failed", scope)


def _waiting(scope: Scope) -> list[Attention]:
    """Runs that have waited for long: asked why once for all that the cluster says the same of."""
    same = ("experiment", "cluster", "reason", "message", "spec__resources", "own")
    own = Attempt.objects.filter(run=OuterRef("pk")).order_by("-number").values("reason")[:1]
    waits = (
        Run.objects.alias(since=SINCE)
        .annotate(own=Subquery(own))
        .filter(long(), **selectors.KEPT, experiment__project=scope.project)
    )
    by_words = waits.order_by().values(*same)
    some = Func(ArrayAgg("pk", order_by="pk"), template=f"(%(expressions)s)[1:{NAMED}]")
    alike = list(by_words.annotate(first=Min("pk"), n=Count("pk"), some=some).order_by("first"))
    if not alike:
        return []
    known = {row["first"]: row for row in alike[:COMPARED]}
    rows = list(_runs(scope).filter(pk__in=known).annotate(since=SINCE).order_by("pk"))
    whys = whys_of(rows, visibility_of(scope.principal))
    groups: list[_Group] = []
    for run in rows:
        why, row = whys.get(run.pk), known[run.pk]
        state, sentence = (why.state, why.sentence) if why else ("Unschedulable", run.message)
        if sentence:
            step = why.next_step if why else ""
            pks = tuple(row["some"])
            since = waiting_since([run])[run.pk]
            # What waited before for something else does not wait because its cluster is away.
            cause = cause_of(run.cluster) if run.cluster and not row["own"] else ""
            groups.append(_Group(run, state, sentence, since, row["n"], next_step=step, pks=pks, cause=cause))
    return _lines(_merged(groups), sum(row["n"] for row in alike), "waiting", scope)


def _merged(groups: Iterable[_Group]) -> list[_Group]:
    """Groups with equal sentences as one, in their order."""
    return [
        replace(
            alike[0],
            count=sum(group.count for group in alike),
            quote=alike[0].quote if len(alike) == 1 else "",
            experiments=frozenset(group.run.experiment.name for group in alike),
            pks=tuple(pk for group in alike for pk in group.pks)[:NAMED],
        )
        for alike in grouped(groups, lambda group: (group.state, group.sentence, group.cause))
    ]


def _members(groups: Sequence[_Group]) -> dict[int, Member]:
    """The runs behind lines that are about several, by primary key. One query."""
    wanted = {pk for group in groups if group.count > 1 for pk in group.pks}
    if not wanted:
        return {}
    rows = Run.objects.filter(pk__in=wanted).select_related("experiment__project")
    some = rows.only("uid", "name", "experiment__name", "experiment__project__name")
    return {run.pk: Member(str(run), url_of(run)) for run in some}


def _lines(groups: Sequence[_Group], total: int, verb: str, scope: Scope) -> list[Attention]:
    named = _members(groups[:TOLD])
    shown = [_line(group, verb, scope, named) for group in groups[:TOLD]]
    listed = nav.link("experiments:list", scope.project.name)
    why = "The newest are shown." if verb == "failed" else "Those that wait for longest are shown."
    return page.and_more(shown, of=total, noun=f"run {verb}", url=listed, why=why)


def _line(group: _Group, verb: str, scope: Scope, named: Mapping[int, Member]) -> Attention:
    run = group.run
    said = "was lost" if run.state == RunState.LOST else "is waiting" if verb == "waiting" else verb
    line = Attention(
        group.state,
        f"run {run} {said}",
        group.sentence,
        f"run {verb}",
        url_of(run),
        group.at,
        group.count,
        quote=group.quote,
        next_step=group.next_step,
        members=(Member(str(run), url_of(run)),),
        cause=group.cause,
    )
    if group.count == 1:
        return line
    many = {"was lost": "were lost", "is waiting": "are waiting"}.get(said, said)
    url = nav.link("experiments:list", scope.project.name)
    if len(group.experiments) == 1:
        url = f"{nav.link('experiments:detail', scope.project.name, run.experiment.name)}?state={run.state}"
    members = tuple(named[pk] for pk in group.pks if pk in named)
    return replace(line, title=f"{group.count} runs {many}", url=url, members=members)


def url_of(run: Run) -> str:
    """The address of a run's page."""
    return nav.link("experiments:run", run.experiment.project.name, run.uid)


def _quote(run: Run, attempts: dict[int, Attempt]) -> str:
    """The last line of a failed run's log, which mostly is the exception."""
    lines = last_lines(attempts.get(run.pk)) if run.state == RunState.FAILED else []
    return Truncator(lines[-1].strip()).chars(LOG_LINE) if lines else ""
