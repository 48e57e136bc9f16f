"""The bin as it is read: what is in it, by whom, until when; what would be lost with it, and what holds it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from apps.core.access import Principal, get_scoped
from apps.core.database.keyset import Key, Part
from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.core.text.wording import bytes_text, duration_text, plural
from apps.experiments.models import Artifact, Bin, Experiment, LatestMetric, Param, Purge, Run
from apps.experiments.purging import held
from apps.experiments.purging.held import MODELS, Kept
from apps.experiments.states import Binned

KEYS = [Key("deleted_at", datetime, descending=True), Key("pk", int, descending=True)]
PROJECT_OF = {Binned.EXPERIMENT: "project", Binned.RUN: "experiment__project", Binned.MODEL: "experiment__project"}
# Ids are told apart by how they look: an experiment's is a number, a run's 32 hexadecimal digits, a logged model's m-….
ID = r"m-[0-9a-f]{32}|[0-9a-f]{32}|[0-9]{1,18}"
_LOOKS = {Binned.MODEL: r"m-[0-9a-f]{32}", Binned.RUN: r"[0-9a-f]{32}", Binned.EXPERIMENT: r"[0-9]{1,18}"}


@dataclass(frozen=True)
class Policy:
    """How long a project's bin keeps things: its own days, None where it has none, and those that hold."""

    own: int | None
    days: int
    emptied_at: datetime | None = None

    def ends(self, deleted_at: datetime) -> datetime:
        """When something that was deleted then is due."""
        if self.emptied_at is not None and deleted_at <= self.emptied_at:
            return self.emptied_at
        return deleted_at + timedelta(days=self.days)


@dataclass(frozen=True)
class Row:
    """A thing in the bin. `is_going`: it is being deleted for good. `lost` and `held` are in words, "" for nothing."""

    kind: Binned
    pk: int
    id: str
    name: str
    project: Project
    experiment: str
    deleted_at: datetime
    deleted_by: str
    ends_at: datetime
    is_going: bool
    held: str
    lost: str
    is_parent_deleted: bool = False

    @property
    def noun(self) -> str:
        """ "logged model"."""
        return "logged model" if self.kind is Binned.MODEL else self.kind.value

    @property
    def ends_in(self) -> str:
        """ "in 29 days"."""
        left = self.ends_at - timezone.now()
        days = round(left / timedelta(days=1))
        return f"in {days} days" if days > 1 else f"in {duration_text(left)}"


def policy(project: Project) -> Policy:
    """What holds for a project's bin. One query."""
    row = Bin.objects.filter(project=project).first()
    return policy_of(row)


def policy_of(row: Bin | None) -> Policy:
    """The same of the project's row. The platform's longest time holds for all."""
    own = row.days if row is not None else None
    days = min(settings.BIN_DAYS if own is None else own, settings.BIN_MAX_DAYS)
    return Policy(own, days, row.emptied_at if row is not None else None)


def binned(kind: Binned, **scope: Any) -> QuerySet[Any]:
    """The deleted rows of a kind, with their projects at hand."""
    rows = MODELS[kind]._default_manager.filter(deleted_at__isnull=False, **scope)
    return rows.select_related(PROJECT_OF[kind])


def parts(kinds: Iterable[Binned], scope: dict[str, Any]) -> list[Part]:
    """Lists of what is in the bin, kind by kind, the last that was deleted first. `scope` is about `project`."""
    return [Part(binned(kind, **_scoped(kind, scope)), KEYS) for kind in kinds]


def _scoped(kind: Binned, scope: dict[str, Any]) -> dict[str, Any]:
    """The same scope, by the way from rows of this kind to their project."""
    return {f"{PROJECT_OF[kind]}{path.removeprefix('project')}": value for path, value in scope.items()}


def counts(project: Project) -> dict[Binned, int]:
    """How many there are of each kind."""
    return {kind: binned(kind, **{PROJECT_OF[kind]: project}).order_by().count() for kind in Binned}


def find(principal: Principal, ident: str, at_least: Role, **scope: Any) -> Kept:
    """The deleted thing with this id. Raises Missing, and NotAllowed for a member with a smaller role."""
    for kind, looks in _LOOKS.items():
        if re.fullmatch(looks, ident, re.ASCII):
            field, value = ("pk", int(ident)) if kind is Binned.EXPERIMENT else ("uid", ident)
            lookup: dict[str, Any] = {field: value, **_scoped(kind, scope)}
            found: Kept = get_scoped(binned(kind), principal, at_least, project_field=PROJECT_OF[kind], **lookup)
            return found
    raise Missing(f"There is nothing {ident[:64]!r} in the bin.")


def kind_of(row: Kept) -> Binned:
    """The kind of a row."""
    return next(kind for kind, model in MODELS.items() if isinstance(row, model))


def project_of(row: Kept) -> Project:
    """The project of a row."""
    return row.project if isinstance(row, Experiment) else row.experiment.project


def rows_of(found: Sequence[Kept]) -> list[Row]:
    """Rows of the bin with all that is said of them: a number of queries that does not grow with them."""
    by_kind: dict[Binned, list[Kept]] = {}
    for each in found:
        by_kind.setdefault(kind_of(each), []).append(each)
    projects = {project_of(each).pk for each in found}
    policies = {row.project_id: row for row in Bin.objects.filter(project__in=projects)} if projects else {}
    facts = {kind: _facts(kind, [each.pk for each in some]) for kind, some in by_kind.items()}
    return [_row(each, facts[kind_of(each)], policy_of(policies.get(project_of(each).pk))) for each in found]


@dataclass(frozen=True)
class _Facts:
    going: set[int]
    held: dict[int, str]
    lost: dict[int, str]


def _facts(kind: Binned, pks: list[int]) -> _Facts:
    going = set(Purge.objects.filter(kind=kind, object_id__in=pks).values_list("object_id", flat=True))
    return _Facts(going, held.reasons(kind, pks), lost(kind, pks))


def _row(row: Kept, facts: _Facts, policy: Policy) -> Row:
    kind, project = kind_of(row), project_of(row)
    assert row.deleted_at is not None  # noqa: S101 - rows of the bin
    parent = None if kind is Binned.EXPERIMENT else getattr(row, "experiment")  # noqa: B009 - of the other kinds
    return Row(
        kind=kind,
        pk=row.pk,
        id=str(getattr(row, "uid", row.pk)),
        name=row.name or str(getattr(row, "uid", "")),
        project=project,
        experiment=parent.name if parent is not None else "",
        deleted_at=row.deleted_at,
        deleted_by=row.deleted_by,
        ends_at=policy.ends(row.deleted_at),
        is_going=row.pk in facts.going,
        held=facts.held.get(row.pk, ""),
        lost=facts.lost.get(row.pk, ""),
        is_parent_deleted=parent is not None and parent.deleted_at is not None,
    )


def lost(kind: Binned, pks: Sequence[int]) -> dict[int, str]:
    """What would go with each of these: "12 metrics, 4 params, 3 files (1.2 MiB)". Of experiments only the runs are
    counted, which may be very many."""
    said: dict[int, list[str]] = {pk: [] for pk in pks}
    if kind is Binned.EXPERIMENT:
        # Those that were deleted by themselves are listed by themselves.
        for pk, n in _numbers(Run.objects.filter(experiment__in=pks, deleted_at=None), "experiment"):
            said[pk].append(f"{n} {plural('run', n)}")
    elif kind is Binned.RUN:
        for model, noun in ((LatestMetric, "metric"), (Param, "param")):
            for pk, n in _numbers(model._default_manager.filter(run__in=pks), "run"):
                said[pk].append(f"{n} {plural(noun, n)}")
    if kind is not Binned.EXPERIMENT:
        for pk, (n, size) in _files(kind, pks).items():
            said[pk].append(f"{n} {plural('file', n)} ({bytes_text(size)})")
    return {pk: ", ".join(words) for pk, words in said.items() if words}


def _numbers(rows: QuerySet[Any], of: str) -> list[tuple[int, int]]:
    # The key of a row may be of several columns, which can't be counted.
    return list(rows.order_by().values(of).annotate(n=Count("*")).values_list(of, "n"))


def _files(kind: Binned, pks: Sequence[int]) -> dict[int, tuple[int, int]]:
    """How many files, and of how many bytes together: those of a run's logged models go with the run."""
    ways = ("logged_model",) if kind is Binned.MODEL else ("run", "logged_model__run")
    found: dict[int, tuple[int, int]] = {}
    for way in ways:
        sums = Artifact.objects.filter(Q(**{f"{way}__in": pks})).order_by().values(way)
        for pk, n, size in sums.annotate(n=Count("pk"), size=Sum("size")).values_list(way, "n", "size"):
            files, together = found.get(pk, (0, 0))
            found[pk] = (files + n, together + size)
    return found
