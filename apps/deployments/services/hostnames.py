"""The hostnames by which Gateways take requests: each is one deployment's. A Gateway would send all requests to the
route that is older, and nobody would hear of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import connection

from apps.core.errors import Conflict
from apps.deployments.models import Placement, Target
from apps.deployments.services.common import gateway_of, hostname_on

Key = tuple[int, str, str]
"""Cluster, Gateway and hostname."""


@dataclass(frozen=True)
class Claim:
    """A deployment on a target, as that names its Gateway now."""

    target: Target
    project: str
    deployment: str

    @property
    def key(self) -> Key | None:
        """What nobody else may have; None where the target names no Gateway."""
        gateway = gateway_of(self.target)
        if gateway is None:
            return None
        return self.target.cluster_id, gateway.label, hostname_on(self.target, self.project, self.deployment)


def check_hostnames(claims: Iterable[Claim], *, field: str) -> None:
    """Raise Conflict for the first hostname that another deployment has at the same Gateway, or two of these would.

    Until the transaction ends nobody else claims one. A query and a lock, none without a Gateway.
    """
    mine: dict[Key, Claim] = {}
    for claim in claims:
        key = claim.key
        if key is None:
            continue
        if key in mine:
            raise _taken(key, f"{mine[key].target.name} and {claim.target.name} would have", field)
        mine[key] = claim
    if not mine:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('flotilla:hostnames', 0))")
    for key, who in _holders(list(mine.values())):
        raise _taken(key, who, field)


def address_of(claim: Claim) -> str:
    """The Gateway and hostname of a claim as one word, to compare with others on its cluster; "" where it has none."""
    return " ".join(claim.key[1:]) if claim.key is not None else ""


def held_by_others(claims: Sequence[Claim]) -> dict[int, str]:
    """Of each target whose hostname another deployment has already why it is no choice, in a few words, by the target's
    number. A query, none without a Gateway. Nobody is kept from claiming one meanwhile."""
    taken = dict(_holders(claims))
    return {
        claim.target.pk: f"{taken[claim.key]} the hostname {claim.key[2]} at Gateway {claim.key[1]}"
        for claim in claims
        if claim.key in taken and claim.key is not None
    }


def _holders(claims: Sequence[Claim]) -> Iterator[tuple[Key, str]]:
    """The hostnames among these that another deployment has, and who has them, for a sentence."""
    mine = {claim.key: claim for claim in claims if claim.key is not None}
    if not mine:
        return
    own = {(claim.target.pk, claim.deployment) for claim in claims}
    at = Placement.objects.filter(
        target__cluster__in={cluster for cluster, _, _ in mine},
        target__gateway__name__in={claim.target.gateway["name"] for claim in mine.values()},
    )
    for place in at.select_related("target", "deployment__project").order_by("pk"):
        name, project = place.deployment.name, place.deployment.project.name
        key = Claim(place.target, project, name).key
        if key is None or key not in mine or (place.target_id, name) in own:
            continue
        is_ours = project == mine[key].project
        yield key, f"{name} on {place.target.name} has" if is_ours else "Another project's deployment has"


def _taken(key: Key, who: str, field: str) -> Conflict:
    _, gateway, hostname = key
    return Conflict(
        f"{who} the hostname {hostname} at Gateway {gateway}: of two routes with one hostname only the older is asked.",
        hint="Let the hostname of the target say {{namespace}}, {{project}} or {{target}}, too.",
        field=field,
    )
