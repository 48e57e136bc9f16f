"""The words that all apps share: roles and health. Pure."""

import enum


class Role(enum.StrEnum):
    """What a member may do in a project; each role may do all that the one before it may."""

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
