"""Why containers don't start, or end again and again. Pure.

Reasons and messages: pkg/kubelet/kuberuntime/kuberuntime_container.go and kubelet_pods.go of Kubernetes.
"""

import re
from datetime import UTC, datetime

from apps.clusters.quantities.words import plural
from apps.clusters.why.facts import UNKNOWN, ContainerFacts, Ended, PodFacts, telling
from apps.clusters.why.lastwords import last_line
from apps.clusters.why.recovery import fails_still, may_fail_still
from apps.clusters.why.result import Evidence, Why, said, stop
from apps.clusters.why.runtime import RAISE_LIMIT, lacks_memory
from apps.core.text.wording import bytes_text

_CONFIG = frozenset(
    {
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"),
        *("PreCreateHookError", "PreStartHookError", "PostStartHookError"),
    }
)
# Ends of what never ran: the runtime could not start it.
STARTS = frozenset({"StartError", "ContainerCannotRun"})
OOM = "OOMKilled"
SIGNALS = {1: "SIGHUP", 2: "SIGINT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}
SIGNALS |= {13: "SIGPIPE", 15: "SIGTERM"}
# When a line was written, and at which level, as loggers begin it.
_HEADED = re.compile(
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.,:+Z]*\]?[ ]*"
    r"(\[?(DEBUG|INFO|WARN(ING)?|ERROR|CRITICAL|FATAL)\]?:?[ ]+)?",
    re.IGNORECASE,
)
# Letters of a line that is quoted in a sentence.
MOST_LAST_WORDS = 160
_MISSING = re.compile(r'\b(secret|configmap) "([^"]+)" not found', re.IGNORECASE)
_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)", re.IGNORECASE)
_COMMAND = re.compile(r'exec: \\?"([^"\\]+)\\?": (executable file not found|permission denied|stat |no such file)')


def signal_name(exit_code: int) -> str:
    """The signal behind an exit code above 128, or nothing."""
    return SIGNALS.get(exit_code - 128, f"signal {exit_code - 128}") if 128 < exit_code < 160 else ""


def how_it_ended(name: str, exit_code: int | None, reason: str, *, memory_limit: int | None = None) -> str:
    """ "main ran out of memory: it used more than its limit of 2 GiB (exit code 137)", without a full stop."""
    if reason == OOM:
        limit = f"its limit of {bytes_text(memory_limit)}" if memory_limit else "its limit"
        return f"{name} ran out of memory: it used more than {limit} (exit code {exit_code or 137})"
    if reason == UNKNOWN:
        return f"{name} was no longer there when its node looked for it, so how it ended is not known"
    if exit_code is None:
        return f"{name} ended"
    known = {126: "; the command can't be executed", 127: "; the command was not found"}.get(exit_code, "")
    signal = signal_name(exit_code)
    if signal:
        return f"{name} was killed by {signal} (exit code {exit_code})"
    return f"{name} ended with exit code {exit_code}{known}"


def what_to_do(exit_code: int | None, reason: str) -> str:
    """The next step after such an end."""
    if reason == OOM:
        return "Ask for more memory, or let it use less."
    if reason == UNKNOWN:
        return "Its node was restarted or lost it: start it again."
    if exit_code == 137:
        return "Somebody or something killed it: see the events, and whether the node ran out of memory."
    if exit_code in {126, 127}:
        return "Correct its command, or the image that should have it."
    return "The end of its log says why."


def config(pod: PodFacts) -> Why | None:
    """A container that can't be made: a Secret, ConfigMap or key is missing, or its command can't be run."""
    stuck = next((container for container in telling(pod.containers) if container.waiting in _CONFIG), None)
    if stuck is None:
        return None
    text = stuck.waiting_message
    evidence = (Evidence(f"Container {stuck.name}", said(text, 600)),) if text else ()
    sentence, step = _config_error(_named(stuck), text)
    return Why(stuck.waiting, sentence, evidence, step, at=pod.created_at)


def _config_error(name: str, text: str) -> tuple[str, str]:
    if key := _KEY.search(text):
        kind, owner = key[2], key[3].rpartition("/")[2]
        return f"Can't start: {kind} {owner} has no key {key[1]}.", f"Add the key {key[1]} to {kind} {owner}."
    if missing := _MISSING.search(text):
        kind = "Secret" if missing[1].lower() == "secret" else "ConfigMap"
        return f"Can't start: {kind} {missing[2]} does not exist.", f"Make {kind} {missing[2]} in its namespace."
    if lacks_memory(text):
        return f"Can't start: {name} has a memory limit that is too low to start with.", RAISE_LIMIT
    if "runAsNonRoot" in text:
        return (
            f"Can't start: the image of {name} runs as root, which is not allowed here.",
            "Give the image a user other than root, by its number.",
        )
    if command := _COMMAND.search(text):
        cause = f"may not be executed in {name}" if command[2].startswith("perm") else f"is not in the image of {name}"
        return f"Can't start: the command {command[1]} {cause}.", what_to_do(127, "")
    return f"Can't start: {name}: {stop(said(text) or 'it could not be made')}", ""


def _named(container: ContainerFacts) -> str:
    """ "container main", within a sentence."""
    return f"{container.kind.lower()} {container.name}"


def worst_end(pod: PodFacts, now: datetime) -> tuple[ContainerFacts, Ended] | None:
    """The container that ended and should not have, or that is started again and again, with that end; of several
    the one that explains most."""
    ends = [(container, end) for container in pod.containers if (end := _bad_end(container, now)) is not None]
    return max(ends, key=_tells, default=None)


def restarted(pod: PodFacts) -> str:
    """Why the container with most restarts was started again last, where all is well now; "" where none was."""
    again = [each for each in pod.containers if each.restarts and (not each.init or each.sidecar)]
    most = max(again, key=lambda container: container.restarts, default=None)
    if most is None:
        return ""
    end = most.last_ended
    return f"{_how(most, end)}.{_again(most)}" if end is not None else _again(most).strip()


def crash(pod: PodFacts, now: datetime) -> Why | None:
    """Why a container ended and should not have, or is started again and again."""
    pair = worst_end(pod, now)
    if pair is None:
        return None
    container, end = pair
    if end.reason in STARTS and end.message:
        sentence, step = _config_error(_named(container), end.message)
        return Why(end.reason, f"{sentence}{_again(container)}", _ends(container, pod), step, at=end.finished_at)
    how = _how(container, end)
    if container.waiting == "CrashLoopBackOff" and end.exit_code is None:
        how = f"{container.kind} {container.name} keeps ending"
    if (container.waiting == "CrashLoopBackOff" or container.lasts) and end.exit_code == 0 and end.reason != OOM:
        how += ", as if its work were done, but it is to keep running"
    state = end.reason if end.reason == OOM else container.waiting or end.reason or "Error"
    step = what_to_do(end.exit_code, end.reason)
    if end.exit_code == 137 and end.reason != OOM and _was_asked_to_go(pod, end):
        step = "It was being deleted, and did not end by itself in time."
    if container.init and step.startswith("The end of its log"):
        step = f"The end of its log says why; choose container {container.name} there."
    sentence = f"{how}.{_again(container)}"
    last = said(_HEADED.sub("", last_line(end.message or pod.log_line), count=1), MOST_LAST_WORDS)
    return Why(state, sentence, _ends(container, pod), step, at=end.finished_at, last_words=last)


def _was_asked_to_go(pod: PodFacts, end: Ended) -> bool:
    asked = pod.deleting_since
    return asked is not None and (end.finished_at is None or asked <= end.finished_at)


def _how(container: ContainerFacts, end: Ended) -> str:
    name = f"{container.kind} {container.name}"
    return how_it_ended(name, end.exit_code, end.reason, memory_limit=container.memory_limit)


def _bad_end(container: ContainerFacts, now: datetime) -> Ended | None:
    if container.waiting == "CrashLoopBackOff":
        return container.last_end or Ended(None)
    if container.ended is not None:
        bad = container.ended.exit_code != 0 or container.ended.reason == OOM or may_fail_still(container)
        return container.ended if bad else None
    # A new start that is not ready yet: the last end is the best explanation, unless all is well again.
    young = container.restarts and not container.ready and not container.waiting
    return container.last_ended if young or fails_still(container, now) else None


def _tells(pair: tuple[ContainerFacts, Ended]) -> tuple[bool, bool, bool, bool, int, float]:
    """How much an end explains. Sidecars are killed after the others' end, and decide nothing: theirs explain least."""
    container, end = pair
    at = end.finished_at or datetime.max.replace(tzinfo=UTC)
    outright = end.reason == OOM, end.exit_code != 0
    return not container.sidecar, *outright, not container.init, container.restarts, -at.timestamp()


def _again(container: ContainerFacts) -> str:
    if not container.restarts:
        return ""
    waits = "; it waits for the next try" if container.waiting == "CrashLoopBackOff" else ""
    return f" Restarted {plural(container.restarts, 'time')}{waits}."


def _ends(container: ContainerFacts, pod: PodFacts) -> tuple[Evidence, ...]:
    end = container.last_end
    evidence = []
    if end is not None:
        code = "exit code not known" if end.exit_code is None else f"exit code {end.exit_code}"
        named = f"{end.reason or 'ended'}, {code}"
        evidence.append(Evidence(f"Container {container.name}", named, end.finished_at))
        if end.message:
            evidence.append(Evidence("Its last words", said(end.message, 600)))
    if container.waiting_message:
        evidence.append(Evidence("kubelet", said(container.waiting_message)))
    if pod.log_line:
        evidence.append(Evidence("Last line of its log", said(pod.log_line, 400)))
    return tuple(evidence)


def initialising(pod: PodFacts) -> Why | None:
    """An init container that still works, or a sidecar that still starts, while the others wait."""
    init = [container for container in pod.containers if container.init]
    current = next((container for container in init if not _is_done(container)), None)
    if current is None or pod.phase != "Pending" or not current.running:
        return None
    number, since = init.index(current) + 1, current.running_since
    kind, does = ("sidecar", "is still starting") if current.sidecar else ("init container", "is still at work")
    return Why(
        "PodInitializing",
        f"Starting: {kind} {current.name} ({number} of {len(init)}) {does}; the others wait for it.",
        (Evidence(f"Container {current.name}", "running", since),),
        f"Its log says what it does; choose container {current.name} there.",
        at=since,
    )


def _is_done(container: ContainerFacts) -> bool:
    """Whether the next container need not wait for this one any more."""
    if container.sidecar:
        return container.running and container.started is not False
    return container.ended is not None or container.ready
