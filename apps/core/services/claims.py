"""A key that a caller gives to a request, so that sent twice it acts once: it is claimed where the act is recorded."""

from dataclasses import dataclass

from django.db import OperationalError, connection
from django.db.models import QuerySet

from apps.core.errors import Conflict
from apps.core.models import IdempotencyRecord

# How long a caller waits for another one with the same key, in milliseconds: well below any client's own timeout.
WAIT_MS = 1000


@dataclass(frozen=True)
class Claim:
    """The caller, the key that it sent, and the request: `digest` is of method, address and body."""

    owner: str
    key: str
    digest: str

    def rows(self) -> QuerySet[IdempotencyRecord]:
        """The record of the key, once there is one."""
        return IdempotencyRecord.objects.filter(owner=self.owner, key=self.key)

    def take(self, under_way: Conflict) -> bool:
        """Claim the key in the transaction that is open; False where somebody has it.

        Raises `under_way` where another transaction has claimed it and goes on for longer than `WAIT_MS`.
        """
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{WAIT_MS}ms"])
                cursor.execute(
                    "INSERT INTO core_idempotencyrecord (owner, key, request_digest, created_at)"
                    " VALUES (%s, %s, %s, now()) ON CONFLICT (owner, key) DO NOTHING",
                    [self.owner, self.key, self.digest],
                )
                mine = bool(cursor.rowcount)
                cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", "") != "55P03":  # lock_not_available
                raise
            raise under_way from error
        return mine
