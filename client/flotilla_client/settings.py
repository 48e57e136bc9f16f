"""Which server, and as whom: the environment first, then the file that `flotilla login` writes.

A token belongs to one server: another `--server` never gets it.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flotilla_client.errors import WrongUse

SERVER, TOKEN, PROJECT, CONFIG = "FLOTILLA_SERVER", "FLOTILLA_TOKEN", "FLOTILLA_PROJECT", "FLOTILLA_CONFIG"
_OTHERS = 0o077


@dataclass(frozen=True)
class Settings:
    """The server's address without a slash at its end, the token, and the project ("" where none is chosen)."""

    server: str
    token: str
    project: str = ""

    def __repr__(self) -> str:
        """Without the token."""
        return f"Settings({self.server!r}, project={self.project!r})"


def path_of(environment: Mapping[str, str]) -> Path:
    """The file: `$FLOTILLA_CONFIG`, or `flotilla/config.yaml` below `$XDG_CONFIG_HOME`, or below `~/.config`."""
    if environment.get(CONFIG):
        return Path(environment[CONFIG])
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "flotilla" / "config.yaml"


def settings(server: str, project: str) -> Settings:
    """What holds now; options come before the environment, and that before the file. Raises WrongUse for what is
    missing."""
    environment = os.environ
    token = environment.get(TOKEN, "").strip()
    # With all in the environment, as in a CI job, the file is not looked at.
    known = {} if token and (server or environment.get(SERVER)) else _read(path_of(environment))
    address = clean(server or environment.get(SERVER) or str(known.get("server") or ""))
    of_server = (known.get("servers") or {}).get(address) or {}
    token = token or str(of_server.get("token") or "")
    if not address:
        raise WrongUse("Which server?", f"Run `flotilla login https://…`, or set {SERVER}.")
    if not token:
        raise WrongUse(f"There is no token for {address}.", f"Run `flotilla login {address}`, or set {TOKEN}.")
    return Settings(address, token, project or environment.get(PROJECT) or str(of_server.get("project") or ""))


def clean(server: str) -> str:
    """The address in one form. Raises WrongUse for what is none."""
    address = server.strip().rstrip("/")
    if address and not address.startswith(("http://", "https://")):
        raise WrongUse(f"{server!r} is no address of a server.", "It begins with https:// (or http://).")
    return address


def remember(one: Settings) -> Path:
    """Keep a server, its token and its project, as the one that is meant from now on; the file is its owner's alone.

    It is written beside the old one and put in its place, so that it is whole at any moment.
    """
    path = path_of(os.environ)
    known = _read(path)
    servers = {**(known.get("servers") or {}), one.server: {"token": one.token, "project": one.project}}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # `mkstemp` makes it with mode 0600.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    try:
        with os.fdopen(handle, "w") as file:
            yaml.safe_dump({"server": one.server, "servers": servers}, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS:
                raise WrongUse(f"Others may read {path}, and it holds tokens.", f"Run `chmod 600 {path}`.")
            data = yaml.safe_load(file)
    except FileNotFoundError:
        return {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise WrongUse(f"{path} can't be read ({type(error).__name__}).", "Run `flotilla login` anew.") from error
    return data if isinstance(data, dict) else {}
