"""What runs and deployments may ask of their pods: what is taken whole, and what is refused to its leaf."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.clusters import podoptions
from apps.core.errors import Invalid

REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
ZONES = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eu-1", "eu-2"]}
EVERYTHING: dict[str, Any] = {
    "node_selector": {"accelerator": "a100", "example.org/pool": ""},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "value": "vision"},
        {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
    ],
    "affinity": {
        "nodeAffinity": {
            REQUIRED: {
                "nodeSelectorTerms": [
                    {"matchExpressions": [ZONES, {"key": "gpus", "operator": "Gt", "values": ["4"]}]},
                    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
                ]
            },
            PREFERRED: [{"weight": 10, "preference": {"matchExpressions": [{"key": "ssd", "operator": "Exists"}]}}],
        },
        "podAntiAffinity": {
            REQUIRED: [{"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}],
            PREFERRED: [
                {
                    "weight": 1,
                    "podAffinityTerm": {
                        "labelSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]},
                        "topologyKey": "topology.kubernetes.io/zone",
                    },
                }
            ],
        },
    },
    "topology_spread": [
        {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
         "minDomains": 3},
        {"topologyKey": "kubernetes.io/hostname", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"},
    ],
    "priority_class": "serving",
    "secret_env": {
        "EXTRA": {"secretName": "more", "key": "x", "optional": True},
        "S3_KEY": {"secretName": "s3", "key": "access.key"},
    },
    "image_pull_secrets": ["registry", "other.registry"],
    "image_pull_policy": "Always",
    "volumes": [
        {"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "10Gi"}},
        {"name": "shm", "mountPath": "/dev/shm", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
        {"name": "data", "mountPath": "/data", "subPath": "digits/v1", "readOnly": True,
         "persistentVolumeClaim": {"claimName": "datasets", "readOnly": True}},
        {"name": "config", "mountPath": "/etc/app",
         "configMap": {"name": "app", "items": [{"key": "a.yaml", "path": "conf/a.yaml", "mode": 420}]}},
        {"name": "key", "mountPath": "/keys", "secret": {"secretName": "s3", "defaultMode": 256, "optional": True}},
    ],
}  # fmt: skip


def test_all_of_it_is_kept_as_it_was_written() -> None:
    assert podoptions.parse(EVERYTHING).to_json() == EVERYTHING


def test_nothing_is_nothing() -> None:
    empty: dict[str, Any] = {"node_selector": {}, "tolerations": [], "affinity": {}, "volumes": [],
                             "image_pull_secrets": [], "image_pull_policy": "", "topology_spread": [],
                             "priority_class": "", "secret_env": {}}  # fmt: skip
    for given_ in ({}, dict.fromkeys(podoptions.KEYS), empty, {"affinity": {"nodeAffinity": {}, "podAffinity": {}}}):
        options = podoptions.parse(given_)
        assert options == podoptions.NO_OPTIONS
        assert options.to_json() == options.pod_fields({}) == options.container_fields() == {}
        assert options.env == []


def test_what_pods_and_containers_get_of_it() -> None:
    options = podoptions.parse(EVERYTHING)
    spread = [{**each, "labelSelector": {"matchLabels": {"run": "1"}}} for each in EVERYTHING["topology_spread"]]
    assert options.env == [
        {"name": "EXTRA", "valueFrom": {"secretKeyRef": {"name": "more", "key": "x", "optional": True}}},
        {"name": "S3_KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "access.key"}}},
    ]
    assert options.pod_fields({"run": "1"}) == {
        "topologySpreadConstraints": spread,
        "priorityClassName": "serving",
        "nodeSelector": EVERYTHING["node_selector"],
        "tolerations": EVERYTHING["tolerations"],
        "affinity": EVERYTHING["affinity"],
        "imagePullSecrets": [{"name": "registry"}, {"name": "other.registry"}],
        "volumes": [
            {"name": "scratch", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "shm", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "datasets", "readOnly": True}},
            {"name": "config", "configMap": EVERYTHING["volumes"][3]["configMap"]},
            {"name": "key", "secret": {"secretName": "s3", "defaultMode": 256, "optional": True}},
        ],
    }
    assert options.container_fields() == {
        "imagePullPolicy": "Always",
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "data", "mountPath": "/data", "subPath": "digits/v1", "readOnly": True},
            {"name": "config", "mountPath": "/etc/app"},
            {"name": "key", "mountPath": "/keys"},
        ],
    }


def test_short_forms_are_filled_in() -> None:
    options = podoptions.parse(
        {
            "image_pull_secrets": [{"name": "registry"}, "registry"],
            "volumes": [{"mountPath": "/tmp", "emptyDir": {}}, {"mountPath": "/b", "emptyDir": {"sizeLimit": 2097152}}],
        }
    )
    assert options.to_json() == {
        "image_pull_secrets": ["registry"],
        "volumes": [
            {"name": "volume-1", "mountPath": "/tmp", "emptyDir": {}},
            {"name": "volume-2", "mountPath": "/b", "emptyDir": {"sizeLimit": "2097152"}},
        ],
    }


def term(*rules: Any) -> dict[str, Any]:
    terms = [{"matchExpressions": list(rules)}]
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}}


def volume(**fields: Any) -> dict[str, Any]:
    return {"volumes": [{"mountPath": "/data", **fields}]}


TERMS = f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
RULE = f"{TERMS}[0].matchExpressions[0]"


@pytest.mark.parametrize(
    ("given_", "field", "says"),
    [
        ({"node_selector": ["a"]}, "node_selector", "is an object of at most 50 labels"),
        ({"node_selector": {"a b": "c"}}, "node_selector", "'a b' can't be node_selector"),
        ({"node_selector": {"a\n": "c"}}, "node_selector", "can't be"),
        ({"node_selector": {"gpu": True}}, "node_selector.gpu", "node_selector.gpu is the value of a label."),
        ({"node_selector": {"gpu": "a b"}}, "node_selector.gpu", "'a b' can't be"),
        ({"tolerations": {"key": "a"}}, "tolerations", "tolerations is a list."),
        ({"tolerations": ["gpu"]}, "tolerations[0]", "tolerations[0] is an object with key, operator, value, effect"),
        ({"tolerations": [{}, {"effects": "x"}]}, "tolerations[0].key", "tolerates everything: say so"),
        ({"tolerations": [{"key": "a", "efect": "x"}]}, "tolerations[0]", "tolerations[0] has no 'efect'."),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, "tolerations[0].effect", "is NoSchedule, Prefer"),
        ({"tolerations": [{"key": "a", "operator": "In"}]}, "tolerations[0].operator", "is Exists or Equal."),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "tolerations[0].value", "no value"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}, "tolerations[0].tolerationSeconds", "NoExecute"),
        ({"tolerations": [{"key": "a"}] * 51}, "tolerations", "at most 50 items"),
        ({"affinity": {"nodeAfinity": {}}}, "affinity", "has no 'nodeAfinity'"),
        ({"affinity": {"nodeAffinity": {REQUIRED: {}}}}, TERMS, "needs at least one term"),
        (term(), f"{TERMS}[0]", "matches no node"),
        (term({"key": "a"}), f"{RULE}.operator", "needs an operator: In, NotIn, Exists, DoesNotExist, Gt, Lt."),
        (term({"key": "a", "operator": "In"}), f"{RULE}.values", "Operator In needs values."),
        (term({"key": "a", "operator": "Exists", "values": ["b"]}), f"{RULE}.values", "there are no values"),
        (term({"key": "a", "operator": "In", "values": [1]}), f"{RULE}.values", "a list of values of a label"),
        (term({"key": "a", "operator": "Gt", "values": ["x"]}), f"{RULE}.values", "one whole number in quotes"),
        (term({"key": "a", "operator": "Gt", "values": ["1", "2"]}), f"{RULE}.values", "takes one value"),
        (term({"key": "", "operator": "Exists"}), f"{RULE}.key", "the name of a label"),
        (
            {"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 0, "preference": {}}]}}},
            f"affinity.nodeAffinity.{PREFERRED}[0].weight",
            "from 1 to 100",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": {}, "topologyKey": "zone"}]}}},
            f"affinity.podAffinity.{REQUIRED}[0].labelSelector",
            "Which pods?",
        ),
        (
            {"affinity": {"podAffinity": {REQUIRED: [{"labelSelector": {"matchLabels": {"a": "b"}}}]}}},
            f"affinity.podAffinity.{REQUIRED}[0].topologyKey",
            "the name of a label of nodes",
        ),
        ({"topology_spread": [{}]}, "topology_spread[0].topologyKey", "the name of a label of nodes"),
        ({"topology_spread": [{"topologyKey": "a", "maxSkew": 0}]}, "topology_spread[0].maxSkew", "from 1 to 1000"),
        ({"topology_spread": [{"topologyKey": "a"}] * 2}, "topology_spread[1].topologyKey", "Two constraints are Sche"),
        ({"topology_spread": [{"topologyKey": "a", "whenUnsatisfiable": "x"}]}, "topology_spread[0].whenUnsatisfiable",
         "is DoNotSchedule or ScheduleAnyway."),
        ({"topology_spread": [{"topologyKey": "a", "minDomains": 2}]}, "topology_spread[0].minDomains", "goes with Do"),
        ({"topology_spread": [{"topologyKey": "a", "labelSelector": {}}]}, "topology_spread[0]", "no 'labelSelector'"),
        ({"priority_class": "High"}, "priority_class", "can't be"),
        ({"secret_env": ["A"]}, "secret_env", "is an object of at most 100 variables"),
        ({"secret_env": {"1A": {}}}, "secret_env", "'1A' can't be"),
        ({"secret_env": {"A": "s3/key"}}, "secret_env.A", "is an object with secretName, key and optional."),
        ({"secret_env": {"A": {"secretName": "s3"}}}, "secret_env.A.key", "a key of the Secret"),
        ({"secret_env": {"A": {"secretName": "run-7", "key": "token"}}}, "secret_env.A.secretName", "Flotilla's own"),
        ({"image_pull_secrets": ["Registry"]}, "image_pull_secrets[0]", "can't be"),
        ({"image_pull_secrets": [{"nam": "x"}]}, "image_pull_secrets[0]", "has no 'nam'"),
        ({"image_pull_secrets": "registry"}, "image_pull_secrets", "is a list"),
        ({"image_pull_policy": "Sometimes"}, "image_pull_policy", "is Always, IfNotPresent or Never."),
        (volume(), "volumes[0]", "A volume is one of emptyDir, persistentVolumeClaim, configMap or secret."),
        (volume(emptyDir={}, secret={"secretName": "x"}), "volumes[0]", "A volume is one of"),
        (volume(hostPath={"path": "/"}), "volumes[0].hostPath", "it would open the node's own files."),
        (volume(projected={"sources": []}), "volumes[0].projected", "a token of the cluster"),
        (volume(nfs={"server": "x"}), "volumes[0]", "has no 'nfs'"),
        (volume(emptyDir={"sizeLimit": "512m"}), "volumes[0].emptyDir.sizeLimit", "512m is less than 1 MiB."),
        (volume(emptyDir={"sizeLimit": "much"}), "volumes[0].emptyDir.sizeLimit", "not a quantity"),
        (volume(emptyDir={"sizeLimit": "9Ei"}), "volumes[0].emptyDir.sizeLimit", "more than any volume"),
        (volume(emptyDir={"medium": "HugePages"}), "volumes[0].emptyDir.medium", "is Memory."),
        (volume(emptyDir=[]), "volumes[0].emptyDir", "is an object with"),
        (volume(secret={"secretName": "run-7"}), "volumes[0].secret.secretName", "Secret run-7 is Flotilla's own"),
        (volume(secret={"secretName": "run-7-2"}), "volumes[0].secret.secretName", "is Flotilla's own"),
        (volume(secret={"secretName": "a-model-access"}), "volumes[0].secret.secretName", "is Flotilla's own"),
        ({"image_pull_secrets": ["run-7"]}, "image_pull_secrets[0]", "is Flotilla's own"),
        (volume(secret={"secretName": "x", "defaultMode": 512}), "volumes[0].secret.defaultMode", "from 0 to 511"),
        (volume(configMap={}), "volumes[0].configMap.name", "the name of a ConfigMap"),
        (
            volume(configMap={"name": "x", "items": [{"key": "a", "path": "../b"}]}),
            "volumes[0].configMap.items[0].path",
            "a path within the volume",
        ),
        (volume(persistentVolumeClaim={"claimName": "A"}), "volumes[0].persistentVolumeClaim.claimName", "can't be"),
        (volume(emptyDir={}, readOnly="yes"), "volumes[0].readOnly", "is true or false"),
        (volume(emptyDir={}, subPath="/etc"), "volumes[0].subPath", "a path within the volume"),
        (volume(emptyDir={}, mountPath="data"), "volumes[0].mountPath", "an absolute path"),
        (volume(emptyDir={}, mountPath="/a/../b"), "volumes[0].mountPath", "an absolute path"),
        (volume(emptyDir={}, mountPath="/a:b"), "volumes[0].mountPath", "an absolute path"),
        (volume(emptyDir={}, mountPath="//"), "volumes[0].mountPath", "Nothing may be mounted over //."),
        (volume(emptyDir={}, mountPath="/proc/1/"), "volumes[0].mountPath", "Nothing may be mounted over"),
        (volume(emptyDir={}, name="Data"), "volumes[0].name", "can't be"),
        (
            {"volumes": [{"mountPath": "/a", "emptyDir": {}}, {"mountPath": "/a/", "emptyDir": {}}]},
            "volumes[1].mountPath",
            "Two volumes are mounted at /a/.",
        ),
        (
            {"volumes": [{"name": "a", "mountPath": f"/{n}", "emptyDir": {}} for n in "bc"]},
            "volumes[1].name",
            "Two volumes are named a.",
        ),
        (
            {"affinity": {"nodeAffinity": {PREFERRED: [
                {"weight": 1, "preference": {"matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["x" * 63] * 100}] * 20}}
            ] * 20}}},
            "affinity",
            "affinity is too long.",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_to_its_leaf(given_: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        podoptions.parse(given_)
    assert refused.value.field == field and says in refused.value.sentence


def _paths(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [path, *(deeper for key, value in pairs for deeper in _paths(value, (*path, key)))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(_paths(EVERYTHING)[1:]), value=JSON)
def test_anything_at_any_place_is_refused_or_read_again_as_it_was_stored(path: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(json.dumps(EVERYTHING))
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    try:
        stored = podoptions.parse(changed).to_json()
    except Invalid as refused:
        assert refused.field and refused.message.endswith((".", "?"))
    else:
        assert podoptions.parse(stored).to_json() == stored
