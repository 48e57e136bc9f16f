"""Can the pods of a cluster reach Flotilla? The Job that asks from inside, and its outcome. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from apps.clusters.manifests import MANAGED_BY, NAME, secure_pod_spec
from apps.clusters.observed.values import cut
from apps.core.text.publicurl import is_loopback

Object = Mapping[str, Any]

JOB, CONTAINER = "flotilla-reach", "ask"
# The Job ends by itself within so many seconds, and is removed by the cluster where we don't come to it any more.
DEADLINE_SECONDS, KEEP_SECONDS = 60, 300
# From asking on: a pod that has not begun to ask by then does not tell whether it could reach us.
PATIENCE_SECONDS = 90.0
# After so long no worker is still asking, and an administrator may ask again.
GIVEN_UP = timedelta(minutes=3)
WORDS_LENGTH = 600
# Waiting for these is of no use.
_HOPELESS = frozenset(
    ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError"]
)


class Outcome(StrEnum):
    """The outcome of one asking. `NotRun` says nothing about the address: the pod could not ask."""

    REACHED = "Reached"
    REFUSED = "Refused"
    NO_NAME = "NameNotResolved"
    TIMEOUT = "Timeout"
    TLS = "TlsFailed"
    OTHER = "OtherAnswer"
    NOT_RUN = "NotRun"


# A pod has asked, and did not reach Flotilla.
UNREACHED = frozenset(Outcome) - {Outcome.REACHED, Outcome.NOT_RUN}


@dataclass(frozen=True)
class Verdict:
    """The outcome, and the pod's own words, or the cluster's where no pod has spoken."""

    outcome: Outcome
    words: str


def advice(server: str, public_url: str) -> str:
    """Advice on an address that the pods of a cluster at `server` surely can't reach; "" where they may."""
    if not is_loopback(public_url) or is_loopback(server):
        return ""
    return (
        f"Pods of this cluster can't reach Flotilla at {public_url}: for each of them that is the pod itself. Runs "
        "could not log, and replicas could not fetch their models. Start Flotilla with FLOTILLA_PUBLIC_URL set to an "
        "address that they reach (for make up with FLOTILLA_HOST, too)."
    )


def explained(outcome: str, url: str) -> str:
    """The meaning of an outcome, and the next step."""
    if outcome == Outcome.REFUSED and is_loopback(url):
        return f"For a pod {url} is the pod itself. Set FLOTILLA_PUBLIC_URL to an address that pods reach."
    return _EXPLAINED.get(outcome, "").format(url=url)


_EXPLAINED: Mapping[str, str] = {
    Outcome.REACHED: "A pod of this cluster asked {url}/healthz, and Flotilla answered.",
    Outcome.REFUSED: "Nothing takes connections at {url} from there. Does Flotilla listen on that address "
    "(FLOTILLA_HOST), does the proxy in front of it run, does a firewall reject them?",
    Outcome.NO_NAME: "The cluster's DNS doesn't know the host of {url}.",
    Outcome.TIMEOUT: "No answer came from {url}: a firewall or a missing route drops what pods send there.",
    Outcome.TLS: "The pod doesn't trust the certificate at {url}, or it is for another name. MLflow's client would "
    "refuse it, too.",
    Outcome.OTHER: "Something answers at {url}, but not with Flotilla's health: a proxy of its own mind, or the host "
    "is missing in FLOTILLA_ALLOWED_HOSTS.",
    Outcome.NOT_RUN: "The pod could not ask, which says nothing about {url}.",
}


def is_under_way(outcome: str, asked_at: datetime, now: datetime) -> bool:
    """Whether the asking still goes on; after `GIVEN_UP` without an outcome no worker has come to it."""
    return not outcome and asked_at > now - GIVEN_UP


def job_name(number: int) -> str:
    """The name of the Job of the asking with this number: a repeated creation meets itself."""
    return f"{JOB}-{number}"


def job(namespace: str, number: int, image: str, url: str) -> dict[str, Any]:
    """The Job: one small pod that asks once. Any image with a shell and one of python3, curl and wget will do."""
    labels = {MANAGED_BY: "flotilla", NAME: JOB, "flotilla.dev/reach": str(number)}
    amounts = {"cpu": "250m", "memory": "64Mi"}
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["sh", "-c", _SCRIPT],
        "env": [{"name": "URL", "value": f"{url}/healthz"}, {"name": "ASK", "value": _PYTHON}],
        "resources": {"requests": amounts, "limits": dict(amounts)},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job_name(number), "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {
                "metadata": {"labels": labels},
                "spec": secure_pod_spec([container], restart_policy="Never", grace_seconds=1),
            },
        },
    }


_SCRIPT = """\
has() { command -v "$1" >/dev/null 2>&1; }
if has python3; then exec python3 -c "$ASK"; fi
if has curl; then exec curl -sS -L --connect-timeout 6 --max-time 10 -w '\\nHTTP %{http_code}\\n' "$URL"; fi
if has wget; then exec wget -T 10 -O - "$URL"; fi
echo "This image has neither python3 nor curl nor wget."
exit 127
"""
_PYTHON = """\
import os, urllib.request
try:
    with urllib.request.urlopen(os.environ["URL"], timeout=10) as reply:
        print("HTTP", reply.status, reply.read(500).decode("utf-8", "replace"))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
    raise SystemExit(1)
"""


def ended(pods: Sequence[Object]) -> Object | None:
    """The pod that has ended, whose log is to be read."""
    return next((pod for pod in pods if _status(pod).get("phase") in ("Succeeded", "Failed")), None)


def heard(log: str) -> Verdict:
    """The verdict on the words of a pod that has asked."""
    words = cut(" ".join(log.split()), WORDS_LENGTH)
    if '"checks"' in log:
        return Verdict(Outcome.REACHED, words)
    outcome = next((outcome for outcome, pattern in _SIGNS if pattern.search(log)), Outcome.NOT_RUN)
    return Verdict(outcome, words or "The pod ended without a word.")


# The first that fits. Patterns that a host's name can't match.
_SIGNS: tuple[tuple[Outcome, re.Pattern[str]], ...] = tuple(
    (outcome, re.compile(pattern, re.IGNORECASE))
    for outcome, pattern in (
        (
            Outcome.NO_NAME,
            r"curl: \(6\)|could not resolve|name or service not known|name resolution|bad address"
            r"|no address associated|name does not resolve|unable to resolve",
        ),
        (
            Outcome.TLS,
            r"certificate|\[ssl|ssl[_:]|ssl (connect error|handshake|routines|peer)|handshake|wrong version number"
            r"|curl: \((35|51|58|59|60|77|80|83|90|91)\)",
        ),
        (Outcome.TIMEOUT, r"curl: \(28\)|timed? ?out"),
        (
            Outcome.REFUSED,
            r"curl: \((7|52|55|56)\)|refused|no route to host|unreachable|reset by peer|without response",
        ),
        (Outcome.OTHER, r"\bHTTP (Error )?[1-5]\d\d|server returned error|badstatusline|\b200 OK|100%"),
    )
)


def silent(job: Object, pods: Sequence[Object], waited: float) -> Verdict | None:
    """The verdict when no pod has spoken `waited` seconds after the asking; None: wait on."""
    for condition in _status(job).get("conditions") or []:
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            outcome = Outcome.TIMEOUT if condition.get("reason") == "DeadlineExceeded" else Outcome.NOT_RUN
            return Verdict(outcome, _said(condition.get("reason"), condition.get("message")))
    waiting = next((wait for pod in pods for wait in _waits(pod)), None)
    if waiting and waiting[0] in _HOPELESS:
        return Verdict(Outcome.NOT_RUN, _said(*waiting))
    if waited < PATIENCE_SECONDS:
        return None
    if waiting:
        return Verdict(Outcome.NOT_RUN, _said(*waiting))
    seconds = f"{waited:.0f} s"
    if pods:
        return Verdict(Outcome.NOT_RUN, f"The pod had not ended after {seconds}.")
    return Verdict(
        Outcome.NOT_RUN, f"The cluster made no pod in {seconds}: a quota or an admission policy may forbid it."
    )


def _waits(pod: Object) -> list[tuple[str, str]]:
    """(reason, message) of each wait of a pod: for its container, or for a node."""
    status = _status(pod)
    states = [(each.get("state") or {}).get("waiting") or {} for each in status.get("containerStatuses") or []]
    waits = [(str(each["reason"]), str(each.get("message") or "")) for each in states if each.get("reason")]
    return waits + [
        (str(condition.get("reason") or ""), str(condition.get("message") or ""))
        for condition in status.get("conditions") or []
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]


def _said(reason: Any, message: Any) -> str:
    return cut(": ".join(part for part in (str(reason or ""), str(message or "")) if part), WORDS_LENGTH)


def _status(obj: Object) -> Object:
    status = obj.get("status")
    return status if isinstance(status, Mapping) else {}
