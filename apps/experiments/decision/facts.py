"""A run and its attempts, as they are stored. Pure."""

from dataclasses import dataclass
from datetime import datetime

from apps.experiments.specs import Retries

NEVER = Retries()


@dataclass(frozen=True)
class RunFacts:
    """The wanted state. `retry_at`: when the next attempt begins, once that is decided."""

    state: str
    retries: Retries = NEVER
    retry_at: datetime | None = None
    deadline_at: datetime | None = None
    cluster_gone: bool = False


@dataclass(frozen=True)
class AttemptFacts:
    """One try, as recorded. `cause` is empty unless it ended without success."""

    number: int
    state: str
    reason: str = ""
    message: str = ""
    cause: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
