"""A deployment that follows an alias: what has moved, what of it was brought, and where it stands. Pure.

A move is a number, not a version: what a person rolls out after the last move stays until there is another one.
"""

import enum
from dataclasses import dataclass, replace


class Standing(enum.StrEnum):
    """How a deployment stands to the alias that it follows."""

    FOLLOWING = "Following"
    DUE = "Due"
    REFUSED = "Refused"
    LEFT = "Left"
    GONE = "Gone"


@dataclass(frozen=True)
class Course:
    """The alias's moves since the deployment follows it, and the one that was last brought, or passed over by a person.

    `version` is what the alias points to after the last of them, None where that is nothing. `refusal` is why the last
    one could not be rolled out.
    """

    version: int | None
    moves: int = 0
    done: int = 0
    refusal: str = ""

    @property
    def is_due(self) -> bool:
        """Whether what the alias points to is to be rolled out."""
        return self.version is not None and self.done != self.moves

    def moved(self, version: int | None) -> "Course":
        """The alias points to another version, or to none."""
        return replace(self, version=version, moves=self.moves + 1, refusal="")

    def settled(self) -> "Course":
        """Somebody who knows of the last move has chosen what serves: it was brought, or something else was."""
        return replace(self, done=self.moves, refusal="")

    def refused(self, why: str) -> "Course":
        """What the alias points to could not be rolled out."""
        return replace(self, refusal=why)

    def standing(self, wanted: int | None) -> Standing:
        """Where it stands while version `wanted` is what shall serve."""
        if self.version is None:
            return Standing.GONE
        if self.is_due:
            return Standing.REFUSED if self.refusal else Standing.DUE
        return Standing.FOLLOWING if wanted == self.version else Standing.LEFT


def sentence(course: Course, alias: str, wanted: int | None, moved_by: str) -> str:
    """What there is to say beside "follows champion", and what to do next; "" where all is as it shall be."""
    match course.standing(wanted):
        case Standing.GONE:
            return f"{alias} points to no version now. What serves stays until it is set again."
        case Standing.DUE:
            return f"Version {course.version} is about to be rolled out."
        case Standing.REFUSED:
            return (
                f"{moved_by or 'Somebody'} moved {alias} to version {course.version}, and was told: “{course.refusal}” "
                "It is tried again by itself. Whoever may roll out here can choose a version instead."
            )
        case Standing.LEFT:
            serves = f"Version {wanted}" if wanted is not None else "Another version"
            return f"{serves} was chosen, or a rollout was taken back to it. It stays until {alias} moves again."
    return ""
