"""The server's settings, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ModelError


@dataclass(frozen=True)
class Source:
    """Which model it is, and where to fetch it."""

    name: str
    version: str
    tracking_uri: str
    token: str = field(repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Source":
        """Read the environment. Raises ModelError that names what is missing or wrong."""
        _need(env, "FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION", "MLFLOW_TRACKING_URI")
        return cls(env["FLOTILLA_MODEL_NAME"], env["FLOTILLA_MODEL_VERSION"], *server_of(env))


@dataclass(frozen=True)
class Settings:
    """Where to listen, and which model to serve: the folder with its files, or where they are fetched."""

    host: str
    port: int
    model_name: str
    model_version: str
    drain_seconds: float
    files: Path | Source

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment. Raises ModelError that names what is missing or wrong."""
        _need(env, "FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION")
        try:
            port, drain = int(env.get("PORT", "8080")), float(env.get("DRAIN_SECONDS", "2"))
        except ValueError as error:
            raise ModelError(f"PORT and DRAIN_SECONDS must be numbers: {error}.") from error
        folder = env.get("FLOTILLA_MODEL_DIR", "")
        return cls(
            host=env.get("HOST", "127.0.0.1"),
            port=port,
            model_name=env["FLOTILLA_MODEL_NAME"],
            model_version=env["FLOTILLA_MODEL_VERSION"],
            drain_seconds=drain,
            files=Path(folder) if folder else Source.from_env(env),
        )


def server_of(env: Mapping[str, str]) -> tuple[str, str]:
    """Flotilla's address and the token for it. Raises ModelError that names what is missing or wrong."""
    _need(env, "MLFLOW_TRACKING_URI")
    if not env["MLFLOW_TRACKING_URI"].startswith(("http://", "https://")):
        raise ModelError("MLFLOW_TRACKING_URI must start with http:// or https://.")
    return env["MLFLOW_TRACKING_URI"].rstrip("/"), env.get("MLFLOW_TRACKING_TOKEN", "")


def _need(env: Mapping[str, str], *names: str) -> None:
    if missing := [name for name in names if not env.get(name)]:
        raise ModelError(f"Set {', '.join(missing)}.")
