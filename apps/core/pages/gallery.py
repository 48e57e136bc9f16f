"""Sample data for the gallery: every component in each of its states. Nothing here is read by other pages."""

import math
from datetime import timedelta
from typing import Any

from django import forms
from django.utils import timezone

from apps.core.pages import charts
from apps.core.pages.overview import Attention, Capacity, Tile

WORDS = [
    *("Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown", "Pending", "Queued", "Running", "Ready"),
    *("Succeeded", "Finished", "Failed", "Canceled", "Killed", "Lost", "Unreachable", "Disabled", "Paused"),
    *("Superseded", "RolledBack", "CrashLoopBackOff", "OOMKilled", "Terminating"),
]


class SampleForm(forms.Form):
    """Shows the look of fields; it goes nowhere."""

    name = forms.CharField(help_text="Lower-case letters, digits and dashes.")
    replicas = forms.IntegerField(min_value=0, initial=3)
    strategy = forms.ChoiceField(choices=[("rolling", "rolling")], required=False)
    note = forms.CharField(widget=forms.Textarea(attrs={"rows": 2}), required=False)
    dry_run = forms.BooleanField(required=False, help_text="Only say what would happen.")


def context() -> dict[str, Any]:
    """The context of templates/core/gallery.html."""
    now = timezone.now()
    curve = [1.9 * math.exp(-i / 9) + 0.12 + 0.04 * math.sin(i) for i in range(60)]
    slow = [1.7 * math.exp(-i / 14) + 0.2 + 0.03 * math.cos(i * 1.3) for i in range(60)]
    return {
        "words": WORDS,
        "now": now,
        "minute_ago": now - timedelta(seconds=70),
        "hours_ago": now - timedelta(hours=3, minutes=12),
        "curve": curve,
        "tiles": _tiles(),
        "whys": _whys(),
        "pods": [_pod(i) for i in range(24)],
        "many_pods": [_pod(i) for i in range(130)],
        "steps": [
            {"label": "Start new", "note": "3 of 3 started", "state": "done"},
            {"label": "Ready", "note": "2 of 3 ready", "state": "current", "share": 66},
            {"label": "Shrink old", "note": "3 still serve", "state": "next"},
            {"label": "Settle", "note": "30 s", "state": "next"},
        ],
        "failed_steps": [
            {"label": "Start new", "note": "3 of 3 started", "state": "done"},
            {"label": "Ready", "note": "exit code 1", "state": "failed"},
            {"label": "Approval", "note": "owners", "state": "waiting", "share": 50},
        ],
        "figure": charts.lines(
            {"lr-0.1": (list(range(60)), curve), "lr-0.01": (list(range(60)), slow)}, x_title="epoch", limit=0.3
        ),
        "form": SampleForm({"name": "", "replicas": "-1"}),
        "log": "\n".join(f"2026-11-23T14:02:{i:02d}Z epoch {i} loss={v:.4f}" for i, v in enumerate(curve[:40])),
    }


def _tiles() -> list[Tile]:
    return [
        Tile("Clusters healthy", "5", "of 6", "Unreachable", "on-prem-2 unreachable for 4 min", url="#tiles"),
        Tile("GPUs in use", "41", "of 64", capacity=Capacity(33, 41, 64)),
        Tile("Runs", "7", "running · 3 queued", "Running", "oldest waits 6 min"),
        Tile("Replicas ready", "128", "of 131", note="nothing failed today"),
    ]


def _whys() -> list[Any]:
    now = timezone.now()
    evidence = [
        {"source": "kube-scheduler", "text": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "at": now},
        {"source": "Free nvidia.com/gpu", "text": "gpu-1 2 of 8, gpu-2 0 of 8"},
    ]
    return [
        Attention(
            "Failed",
            "run digits-bad-lr failed",
            "ValueError: learning rate must be positive (exit code 1 after 3 s).",
            "run failed",
            "#why",
            now - timedelta(minutes=2),
        ),
        {
            "state": "Unschedulable",
            "title": "run bert-large-7 is waiting",
            "why": "Waiting: no node has 4 free nvidia.com/gpu; the largest gap is 2 on gpu-1.",
            "next_step": "Ask for at most 2 nvidia.com/gpu, or wait for run-17 to end.",
            "evidence": evidence,
            "url": "#why",
            "at": now - timedelta(minutes=6),
        },
        Attention("Unreachable", "on-prem-2 cannot be reached", "TLS handshake timed out.", "cluster unreachable"),
    ]


def _pod(index: int) -> dict[str, Any]:
    state = {7: "Progressing", 11: "CrashLoopBackOff", 17: "Pending", 19: "Missing"}.get(index % 40, "Healthy")
    return {"name": f"digits-r2-{index:04x}", "state": state, "url": "#pods", "young": index % 40 in (6, 7)}
