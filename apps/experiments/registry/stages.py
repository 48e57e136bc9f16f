"""The stages of model versions, which MLflow has deprecated in favour of aliases, and which people still use."""

import enum

from apps.core.errors import Invalid


class Stage(enum.StrEnum):
    """How far a version has come, in the order in which MLflow lists them."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"

    @property
    def serves(self) -> bool:
        """Whether versions are used in it, so that one may take the place of the others."""
        return self in (Stage.STAGING, Stage.PRODUCTION)


def parse_stage(text: str) -> Stage:
    """The stage of this name, whatever its case. Raises Invalid."""
    stage = next((stage for stage in Stage if stage.lower() == text.lower()), None)
    if stage is None:
        raise Invalid(
            f"Invalid Model Version stage: {text[:100]}. Value must be one of {', '.join(Stage)}.", field="stage"
        )
    return stage
