"""The secrets of one data directory: made once, kept in a file that only its owner may read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from controlplane.embedded.errors import RefusedError
from controlplane.embedded.files import write_private

ADMIN_NAME = "admin"


@dataclass(frozen=True)
class Keys:
    """All of them are URL-safe, so that they stand in URLs and configuration files unquoted."""

    secret_key: str
    credentials_key: str
    database_password: str
    valkey_password: str
    admin_password: str
    admin_token: str


def load_or_make(path: Path, *, used: bool = False) -> Keys:
    """The keys in `path`; made and written there (mode 0600) at the first call.

    `used`: something was locked with them already. Raises RefusedError when they are lost or can't be read.
    """
    if path.exists():
        return _load(path)
    if used:
        raise _lost(path, "is missing")
    keys = Keys(
        secret_key=secrets.token_urlsafe(50),
        credentials_key=base64.urlsafe_b64encode(os.urandom(32)).decode(),  # what Fernet.generate_key() returns
        database_password=secrets.token_urlsafe(24),
        valkey_password=secrets.token_urlsafe(24),
        admin_password=secrets.token_urlsafe(15),
        admin_token="flt_" + secrets.token_urlsafe(32),
    )
    write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
    return keys


def _load(path: Path) -> Keys:
    try:
        kept = json.loads(path.read_text())
        # A newer Flotilla may have written more of them.
        return Keys(**{each.name: str(kept[each.name]) for each in fields(Keys)})
    except (OSError, ValueError, TypeError) as error:
        raise _lost(path, f"can't be read ({error})") from error
    except KeyError as error:
        raise _lost(path, f"has no {error.args[0]}") from error


def _lost(path: Path, how: str) -> RefusedError:
    return RefusedError(
        f"{path} {how}. Without it nothing in this folder can be opened: put it back from a copy, or begin anew in "
        "another folder: FLOTILLA_DATA_DIR=…"
    )
