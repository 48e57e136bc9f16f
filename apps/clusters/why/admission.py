"""Why pods are not even made: the words of admission in the FailedCreate events of Jobs and ReplicaSets. Pure.

Messages: plugin/pkg/admission/resourcequota/controller.go, plugin/pkg/admission/limitranger/admission.go, Pod Security
admission, webhooks, and the service account's admission of Kubernetes.
"""

import re
from collections.abc import Iterable

from apps.clusters.quantities.words import amount, bare, pairs, parse
from apps.clusters.why.facts import EventFacts
from apps.clusters.why.result import Evidence, Why, said, stop

_QUOTA = re.compile(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+?)\.?$", re.DOTALL)
_UNSAID = re.compile(r"failed quota: ([^:]+): must specify (.+)$")
_LIMIT = re.compile(
    r"(maximum|minimum) (\S+) usage per (Container|Pod) is ([^,\s]+?)"
    r"(?:, but (request|limit) is ([^,\s\]]+)|\. No (request|limit) is specified)"
)
_RATIO = re.compile(
    r"(\S+) max limit to request ratio per (Container|Pod) is ([^,\s]+), but provided ratio is ([\d.]+)"
)
_SECURITY = re.compile(r'violates PodSecurity "([^"]+)": (.+)$', re.DOTALL)
_ACCOUNT = re.compile(r'serviceaccount "([^"]+)" not found')
_WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied the request: ?(.*)$', re.DOTALL)
_CREATED = re.compile(
    r'^(?:\(combined from similar events\): )?(?:Error creating: |Failed to create new replica set "[^"]*": )?'
    r'(?:(?:[Pp]ods?|replicasets\.apps) "[^"]*" is \w+: )?'
)


def refused(events: Iterable[EventFacts], *, waiting_for: str = "its pod") -> Why | None:
    """Why no pod can be made, from the newest FailedCreate event; None when there is none."""
    event = next((each for each in events if each.reason == "FailedCreate"), None)
    if event is None:
        return None
    state, sentence, step = admission(event.message, waiting_for)
    times = f" ({event.count} times)" if event.count > 1 else ""
    evidence = (Evidence("Event FailedCreate", f"{said(event.message, 600)}{times}", event.at),)
    return Why(state, sentence, evidence, step, at=event.at).tidy()


def admission(message: str, waiting_for: str = "its pod") -> tuple[str, str, str]:
    """(state, sentence, next step) for the message of a refused pod."""
    return refusal(message, f"Waiting: {waiting_for} can't be made:")


def refusal(message: str, lead: str) -> tuple[str, str, str]:
    """The same for a sentence that begins with `lead`. The pod's name, which is another at every try, is not told."""
    text = " ".join(message.split())
    if quota := _QUOTA.search(text):
        return _quota(quota, lead)
    if unsaid := _UNSAID.search(text):
        missing = ", ".join(part.partition(" for: ")[0].strip() for part in re.split(r"[;,] ?", unsaid[2]))
        step = f"Say {missing} in the resources it asks for."
        return "FailedQuota", f"{lead} quota {unsaid[1]} demands that it says its {missing}.", step
    if limit := _LIMIT.search(text):
        return _limit(limit, lead)
    if ratio := _RATIO.search(text):
        sentence = f"{lead} its {ratio[1]} limit is {ratio[4]} times its request, and {ratio[3]} is the most allowed."
        return "LimitRange", sentence, "Bring limit and request closer together."
    if security := _SECURITY.search(text):
        sentence = f"{lead} it violates the Pod Security level {security[1]}: {stop(said(security[2], 200))}"
        return "PodSecurity", sentence, "Change its security context, or have an administrator allow it."
    if account := _ACCOUNT.search(text):
        sentence = f"{lead} service account {account[1]} does not exist."
        return "FailedCreate", sentence, f"Make the service account {account[1]} in its namespace."
    if webhook := _WEBHOOK.search(text):
        sentence = f"{lead} the cluster's policy {webhook[1]} denies it: {stop(said(webhook[2], 200))}"
        return "FailedCreate", sentence, "Change what the policy objects to."
    return "FailedCreate", f"{lead} {stop(said(_CREATED.sub('', text), 200))}", ""


def _quota(match: re.Match[str], lead: str) -> tuple[str, str, str]:
    name, asked, used, limited = match[1], pairs(match[2]), pairs(match[3]), pairs(match[4])
    resource = next(iter(asked), "")
    short = resource.removeprefix("requests.").removeprefix("limits.").removeprefix("count/")
    numbers = [parse(resource, amounts.get(resource, "")) for amounts in (asked, used, limited)]
    if not resource or None in numbers:
        sentence = f"{lead} quota {name} is exhausted (asked {match[2]}, used {match[3]}, limited {match[4]})."
        return "ExceededQuota", sentence, "Ask for less, or have an administrator raise the quota."
    want, have, limit = (number or 0 for number in numbers)
    kind = "limits of " if resource.startswith("limits.") else ""
    sentence = (
        f"{lead} quota {name} allows {kind}{amount(short, limit)}, {bare(short, have)} "
        f"{'is' if have == 1 else 'are'} used, and it asks for {bare(short, want)}."
    )
    room = max(0, limit - have)
    less = f"Ask for at most {amount(short, room)}, wait" if room else "Wait"
    return "ExceededQuota", sentence, f"{less} until others of the project end, or have the quota raised."


def _limit(match: re.Match[str], lead: str) -> tuple[str, str, str]:
    bound, resource, per, allowed, said_as, stated, unsaid = match.groups()
    most = "at most" if bound == "maximum" else "at least"
    if unsaid:
        sentence = f"{lead} it must say a {resource} {unsaid} of {most} {allowed} per {per.lower()}."
        return "LimitRange", sentence, f"Say its {resource} {unsaid}."
    sentence = (
        f"{lead} the namespace allows {most} {allowed} {resource} per {per.lower()}, and its {said_as} is {stated}."
    )
    return "LimitRange", sentence, f"Ask for {most} {allowed} {resource}."
