"""The API server's generic registry, for the HTTP handlers and for the controllers alike.

Everything is synchronous and runs in one event loop, so that each call is atomic. **Objects that come out are frozen
by convention: never change one; use** :meth:`Registry.mutate` (or :func:`localcluster.meta.thaw`).
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from localcluster import managers
from localcluster.admission import Admission
from localcluster.catalog import Catalog
from localcluster.defaults import apply_defaults
from localcluster.errors import StatusError, already_exists, bad_request, conflict, forbidden, invalid, not_found
from localcluster.lifecycle import (
    FOREGROUND,
    ORPHAN,
    content_of,
    grace_of,
    is_finished,
    keep_identity,
    mark_deleted,
    restrict,
    tidy,
)
from localcluster.meta import key_of, now, thaw
from localcluster.priority import complete as complete_priority
from localcluster.recorder import Recorder
from localcluster.resources import Resource
from localcluster.selectors import parse_fields, parse_labels
from localcluster.store import Change, Store, Stored
from localcluster.strategies import allocate_cluster_ip, prepare_create, prepare_update
from localcluster.subscription import Event, Subscription
from localcluster.validation import validate_create, validate_update

Obj = dict[str, Any]

_PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


class Registry:
    """Objects with the API server's rules.

    ``resource`` is always the kind's key: the plural, e.g. ``"pods"``, or the name of a CustomResourceDefinition, e.g.
    ``"workloads.kueue.x-k8s.io"``.
    """

    def __init__(self, store: Store, *, seed: int | None = None) -> None:
        self.store = store
        self.catalog = Catalog(store)
        self.admission = Admission(store)
        self._recorder = Recorder(self)
        self._random = random.Random(seed)  # noqa: S311 - names and addresses, not secrets

    # -- reading

    def get(self, resource: str, name: str, namespace: str | None = None) -> Obj:
        """The object. Raises StatusError 404."""
        return self.stored(resource, name, namespace).obj

    def stored(self, resource: str, name: str, namespace: str | None = None) -> Stored:
        """The object with its JSON. Raises StatusError 404."""
        row = self.catalog[resource]
        stored = self.store.get(resource, (namespace or "" if row.namespaced else "", name))
        if stored is None:
            raise not_found(row.plural, name, row.group)
        return stored

    def exists(self, resource: str, name: str, namespace: str | None = None) -> bool:
        """Is there such an object?"""
        row = self.catalog[resource]
        return self.store.get(resource, (namespace or "" if row.namespaced else "", name)) is not None

    def select(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        after: tuple[str, str] | None = None,
    ) -> Iterator[Stored]:
        """The objects that match, ordered by namespace and name, those after the key ``after`` only."""
        selected = self.store.scan(resource, namespace, after)
        if label_selector:
            labels_match = parse_labels(label_selector)
            selected = (each for each in selected if labels_match(each.obj["metadata"].get("labels") or {}))
        if field_selector:
            fields_match = parse_fields(field_selector, self.catalog[resource])
            selected = (each for each in selected if fields_match(each.obj))
        return selected

    def list(
        self, resource: str, namespace: str | None = None, *, label_selector: str = "", field_selector: str = ""
    ) -> list[Obj]:
        """The objects that match, all namespaces when ``namespace`` is None. Raises StatusError 400."""
        selected = self.select(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        return [each.obj for each in selected]

    def subscribe(self, *resources: str) -> Subscription:
        """Everything that exists, then every change."""
        return Subscription(self.store, resources)

    def listen(self, resources: Iterable[str], listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``listener`` within every later write; gives the function that ends this."""
        return self.store.listen(resources, listener)

    def accepts_objects(self, namespace: str) -> bool:
        """Is the namespace there, and not being deleted?"""
        stored = self.store.get("namespaces", ("", namespace))
        return stored is not None and not stored.obj["metadata"].get("deletionTimestamp")

    # -- writing

    def create(
        self,
        resource: str,
        obj: Obj,
        *,
        namespace: str | None = None,
        manager: str = "",
        managed: Sequence[Obj] | None = None,
        dry_run: bool = False,
    ) -> Obj:
        """Create an object; ``manager`` is recorded in managedFields when given, or ``managed`` is what they say.

        Raises StatusError 400, 403, 404 (no such namespace), 409 and 422.
        """
        row = self.catalog[resource]
        new = thaw(obj)
        if row.custom and row.custom.terminating:
            raise StatusError(
                405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating"
            )
        self._complete(row, new, namespace)
        tidy(new)
        if row.namespaced:
            self._check_namespace(row, new)
        apply_defaults(row, new)
        self.admission.complete(row, new)
        if row.has_status and row.resets_status:
            new.pop("status", None)
        if resource == "pods":
            complete_priority(new, self.list("priorityclasses"))
        prepare_create(resource, new)
        self._raise_invalid(row, new, validate_create(row, new))
        metadata = new["metadata"]
        if self.exists(resource, metadata["name"], metadata.get("namespace")):
            raise already_exists(row.plural, metadata["name"], row.group)
        self.admission.check(row, new)
        if resource == "services":
            taken = {each["spec"].get("clusterIP", "") for each in self.list("services")}
            allocate_cluster_ip(new, taken, self._random)
        if manager:
            managers.track_update(row, None, new, manager)
        if managed:
            new["metadata"]["managedFields"] = [*managed]
        if dry_run:
            return new
        stored = self.store.put(resource, new)
        if resource == "namespaces" and not self.exists("serviceaccounts", "default", metadata["name"]):
            self.create("serviceaccounts", {"metadata": {"name": "default"}}, namespace=metadata["name"])
        return stored.obj

    def _complete(self, row: Resource, new: Obj, namespace: str | None) -> None:
        new["apiVersion"], new["kind"] = row.api_version, row.kind
        metadata = new["metadata"] = new.get("metadata") or {}
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if not row.namespaced:
            metadata.pop("namespace", None)
        elif namespace and metadata.get("namespace", namespace) not in ("", namespace):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        else:
            metadata["namespace"] = namespace or metadata.get("namespace") or "default"
        for field in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields"):
            metadata.pop(field, None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generate_name(row, metadata["generateName"], metadata.get("namespace"))
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = now()
        if row.counts_generations:
            metadata["generation"] = 1

    def _generate_name(self, row: Resource, prefix: str, namespace: str | None) -> str:
        while True:
            name = prefix[:58] + "".join(self._random.choices(_SUFFIX, k=5))
            if not self.exists(row.key, name, namespace):
                return name

    def _check_namespace(self, row: Resource, new: Obj) -> None:
        name = new["metadata"]["namespace"]
        if not self.exists("namespaces", name):
            raise not_found("namespaces", name)
        if not self.accepts_objects(name):
            raise forbidden(
                row.plural,
                new["metadata"].get("name", ""),
                f"unable to create new content in namespace {name} because it is being terminated",
                row.group,
            )

    def update(
        self, resource: str, obj: Obj, *, subresource: str | None = None, manager: str = "", dry_run: bool = False
    ) -> Obj:
        """Replace an object, or its ``status`` alone. Nothing is written when nothing changed.

        Raises StatusError 404, 409 (obj's resourceVersion is set and old, or its uid is another's) and 422.
        """
        metadata = obj["metadata"]
        old = self.get(resource, metadata["name"], metadata.get("namespace"))
        row = self.catalog[resource]
        version = metadata.get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(row.plural, metadata["name"], group=row.group)
        self._check_uid(row, old, metadata.get("uid"))
        return self.write(row, old, thaw(obj), subresource=subresource, manager=manager, dry_run=dry_run)

    def mutate(
        self,
        resource: str,
        name: str,
        namespace: str | None,
        fn: Callable[[Obj], None],
        *,
        subresource: str | None = None,
        manager: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Read, let ``fn`` change a copy, write: atomically. No event when nothing changed.

        As over HTTP, a change of ``status`` needs ``subresource="status"``, and then only the status is written.
        Raises what ``fn`` raises, and StatusError 404 and 422.
        """
        old = self.get(resource, name, namespace)
        new = thaw(old)
        fn(new)
        return self.write(self.catalog[resource], old, new, subresource=subresource, manager=manager, dry_run=dry_run)

    def bind(self, name: str, namespace: str, node: str, *, dry_run: bool = False) -> Obj:
        """Bind a pod to a node, as the scheduler does, and mark it PodScheduled. Raises StatusError 404, 409."""

        def place(pod: Obj) -> None:
            if pod["spec"].get("nodeName"):
                raise conflict("pods", name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
            pod["spec"]["nodeName"] = node
            conditions = [each for each in pod["status"].get("conditions") or () if each["type"] != "PodScheduled"]
            scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
            pod["status"]["conditions"] = [*conditions, scheduled]

        return self.mutate("pods", name, namespace, place, subresource="binding", dry_run=dry_run)

    def write(
        self,
        row: Resource,
        old: Obj,
        new: Obj,
        *,
        subresource: str | None = None,
        manager: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Put ``new`` (which the registry then owns) in the place of ``old``, which was just read.

        Raises StatusError 403 (a quota) and 422.
        """
        resource = row.key
        row = self.catalog[resource]  # a custom kind may have been named in another version than it is stored in
        new = restrict(row, old, new, subresource)
        keep_identity(row, old, new)
        tidy(new)
        if subresource is None:
            prepare_update(resource, old, new)
            apply_defaults(row, new)
        if row.counts_generations and content_of(row, new) != content_of(row, old):
            new["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        self._raise_invalid(row, new, validate_update(row, old, new, subresource))
        if subresource is None:
            self.admission.check_change(row, old, new)
        if manager:
            managers.track_update(row, old, new, manager, subresource)
        if managers.same_but_for_times(old, new):
            return old
        if dry_run:
            return new
        if is_finished(row, new):
            return self.store.remove(resource, key_of(old)).obj
        return self.store.put(resource, new).obj

    def _raise_invalid(self, row: Resource, obj: Obj, causes: Any) -> None:
        if causes:
            raise invalid(row.kind, obj["metadata"].get("name", ""), causes, row.group)

    def _check_uid(self, row: Resource, old: Obj, uid: str | None) -> None:
        have = old["metadata"]["uid"]
        if uid and uid != have:
            raise conflict(
                row.plural,
                old["metadata"]["name"],
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {have}",
                row.group,
            )

    # -- deleting

    def delete(
        self,
        resource: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        uid: str | None = None,
        version: str | None = None,
        dry_run: bool = False,
    ) -> Obj:
        """Delete, or begin to: the object stays, with a deletionTimestamp, while finalizers or a grace period hold it.

        Pods on a node get their grace period; the kubelet then deletes them with ``grace_seconds=0``.
        Raises StatusError 403, 404 and 409 (``uid`` or ``version`` is not the object's).
        """
        row = self.catalog[resource]
        old = self.get(resource, name, namespace)
        self._check_uid(row, old, uid)
        have = old["metadata"]["resourceVersion"]
        if version and version != have:
            raise conflict(
                row.plural,
                name,
                f"Precondition failed: ResourceVersion in precondition: {version}, "
                f"ResourceVersion in object meta: {have}",
                row.group,
            )
        if resource == "namespaces" and name in _PROTECTED_NAMESPACES:
            raise forbidden(resource, name, "this namespace may not be deleted")
        new = thaw(old)
        mark_deleted(new, grace_of(row, old, grace_seconds), propagation)
        if resource == "namespaces":
            new["status"]["phase"] = "Terminating"
        if dry_run:
            return old
        if is_finished(row, new):
            return self.store.remove(resource, key_of(old)).obj
        return old if new == old else self.store.put(resource, new).obj

    # -- events

    def record_event(self, obj: Obj, type_: str, reason: str, message: str, component: str) -> None:
        """Write a v1 Event about ``obj``; the same once more only counts up. ``type_`` is Normal or Warning."""
        self._recorder.record(obj, type_, reason, message, component)

    def expire_events(self) -> int:
        """Drop the events that are older than an hour; gives how many."""
        return self._recorder.expire()


__all__ = ["FOREGROUND", "ORPHAN", "Event", "Registry", "StatusError", "Subscription"]
