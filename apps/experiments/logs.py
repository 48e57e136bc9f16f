"""The log of a launched run: asked of the cluster while its pod is there, the stored end afterwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.clusters import logs
from apps.clusters.logs import LogPart, LogQuery, pod_log
from apps.clusters.models import Pod
from apps.clusters.quantities.words import listed
from apps.core.errors import Missing, Unavailable
from apps.core.text.numbers import whole
from apps.core.text.wording import plural
from apps.experiments import selectors
from apps.experiments.models import Attempt, Run
from apps.experiments.states import SETTLED, RunKind

FOLLOW_LINES = 2000
ELSEWHERE = "Its program runs elsewhere, so Flotilla has no log of it."
_NOT_KEPT = "No log was kept but that of {}"


@dataclass(frozen=True)
class Choice:
    """The choice of a log: an attempt's by number, a pod's by name. By default the last attempt's first pod."""

    attempt: int = 0
    pod: str = ""


def choice_of(parameters: Mapping[str, str]) -> Choice:
    """The choice in an address. Values that make no sense are left out."""
    return Choice(whole(parameters.get("attempt", "")) or 0, parameters.get("pod", ""))


@dataclass(frozen=True)
class RunLog:
    """The text, whether more will come, and a remark where there is little or none; with the attempt and the pod."""

    text: str
    ended: bool
    note: str = ""
    attempt: int | None = None
    pod: str = ""


def run_log(run: Run, *, lines: int = FOLLOW_LINES, choice: Choice = Choice()) -> RunLog:
    """The last `lines` lines. Never raises because a cluster is away: the note says so. Raises Missing for a choice
    that the run does not have."""
    ended = run.state in SETTLED
    if run.kind != RunKind.LAUNCHED:
        return RunLog("", ended=True, note=ELSEWHERE)
    attempt, pod = _chosen(run, choice)
    number = attempt.number if attempt else None
    if ended or (pod is None and attempt is not None and attempt.ended_at):
        kept, of = "\n".join((attempt.log if attempt else "").splitlines()[-lines:]), _kept_of(attempt)
        if choice.pod and of and choice.pod != of:
            return RunLog("", ended, _NOT_KEPT.format(of), number)
        return RunLog(kept, ended, "The last lines, kept" if kept else "No log was kept", number)
    if pod is None:
        return RunLog("", ended=False, note=run.message or "Waiting for a pod", attempt=number)
    try:
        return RunLog(pod_log(pod, tail_lines=lines), ended=False, attempt=number, pod=pod.name)
    except (Missing, Unavailable) as error:
        return RunLog("", ended=False, note=error.sentence, attempt=number, pod=pod.name)


def run_log_part(run: Run, query: LogQuery, choice: Choice = Choice()) -> LogPart:
    """A part of the log for the viewer: from the pod while it is there, also after the end; else from the kept lines.

    A log that can't be had says so and is never an error: the run is what its Job was. Raises Missing for a choice that
    the run does not have.
    """
    if run.kind != RunKind.LAUNCHED:
        return LogPart(ended=True, note=ELSEWHERE)
    ended = run.state in SETTLED
    attempt, pod = _chosen(run, choice)
    over = ended or (attempt is not None and attempt.ended_at is not None)
    if pod is None or (over and pod.deleted_at is not None and not query.after):
        return _kept(attempt, query, choice, ended=ended) if over else LogPart(note=run.message or "Waiting for a pod")
    part = replace(logs.read(pod, query), whose=whose(run, attempt, pod.name, choice))
    part = replace(part, kept=_kept_before(run, attempt) or part.kept) if part.silent else part
    if not part.note or not over:
        # Between two attempts the next one's lines will follow.
        return replace(part, ended=part.ended and (ended or bool(choice.pod or choice.attempt)))
    # Lines of the pod itself stay: they are more than the stored ones.
    return replace(part, text="", ended=ended) if query.after else _kept(attempt, query, choice, ended=ended)


def _kept_before(run: Run, attempt: Attempt | None) -> str:
    """The earlier attempts of which the last lines are kept, while the log of this one can't be had."""
    earlier = [each for each in selectors.attempts_of(run) if attempt is None or each.number < attempt.number]
    numbers = [str(each.number) for each in earlier if getattr(each, "last_lines", "")]
    if not numbers:
        return ""
    of = f"{plural('attempt', len(numbers))} {listed(numbers, len(numbers))}"
    return f"Of {of} the last lines are kept. This one is on the cluster's node, and is read as soon as that answers."


def whose(run: Run, attempt: Attempt | None, pod: str, choice: Choice = Choice()) -> str:
    """The name of the log where a run has several: the pod of several workers, or the attempt; else ""."""
    if int(run.spec.get("workers") or 1) > 1 and pod:
        return pod
    return f"attempt {attempt.number}" if attempt is not None and (attempt.number > 1 or choice.attempt) else ""


def whose_first(run: Run, attempts: Sequence[Attempt], pods: Sequence[Pod]) -> str:
    """The log that a page begins with where nothing is chosen. `attempts` by number, as the selectors give them."""
    attempt = attempts[-1] if attempts else None
    pod = _first_pod(attempt, pods)
    over = run.state in SETTLED or (attempt is not None and attempt.ended_at is not None)
    kept = pod is None or (over and pod.deleted_at is not None)
    return whose(run, attempt, _kept_of(attempt) if kept or pod is None else pod.name)


def _kept_of(attempt: Attempt | None) -> str:
    """The name of the pod whose last lines an attempt keeps."""
    pods: list[dict[str, Any]] = attempt.pods if attempt is not None else []
    named = next((pod for pod in pods if pod.get("log")), None)
    if named is None and attempt is not None:
        # Kept before it was noted whose it is: that of the pod that explains the end, else of the first.
        named = next((pod for pod in pods if attempt.message.startswith(f"{pod['name']}: ")), pods[0] if pods else None)
    return str(named["name"]) if named else ""


def _chosen(run: Run, choice: Choice) -> tuple[Attempt | None, Pod | None]:
    """The attempt that is meant, and its pod while that is known."""
    attempts, pods = selectors.attempts_of(run), selectors.pods_of(run)
    if choice.pod:
        attempt = next((each for each in attempts if any(pod["name"] == choice.pod for pod in each.pods)), None)
        pod = next((each for each in pods if each.name == choice.pod), None)
        if attempt is None and pod is not None:
            attempt = next((each for each in attempts if each.job_name == pod.owner_name), None)
        if attempt is None and pod is None:
            raise Missing(f"The run has no pod {choice.pod!r}.", field="pod")
        return attempt, pod
    if choice.attempt:
        attempt = next((each for each in attempts if each.number == choice.attempt), None)
        if attempt is None:
            raise Missing(f"The run has no attempt {choice.attempt}.", field="attempt")
    else:
        attempt = attempts[-1] if attempts else None
    return attempt, _first_pod(attempt, pods)


def _first_pod(attempt: Attempt | None, pods: Sequence[Pod]) -> Pod | None:
    """The pod that the attempt names first, by its number among several; while it names none, the newest."""
    if attempt is None:
        return pods[0] if pods else None
    own = [pod for pod in pods if pod.owner_name in ("", attempt.job_name)]
    if int(attempt.run.spec.get("workers") or 1) == 1:
        return own[0] if own else None
    order = {str(pod["name"]): number for number, pod in enumerate(attempt.pods)}
    return min(own, key=lambda pod: order.get(pod.name, len(order)), default=None)


def _kept(attempt: Attempt | None, query: LogQuery, choice: Choice, *, ended: bool) -> LogPart:
    text, of = attempt.log if attempt is not None else "", _kept_of(attempt)
    part = LogPart(ended=ended, timed=False, whose=whose(attempt.run, attempt, of, choice) if attempt else "")
    if query.previous:
        return replace(part, ended=True, note="There is no log of an earlier start")
    if choice.pod and of and choice.pod != of:
        return replace(part, whose=choice.pod, note=_NOT_KEPT.format(of))
    return replace(part, text=text, note="The last lines, kept" if text else "No log was kept")
