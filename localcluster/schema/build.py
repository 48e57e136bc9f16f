"""Write ``kubernetes.json`` from the schemas that the ``kubernetes-validate`` package (a development tool) carries.

Only facts are kept: which fields there are, their types, and how lists merge. Descriptions stay in the package.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from localcluster import KUBERNETES_MINOR
from localcluster.resources import RESOURCES

RELEASE = f"{KUBERNETES_MINOR}.0"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
ALSO = (
    f"{_META}.DeleteOptions",
    f"{_META}.Status",
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    "io.k8s.api.policy.v1.Eviction",
)
TARGET = Path(__file__).with_name("kubernetes.json")


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[-1]] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in _references(value)]
    if isinstance(node, list):
        return [name for value in node for name in _references(value)]
    return []


def reachable(definitions: dict[str, Any], roots: Iterable[str]) -> dict[str, Any]:
    """The wanted definitions, and those that they need in turn."""
    todo = list(roots)
    reached: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name not in reached:
            reached[name] = definitions[name]
            todo += _references(definitions[name])
    return dict(sorted(reached.items()))


def without_prose(node: Any) -> Any:
    """The same definitions without their descriptions; a field that is named "description" stays."""
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: without_prose(field) for name, field in value.items()}
        if key == "properties"
        else without_prose(value)
        for key, value in node.items()
        if not (key == "description" and isinstance(value, str))
    }


def main() -> None:
    """Read the package's definitions and write ours."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise SystemExit("install kubernetes-validate (requirements/dev.txt) first")
    folder = Path(spec.origin).parent / "kubernetes-json-schema" / f"v{RELEASE}-local"
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    roots = [*(resource.definition for resource in RESOURCES), *ALSO]
    facts = without_prose(reachable(definitions, roots))
    TARGET.write_text(json.dumps(facts, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
