"""OpenAPI: only the paths under /api/v1/ are described here; the MLflow API is described by MLflow."""

from typing import Any


def only_v1(endpoints: list[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """Keep the endpoints of our own API."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/v1/")]
