"""A container's last words: its termination message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcluster.kubelet.logs import path_of, tail
from localcluster.kubelet.sandbox import Sandbox

_LONGEST = 4096  # bytes, as the kubelet's MaxContainerTerminationMessageLength


def last_words(container: Mapping[str, Any], sandbox: Sandbox, restart: int, code: int) -> str:
    """The text in the container's termination log, or the end of its output where the spec asks for that."""
    name = container["name"]
    try:
        text = sandbox.termination_log(name).read_bytes()[:_LONGEST].decode(errors="replace")
    except OSError:
        text = ""
    if not text and code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        text = tail(path_of(sandbox.logs(name), restart))
    return text
