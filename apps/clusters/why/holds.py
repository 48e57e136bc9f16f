"""Pods and Jobs that somebody holds back on purpose: scheduling gates, suspended Jobs. Pure.

One sentence for pods' rows, runs and pages alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.clusters.why.result import said

# https://kueue.sigs.k8s.io/docs/reference/labels-and-annotations/
QUEUE = "kueue.x-k8s.io/queue-name"
RESUME = "Whoever suspended it resumes it; a queue such as Kueue does when there is quota."


def gate_names(spec: Mapping[str, Any]) -> list[str]:
    """The names of a pod's scheduling gates."""
    return [str(gate.get("name") or "") for gate in spec.get("schedulingGates") or []]


def gated(names: Sequence[str]) -> str:
    """The sentence for a pod that no node is looked for."""
    if not names:
        return "Waiting: its scheduling gates are still closed, so no node is looked for."
    which = f"gate {names[0]} is" if len(names) == 1 else f"gates {', '.join(names)} are"
    return f"Waiting: its scheduling {said(which)} still closed, so no node is looked for."


def suspended(metadata: Mapping[str, Any]) -> str:
    """The sentence for a Job that starts no pods."""
    queue = (metadata.get("labels") or {}).get(QUEUE)
    where = f" It is in queue {said(str(queue))}." if queue else ""
    return f"Waiting: its Job is suspended, and starts no pod until it is resumed.{where}"
