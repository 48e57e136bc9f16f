"""Why a pod that has a node can't begin: its volumes, or the sandbox that its containers share. Pure.

Messages: pkg/volume/util/operationexecutor/ and pkg/kubelet/kubelet.go of Kubernetes.
"""

import re

from apps.clusters.why.facts import PodFacts
from apps.clusters.why.result import Evidence, Why, said, stop
from apps.clusters.why.runtime import RAISE_LIMIT, innermost, lacks_memory, no_sandbox

_MISSING = re.compile(r'\b(secret|configmap|persistentvolumeclaim) "([^"]+)" not found', re.IGNORECASE)
_KEY = re.compile(r"references non-existent (secret|config) key: (\S+)")
_VOLUME = re.compile(r'for volume "([^"]+)"|unmounted volumes=\[([^\] ]+)')
_UNREGISTERED = re.compile(r'object "[^"]*"/"([^"]+)" not registered')
_NAMES = {"secret": "Secret", "configmap": "ConfigMap", "persistentvolumeclaim": "volume claim"}


def volume(pod: PodFacts) -> Why | None:
    """A volume that can't be attached or mounted, while the containers wait for it."""
    if not _waits(pod):
        return None
    events = pod.events_of("FailedMount", "FailedAttachVolume", "FailedMapVolume")
    # The kubelet also says only that it timed out; what explains more may be a little older.
    event = next((each for each in events if "timed out waiting" not in each.message), None) or next(iter(events), None)
    if event is None:
        return None
    sentence, step = _mount_error(event.message)
    evidence = (Evidence(f"Event {event.reason}", said(event.message, 600), event.at),)
    return Why(event.reason, sentence, evidence, step, at=event.at)


def sandbox(pod: PodFacts) -> Why | None:
    """The pod's network or sandbox can't be made on the node."""
    event = next(iter(pod.events_of("FailedCreatePodSandBox")), None)
    if event is None or not _waits(pod):
        return None
    sentence = no_sandbox(event.message, pod.node)
    step = "This is a fault of the node or of its network plugin: tell who runs the cluster."
    if lacks_memory(event.message):
        step = RAISE_LIMIT
    evidence = (Evidence("Event FailedCreatePodSandBox", said(event.message, 600), event.at),)
    return Why("FailedCreatePodSandBox", sentence, evidence, step, at=event.at)


def _waits(pod: PodFacts) -> bool:
    return pod.phase == "Pending" and (
        not pod.containers
        or any(container.waiting in {"ContainerCreating", "PodInitializing"} for container in pod.containers)
    )


def _mount_error(message: str) -> tuple[str, str]:
    match = _VOLUME.search(message)
    name = f"volume {match[1] or match[2]}" if match else "a volume"
    if missing := _MISSING.search(message):
        kind = _NAMES[missing[1].lower()]
        return (
            f"Can't start: {name} needs {kind} {missing[2]}, which does not exist.",
            f"Make {kind} {missing[2]} in its namespace.",
        )
    if key := _KEY.search(message):
        kind = "Secret" if key[1] == "secret" else "ConfigMap"
        return f"Can't start: {name} names a key {key[2]} that its {kind} lacks.", f"Add the key {key[2]}."
    if unregistered := _UNREGISTERED.search(message):
        return f"Starting: the node has not read {unregistered[1]} for {name} yet.", "It is tried again by itself."
    if "Multi-Attach error" in message:
        return (
            f"Waiting: {name} is still attached to another node.",
            "It is let go once the pod that used it has ended there.",
        )
    if "timed out waiting" in message:
        return f"Waiting: {name} is not mounted yet, and the node gave up waiting once.", "It is tried again."
    return f"Can't start: {name} can't be mounted: {stop(said(innermost(message), 160))}", ""
