"""The objects of a deployment as a cluster has them: what we wrote, and what KServe made of it."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from apps.clusters import manifests as common
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import NotFound, NotServed
from apps.clusters.observed.enginehealth import inference_service_health
from apps.core.errors import Conflict
from apps.core.states import Health
from apps.core.text.numbers import whole
from apps.deployments import manifests
from apps.deployments.health import ReplicaSeen, observed_revision
from apps.deployments.manifests import kserve
from apps.deployments.manifests.sizes import size_of
from apps.deployments.models import AppliedObject, Placement
from apps.deployments.services.applied import Key
from apps.deployments.specs import ObservedRevision

Object = dict[str, Any]


@dataclass
class Live:
    """The objects of a deployment that the cluster has now, by revision and by name.

    `workloads` are ours; `predictors` are the Kubernetes Deployments that KServe made of those that it runs.
    """

    workloads: dict[int, Object] = field(default_factory=dict)
    predictors: dict[int, Object] = field(default_factory=dict)
    services: dict[str, Object] = field(default_factory=dict)

    @functools.cached_property
    def observed(self) -> dict[int, ObservedRevision]:
        """The replicas of each revision."""
        return {number: self._seen(number, workload) for number, workload in self.workloads.items()}

    @property
    def troubles(self) -> Iterator[ReplicaSeen]:
        """What KServe says of revisions of which it has made no pod, as if it were one that can't start."""
        for number, seen in self.observed.items():
            workload = self.workloads[number]
            verdict = inference_service_health(workload) if workload["kind"] == kserve.KIND else None
            if verdict is not None and seen.wanted and not seen.existing and verdict.health is not Health.HEALTHY:
                name = f"{kserve.KIND} {workload['metadata']['name']}"
                yield ReplicaSeen(name, number, False, verdict.health, verdict.reason, verdict.message)

    @property
    def waits(self) -> str:
        """What KServe says of those that it may still begin, in sentences; "" where there is nothing to say."""
        waiting = [trouble for trouble in self.troubles if trouble.health is Health.PROGRESSING]
        return " ".join(f"{each.name}: {each.message}" for each in waiting)

    def _seen(self, number: int, workload: Object) -> ObservedRevision:
        if workload["kind"] != kserve.KIND:
            return observed_revision(workload)
        wanted = size_of(workload)
        predictor = self.predictors.get(number)
        if predictor is None:
            return ObservedRevision(wanted, fresh=False)
        seen = observed_revision(predictor)
        # KServe says of no generation that it has acted on it: that its Deployment has the number tells.
        return replace(seen, wanted=wanted, fresh=seen.fresh and seen.wanted == wanted)


def observe(
    client: KubeClient, placement: Placement, identity: manifests.Identity, kept: Mapping[Key, AppliedObject]
) -> Live:
    """What is there now. Raises Conflict where KServe is to run what serves, or comes, and is not there."""
    live, selector = Live(), {"label_selector": identity.selector}
    deployments = client.list("apps/v1", "Deployment", identity.namespace, **selector)
    for number, workload in _by_revision(deployments):
        (live.predictors if kserve.is_made_by_kserve(workload) else live.workloads)[number] = workload
    if live.predictors or any(kind == kserve.KIND for kind, _ in kept) or _by_kserve(placement):
        live.workloads |= dict(_by_revision(_inference_services(client, placement, identity)))
    for service in client.list("v1", "Service", identity.namespace, **selector):
        if not kserve.is_made_by_kserve(service):
            live.services[service["metadata"]["name"]] = service
    if identity.service not in live.services and (
        found := present(client, "Service", identity.service, identity.namespace)
    ):
        # Its labels may have been taken off.
        live.services[identity.service] = found
    return live


def present(client: KubeClient, kind: str, name: str, namespace: str) -> Object | None:
    """An object of the core API; None where there is none."""
    try:
        return client.get("v1", kind, name, namespace)
    except NotFound:
        return None


def _by_revision(objects: list[Object]) -> Iterator[tuple[int, Object]]:
    for obj in objects:
        number = whole(str((obj["metadata"].get("labels") or {}).get(common.REVISION, "")))
        if number is not None and "deletionTimestamp" not in obj["metadata"]:
            yield number, obj


def _by_kserve(placement: Placement) -> bool:
    rows = [row for row in (placement.stable, placement.coming) if row is not None]
    return any("kserve" in (row.spec.get("runtime") or {}) for row in rows)


def _inference_services(client: KubeClient, placement: Placement, identity: manifests.Identity) -> list[Object]:
    try:
        return client.list(kserve.API_VERSION, kserve.KIND, identity.namespace, label_selector=identity.selector)
    except NotServed as error:
        # They went with their kind.
        if not _by_kserve(placement):
            return []
        raise Conflict(
            f"{placement.target.cluster.name} has no KServe any more, which is to run this.",
            hint="Install KServe, or roll out a revision that needs none.",
        ) from error
