"""Options of pods as people read them: a label and a few short lines for each that was asked for. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from apps.clusters.podoptions.scheduling import NO_PODS, NODE, PODS, PREFERRED, REQUIRED
from apps.clusters.podoptions.spread import HARD
from apps.core.text.wording import duration_text

Object = Mapping[str, Any]

_OPERATORS = {"In": "is", "NotIn": "is not", "Exists": "is there", "DoesNotExist": "is not there", "Gt": ">", "Lt": "<"}


class Row(NamedTuple):
    """One option: what it is called, and what was asked for, a line each. `prose` is no name that one could type."""

    label: str
    lines: list[str]
    prose: bool = False


def rows(spec: Object) -> list[Row]:
    """The options in the stored spec of a run or revision, without its container."""
    all_rows = [
        Row("Node selector", [f"{key}={value}" for key, value in (spec.get("node_selector") or {}).items()]),
        Row("Tolerations", [_toleration(item) for item in spec.get("tolerations") or []]),
        Row("Affinity", list(_affinity(spec.get("affinity") or {})), prose=True),
        Row("Topology spread", [_spread(item) for item in spec.get("topology_spread") or []], prose=True),
        Row("Priority class", [name] if (name := spec.get("priority_class")) else []),
        Row("Secret variables", [secret_line(name, ref) for name, ref in (spec.get("secret_env") or {}).items()]),
        Row("Volumes", [_volume(item) for item in spec.get("volumes") or []]),
        Row("Pull secrets", list(spec.get("image_pull_secrets") or [])),
        Row("Pull policy", [policy] if (policy := spec.get("image_pull_policy")) else []),
    ]
    return [row for row in all_rows if row.lines]


def taint_text(taint: Mapping[str, Any]) -> str:
    """A taint as kubectl writes it: key=value:effect."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key', '')}{value}:{taint.get('effect', '')}"


def _toleration(item: Object) -> str:
    effect = item.get("effect") or "any effect"
    words = taint_text({**item, "effect": effect}) if item.get("key") else f"every taint:{effect}"
    seconds = item.get("tolerationSeconds")
    return words if seconds is None else f"{words} for {duration_text(float(seconds))}"


def _affinity(affinity: Object) -> Iterator[str]:
    nodes = affinity.get(NODE) or {}
    terms = (nodes.get(REQUIRED) or {}).get("nodeSelectorTerms") or []
    if terms:
        yield f"needs a node where {' or '.join(map(_node_term, terms))}"
    for item in nodes.get(PREFERRED) or []:
        yield f"prefers a node where {_node_term(item['preference'])} (weight {item['weight']})"
    for kind, near in ((PODS, "near"), (NO_PODS, "away from")):
        rules = affinity.get(kind) or {}
        for item in rules.get(REQUIRED) or []:
            yield f"needs to be {near} {_pod_term(item)}"
        for item in rules.get(PREFERRED) or []:
            yield f"prefers to be {near} {_pod_term(item['podAffinityTerm'])} (weight {item['weight']})"


def _node_term(term: Object) -> str:
    return " and ".join(map(_rule, [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]))


def _pod_term(term: Object) -> str:
    selector = term["labelSelector"]
    labels = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    rules = [*labels, *map(_rule, selector.get("matchExpressions") or [])]
    return f"pods where {' and '.join(rules)}, by {term['topologyKey']}"


def _rule(rule: Object) -> str:
    values = " or ".join(rule.get("values") or [])
    return f"{rule['key']} {_OPERATORS[rule['operator']]} {values}".rstrip()


def secret_line(name: str, ref: Object) -> str:
    """ "S3_KEY=s3/key", as one types it; what is optional has a question mark behind it."""
    return f"{name}={ref['secretName']}/{ref['key']}{'?' if ref.get('optional') else ''}"


def _spread(item: Object) -> str:
    hard = item["whenUnsatisfiable"] == HARD
    least = f" over {item['minDomains']} at least" if item.get("minDomains") else ""
    skew = item["maxSkew"]
    return f"{'needs' if hard else 'prefers'} an even spread by {item['topologyKey']}{least}, to within {skew}"


def _volume(item: Object) -> str:
    within = f"/{item['subPath']}" if item.get("subPath") else ""
    source = item.get("persistentVolumeClaim") or {}
    read_only = item.get("readOnly") or source.get("readOnly")
    return f"{item['mountPath']} ← {_source(item)}{within}{' (read-only)' if read_only else ''}"


def _source(item: Object) -> str:
    if "persistentVolumeClaim" in item:
        return f"claim {item['persistentVolumeClaim']['claimName']}"
    if "configMap" in item:
        return f"ConfigMap {item['configMap']['name']}"
    if "secret" in item:
        return f"Secret {item['secret']['secretName']}"
    scratch = item.get("emptyDir") or {}
    where = "memory" if scratch.get("medium") == "Memory" else "an empty folder"
    return f"{where} of {scratch['sizeLimit']}" if scratch.get("sizeLimit") else where
