"""A process that dies between two statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction


class Killed(BaseException):
    """As if the process were gone."""


@contextmanager
def killed_after(statements: int) -> Iterator[list[str]]:
    """The process dies when it sends one statement more than these; gives those that were sent."""
    sent: list[str] = []

    def execute(go: Any, sql: str, *rest: Any) -> Any:
        # Who dies says nothing more; what is rolled back here, Postgres rolls back by itself.
        if len(sent) >= statements and not sql.startswith(("ROLLBACK", "RELEASE")):
            raise Killed
        sent.append(sql)
        return go(sql, *rest)

    with connection.execute_wrapper(execute):
        try:
            yield sent
        except Killed:
            sent.append("killed")
            # The test's own transaction goes on: Postgres has seen no error.
            transaction.set_rollback(False)
