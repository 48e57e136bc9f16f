"""`/healthz`: this process answers. `/readyz`: it can serve, with what is missing named."""

from collections.abc import Callable

import redis
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from apps.core.redisclient import redis_client


def healthz(request: HttpRequest) -> JsonResponse:
    """Liveness: 200 as long as this process answers, with the state of what it needs in the body.

    A restart of the web process would not bring Postgres back, so a missing server fails `/readyz` only.
    """
    report = _report({"postgres": _postgres, "redis": _redis, "migrations": _migrations})
    report.status_code = 200
    return report


def readyz(request: HttpRequest) -> JsonResponse:
    """Readiness: Postgres, Redis and migrations. 503 with the reason while one is missing."""
    return _report({"postgres": _postgres, "redis": _redis, "migrations": _migrations})


def _report(checks: dict[str, Callable[[], str]]) -> JsonResponse:
    results = {name: check() for name, check in checks.items()}
    healthy = all(result == "ok" for result in results.values())
    status = "ok" if healthy else "unavailable"
    return JsonResponse({"status": status, "checks": results}, status=200 if healthy else 503)


def _postgres() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "Postgres can't be reached. Check DATABASE_URL and that the server runs."
    return "ok"


def _redis() -> str:
    client = redis_client(2.0)
    try:
        client.ping()
    except redis.RedisError:
        return "Redis can't be reached. Check REDIS_URL and that the server runs."
    finally:
        client.close()
    return "ok"


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "unknown: Postgres can't be reached."
    return f"{len(missing)} not applied. Run: python manage.py migrate" if missing else "ok"
