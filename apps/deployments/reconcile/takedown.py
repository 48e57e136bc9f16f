"""Taking a placement down: its objects are deleted, and its row goes when the cluster shows that nothing is left."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden, NotServed
from apps.core.work import DONE, Outcome, Retry
from apps.deployments import manifests
from apps.deployments.drift import is_of
from apps.deployments.manifests import disruption, kserve, routes
from apps.deployments.models import AppliedObject, Placement
from apps.deployments.scaling import KINDS as SCALERS
from apps.deployments.scaling import kind_of
from apps.deployments.scaling.policy import stored_policy
from apps.deployments.services import applied, observing
from apps.deployments.services.common import identity_of

# The kinds of objects of a deployment, in the order in which they are taken down.
PARTS = (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "Secret"))
ROUTE = (routes.API_VERSION, routes.KIND)
KSERVE = (kserve.API_VERSION, kserve.KIND)

Object = dict[str, Any]


def take_down(client: KubeClient, placement: Placement) -> Outcome:
    """Delete in the foreground; the row goes only when the cluster shows that nothing is left."""
    identity, kept = identity_of(placement), applied.kept_of(placement)
    kinds = _kinds(client, placement, identity, kept)
    parts = [
        (api_version, kind, obj)
        for api_version, kind in kinds
        for obj in client.list(api_version, kind, identity.namespace, label_selector=identity.selector)
    ]
    # What KServe made goes with what it made it of.
    left = [f"{kind} {obj['metadata']['name']}" for _, kind, obj in parts if kserve.is_made_by_kserve(obj)]
    parts = [part for part in parts if not kserve.is_made_by_kserve(part[2])]
    for api_version, kind, obj in parts or _unlabelled(client, placement, identity, kinds, kept):
        left.append(f"{kind} {obj['metadata']['name']}")
        if "deletionTimestamp" not in obj["metadata"]:
            metadata = obj["metadata"]
            client.delete(api_version, kind, metadata["name"], identity.namespace, uid=metadata["uid"])
    pods = client.list("v1", "Pod", identity.namespace, label_selector=identity.selector)
    left += [f"Pod {pod['metadata']['name']}" for pod in pods]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        observing.record_deleting(placement, ", ".join(left[:3]) + more)
        # Not all that goes is watched.
        return Retry("Deleting")
    # The row goes because the cluster has nothing of it: that only the registered one may say.
    client.confirm_identity()
    observing.record_gone(placement)
    return DONE


def _kinds(
    client: KubeClient, placement: Placement, identity: manifests.Identity, kept: Mapping[applied.Key, AppliedObject]
) -> Sequence[tuple[str, str]]:
    """The kinds that there may be objects of: routes, autoscalers, budgets and InferenceServices only where one was
    made, or might have been just now.

    To look at them is an optional permission, and KEDA and KServe are optional engines, without which none was made.
    """
    policy = stored_policy(placement.deployment.autoscaling)
    by = kind_of(policy) if policy else ""
    made = {kind for kind, _ in kept}
    asked = [each for each in SCALERS if each[1] in made or each[1] == by]
    if disruption.KIND in made or placement.deployment.disruption_budget:
        asked.append((disruption.API_VERSION, disruption.KIND))
    if placement.target.gateway or ROUTE[1] in made:
        asked.append(ROUTE)
    if kserve.KIND in made or placement.deployment.revisions.filter(spec__runtime__has_key="kserve").exists():
        asked.append(KSERVE)
    return (*(each for each in asked if _may_be_there(client, identity, each, was_made=each[1] in made)), *PARTS)


def _may_be_there(client: KubeClient, identity: manifests.Identity, kind: tuple[str, str], *, was_made: bool) -> bool:
    try:
        client.list(*kind, identity.namespace, label_selector=identity.selector)
    except NotServed:
        return False
    except Forbidden:
        return was_made
    return True


def _unlabelled(
    client: KubeClient,
    placement: Placement,
    identity: manifests.Identity,
    kinds: Sequence[tuple[str, str]],
    kept: Mapping[applied.Key, AppliedObject],
) -> Iterator[tuple[str, str, Object]]:
    """The objects whose labels somebody took off: looked up by the names that we gave them, if they are still ours."""
    names = set(kept)
    names |= {("Service", identity.service), ("Secret", identity.secret)}
    revisions = placement.deployment.revisions.values_list("number", "digest")
    notes = {note for number, digest in revisions for note in manifests.notes_of(identity, number, digest)}
    notes |= {row.asked for row in kept.values()}
    for api_version, kind in kinds:
        for name in sorted(name for of, name in names if of == kind):
            selector = f"metadata.name={name}"
            for obj in client.list(api_version, kind, identity.namespace, field_selector=selector):
                if is_of(obj, notes):
                    yield api_version, kind, obj
