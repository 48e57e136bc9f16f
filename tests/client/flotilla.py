"""The client as a process of its own, as people and CI jobs start it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).resolve().parents[2] / "client"
SECONDS = 120


@dataclass(frozen=True)
class Flotilla:
    """The command `flotilla` of one person, whose files are in `home`."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end, which has to be this exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "flotilla_client", *words],
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        for token in self.environment.get("FLOTILLA_TOKEN", ""), stdin.strip():
            assert not token.startswith("flt_") or token not in done.stdout + done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        """What it says to programs."""
        return json.loads(self(*words, "-o", "json", code=code).stdout)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start it, and go on."""
        command = [sys.executable, "-m", "flotilla_client", *words]
        return subprocess.Popen(
            command, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _environment(self) -> dict[str, str]:
        known = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(CLIENT)}
        return known | self.environment


def ended(process: "subprocess.Popen[str]", code: int = 0) -> tuple[str, str]:
    """What a started one has said, once it has ended with this exit code."""
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == code, f"It ended with {process.returncode}:\n{out}\n{err}"
    return out, err
