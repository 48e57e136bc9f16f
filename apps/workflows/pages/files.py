"""The files of a step as its panel shows them: what it was given and what it has kept, with sizes and checksums."""

from dataclasses import dataclass

from django.urls import reverse

from apps.experiments.files.folders import Folder, folders_of
from apps.experiments.models import Run
from apps.experiments.specs.files import source_of
from apps.workflows.services.context import files_of

MOST_SHOWN = 50


@dataclass(frozen=True)
class FileLine:
    """One input, or one output, of a step: `name` as its program knows it, `uri` where others find it."""

    name: str
    uri: str
    run: str
    url: str
    folder: Folder

    @property
    def count(self) -> int:
        """How many files it is."""
        return len(self.folder.files)


@dataclass(frozen=True)
class StepFiles:
    """All of a step."""

    inputs: tuple[FileLine, ...] = ()
    outputs: tuple[FileLine, ...] = ()


def files_of_step(run: Run) -> StepFiles:
    """The files of the run that a step is. One query."""
    inputs = [(name, uri) for name, said in (run.spec.get("inputs") or {}).items() for uri in _parts(said)]
    outputs = list(files_of(run).items())
    project = run.experiment.project
    shown = [*inputs[:MOST_SHOWN], *outputs[:MOST_SHOWN]]
    found = folders_of([source_of(uri) for _, uri in shown], project.pk)

    def line(name: str, uri: str) -> FileLine:
        uid, path = source_of(uri)
        url = reverse("experiments:run_artifacts", args=[project.name, uid])
        return FileLine(name, uri, uid, url, found[uid, path])

    return StepFiles(
        tuple(line(name, uri) for name, uri in inputs[:MOST_SHOWN]),
        tuple(line(name, uri) for name, uri in outputs[:MOST_SHOWN]),
    )


def _parts(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) else said
