"""Taints and tolerations: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""

from typing import Any

import pytest

from localcluster.taints import seconds_left_on, tolerates

TAINT = {"key": "key1", "value": "value1", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "matches"),
    [
        ({"key": "key1", "operator": "Equal", "value": "value1", "effect": "NoSchedule"}, True),
        ({"key": "key1", "operator": "Exists", "effect": "NoSchedule"}, True),
        # "The default value for operator is Equal."
        ({"key": "key1", "value": "value1", "effect": "NoSchedule"}, True),
        ({"key": "key1", "operator": "Equal", "value": "other", "effect": "NoSchedule"}, False),
        ({"key": "key2", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "key1", "operator": "Exists", "effect": "NoExecute"}, False),
        # "If the key is empty, then the operator must be Exists, which matches all keys and values."
        ({"operator": "Exists", "effect": "NoSchedule"}, True),
        # "An empty effect matches all effects with key key1."
        ({"key": "key1", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"value": "value1"}, False),
    ],
)
def test_what_a_toleration_matches(toleration: dict[str, Any], matches: bool) -> None:
    assert tolerates(toleration, TAINT) is matches


EVICTING = {"key": "key1", "value": "value1", "effect": "NoExecute"}
OTHER = {"key": "key2", "effect": "NoExecute"}
FOR_AN_HOUR = {**EVICTING, "operator": "Equal", "tolerationSeconds": 3600}


@pytest.mark.parametrize(
    ("taints", "tolerations", "left"),
    [
        # "Pods that do not tolerate the taint are evicted immediately."
        ([EVICTING], [], 0.0),
        ([EVICTING, OTHER], [FOR_AN_HOUR], 0.0),
        # "Pods that tolerate the taint without specifying tolerationSeconds remain bound forever."
        ([EVICTING], [{"key": "key1", "operator": "Exists"}], None),
        # "Pods that tolerate the taint with a specified tolerationSeconds remain bound for the specified amount."
        ([EVICTING], [FOR_AN_HOUR], 3600.0),
        ([EVICTING, OTHER], [FOR_AN_HOUR, {"key": "key2", "operator": "Exists", "tolerationSeconds": 20}], 20.0),
        ([TAINT], [], None),
        ([], [], None),
    ],
)
def test_how_long_a_pod_may_stay(taints: Any, tolerations: Any, left: float | None) -> None:
    assert seconds_left_on(taints, tolerations) == left
