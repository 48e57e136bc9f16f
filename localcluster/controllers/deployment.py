"""Deployment: a ReplicaSet per revision of the template, and the passage from one to the next."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from kubevalues.numbers import whole
from localcluster.controllers import pods, rollout
from localcluster.controllers.base import Controller, Index, Key, Object
from localcluster.controllers.rolling import Bounds, Set, bounds, grow, shrink, spread
from localcluster.errors import StatusError
from localcluster.meta import controller_of, dump, thaw
from localcluster.registry import Registry
from localcluster.selectors import label_selector_matches as matches

COMPONENT = "deployment-controller"
HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = frozenset({"kubectl.kubernetes.io/last-applied-configuration", REVISION, DESIRED, MAXIMUM})
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Deployments(Controller):
    """Creates and scales ReplicaSets."""

    name = COMPONENT
    resource = "deployments"
    also = ("replicasets", "pods")

    def __init__(self, registry: Registry, index: Index) -> None:
        super().__init__(registry)
        self._index = index

    def keys_for(self, resource: str, obj: Object) -> list[Key]:
        """The ReplicaSet's Deployment. Pods matter to those alone that wait for the old ones to be gone."""
        owner = controller_of(obj)
        if owner is None:
            return []
        namespace = obj["metadata"]["namespace"]
        if resource == "replicasets":
            return [(namespace, owner["name"])] if owner["kind"] == "Deployment" else []
        if owner["kind"] != "ReplicaSet" or not self.registry.exists("replicasets", owner["name"], namespace):
            return []
        above = controller_of(self.registry.get("replicasets", owner["name"], namespace))
        if above is None or not self.registry.exists("deployments", above["name"], namespace):
            return []
        deployment = self.registry.get("deployments", above["name"], namespace)
        return [(namespace, above["name"])] if _strategy(deployment) == "Recreate" else []

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        if not self.registry.exists("deployments", name, namespace):
            return None
        deployment = self.registry.get("deployments", name, namespace)
        if deployment["metadata"].get("deletionTimestamp"):
            return self._publish(deployment, None, self._sets(deployment))
        self._adopt(deployment)
        sets = self._sets(deployment)
        new = next((each for each in reversed(sets) if same_template(each, deployment)), None)
        if deployment["spec"].get("paused"):
            self._rescale(deployment, new, sets)
            return self._publish(deployment, new, self._sets(deployment))
        if new is None and _strategy(deployment) == "Recreate" and self._retire(deployment, sets):
            return self._publish(deployment, None, self._sets(deployment))
        new = self._take_up(deployment, new, sets)
        sets = self._sets(deployment)
        if not self._rescale(deployment, new, sets):
            self._roll(deployment, new, sets)
        self._forget_old(deployment, new)
        deployment = self.registry.get("deployments", name, namespace)
        return self._publish(deployment, self._again(new), self._sets(deployment))

    def _sets(self, deployment: Object) -> list[Object]:
        """The Deployment's ReplicaSets, oldest first."""
        owned = self._index.owned("replicasets", deployment["metadata"]["uid"])
        return sorted(owned, key=lambda each: (revision_of(each), each["metadata"]["creationTimestamp"]))

    def _again(self, obj: Object) -> Object:
        return self.registry.get("replicasets", obj["metadata"]["name"], obj["metadata"]["namespace"])

    def _adopt(self, deployment: Object) -> None:
        namespace = deployment["metadata"]["namespace"]

        def own(obj: Object) -> None:
            obj["metadata"].setdefault("ownerReferences", []).append(pods.owner_reference(deployment))

        for orphan in self._index.orphans("replicasets", namespace):
            if matches(deployment["spec"]["selector"], orphan["metadata"].get("labels") or {}):
                self.registry.mutate("replicasets", orphan["metadata"]["name"], namespace, own)

    # -- the new ReplicaSet

    def _take_up(self, deployment: Object, new: Object | None, sets: list[Object]) -> Object:
        """The ReplicaSet of the present template, made where there is none, with the newest revision number."""
        newest = max((revision_of(each) for each in sets if each is not new), default=0)
        number = revision_of(new) if new is not None and revision_of(new) > newest else newest + 1
        if new is None:
            new = self._create(deployment, number, sets)
        else:
            carried = {**_copied(deployment), REVISION: str(number), **_sizes(deployment)}
            new = self._annotate(new, carried)
        self._annotate_deployment(deployment, number)
        return new

    def _create(self, deployment: Object, number: int, sets: list[Object]) -> Object:
        metadata = deployment["metadata"]
        template = thaw(deployment["spec"]["template"])
        collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
        digest = template_hash(template, collisions)
        labels = {**(template.setdefault("metadata", {}).get("labels") or {}), HASH_LABEL: digest}
        template["metadata"]["labels"] = labels
        selector = thaw(deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}
        others = [_as_set(each) for each in sets]
        limits = limits_of(deployment)
        rolling = _strategy(deployment) == "RollingUpdate"
        replicas = grow(Set("", 0), others, limits) if rolling else limits.desired
        manifest: Object = {
            "metadata": {
                "name": f"{metadata['name']}-{digest}",
                "labels": labels,
                "annotations": {**_copied(deployment), REVISION: str(number), **_sizes(deployment)},
                "ownerReferences": [pods.owner_reference(deployment)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template},
        }
        if deployment["spec"].get("minReadySeconds"):
            manifest["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        try:
            replica_set = self.registry.create("replicasets", manifest, namespace=metadata["namespace"])
        except StatusError as error:
            if error.reason == "AlreadyExists":
                self._count_collision(deployment)
            else:
                self._say_refused(deployment, manifest["metadata"]["name"], error)
            raise
        if replicas:
            self._say_scaled(deployment, replica_set["metadata"]["name"], 0, replicas)
        return replica_set

    def _say_refused(self, deployment: Object, name: str, error: StatusError) -> None:
        message = f'Failed to create new replica set "{name}": {error.message}'
        conditions = rollout.refused(deployment, message, time.time())

        def change(obj: Object) -> None:
            obj.setdefault("status", {})["conditions"] = conditions

        metadata = deployment["metadata"]
        if conditions:
            self.registry.mutate("deployments", metadata["name"], metadata["namespace"], change, subresource="status")
        self.registry.record_event(deployment, "Warning", rollout.NOT_MADE, message, COMPONENT)

    def _count_collision(self, deployment: Object) -> None:
        def change(obj: Object) -> None:
            obj["status"]["collisionCount"] = int(obj["status"].get("collisionCount") or 0) + 1

        metadata = deployment["metadata"]
        self.registry.mutate("deployments", metadata["name"], metadata["namespace"], change, subresource="status")

    def _annotate(self, obj: Object, annotations: dict[str, str]) -> Object:
        def change(each: Object) -> None:
            each["metadata"]["annotations"] = {**(each["metadata"].get("annotations") or {}), **annotations}

        metadata = obj["metadata"]
        return self.registry.mutate("replicasets", metadata["name"], metadata["namespace"], change)

    def _annotate_deployment(self, deployment: Object, number: int) -> None:
        def change(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {})[REVISION] = str(number)

        self.registry.mutate("deployments", deployment["metadata"]["name"], deployment["metadata"]["namespace"], change)

    # -- scaling

    def _scale(self, deployment: Object, obj: Object, replicas: int) -> None:
        before = int(obj["spec"].get("replicas", 1))
        if before == replicas:
            return

        def change(each: Object) -> None:
            each["spec"]["replicas"] = replicas
            each["metadata"].setdefault("annotations", {}).update(_sizes(deployment))

        metadata = obj["metadata"]
        self.registry.mutate("replicasets", metadata["name"], metadata["namespace"], change)
        self._say_scaled(deployment, metadata["name"], before, replicas)

    def _say_scaled(self, deployment: Object, name: str, before: int, after: int) -> None:
        word = "up" if after > before else "down"
        message = f"Scaled {word} replica set {name} from {before} to {after}"
        self.registry.record_event(deployment, "Normal", "ScalingReplicaSet", message, COMPONENT)

    def _rescale(self, deployment: Object, new: Object | None, sets: list[Object]) -> bool:
        """Follow a change of `spec.replicas` and keep the shares of the sets. False when there is nothing to do."""
        desired = str(deployment["spec"].get("replicas", 1))
        active = [each for each in sets if int(each["spec"].get("replicas", 1)) > 0]
        if not any((each["metadata"].get("annotations") or {}).get(DESIRED, desired) != desired for each in active):
            return False
        limits = limits_of(deployment)
        total = limits.desired
        if len(active) > 1 and _strategy(deployment) == "RollingUpdate" and total:
            total = limits.most
        sizes = spread([_as_set(each) for each in active], total)
        for each in active:
            self._scale(deployment, each, sizes.get(each["metadata"]["name"], 0))
            self._annotate(self._again(each), _sizes(deployment))
        return True

    def _roll(self, deployment: Object, new: Object, sets: list[Object]) -> None:
        old = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]]
        limits = limits_of(deployment)
        if _strategy(deployment) == "Recreate":
            self._scale(deployment, new, limits.desired)
            return
        others = [_as_set(each) for each in old]
        self._scale(deployment, new, grow(_as_set(new), others, limits))
        sizes = shrink(_as_set(self._again(new)), others, limits)
        for each in old:
            self._scale(deployment, each, sizes.get(each["metadata"]["name"], int(each["spec"].get("replicas", 1))))

    def _retire(self, deployment: Object, sets: list[Object]) -> bool:
        """Recreate: take the old pods away first. True while some are left."""
        left = False
        for each in sets:
            self._scale(deployment, each, 0)
            left = left or any(
                pods.phase(pod) not in {"Succeeded", "Failed"}
                for pod in self._index.owned("pods", each["metadata"]["uid"])
            )
        return left

    def _forget_old(self, deployment: Object, new: Object) -> None:
        """Delete empty old ReplicaSets beyond revisionHistoryLimit, oldest first."""
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        old = [each for each in self._sets(deployment) if each["metadata"]["uid"] != new["metadata"]["uid"]]
        for each in old[: max(len(old) - limit, 0)]:
            status = each.get("status") or {}
            if not status.get("replicas") and not each["spec"].get("replicas"):
                self.registry.delete("replicasets", each["metadata"]["name"], each["metadata"]["namespace"])

    def _publish(self, deployment: Object, new: Object | None, sets: list[Object]) -> float | None:
        now = time.time()
        status, again = rollout.status(deployment, new, sets, limits_of(deployment), now)

        def change(obj: Object) -> None:
            obj["status"] = status

        metadata = deployment["metadata"]
        self.registry.mutate("deployments", metadata["name"], metadata["namespace"], change, subresource="status")
        return again


def _strategy(deployment: Object) -> str:
    return str((deployment["spec"].get("strategy") or {}).get("type") or "RollingUpdate")


def limits_of(deployment: Object) -> Bounds:
    """The bounds that a Deployment's strategy asks for."""
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    desired = int(deployment["spec"].get("replicas", 1))
    if _strategy(deployment) == "Recreate":
        return Bounds(desired, 0, desired)
    return bounds(desired, rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"))


def _as_set(obj: Object) -> Set:
    available = int((obj.get("status") or {}).get("availableReplicas") or 0)
    return Set(obj["metadata"]["name"], int(obj["spec"].get("replicas", 1)), available)


def _sizes(deployment: Object) -> dict[str, str]:
    limits = limits_of(deployment)
    return {DESIRED: str(limits.desired), MAXIMUM: str(limits.most)}


def _copied(deployment: Object) -> dict[str, str]:
    annotations = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in _NOT_COPIED}


def revision_of(obj: Object) -> int:
    """The revision number of a ReplicaSet, 0 when it has none."""
    text = str((obj["metadata"].get("annotations") or {}).get(REVISION, "0"))
    return whole(text) or 0


def template_hash(template: dict[str, Any], collisions: int) -> str:
    """A short name for a pod template, in letters that spell no words."""
    digest = hashlib.sha256(dump(_sorted(template)) + str(collisions or "").encode()).digest()
    number = int.from_bytes(digest[:7], "big")
    letters = ""
    for _ in range(10):
        number, rest = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[rest]
    return letters


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def same_template(replica_set: Object, deployment: Object) -> bool:
    """Is this the ReplicaSet of the Deployment's template? The hash label does not count."""
    its_template, template = replica_set["spec"]["template"], deployment["spec"]["template"]
    return bool(its_template["spec"] == template["spec"] and _facts(its_template) == _facts(template))


def _facts(template: Object) -> dict[str, Any]:
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return {"labels": labels, "annotations": metadata.get("annotations") or {}}
