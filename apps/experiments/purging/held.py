"""What must not go for good, and why: files that a registered version is made of, and runs that are under way."""

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from apps.clusters.quantities.words import listed
from apps.experiments.models import Experiment, LoggedModel, ModelVersion, Run
from apps.experiments.states import UNSETTLED, Binned, RunKind

Kept = Experiment | Run | LoggedModel
MODELS: dict[Binned, type[Kept]] = {Binned.EXPERIMENT: Experiment, Binned.RUN: Run, Binned.MODEL: LoggedModel}
NAMES_SHOWN = 3
# The ways from a version whose files Flotilla keeps to what they belong to; a run's logged models go with it.
_WAYS: dict[Binned, tuple[tuple[str, dict[str, Any]], ...]] = {
    Binned.EXPERIMENT: (("run__experiment", {"logged_model": None}), ("logged_model__experiment", {})),
    Binned.RUN: (("run", {"logged_model": None}), ("logged_model__run", {})),
    Binned.MODEL: (("logged_model", {}),),
}


def _versions(only: dict[str, Any]) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(location="", **only).order_by()


def going(**scope: Any) -> QuerySet[Run]:
    """The runs that Flotilla launched and that are under way: nothing that they belong to goes without them."""
    return Run.objects.filter(kind=RunKind.LAUNCHED, state__in=UNSETTLED, **scope).order_by()


def may_go(kind: Binned, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Of the rows those that nothing holds."""
    for way, only in _WAYS[kind]:
        rows = rows.exclude(Exists(_versions(only).filter(**{way: OuterRef("pk")})))
    if kind is Binned.EXPERIMENT:
        rows = rows.exclude(Exists(going(experiment=OuterRef("pk"))))
    return rows


def reasons(kind: Binned, pks: Collection[int]) -> dict[int, str]:
    """What holds each of these, in words: "version 3 of digits is made of its files". Who may go is left out."""
    found: dict[int, list[tuple[str, int]]] = {}
    for way, only in _WAYS[kind] if pks else ():
        versions = _versions(only).filter(**{f"{way}__in": pks}).order_by("model__name", "version")
        for pk, name, version in versions.values_list(way, "model__name", "version"):
            found.setdefault(pk, []).append((name, version))
    said = {pk: f"{_named(versions)} made of its files" for pk, versions in found.items()}
    if kind is Binned.EXPERIMENT and pks:
        for pk, uid in going(experiment__in=pks).values_list("experiment", "uid"):
            said.setdefault(pk, f"run {uid} is under way")
    return said


def _named(versions: Iterable[tuple[str, int]]) -> str:
    each = [f"version {version} of {name}" for name, version in versions]
    more = [f"{len(each) - NAMES_SHOWN} more"] if len(each) > NAMES_SHOWN else []
    return f"{listed(each[:NAMES_SHOWN] + more)} {'are' if each[1:] else 'is'}"
