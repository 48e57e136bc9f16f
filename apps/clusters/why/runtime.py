"""Short words for a container runtime's long messages. Pure.

"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to
start container process: container init was OOM-killed (memory limit too low?): unknown": each layer puts its words in
front, and containerd ends with the gRPC code that it made up.
"""

import re

from apps.clusters.why.result import said, stop

# runc (libcontainer/process_linux.go) has no memory for its own start within the container's limit, and guesses why.
# The last form is our own, in what was recorded of a run.
_TOO_LITTLE = re.compile(r"OOM-killed|memory limit too low|memory limit is too low", re.IGNORECASE)
_EMPTY = re.compile(r"unknown\.?|", re.IGNORECASE)
_FEW_WORDS = 4
RAISE_LIMIT = "Raise its memory limit."


def lacks_memory(message: str) -> bool:
    """Whether the memory limit leaves no room even for the start."""
    return bool(_TOO_LITTLE.search(message))


def no_sandbox(message: str, node: str) -> str:
    """Why a pod's sandbox can't be made on its node, in a sentence without its next step."""
    if lacks_memory(message):
        return "Can't start: its memory limit is too low to start with."
    return f"Can't start: {node or 'the node'} can't make its sandbox: {stop(said(innermost(message), 160))}"


def innermost(message: str) -> str:
    """The innermost words that say something: those after the last colon, and before it while they are too few."""
    parts = message.strip().split(": ")
    while len(parts) > 1 and _EMPTY.fullmatch(parts[-1].strip()):
        parts.pop()
    words = parts.pop()
    while parts and (len(words.split()) < _FEW_WORDS or words.startswith("exit status")):
        words = f"{parts.pop()}: {words}"
    return words
