"""Why a container that runs is not ready, or is restarted by the kubelet. Pure.

Messages: pkg/kubelet/prober/prober.go ("Readiness probe failed: …", "… probe errored: …") and pkg/probe/.
"""

import re
from datetime import datetime, timedelta

from apps.clusters.why.facts import EventFacts, PodFacts
from apps.clusters.why.readiness import deciding, not_ready
from apps.clusters.why.result import Evidence, Why, said, stop

# The kubelet combines failures that differ by their words, from the tenth on.
_FAILED = re.compile(
    r"^(?:\(combined from similar events\): )?"
    r"(Readiness|Liveness|Startup) probe (failed|errored|warning)[^:]*(?:: ?(.*))?$",
    re.DOTALL,
)
_KILLED = re.compile(r"container (\S+) failed (liveness|startup) probe", re.IGNORECASE)
# So long a program may take until it answers before anybody is told that something fails.
STARTING = timedelta(seconds=30)
_TOO_LATE = ("Client.Timeout", "deadline exceeded", "i/o timeout", "timed out")
_STEPS = {
    "Readiness": "It gets no traffic until the probe passes; see its log.",
    "Liveness": "See its log; give it more time, or mend what no longer answers.",
    "Startup": "See its log; give it more time to start.",
}


def probe(pod: PodFacts, now: datetime) -> Why | None:
    """A probe that fails now, or because of which the container was restarted last.

    What fails in the first seconds is no failure: the program is being started.
    """
    if pod.phase != "Running" or pod.ready:
        return None
    killed = next((event for event in pod.events_of("Killing") if _ended_the_last_start(pod, event)), None)
    failed = _newest(pod)
    if killed is not None and (failed is None or _kind(failed) != "Readiness"):
        return _restarting(pod, failed, killed)
    if failed is None:
        return None
    kind, detail = _kind(failed), _detail(failed)
    name = _named(pod)
    begun = _begun(pod)
    if begun and now - begun < STARTING and kind != "Liveness":
        sentence = f"Starting: the {kind.lower()} probe{name} has not passed yet: {stop(_cause(detail))}"
        return Why("Starting", sentence, at=begun)
    sentence = f"Not ready: the {kind.lower()} probe{name} fails: {stop(_cause(detail))}"
    return Why("NotReady", sentence, _evidence(pod, failed), _STEPS[kind], at=failed.at)


def is_startup(message: str, at: datetime | None, started_at: datetime | None) -> bool:
    """Whether an event tells no more than that a program is not up yet: by itself that is no warning."""
    match = _FAILED.match(message)
    if match is None or match[1] == "Liveness":
        return False
    return match[1] == "Startup" or bool(at and started_at and at - started_at < STARTING)


def unready(pod: PodFacts, now: datetime) -> Why | None:
    """Running, not ready, and nothing says why: what is known of the conditions."""
    if pod.phase != "Running" or pod.ready:
        return None
    unmet = [gate for gate in pod.readiness_gates if getattr(pod.condition(gate), "status", "") != "True"]
    ready = pod.condition("Ready")
    parts = deciding(pod.containers)
    sentence = not_ready(parts, unmet, (ready.message or ready.reason) if ready else "")
    conditions = [condition for condition in pod.conditions if condition.type in {"Ready", *unmet}]
    evidence = tuple(
        Evidence(
            f"Condition {condition.type}",
            said(condition.message or condition.reason or condition.status, 400),
            condition.at,
        )
        for condition in conditions
    )
    ended = next((container.name for container in parts if container.ended is not None), "")
    step = ""
    if ended:
        step = (
            f"A pod is ready only while all of its containers run: see the log of {ended} if it should not have ended."
        )
    elif unmet and all(container.ready for container in parts):
        step = "Whoever sets this condition, such as a load balancer's controller, has to."
    begun = _begun(pod)
    state = "Starting" if begun and now - begun < STARTING and not ended and not unmet else "NotReady"
    return Why(state, sentence, evidence, step, at=(ready.at if ready else None) or pod.started_at)


def _ended_the_last_start(pod: PodFacts, event: EventFacts) -> bool:
    """Whether the kubelet killed what ended last: events are kept for a day, and may be about earlier starts."""
    match = _KILLED.search(event.message)
    if match is None:
        return False
    container = next((each for each in pod.containers if each.name == match[1]), None)
    end = container.last_end if container is not None else None
    return end is None or end.started_at is None or event.at is None or event.at >= end.started_at


def _newest(pod: PodFacts) -> EventFacts | None:
    """The newest failure that belongs to what runs now: an older one explains an older start."""
    begun = _begun(pod)
    for event in pod.events_of("Unhealthy", "ProbeWarning"):
        if _FAILED.match(event.message) and not (begun and event.at and event.at < begun):
            return event
    return None


def _begun(pod: PodFacts) -> datetime | None:
    return min(
        (container.running_since for container in pod.containers if container.running_since and not container.ready),
        default=None,
    )


def _restarting(pod: PodFacts, failed: EventFacts | None, event: EventFacts) -> Why:
    match = _KILLED.search(event.message)
    kind = match[2].capitalize() if match else _kind(failed) if failed else "Liveness"
    name = f" of container {match[1]}" if match else _named(pod)
    detail = f": {stop(_cause(_detail(failed)))}" if failed else "."
    sentence = f"Restarted by the kubelet: the {kind.lower()} probe{name} failed{detail}"
    evidence = (*(_evidence(pod, failed) if failed else ()), *(_evidence(pod, event) if event is not failed else ()))
    return Why("Unhealthy", sentence, evidence, _STEPS[kind], at=event.at)


def _kind(event: EventFacts) -> str:
    match = _FAILED.match(event.message)
    return match[1] if match else "Readiness"


def _detail(event: EventFacts) -> str:
    match = _FAILED.match(event.message)
    return (match[3] or "").strip() if match else event.message


def _named(pod: PodFacts) -> str:
    names = [container.name for container in pod.containers if not container.init]
    return f" of container {names[0]}" if len(names) == 1 else ""


def _cause(detail: str) -> str:
    """The prober's message in plain words: "HTTP probe failed with statuscode: 503" → "it answers HTTP 503"."""
    if code := re.search(r"HTTP probe failed with statuscode: (\d+)", detail):
        return f"it answers HTTP {code[1]}"
    if refused := re.search(r"dial tcp (\S+): connect: connection refused", detail):
        return f"nothing listens at {refused[1]}"
    if detail.startswith("timeout:") or any(words in detail for words in _TOO_LATE):
        return "it does not answer in time"
    if "no route to host" in detail:
        return "its address can't be reached"
    if grpc := re.search(r"service unhealthy \(responded with \"?(\w+)", detail):
        return f"it says {grpc[1]}"
    return said(detail, 160) or "it gave no reason"


def _evidence(pod: PodFacts, event: EventFacts) -> tuple[Evidence, ...]:
    times = f" ({event.count} times)" if event.count > 1 else ""
    return (Evidence(f"Event {event.reason}", f"{said(event.message, 400)}{times}", event.at),)
