"""The API server's rules on single kinds, whose breach is a 422, as causes (field, reason, message).

Reasons are those of field errors: FieldValueRequired, FieldValueInvalid, FieldValueForbidden, FieldValueDuplicate,
FieldValueNotSupported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from kubevalues import quantities
from localcluster import policyrules, routerules, rules
from localcluster.causes import Cause, amounts, duplicate, not_allowed, required, share, unsupported, wrong
from localcluster.crd import definitions, structural
from localcluster.namerules import (
    LABEL,
    LABEL_RULE,
    annotation_problems,
    label_problems,
    name_problems,
    port_name_problems,
)
from localcluster.resources import Resource
from localcluster.selectors import label_selector_matches

Obj = dict[str, Any]
_PORT_RANGE = "must be between 1 and 65535, inclusive"

_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV_NAME = re.compile(r"[^=\x00-\x1f\x7f-\U0010ffff]+")


def _template(template: Obj, field: str) -> Iterator[Cause]:
    """Rules on a pod's template."""
    metadata = template.get("metadata") or {}
    yield from label_problems(metadata.get("labels"), f"{field}.metadata.labels")
    yield from annotation_problems(metadata.get("annotations"), f"{field}.metadata.annotations")
    yield from pod_spec(template["spec"], f"{field}.spec")


def _resources(resources: Obj, field: str) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts_of_kind in (("limits", limits), ("requests", requests)):
        yield from amounts(amounts_of_kind, f"{field}.{kind}")
    for name, value in requests.items():
        if name not in limits:
            continue
        try:
            more = quantities.parse(value) > quantities.parse(limits[name])
            differs = "/" in name and quantities.parse(value) != quantities.parse(limits[name])
        except ValueError:
            continue  # said above
        if more:
            yield wrong(f"{field}.requests", value, f"must be less than or equal to {name} limit of {limits[name]}")
        elif differs:
            yield wrong(f"{field}.requests", value, f"must be equal to {name} limit of {limits[name]}")


def _container(container: Obj, field: str) -> Iterator[Cause]:
    name = container.get("name") or ""
    if not name:
        yield required(f"{field}.name")
    elif len(name) > 63 or not LABEL.fullmatch(name):
        yield wrong(f"{field}.name", name, LABEL_RULE)
    if not (container.get("image") or "").strip():
        yield required(f"{field}.image")
    policy = container.get("imagePullPolicy")
    if policy not in (None, "Always", "IfNotPresent", "Never"):
        yield unsupported(f"{field}.imagePullPolicy", policy, ("Always", "IfNotPresent", "Never"))
    for position, port in enumerate(container.get("ports") or ()):
        number = port.get("containerPort")
        if not isinstance(number, int) or not 0 < number < 65536:
            yield wrong(f"{field}.ports[{position}].containerPort", number, _PORT_RANGE)
        if port.get("name"):
            yield from port_name_problems(port["name"], f"{field}.ports[{position}].name")
    for position, variable in enumerate(container.get("env") or ()):
        at = f"{field}.env[{position}]"
        if not variable.get("name"):
            yield required(f"{at}.name")
        elif not _ENV_NAME.fullmatch(variable["name"]):
            yield wrong(f"{at}.name", variable["name"], "a valid environment variable name has printable ASCII, no '='")
        if variable.get("value") and variable.get("valueFrom"):
            yield wrong(f"{at}.valueFrom", "", "may not be specified when `value` is not empty")
    yield from _resources(container.get("resources") or {}, f"{field}.resources")


def pod_spec(spec: Obj, field: str) -> Iterator[Cause]:
    """Rules on a PodSpec, in pods and in templates."""
    containers = spec.get("containers") or []
    if not containers:
        yield required(f"{field}.containers")
    volumes = [volume.get("name") for volume in spec.get("volumes") or ()]
    for position, name in enumerate(volumes):
        if not name or not LABEL.fullmatch(name):
            yield wrong(f"{field}.volumes[{position}].name", name or "", LABEL_RULE)
        if name in volumes[:position]:
            yield duplicate(f"{field}.volumes[{position}].name", name)
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for position, container in enumerate(spec.get(kind) or ()):
            at = f"{field}.{kind}[{position}]"
            yield from _container(container, at)
            name = container.get("name")
            if name and name in seen:
                yield duplicate(f"{at}.name", name)
            seen.add(name or "")
            for index, mount in enumerate(container.get("volumeMounts") or ()):
                if mount.get("name") not in volumes:
                    yield (
                        f"{at}.volumeMounts[{index}].name",
                        "FieldValueNotFound",
                        f'Not found: "{mount.get("name")}"',
                    )
                if not mount.get("mountPath"):
                    yield required(f"{at}.volumeMounts[{index}].mountPath")
    policy = spec.get("restartPolicy")
    if policy not in ("Always", "OnFailure", "Never"):
        yield unsupported(f"{field}.restartPolicy", policy, ("Always", "OnFailure", "Never"))
    yield from rules.placement(spec, field)
    if (deadline := spec.get("activeDeadlineSeconds")) is not None and not 0 < deadline < 2**31:
        yield wrong(f"{field}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")


def _pod(pod: Obj) -> Iterator[Cause]:
    yield from pod_spec(pod["spec"], "spec")


def _not_negative(spec: Obj, *names: str) -> Iterator[Cause]:
    for name in names:
        if (value := spec.get(name)) is not None and value < 0:
            yield wrong(f"spec.{name}", value, "must be greater than or equal to 0")


def _selected_template(spec: Obj) -> Iterator[Cause]:
    selector = spec.get("selector")
    template = spec["template"]
    have = (template.get("metadata") or {}).get("labels") or {}
    if selector is None:
        yield required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield wrong("spec.selector", "{}", "empty selector is invalid for deployment")
    elif not label_selector_matches(selector, have):
        yield wrong("spec.template.metadata.labels", have, "`selector` does not match template `labels`")
    yield from _template(template, "spec.template")
    policy = template["spec"].get("restartPolicy")
    if policy in ("OnFailure", "Never"):
        yield unsupported("spec.template.spec.restartPolicy", policy, ("Always",))


def _workload(obj: Obj) -> Iterator[Cause]:
    spec = obj["spec"]
    yield from _not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    yield from _selected_template(spec)
    strategy = spec.get("strategy") or {}
    kind = strategy.get("type")
    if kind not in (None, "Recreate", "RollingUpdate"):
        yield unsupported("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate") or {}
    if kind == "Recreate" and rolling:
        yield not_allowed("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    at = "spec.strategy.rollingUpdate"
    yield from share(rolling.get("maxUnavailable"), f"{at}.maxUnavailable", up_to_all=True)
    yield from share(rolling.get("maxSurge"), f"{at}.maxSurge", up_to_all=False)
    if rolling and not any(str(rolling.get(field)).strip("0%") for field in ("maxUnavailable", "maxSurge")):
        yield wrong("spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0")


def _job(job: Obj) -> Iterator[Cause]:
    spec = job["spec"]
    yield from _not_negative(spec, "parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished")
    template = spec["template"]
    yield from _template(template, "spec.template")
    policy = template["spec"].get("restartPolicy")
    if policy not in ("OnFailure", "Never"):
        yield (
            "spec.template.spec.restartPolicy",
            "FieldValueRequired",
            'Required value: valid values: "OnFailure", "Never"',
        )
    if spec.get("completionMode") not in (None, "NonIndexed", "Indexed"):
        yield unsupported("spec.completionMode", spec["completionMode"], ("Indexed", "NonIndexed"))
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        yield required("spec.completions", "when completion mode is Indexed")


def _service(service: Obj) -> Iterator[Cause]:
    spec = service["spec"]
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if spec.get("type") not in kinds:
        yield unsupported("spec.type", spec.get("type"), kinds)
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    for position, port in enumerate(ports):
        number = port.get("port")
        if not isinstance(number, int) or not 0 < number < 65536:
            yield wrong(f"spec.ports[{position}].port", number, _PORT_RANGE)
        target = port.get("targetPort")
        if isinstance(target, str):
            yield from port_name_problems(target, f"spec.ports[{position}].targetPort")
        elif target is not None and not 0 < target < 65536:
            yield wrong(f"spec.ports[{position}].targetPort", target, _PORT_RANGE)
        if len(ports) > 1 and not port.get("name"):
            yield required(f"spec.ports[{position}].name")
    yield from label_problems(spec.get("selector"), "spec.selector")


def _data(obj: Obj) -> Iterator[Cause]:
    for field in ("data", "binaryData"):
        for key in obj.get(field) or {}:
            if len(key) > 253 or not _CONFIG_KEY.fullmatch(key):
                yield wrong(
                    f"{field}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                )


def _secret(secret: Obj) -> Iterator[Cause]:
    yield from _data(secret)
    if secret.get("type") == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        if not (secret["metadata"].get("annotations") or {}).get(name):
            yield required(f"metadata.annotations[{name}]")


_RULES: dict[str, Callable[[Obj], Iterator[Cause]]] = {
    "pods": _pod,
    "deployments": _workload,
    "replicasets": _workload,
    "jobs": _job,
    "services": _service,
    "configmaps": _data,
    "secrets": _secret,
    "customresourcedefinitions": definitions.problems,
    "nodes": rules.node,
    "poddisruptionbudgets": rules.budget,
    "persistentvolumeclaims": rules.claim,
    **policyrules.RULES,
    "horizontalpodautoscalers": rules.autoscaler,
}


def _metadata(metadata: Obj) -> Iterator[Cause]:
    yield from label_problems(metadata.get("labels"), "metadata.labels")
    yield from annotation_problems(metadata.get("annotations"), "metadata.annotations")
    for position, owner in enumerate(metadata.get("ownerReferences") or ()):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not (owner or {}).get(name):
                yield required(f"metadata.ownerReferences[{position}].{name}", "must not be empty")


def _whole(row: Resource, obj: Obj) -> Iterator[Cause]:
    metadata = obj["metadata"]
    yield from name_problems(row.key, metadata.get("name") or "")
    yield from _metadata(metadata)
    if row.custom:
        problems = list(structural.problems(obj, row.custom.schema))
        yield from problems
        if not problems and (rule := routerules.RULES.get(row.key)):
            yield from rule(obj)
    elif rule := _RULES.get(row.key):
        yield from rule(obj)


def validate_create(row: Resource, obj: Obj) -> list[Cause]:
    """Why ``obj`` (with defaults) can't be created; empty when it can."""
    return list(_whole(row, obj))


def _immutable(old: Any, new: Any, field: str) -> Iterator[Cause]:
    if old != new:
        yield (field, "FieldValueInvalid", f"Invalid value: {new!r}: field is immutable")


def _pod_changes(old: Obj, new: Obj) -> Iterator[Cause]:
    def fixed(spec: Obj) -> Obj:
        kept = {
            name: value
            for name, value in spec.items()
            if name not in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName")
        }
        for kind in ("containers", "initContainers"):
            if kind in kept:
                kept[kind] = [{**container, "image": ""} for container in kept[kind]]
        return kept

    was, now_ = old["spec"].get("nodeName"), new["spec"].get("nodeName")
    if fixed(old["spec"]) != fixed(new["spec"]) or (was and was != now_):
        yield not_allowed(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )


def _changes(resource: str, old: Obj, new: Obj) -> Iterator[Cause]:
    if resource == "pods":
        yield from _pod_changes(old, new)
    elif resource in ("deployments", "replicasets"):
        yield from _immutable(old["spec"].get("selector"), new["spec"].get("selector"), "spec.selector")
    elif resource == "jobs":
        for field in ("completions", "selector", "completionMode", "manualSelector"):
            yield from _immutable(old["spec"].get(field), new["spec"].get(field), f"spec.{field}")
        if not old["spec"].get("suspend") or (old.get("status") or {}).get("startTime"):
            yield from _immutable(old["spec"]["template"], new["spec"]["template"], "spec.template")
    elif resource == "services" and old["spec"].get("clusterIP") and new["spec"].get("type") != "ExternalName":
        yield from _immutable(old["spec"]["clusterIP"], new["spec"].get("clusterIP"), "spec.clusterIP")
    elif resource in ("configmaps", "secrets"):
        if old.get("immutable"):
            for field in ("data", "binaryData", "immutable"):
                if old.get(field) != new.get(field):
                    yield not_allowed(field, "field is immutable when `immutable` is set")
        if resource == "secrets":
            yield from _immutable(old.get("type"), new.get("type"), "type")
    elif resource in ("rolebindings", "clusterrolebindings"):
        yield from _immutable(old.get("roleRef"), new.get("roleRef"), "roleRef")
    elif resource == "customresourcedefinitions":
        yield from definitions.changes(old, new)


def _finalizers(old: Obj, new: Obj) -> Iterator[Cause]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/#how-finalizers-work"""
    if not old["metadata"].get("deletionTimestamp"):
        return
    had = old["metadata"].get("finalizers") or ()
    if added := [each for each in new["metadata"].get("finalizers") or () if each not in had]:
        why = "no new finalizers can be added if the object is being deleted"
        yield not_allowed("metadata.finalizers", f"{why}, found new finalizers {added!r}")


#: Kinds whose rules are about more than a spec.
_WITHOUT_SPEC = frozenset({"configmaps", "secrets", "roles", "clusterroles", "rolebindings", "clusterrolebindings"})


def validate_update(row: Resource, old: Obj, new: Obj, subresource: str | None = None) -> list[Cause]:
    """Why ``new`` can't replace ``old``; empty when it can. The status of a built-in kind is taken as it is."""
    if row.custom:
        return [*_whole(row, new), *_finalizers(old, new)]
    if subresource is not None:
        return []
    if old.get("spec") == new.get("spec") and row.key not in _WITHOUT_SPEC:
        return [*_metadata(new["metadata"]), *_finalizers(old, new)]
    return [*_whole(row, new), *_changes(row.key, old, new), *_finalizers(old, new)]
