"""Where the embedded default keeps everything: one directory that only its owner may enter."""

import json
from dataclasses import dataclass
from pathlib import Path

from controlplane.embedded.files import private_directory, write_private


def numbered(name: str, number: int) -> str:
    """`local`, `local-2`, `local-3`: how the first of several and its brothers are called."""
    return name if number == 1 else f"{name}-{number}"


@dataclass(frozen=True)
class DataDir:
    """The paths below one data directory, and what is written there for people and tools."""

    root: Path

    @property
    def logs(self) -> Path:
        """One file for each process, each with its older part beside it."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """The processes that run now: their numbers with start times."""
        return self.root / "run"

    @property
    def postgres(self) -> Path:
        """Postgres's own data directory."""
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        """Valkey's configuration and append-only file."""
        return self.root / "valkey"

    @property
    def localcluster(self) -> Path:
        """The first local cluster's state, with `kubeconfig` in it."""
        return self.localcluster_of(1)

    def localcluster_of(self, number: int) -> Path:
        """The state of one of the local clusters, which count from 1."""
        return self.root / numbered("localcluster", number)

    @property
    def statics(self) -> Path:
        """Style sheets, scripts and fonts, collected and compressed."""
        return self.root / "static"

    @property
    def statics_mark(self) -> Path:
        """Of what they were made."""
        return self.root / "static.mark"

    @property
    def kubeconfig(self) -> Path:
        """The first local cluster's kubeconfig, with its CA and token inline."""
        return self.localcluster / "kubeconfig"

    @property
    def credentials(self) -> Path:
        """`{url, username, password, token}` of the administrator, mode 0600."""
        return self.root / "credentials.json"

    @property
    def lock(self) -> Path:
        """Locked as long as an `up` runs here."""
        return self.root / "lock"

    @property
    def status(self) -> Path:
        """`{pid, url, ready}` of the `up` that runs here, for whoever waits for it."""
        return self.run / "up.json"

    @property
    def migrated(self) -> Path:
        """There once the database has all migrations, in this start."""
        return self.run / "migrated"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        """Number and start time of one process."""
        return self.run / f"{name}.pid"

    def prepare(self) -> None:
        """Make the directories, readable by their owner only."""
        for path in (self.root, self.logs, self.run, self.localcluster):
            private_directory(path)

    def write_status(self, *, pid: int, url: str, ready: bool) -> None:
        """Say who runs here, where it answers and whether it does already."""
        write_private(self.status, json.dumps({"pid": pid, "url": url, "ready": ready}) + "\n")

    def read_status(self) -> dict[str, str | int | bool]:
        """The status that `write_status` wrote last; empty when nothing runs here."""
        try:
            status: dict[str, str | int | bool] = json.loads(self.status.read_text())
        except FileNotFoundError:
            return {}
        return status
