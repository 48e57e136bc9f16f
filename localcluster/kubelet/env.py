"""The environment of a container: env, envFrom, references and $(VAR) expansion, as the kubelet resolves them.

https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as field_of
from typing import Any

from kubevalues import quantities

Object = Mapping[str, Any]
Lookup = Callable[[str, str], Object | None]  # ("configmaps" | "secrets", name) -> the object or None

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")
_REFERENCES = {
    "configMapKeyRef": "configmaps",
    "configMapRef": "configmaps",
    "secretKeyRef": "secrets",
    "secretRef": "secrets",
}
_ENV_NAME = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")


@dataclass(frozen=True)
class Surroundings:
    """The objects and facts that a pod's spec may refer to.

    `lookup` finds ConfigMaps and Secrets of its namespace; `node_amounts` are the node's allocatable amounts, which
    stand in for limits that are not set; `links` are the variables that name the namespace's Services.
    """

    lookup: Lookup
    node_amounts: Mapping[str, int] = field_of(default_factory=dict)
    links: Mapping[str, str] = field_of(default_factory=dict)


class ConfigError(Exception):
    """A container refers to an object or key that does not exist: CreateContainerConfigError with this message."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """$(NAME) becomes its value, an unknown one stays as it is, and $$ is a literal dollar."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def service_links(services: Iterable[Object]) -> dict[str, str]:
    """<NAME>_SERVICE_HOST and _PORT of every Service with an address, as every container gets them.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    variables: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports") or []
        if not address or address == "None" or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        variables |= {f"{name}_SERVICE_HOST": str(address), f"{name}_SERVICE_PORT": str(ports[0]["port"])}
        for port in ports:
            if port.get("name"):
                variables[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    return variables


def resolve(container: Object, pod: Object, around: Surroundings) -> dict[str, str]:
    """Every variable that the pod's spec asks for. Raises ConfigError for what is missing."""
    lookup = around.lookup
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        variables.update(_from_source(source, lookup))
    for entry in container.get("env") or []:
        name = entry["name"]
        if entry.get("valueFrom"):
            value = _from_reference(entry["valueFrom"], container, pod, around)
            if value is not None:
                variables[name] = value
        else:
            variables[name] = expand(entry.get("value") or "", variables)
    return variables


def references(spec: Object) -> set[tuple[str, str]]:
    """The ("configmaps" | "secrets", name) that a pod's spec refers to."""
    named: set[tuple[str, str]] = set()
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        sources = [entry.get("valueFrom") or {} for entry in container.get("env") or []]
        for source in [*sources, *(container.get("envFrom") or [])]:
            named |= {(_REFERENCES[key], part["name"]) for key, part in source.items() if key in _REFERENCES and part}
    for volume in spec.get("volumes") or []:
        parts = (volume.get("projected") or {}).get("sources") or [volume]
        for part in parts:
            if part.get("configMap"):
                named.add(("configmaps", part["configMap"].get("name", "")))
            if part.get("secret"):
                named.add(("secrets", part["secret"].get("secretName") or part["secret"].get("name", "")))
    return named


def data_of(kind: str, obj: Object) -> dict[str, bytes]:
    """The content of a ConfigMap or Secret as bytes."""
    if kind == "secrets":
        content = {key: base64.b64decode(value or "") for key, value in (obj.get("data") or {}).items()}
        content.update({key: value.encode() for key, value in (obj.get("stringData") or {}).items()})
        return content
    content = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    content.update({key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()})
    return content


def _from_source(source: Object, lookup: Lookup) -> dict[str, str]:
    kind, reference = (
        ("configmaps", source["configMapRef"]) if source.get("configMapRef") else ("secrets", source["secretRef"])
    )
    obj = lookup(kind, reference["name"])
    if obj is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{_word(kind).lower()} "{reference["name"]}" not found')
    prefix = source.get("prefix") or ""
    return {
        prefix + key: value.decode(errors="replace")
        for key, value in data_of(kind, obj).items()
        if _ENV_NAME.match(prefix + key)
    }


def _from_reference(source: Object, container: Object, pod: Object, around: Surroundings) -> str | None:
    if source.get("fieldRef"):
        return field(pod, source["fieldRef"]["fieldPath"])
    if source.get("resourceFieldRef"):
        return resource_field(source["resourceFieldRef"], container, pod, around.node_amounts)
    for key, kind in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        if source.get(key):
            return _from_key(kind, source[key], around.lookup, pod["metadata"]["namespace"])
    raise ConfigError("valueFrom names none of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef")


def _from_key(kind: str, reference: Object, lookup: Lookup, namespace: str) -> str | None:
    obj = lookup(kind, reference["name"])
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{_word(kind).lower()} "{reference["name"]}" not found')
    value = data_of(kind, obj).get(reference["key"])
    if value is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {_word(kind)} {namespace}/{reference['name']}")
    return value.decode(errors="replace")


def _word(kind: str) -> str:
    return "ConfigMap" if kind == "configmaps" else "Secret"


def field(pod: Object, path: str) -> str:
    """The pod's field as the downward API gives it. Raises ConfigError for one that it does not offer."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in {"metadata.labels", "metadata.annotations"}:
        entries = metadata.get(path.removeprefix("metadata.")) or {}
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in sorted(entries.items()))
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.hostIP": status.get("hostIP", ""),
        "status.hostIPs": status.get("hostIP", ""),
        "status.podIP": status.get("podIP", ""),
        "status.podIPs": status.get("podIP", ""),
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(simple[path])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(reference: Object, container: Object, pod: Object, node_amounts: Mapping[str, int]) -> str:
    """limits.cpu and the like, divided by the divisor and rounded up; a limit that is not set is the node's."""
    target = container
    if reference.get("containerName"):
        named = [c for c in pod["spec"]["containers"] if c["name"] == reference["containerName"]]
        if not named:
            raise ConfigError(f"container {reference['containerName']} not found")
        target = named[0]
    which, _, resource = reference["resource"].partition(".")
    if which not in {"limits", "requests"} or not resource:
        raise ConfigError(f"unsupported container resource: {reference['resource']}")
    resources = target.get("resources") or {}
    value = (resources.get(which) or {}).get(resource)
    if value is None and which == "requests":
        value = (resources.get("limits") or {}).get(resource, 0)
    amount = node_amounts.get(resource, 0) if value is None else quantities.amount(resource, value)
    divisor = quantities.amount(resource, reference.get("divisor") or "1") or quantities.amount(resource, "1")
    return str(-(-amount // divisor))
