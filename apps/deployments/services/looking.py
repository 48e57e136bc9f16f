"""A look at one object as its cluster has it now, for who reads beside it what was applied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from apps.clusters.kube.errors import KubeError, NotFound
from apps.clusters.services.rehearsing import client_of
from apps.core.errors import Missing
from apps.deployments.models import AppliedObject

Object = dict[str, Any]
HIDDEN = "(not shown: it is not as it was applied, and may be a secret)"
_COPY = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Look:
    """The object as YAML, who manages which of its fields, or why there is none to be seen."""

    text: str = ""
    managers: str = ""
    trouble: str = ""


def look_at(row: AppliedObject) -> Look:
    """The object now. One call, which ends after some seconds. The caller has checked who may see it.

    Raises Missing for a Secret, of which nothing is ever shown.
    """
    if row.kind == "Secret":
        raise Missing("What is in a Secret is on its cluster alone.")
    target, version = row.placement.target, str(row.manifest.get("apiVersion", ""))
    client = client_of(target.cluster)
    if isinstance(client, str):
        return Look(trouble=client)
    try:
        found = client.get(version, row.kind, row.name, target.namespace)
    except NotFound:
        return Look(trouble=f"{target.cluster.name} has no {row.kind} {row.name} now. The next round makes it anew.")
    except KubeError as error:
        return Look(trouble=f"{target.cluster.name} did not show it: {error.message}")
    finally:
        client.close()
    return shown(found, row.manifest)


def shown(found: Object, applied: Mapping[str, Any]) -> Look:
    """What may be read of it: nothing of what a hand has put into an environment. Pure."""
    metadata = dict(found.get("metadata") or {})
    managed = metadata.pop("managedFields", None)
    # Another tool's copy of the whole has the environment once more.
    notes = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != _COPY}
    metadata |= {"annotations": notes} if notes else {}
    if not notes:
        metadata.pop("annotations", None)
    known = dict(_variables(applied))
    said = _without_secrets({**found, "metadata": metadata}, known)
    return Look(as_yaml(said), as_yaml(managed) if managed else "")


def _variables(value: Any, container: str = "") -> Iterator[tuple[tuple[str, str], Any]]:
    """The values of environments, by container and name."""
    if isinstance(value, Mapping):
        name = str(value.get("name", "")) if "env" in value or "image" in value else container
        for variable in value.get("env") or ():
            yield (name, str(variable.get("name", ""))), variable.get("value")
        for inner in value.values():
            yield from _variables(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _variables(inner, container)


def _without_secrets(value: Any, known: Mapping[tuple[str, str], Any], container: str = "") -> Any:
    if isinstance(value, list):
        return [_without_secrets(inner, known, container) for inner in value]
    if not isinstance(value, Mapping):
        return value
    name = str(value.get("name", "")) if "env" in value or "image" in value else container
    return {
        key: [_variable(each, known, name) for each in inner]
        if key == "env" and isinstance(inner, list)
        else _without_secrets(inner, known, name)
        for key, inner in value.items()
    }


def _variable(variable: Any, known: Mapping[tuple[str, str], Any], container: str) -> Any:
    if not isinstance(variable, Mapping) or "value" not in variable:
        return variable
    same = known.get((container, str(variable.get("name", "")))) == variable["value"]
    return dict(variable) if same else {**variable, "value": HIDDEN}


def as_yaml(value: Any) -> str:
    """YAML in the order of its words, so that what was applied and what is there stand line by line."""
    return str(yaml.safe_dump(value, sort_keys=True, allow_unicode=True))
