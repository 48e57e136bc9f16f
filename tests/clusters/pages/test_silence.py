"""What stands in the place of events of clusters that are not heard."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.clusters.models import Cluster
from apps.clusters.pages.silence import Silence, silence_of

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
HEARD = Cluster(pk=1, name="eu", state="Healthy", last_seen_at=NOW)
LOST = Cluster(pk=2, name="us", state="Unreachable", last_seen_at=NOW - timedelta(minutes=30))
NEVER = Cluster(pk=3, name="asia", state="Pending")
OF_US = "nothing is heard of us since 12:30 UTC"


@pytest.mark.parametrize(
    ("clusters", "said"),
    [
        ([], Silence("No events", "It said nothing.")),
        ([HEARD, HEARD], Silence("No events", "It said nothing.")),
        (
            [LOST],
            Silence(
                "Not known now",
                "Nothing is heard of us since 12:30 UTC, and no event from before was kept.",
                "unreachable",
                OF_US,
            ),
        ),
        ([HEARD, LOST, LOST], Silence("No events", f"It said nothing. But {OF_US}.", note=OF_US)),
        (
            [NEVER, LOST],
            Silence(
                "Not known now",
                "Nothing is heard of asia, us since 12:30 UTC, and no event from before was kept.",
                "unreachable",
                "nothing is heard of asia, us since 12:30 UTC",
            ),
        ),
    ],
)
def test_silence_is_not_taken_for_peace(clusters: list[Cluster], said: Silence) -> None:
    assert silence_of(clusters, NOW, otherwise="It said nothing.") == said
