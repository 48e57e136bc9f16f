"""The words that all apps share: roles and health. Pure."""

import enum


class Role(enum.StrEnum):
    """A member's rights in a project. Each role includes those of the one before it."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Whether this role includes `needed`."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Health(enum.StrEnum):
    """Health as Argo CD names it. `severity` orders them for a summary: the worst one wins."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"

    @property
    def severity(self) -> int:
        """0 for Healthy; larger is worse."""
        return list(Health).index(self)
