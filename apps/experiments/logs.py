"""The log of a launched run: asked of the cluster while it runs, the stored end afterwards."""

from dataclasses import dataclass

from apps.clusters.services import pod_log
from apps.core.errors import Missing, Unavailable
from apps.experiments import selectors
from apps.experiments.models import Run
from apps.experiments.states import SETTLED, RunKind

FOLLOW_LINES = 2000


@dataclass(frozen=True)
class RunLog:
    """Text, whether more will come, and a remark where there is little or none."""

    text: str
    ended: bool
    note: str = ""


def run_log(run: Run, *, lines: int = FOLLOW_LINES) -> RunLog:
    """The last `lines` lines. Never raises because a cluster is away: the note says so."""
    ended = run.state in SETTLED
    if run.kind != RunKind.LAUNCHED:
        return RunLog("", ended=True, note="Its program runs elsewhere, so Flotilla has no log of it.")
    if ended:
        kept = "\n".join(run.log_tail.splitlines()[-lines:])
        return RunLog(kept, ended=True, note="the last lines, kept" if kept else "no log was kept")
    pods = selectors.pods_of(run)
    if not pods:
        return RunLog("", ended=False, note=run.message or "waiting for a pod")
    try:
        return RunLog(pod_log(pods[0], tail_lines=lines), ended=False)
    except (Missing, Unavailable) as error:
        return RunLog("", ended=False, note=error.message)
