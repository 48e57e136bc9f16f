"""A step's earlier success in the place of another run of the same."""

from collections.abc import Mapping

from apps.core.models import Project
from apps.experiments.files.folders import folders_of
from apps.experiments.selectors import KEPT
from apps.experiments.specs import RunSpec
from apps.experiments.specs.files import source_of
from apps.workflows.models import Step
from apps.workflows.services.context import files_of
from apps.workflows.specs import caching
from apps.workflows.states import StepState


def fingerprint(project: Project, spec: RunSpec, params: Mapping[str, str], *, asked: bool | None) -> str:
    """What an equal step has, too, with the contents of its inputs as they are now. One query, where it has any."""
    parts = {name: (said,) if isinstance(said, str) else said for name, said in spec.files.inputs.items()}
    places = {uri: source_of(uri) for uris in parts.values() for uri in uris}
    found = folders_of(list(places.values()), project.pk) if asked is not False else {}
    digests = {
        name: tuple(found[places[uri]].digest if places[uri] in found else "" for uri in uris)
        for name, uris in parts.items()
    }
    return caching.fingerprint(spec, params, digests, asked=asked)


def earlier(project: Project, mark: str) -> Step | None:
    """The last success with this fingerprint whose run and files are still there."""
    if not mark:
        return None
    of_kept_runs = {f"run__{key}": value for key, value in KEPT.items()}
    rows = Step.objects.filter(fingerprint=mark, state=StepState.SUCCEEDED, pipeline_run__pipeline__project=project)
    row = rows.filter(run__isnull=False, **of_kept_runs).select_related("run", "pipeline_run__pipeline").last()
    if row is None or row.run is None:
        return None
    places = [source_of(uri) for uri in files_of(row.run).values()]
    whole = all(folder.files for folder in folders_of(places, project.pk).values())
    return row if whole else None
