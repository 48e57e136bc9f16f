"""MLflow's flavours of a model version, as the MLmodel file among its artifacts says."""

from apps.core.errors import Missing
from apps.core.text import safeyaml
from apps.experiments.files import artifacts
from apps.experiments.models import ModelVersion

# These files have two or three thousand characters; somebody waits for the answer.
LARGEST = 128 * 1024


def flavours_of(version: ModelVersion) -> frozenset[str]:
    """The names of the version's flavours, such as `sklearn`; none where no model of MLflow's is there."""
    owner = version.logged_model or version.run
    if owner is None or version.location:
        return frozenset()
    try:
        artifact = artifacts.get(owner, "/".join(filter(None, [version.artifact_path, "MLmodel"])))
        if artifact.size > LARGEST:
            return frozenset()
        said = safeyaml.load(b"".join(artifacts.parts_of(artifact)))
    except (Missing, ValueError):
        return frozenset()
    flavours = said.get("flavors") if isinstance(said, dict) else None
    return frozenset(map(str, flavours)) if isinstance(flavours, dict) else frozenset()
