"""Strategies of every kind over the targets eu and us, with short waits."""

from typing import Any

STRATEGIES: list[dict[str, Any]] = [
    {"kind": "rolling"},
    {"kind": "recreate"},
    {"kind": "rolling", "on_failure": "rollback", "waves": [{"targets": ["us"], "soak_seconds": 5}]},
    {"kind": "canary", "steps": [{"set_weight": 20}, {"pause": {"seconds": 5}}, {"set_weight": 80}, {"pause": {}}]},
    {
        "kind": "canary",
        "steps": [{"set_weight": 50}, {"analyse": {"interval_seconds": 2, "count": 3}}],
        "waves": [{"targets": ["eu"], "soak_seconds": 5}, {"targets": ["us"]}],
    },
    {
        "kind": "canary",
        "steps": [{"set_weight": 50}, {"pause": {"seconds": 5}}],
        "waves": [{"targets": ["us"], "soak_seconds": 5}, {"targets": ["eu"]}],
        "analysis": {"interval_seconds": 2, "count": 2, "failure_limit": 1},
    },
    {"kind": "canary", "on_failure": "hold", "waves": [{"targets": ["us"]}]},
    {
        "kind": "canary",
        "steps": [{"set_weight": 50}, {"pause": {"seconds": 5}}],
        "waves": [
            {"targets": ["us"], "steps": [{"set_weight": 10}], "soak_seconds": 5},
            {"targets": ["us"]},
            {"targets": ["eu"], "steps": [{"analyse": {"interval_seconds": 2, "count": 2}}]},
        ],
    },
    {"kind": "blue_green", "auto_promote_seconds": 5, "waves": [{"targets": ["eu"]}, {"targets": ["us"]}]},
    {"kind": "shadow", "steps": [{"mirror": 20}, {"pause": {"seconds": 5}}, {"mirror": 100}, {"pause": {}}]},
    {
        "kind": "shadow",
        "steps": [{"mirror": 50}, {"analyse": {"interval_seconds": 2, "count": 2}}],
        "shadow_replicas": 1,
        "waves": [{"targets": ["eu"]}, {"targets": ["us"]}],
    },
    {
        "kind": "blue_green",
        "preview_replicas": 1,
        "steps": [{"analyse": {"interval_seconds": 2, "count": 2}}, {"switch": {}}, {"analyse": {"count": 1}}],
        "scale_down_delay_seconds": 0,
    },
]
