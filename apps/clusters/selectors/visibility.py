"""The part of a shared cluster that one may know: everything of their own projects, and of all else only the state."""

from dataclasses import dataclass

from apps.core.access import Principal


@dataclass(frozen=True)
class Visibility:
    """The names of the projects that the caller sees; `everything` for platform administrators."""

    everything: bool
    projects: frozenset[str]

    def allows(self, project: str) -> bool:
        """Whether objects of `project` may be named; "" stands for objects that Flotilla did not make."""
        return self.everything or project in self.projects


def visibility_of(principal: Principal) -> Visibility:
    """One query for a request, however often it asks; none for platform administrators."""
    if principal.is_platform_admin:
        return Visibility(True, frozenset())
    return Visibility(False, principal.visible_names)
