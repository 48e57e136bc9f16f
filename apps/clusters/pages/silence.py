"""What a page says beside events, or in the place of them: since when nothing is heard of the cluster."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from apps.clusters.models import Cluster
from apps.clusters.selectors import is_current
from apps.core.text.wording import moment_text

# Where all are heard.
NOTHING_SAID = "The cluster has said nothing of it lately."


class Silence(NamedTuple):
    """Words for an empty list of events, and `note` for the head of one that is not empty."""

    title: str
    sentence: str
    kind: str = "nothing"
    note: str = ""


def silence_of(clusters: Iterable[Cluster], now: datetime, *, title: str = "No events", otherwise: str = "") -> Silence:
    """The words for events of these clusters; `title` and `otherwise` are for where all of them are heard."""
    known = {cluster.pk: cluster for cluster in clusters}
    silent = [cluster for cluster in known.values() if not is_current(cluster)]
    if not silent:
        return Silence(title, otherwise)
    unheard = ", ".join(_unheard(cluster, now) for cluster in sorted(silent, key=lambda each: each.name))
    note = f"nothing is heard of {unheard}"
    if len(silent) < len(known):
        return Silence(title, f"{otherwise} But {note}.".strip(), note=note)
    return Silence(
        "Not known now", f"{note[0].upper()}{note[1:]}, and no event from before was kept.", "unreachable", note
    )


def _unheard(cluster: Cluster, now: datetime) -> str:
    since = moment_text(cluster.as_of, now)
    return f"{cluster.name} since {since}" if since else cluster.name
