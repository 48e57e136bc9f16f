"""What a watcher has seen of one cluster, out of which its conditions and its state are made. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.clusters.states import ClusterState

# Of a cluster in one of these all is known that it shows.
WATCHED = frozenset({ClusterState.HEALTHY, ClusterState.DEGRADED})


@dataclass(frozen=True)
class Observation:
    """The watcher's knowledge of one cluster now.

    `failures` and `successes` count probes that failed, or were answered, one after another; `ever_seen` says whether
    any was. `streams` maps a watched kind to the error that stops it ("" when it is in step, None before its first
    list), `missing` an optional kind to why it is not shown, `silent` a kind to the seconds since its last word where
    those are too many. `authorized` is None until something that needs the credential was answered, and `refusal` the
    recorded sentence of a refusal: it holds until then; `doubted` says that it was refused for the first time.
    `outages` counts how often the cluster became unreachable lately. `was` is the state that is recorded; `resuming`
    says that this watcher has only begun, so that what was recorded is still the best to show. `defect` says what of
    ours has failed while it was watched.
    """

    enabled: bool = True
    ever_seen: bool = False
    failures: int = 0
    successes: int = 0
    error_reason: str = ""
    error_message: str = ""
    authorized: bool | None = True
    doubted: bool = False
    refusal: str = ""
    streams: Mapping[str, str | None] | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, float] = field(default_factory=dict)
    nodes: int = 0
    nodes_ready: int = 0
    outages: int = 0
    was: str = ""
    resuming: bool = True
    defect: str = ""

    @property
    def resumes(self) -> bool:
        """Whether what was recorded is still the best to show: the cluster was being watched until just now."""
        return self.resuming and self.was in WATCHED


def defect_of(error: BaseException, does: str = "watches") -> str:
    """A failure of our own while a cluster is watched or checked, for people."""
    return (
        f"Flotilla itself fails while it {does} this cluster ({type(error).__name__}), and tries again. "
        "Tell Flotilla's administrator: its log has the details."
    )
