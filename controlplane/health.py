"""`/healthz`: this process answers. `/readyz`: it can serve, with what is missing named."""

from collections.abc import Callable, Mapping

import redis
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from apps.core.process.redisclient import redis_client
from apps.experiments.files import standing

# So long Redis is waited for, in seconds: a probe that waited longer would tell nothing else.
REDIS_SECONDS = 0.5
UNAVAILABLE = "unavailable"


def healthz(request: HttpRequest) -> JsonResponse:
    """Liveness: 200 as long as this process answers. It asks nobody.

    A restart of the web process would bring neither Postgres nor Redis back, so it must not wait for one that hangs.
    """
    return JsonResponse({"status": "ok", "checks": {"web": "ok"}})


def readyz(request: HttpRequest) -> JsonResponse:
    """Readiness: Postgres and migrations. 503 with the reason while one is missing.

    Redis and the store of artifacts are told of and do not count: requests are served without them, and no process of
    the web is any better off.
    """
    checks: dict[str, Callable[[], str]] = {
        "postgres": _postgres,
        "redis": _redis,
        "migrations": _migrations,
        "artifacts": _artifacts,
    }
    results = {name: check() for name, check in checks.items()}
    status = verdict(results)
    return JsonResponse({"status": status, "checks": results}, status=503 if status == UNAVAILABLE else 200)


def verdict(results: Mapping[str, str]) -> str:
    """The state of the whole, by what each check says."""
    wrong = {name for name, result in results.items() if result != "ok"}
    return UNAVAILABLE if wrong - {"redis", "artifacts"} else "degraded" if wrong else "ok"


def _postgres() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "Postgres can't be reached. Check DATABASE_URL and that the server runs."
    return "ok"


def _redis() -> str:
    client = redis_client(REDIS_SECONDS)
    try:
        client.ping()
    except redis.RedisError:
        return "Redis can't be reached: pages don't follow by themselves. Check REDIS_URL and that the server runs."
    finally:
        client.close()
    return "ok"


def _artifacts() -> str:
    return standing.last_seen() or "ok"


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "unknown: Postgres can't be reached."
    return f"{len(missing)} not applied. Run: python manage.py migrate" if missing else "ok"
