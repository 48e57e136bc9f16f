"""The lists of Python packages that come with a run's files: which files they are, and what they say. Pure.

MLflow's client logs `requirements.txt` beside each model: what the model needs. A run that Flotilla launches logs
one of its own before it begins, of all that is installed where it runs (`manifests.packages`).
"""

import re
from dataclasses import dataclass

FILE = "requirements.txt"
WHOLE = f"environment/{FILE}"
"""The list of everything that is installed, in the artifacts of a run."""
MOST_BYTES = 256 * 1024
MOST_PACKAGES = 2000
_MOST_LETTERS = 200
PYTHON = "python"
# PEP 508: a name, perhaps extras, and what is wanted of it, on which systems.
_LINE = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*((?:[=<>!~@(][^;]*)?)(?:;.*)?")
# pip's own comment, and what our step writes of the interpreter.
_INTERPRETER = re.compile(r"#\s*python\s+(\d[\w.+-]*)", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True)
class PackageList:
    """The packages of a list with their versions, or what is wanted of those that have none, by their names."""

    packages: dict[str, str]
    whole: bool
    """Whether that is all that was installed, not only what a model needs."""


def is_list(path: str) -> bool:
    """Whether an artifact of this name lists packages."""
    return path.rpartition("/")[2] == FILE


def parse_list(path: str, body: bytes) -> PackageList:
    """What such a file says. Lines that are no requirement are left out, and logins in addresses."""
    if len(body) >= MOST_BYTES:
        # Its last line may be half of one.
        body = body[:MOST_BYTES].rpartition(b"\n")[0]
    packages: dict[str, str] = {}
    for line in body.decode(errors="replace").replace("\x00", "").splitlines():
        if len(packages) >= MOST_PACKAGES:
            break
        name, wanted = _read(line.strip())
        if name:
            packages[name] = wanted
    return PackageList(dict(sorted(packages.items(), key=lambda item: item[0].lower())), path == WHOLE)


def _read(line: str) -> tuple[str, str]:
    interpreter = _INTERPRETER.fullmatch(line)
    if interpreter:
        return PYTHON, interpreter[1]
    # Options of pip begin with a hyphen, and " #" begins a remark.
    match = _LINE.fullmatch(re.split(r"\s#|\s--hash", line)[0].rstrip(" \\"))
    if match is None:
        return "", ""
    wanted = _LOGIN.sub("", match[2].strip()).removeprefix("==").strip()
    return match[1][:_MOST_LETTERS], wanted[:_MOST_LETTERS]
