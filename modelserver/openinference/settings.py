"""The server's settings, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import ModelError


@dataclass(frozen=True)
class Settings:
    """Where to listen, which model to serve, and where to fetch it."""

    host: str
    port: int
    model_name: str
    model_version: str
    tracking_uri: str
    token: str = field(repr=False)
    drain_seconds: float

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the environment. Raises ModelError that names what is missing or wrong."""
        needed = ("FLOTILLA_MODEL_NAME", "FLOTILLA_MODEL_VERSION", "MLFLOW_TRACKING_URI")
        if missing := [name for name in needed if not env.get(name)]:
            raise ModelError(f"Set {', '.join(missing)}.")
        if not env["MLFLOW_TRACKING_URI"].startswith(("http://", "https://")):
            raise ModelError("MLFLOW_TRACKING_URI must start with http:// or https://.")
        try:
            port, drain = int(env.get("PORT", "8080")), float(env.get("DRAIN_SECONDS", "2"))
        except ValueError as error:
            raise ModelError(f"PORT and DRAIN_SECONDS must be numbers: {error}.") from error
        return cls(
            host=env.get("HOST", "127.0.0.1"),
            port=port,
            model_name=env["FLOTILLA_MODEL_NAME"],
            model_version=env["FLOTILLA_MODEL_VERSION"],
            tracking_uri=env["MLFLOW_TRACKING_URI"].rstrip("/"),
            token=env.get("MLFLOW_TRACKING_TOKEN", ""),
            drain_seconds=drain,
        )
