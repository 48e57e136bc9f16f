"""The report of an import: everything is read again, from the source and from here, and counted and compared."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import F

from apps.experiments.models import Experiment, Imported, LoggedModel, ModelVersion, RegisteredModel, Run
from apps.experiments.services.importing import comparing, registry, runs
from apps.experiments.services.importing.mapping import LOGGED, MODEL, RUN, VERSION
from apps.experiments.services.importing.reading import Row, pairs
from apps.experiments.services.importing.runs import Bringing

# So many remarks of a kind.
FEW = 10


@dataclass
class Report:
    """What the source has, what is here of it, and what differs, in sentences."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def count(self, name: str, there: int, here: int) -> None:
        """Add to a line of the table."""
        old = self.counts.get(name, (0, 0))
        self.counts[name] = (old[0] + there, old[1] + here)

    def differ(self, what: str, notes: Iterable[str]) -> None:
        """Note what differs of one object."""
        self.differences += [f"{what}: {note}" for note in notes]


def compared(to: Bringing, experiments: list[tuple[Row, Experiment]], models: list[tuple[Row, list[Row]]]) -> Report:
    """Hold everything against the source. What runs were given and put out is told on the way: all models are here."""
    report = Report()
    for said, experiment in experiments:
        report.count("experiments", 1, 1)
        _compare_runs(to, said, report)
        for page in to.source.logged_models(said["experiment_id"]):
            _compare_logged(to, page, report)
        deleted = sum(map(len, to.source.runs(said["experiment_id"], "DELETED_ONLY")))
        if deleted:
            report.remarks.append(f"{deleted:,} deleted runs of {experiment.name!r} were left where they are.")
    _compare_models(to, models, report)
    names = [str(said["name"]) for said, _ in models]
    elsewhere = ModelVersion.objects.filter(model__project=to.known.project, model__name__in=names).exclude(location="")
    for version in elsewhere.select_related("model")[:FEW]:
        report.remarks.append(f"The files of {version} stay where the server has them: {version.location[:200]}.")
    if deleted := to.source.deleted_experiments():
        report.remarks.append(f"{deleted:,} deleted experiments were left where they are.")
    moved = Imported.objects.filter(project=to.known.project, source=to.known.source, kind__in=(RUN, LOGGED))
    if other := moved.exclude(source_id=F("target")).count():
        report.remarks.append(
            f"{other:,} runs and logged models have other ids here, because theirs were taken; a run's is in its tag "
            f"{runs.ID_TAG}."
        )
    return report


def _compare_runs(to: Bringing, said: Row, report: Report) -> None:
    for page in to.source.runs(said["experiment_id"]):
        rows = to.known.rows(RUN, [str(each["info"]["run_id"]) for each in page])
        found = Run.objects.filter(uid__in=[row.target for row in rows.values()])
        here = {run.uid: run for run in found.select_related("experiment__project")}
        for each in page:
            uid = str(each["info"]["run_id"])
            run = here.get(rows[uid].target) if uid in rows else None
            if run is not None:
                report.differ(f"run {uid}", runs.link_models(to, run, each))
        for uid, notes in comparing.of_runs(page, rows).items():
            report.differ(f"run {uid}", notes)
        counted = runs.points_here([run.pk for run in here.values()])
        report.count("runs", len(page), len(here))
        report.count("points", sum(row.points for row in rows.values()), sum(counted.values()))
        files = comparing.files_of([run.pk for run in here.values()])
        report.count("files", sum(row.files for row in rows.values()), sum(number for number, _ in files.values()))


def _compare_logged(to: Bringing, page: list[Row], report: Report) -> None:
    rows = to.known.rows(LOGGED, [str(each["info"]["model_id"]) for each in page])
    here = set(LoggedModel.objects.filter(uid__in=[row.target for row in rows.values()]).values_list("uid", flat=True))
    report.count("logged models", len(page), len(here))
    for each in page:
        uid = str(each["info"]["model_id"])
        row = rows.get(uid)
        report.differ(f"logged model {uid}", row.notes if row and row.target in here else ["it is not here"])


def _compare_models(to: Bringing, models: list[tuple[Row, list[Row]]], report: Report) -> None:
    names = [str(said["name"]) for said, _ in models]
    rows, found = to.known.rows(MODEL, names), RegisteredModel.objects.filter(project=to.known.project, name__in=names)
    here = {model.name: model for model in found.prefetch_related("versions", "aliases__version")}
    for said, versions in models:
        name = str(said["name"])
        row, model = rows.get(name), here.get(name)
        mine = model if row is not None and row.target else None
        report.count("registered models", 1, int(mine is not None))
        by_number = {version.version: version for version in mine.versions.all()} if mine else {}
        report.count("model versions", len(versions), len(by_number))
        report.differ(f"model {name!r}", row.notes if row else ["it is not here"])
        aliases = {alias.name: alias.version.version for alias in mine.aliases.all()} if mine else {}
        wanted = registry.aliases_of(said)
        report.count("aliases", len(wanted), len(aliases))
        if mine:
            report.differ(f"model {name!r}", _of_model(mine, said, aliases, wanted))
        notes = to.known.rows(VERSION, [f"{name}/{each['version']}" for each in versions])
        for each in versions:
            what = f"version {each['version']} of {name!r}"
            version = by_number.get(int(each["version"]))
            report.differ(what, _of_version(version, each) if version or mine else [])
            if (noted := notes.get(f"{name}/{each['version']}")) is not None:
                report.differ(what, noted.notes)


def _of_model(model: RegisteredModel, said: Row, aliases: dict[str, int], wanted: dict[str, int]) -> list[str]:
    both = {
        "description": (str(said.get("description") or ""), model.description),
        "tags": (pairs(said.get("tags")), model.tags),
        "aliases": (wanted, aliases),
    }
    return [f"{name}: {there} there, {here} here" for name, (there, here) in both.items() if there != here]


def _of_version(version: ModelVersion | None, said: Row) -> list[str]:
    if version is None:
        return ["it is not here"]
    both = {
        "description": (str(said.get("description") or ""), version.description),
        "tags": (pairs(said.get("tags")), version.tags),
        "stage": (str(said.get("current_stage") or "None"), version.stage),
    }
    return [f"{name}: {there} there, {here} here" for name, (there, here) in both.items() if there != here]
