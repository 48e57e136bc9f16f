"""The log of a launched run: asked of the cluster while its pod is there, the stored end afterwards."""

from dataclasses import dataclass

from apps.clusters import logs
from apps.clusters.logs import LogPart, LogQuery, pod_log
from apps.core.errors import Missing, Unavailable
from apps.experiments import selectors
from apps.experiments.models import Run
from apps.experiments.states import SETTLED, RunKind

FOLLOW_LINES = 2000
ELSEWHERE = "Its program runs elsewhere, so Flotilla has no log of it."


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
        return RunLog("", ended=True, note=ELSEWHERE)
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


def run_log_part(run: Run, query: LogQuery) -> LogPart:
    """What the log viewer asks for: of the pod while it is there, also after the end; else the lines that were kept.

    A log that can't be had says so and is never an error: the run is what its Job was.
    """
    if run.kind != RunKind.LAUNCHED:
        return LogPart(ended=True, note=ELSEWHERE)
    ended = run.state in SETTLED
    pods = selectors.pods_of(run)
    if not pods:
        return _kept(run, query) if ended else LogPart(note=run.message or "waiting for a pod")
    part = logs.read(pods[0], query)
    if not part.note or not ended:
        return part
    # Who has lines of the pod itself keeps them: they are more than what was kept.
    return LogPart(ended=True, note=part.note, timed=part.timed) if query.after else _kept(run, query)


def _kept(run: Run, query: LogQuery) -> LogPart:
    if query.previous:
        return LogPart(ended=True, timed=False, note="there is no log of an earlier start")
    note = "the last lines, kept" if run.log_tail else "no log was kept"
    return LogPart(text=run.log_tail, ended=True, timed=False, note=note)
