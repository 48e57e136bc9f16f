"""Several workers of a run as one sentence: how many run, and which wait. Pure."""

from collections.abc import Sequence

from apps.clusters.quantities.words import listed


def of_several(pods: Sequence[tuple[str, str]], workers: int) -> str:
    """The sentence for pods, each its name and its state, of so many workers; "" unless some are further than others.

    A worker that has no pod yet waits, too.
    """
    states = [state for _, state in pods]
    running, ended = states.count("Running"), states.count("Succeeded")
    waiting = workers - running - ended
    if workers == 1 or not running + ended or waiting <= 0 or "Failed" in states:
        return ""
    names = [name for name, state in pods if state in ("Queued", "Starting")]
    named = f" ({listed(names)})" if names else ""
    parts = [
        f"{running} {'runs' if running == 1 else 'run'}" if running else "",
        f"{ended} {'has' if ended == 1 else 'have'} ended" if ended else "",
        f"{waiting} {'waits' if waiting == 1 else 'wait'}{named}",
    ]
    return f"Of {workers} workers {listed([part for part in parts if part])}."
