"""The files of a model version, for whoever serves it."""

from apps.core.errors import Missing
from apps.experiments.files import artifacts
from apps.experiments.files.artifacts import Owner
from apps.experiments.files.folders import File
from apps.experiments.models import Artifact, ModelVersion


def uri_of(version: ModelVersion) -> str:
    """The MLflow URI of the folder that the version is. Raises Missing where run and logged model are gone,
    and where Flotilla does not keep its files."""
    return "/".join(filter(None, [artifacts.root_uri(_owner(version)), version.artifact_path]))


def files_of(version: ModelVersion) -> list[File]:
    """All files in and below that folder, by their paths. Raises Missing as `uri_of` does."""
    folder = artifacts.clean_path(version.artifact_path, allow_root=True)
    rows = artifacts.below(_owner(version), folder).order_by("path")
    skip = len(folder) + 1 if folder else 0
    return [File(path[skip:], size, sha256) for path, size, sha256 in rows.values_list("path", "size", "sha256")]


def file_of(version: ModelVersion, path: str) -> Artifact:
    """The file at a path below that folder. Raises Missing, also as `uri_of` does."""
    return artifacts.get(_owner(version), "/".join(filter(None, [version.artifact_path, path])))


def _owner(version: ModelVersion) -> Owner:
    if version.location:
        raise Missing(
            f"The files of {version} are at {version.location}, where Flotilla does not keep them.",
            hint="Log the model to a run here and register that, or serve it by an image that fetches them itself.",
        )
    owner = version.logged_model or version.run
    if owner is None:
        raise Missing("The run that this version was made from is gone, and its files with it.")
    return owner
