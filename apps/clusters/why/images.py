"""Why an image can't be pulled, with the registry's words shortened. Pure.

Reasons: pkg/kubelet/images/types.go. Messages are containerd's or CRI-O's, wrapped by the kubelet.
"""

import re

from apps.clusters.why.facts import ContainerFacts, PodFacts, telling
from apps.clusters.why.result import Evidence, Why, said
from apps.clusters.why.runtime import innermost

_PULL = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_NAME_STEP = "Correct the image's name or tag, or push it."
_ACCESS_STEP = "Give the namespace a pull secret for this registry, or make the image readable."
_REACH_STEP = "It is tried again by itself; see whether the nodes reach the registry."
# In this order: a registry says "not found" also in answers that begin with something more telling.
_WORDS: tuple[tuple[str, str, str], ...] = (
    (
        r"toomanyrequests|429 too many requests|rate.?limit|pull qps exceeded",
        "the registry limits how often it may be pulled",
        "It is tried again by itself; pull with an account, or from a mirror, to be limited less.",
    ),
    (r"no match for platform", "it is not built for the node's kind of machine", "Push it for this platform, too."),
    (
        r"denied|unauthorized|insufficient_scope|authorization failed|no basic auth|\b40[13]\b|forbidden",
        "the registry does not allow it, or does not have it",
        _ACCESS_STEP,
    ),
    (r"not found|manifest unknown|no such manifest|name unknown|\b404\b", "the registry does not have it", _NAME_STEP),
    (r"no such host|server misbehaving", "the registry's name does not resolve", _NAME_STEP),
    (
        r"http response to https client",
        "the registry speaks plain HTTP, and the node insists on HTTPS",
        "Serve the registry by HTTPS, or have the nodes' runtime accept it without.",
    ),
    (r"x509|certificate", "the registry's certificate is not trusted", "Have the nodes trust it."),
    (r"no space left", "the node's disk is full", "Free space on the node, or let it run elsewhere."),
    (
        r"timeout|timed out|deadline exceeded|connection refused|connection reset|unreachable|\beof\b|\b50[0234]\b",
        "the registry can't be reached",
        _REACH_STEP,
    ),
)


def image(pod: PodFacts) -> Why | None:
    """Why a container's image is not there; None when all are."""
    stuck = next((container for container in telling(pod.containers) if container.waiting in _PULL), None)
    if stuck is None:
        return None
    quotes = _quotes(pod, stuck)
    evidence = tuple(Evidence(source, said(text, 600)) for source, text in quotes)
    sentence, step = _verdict(stuck, " ".join(text for _, text in quotes))
    missing = next(iter(pod.events_of("FailedToRetrieveImagePullSecret")), None)
    if missing is not None and step == _ACCESS_STEP:
        evidence += (Evidence(f"Event {missing.reason}", said(missing.message, 400), missing.at),)
        name = re.search(r"secrets \(([^)]+)\)", missing.message)
        step = f"Make the pull secret {name[1] if name else 'that it names'} in its namespace."
    return Why(stuck.waiting, sentence, evidence, step, at=pod.created_at)


def pulling(pod: PodFacts) -> Why | None:
    """Say that an image is being pulled now, which may take minutes; None when none is."""
    waits = [container for container in pod.containers if container.waiting in {"ContainerCreating", "PodInitializing"}]
    newest = next((event for event in pod.events if event.reason in {"Pulling", "Pulled", "Failed", "Started"}), None)
    if not waits or newest is None or newest.reason != "Pulling":
        return None
    name = re.search(r'"([^"]+)"', newest.message)
    return Why(
        "Pulling",
        f"Starting: the node pulls the image{f' {name[1]}' if name else ''}.",
        (Evidence("kubelet", said(newest.message, 400), newest.at),),
        "Large images take minutes on a node that has not had them.",
        at=newest.at,
    )


def _quotes(pod: PodFacts, stuck: ContainerFacts) -> list[tuple[str, str]]:
    """The registry's words: in the event of the failed pull, and since 1.31 also in the back-off's message."""
    failed = [event.message for event in pod.events_of("Failed", "InspectFailed") if "image" in event.message.lower()]
    about = [text for text in failed if stuck.image and stuck.image in text] or failed
    quotes = [("Event Failed", text) for text in about if not text.startswith("Error: ")][:1]
    return [*quotes, *([("Container", stuck.waiting_message)] if stuck.waiting_message else [])]


def _verdict(stuck: ContainerFacts, words: str) -> tuple[str, str]:
    name = stuck.image or f"of container {stuck.name}"
    if stuck.waiting == "InvalidImageName":
        return f"Can't start: {name} is no valid image name.", "Correct the image's name."
    if stuck.waiting == "ErrImageNeverPull":
        return (
            f"Can't start: the image {name} is not on the node, and its pull policy is Never.",
            "Load the image on the node, or let it be pulled.",
        )
    # A tag may be called 404.
    low = (words.replace(stuck.image, "") if stuck.image else words).lower()
    for pattern, cause, step in _WORDS:
        if re.search(pattern, low):
            return f"Can't start: the image {name} can't be pulled; {cause}.", step
    detail = said(innermost(words), 160)
    return f"Can't start: the image {name} can't be pulled{f': {detail}' if detail else ''}.", _NAME_STEP
