"""Write ``crds.json`` from the standard channel's definitions of a Gateway API release.

The one argument is the folder that has them as YAML (``config/crd/standard`` of the release). Only facts are kept:
names, schemas, columns. Descriptions and rules in CEL (see :mod:`localcluster.routerules`) are not.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from localcluster.schema.build import without_prose

TARGET = Path(__file__).with_name("crds.json")
GROUP = "gateway.networking.k8s.io"
_PLURALS = ("gatewayclasses", "gateways", "httproutes")
_VERSION = "v1"
_CEL = "x-kubernetes-validations"


def _without_rules(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_rules(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_rules(value) for key, value in node.items() if key != _CEL}


def facts(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition with its present version alone, as it is made in a new cluster."""
    metadata, spec = definition["metadata"], definition["spec"]
    versions = [_without_rules(without_prose(each)) for each in spec["versions"] if each["name"] == _VERSION]
    for version in versions:
        version.pop("deprecated", None)
    kept = {"name": metadata["name"], "annotations": metadata["annotations"]}
    return {"metadata": kept, "spec": {**spec, "versions": versions}}


def main() -> None:
    """Read the release's definitions and write ours."""
    folder = Path(sys.argv[1])
    read = [yaml.safe_load((folder / f"{GROUP}_{plural}.yaml").read_text()) for plural in _PLURALS]
    TARGET.write_text(json.dumps([facts(each) for each in read], separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
