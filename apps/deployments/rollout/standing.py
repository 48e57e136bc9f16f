"""How an HTTPRoute stands with the Gateway that it names: its conditions, of the generation that it has. Pure.

https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus. A Gateway that is not there says nothing at all:
only the controller of its class writes a status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.deployments.rollout.gateway import Gateway

# The conditions that have to be true: the Gateway takes the route, and finds the Services.
CONDITIONS = ("Accepted", "ResolvedRefs")
_HELP = {
    "Accepted": "Look at the Gateway's listeners, or let the target name another Gateway.",
    "ResolvedRefs": "It is looked at again by itself.",
}


@dataclass(frozen=True)
class Standing:
    """`taken`: the Gateway follows what the route says now; `refused`: it says that it does not. Neither: it has not
    said yet. `message` is a sentence for people."""

    taken: bool = False
    refused: bool = False
    reason: str = ""
    message: str = ""


def standing_of(live: Mapping[str, Any], gateway: Gateway) -> Standing:
    """How the Gateway takes the route as it is now."""
    metadata = live["metadata"]
    generation, home = int(metadata.get("generation") or 0), str(metadata.get("namespace"))
    parents = [
        parent
        for parent in (live.get("status") or {}).get("parents") or ()
        if _means(parent.get("parentRef") or {}, gateway, home)
    ]
    said = [_conditions(parent, generation) for parent in parents]
    for kind in CONDITIONS:
        refusal = next((known[kind] for known in said if _is(known, kind, "False")), None)
        if refusal is not None:
            return Standing(refused=True, reason=_reason(refusal), message=_refused(kind, refusal, gateway))
    if said and all(_is(known, kind, "True") for known in said for kind in CONDITIONS):
        return Standing(taken=True)
    return Standing(reason="WaitingForGateway", message=_silent(gateway, has_spoken=bool(parents)))


def _means(reference: Mapping[str, Any], gateway: Gateway, home: str) -> bool:
    """Whether a parentRef in a status is the Gateway's."""
    place = (reference.get("namespace") or home, reference.get("name"), reference.get("sectionName") or "")
    return reference.get("kind", "Gateway") == "Gateway" and place == (gateway.namespace, gateway.name, gateway.section)


def _conditions(parent: Mapping[str, Any], generation: int) -> dict[str, Mapping[str, Any]]:
    """The conditions that speak of this generation, by type."""
    return {
        str(condition.get("type")): condition
        for condition in parent.get("conditions") or ()
        if int(condition.get("observedGeneration") or 0) >= generation
    }


def _is(known: Mapping[str, Mapping[str, Any]], kind: str, status: str) -> bool:
    return kind in known and known[kind].get("status") == status


def _reason(condition: Mapping[str, Any]) -> str:
    return str(condition.get("reason") or "RouteNotAccepted")[:100]


def _refused(kind: str, condition: Mapping[str, Any], gateway: Gateway) -> str:
    does = "does not take the HTTPRoute" if kind == "Accepted" else "does not find what the HTTPRoute names"
    words = str(condition.get("message") or "").strip().rstrip(".")[:300]
    why = f": {words}" if words else ""
    return f"Gateway {gateway.label} {does} ({_reason(condition)}){why}. {_HELP[kind]}"


def _silent(gateway: Gateway, *, has_spoken: bool) -> str:
    if has_spoken:
        return f"Waiting for Gateway {gateway.label} to take the HTTPRoute as it is now."
    return (
        f"No Gateway has said anything of the HTTPRoute yet: is there a Gateway {gateway.label}, and a controller of "
        "its class?"
    )
