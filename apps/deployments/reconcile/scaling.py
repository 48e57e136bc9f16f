"""Who else than Flotilla says how many replicas a placement has."""

from typing import Any

from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import Forbidden
from apps.deployments.drift.ownership import AUTOSCALER, counted_by
from apps.deployments.models import AN_AUTOSCALER, THE_AUTOSCALER, Placement

Object = dict[str, Any]


def scaler_of(client: KubeClient, placement: Placement, workload: Object | None) -> str:
    """The name, for a sentence, of whatever decides how many replicas there are; "" when we do.

    What somebody else's field manager holds is theirs, until a person asks us for a number; an autoscaler's it stays.
    """
    manager = counted_by(workload) if workload is not None else ""
    if workload is None or not manager:
        return ""
    if manager == AUTOSCALER:
        return _autoscaler_of(client, workload)
    return "" if placement.scale_asked else manager[:120]


def _autoscaler_of(client: KubeClient, workload: Object) -> str:
    """The HorizontalPodAutoscaler of this workload, if it is there still: one that was deleted decides no longer.

    Looking at autoscalers is an optional permission: without it, the one that wrote the number is taken to be there.
    """
    namespace, name = workload["metadata"]["namespace"], workload["metadata"]["name"]
    try:
        scalers = client.list("autoscaling/v2", "HorizontalPodAutoscaler", namespace)
    except Forbidden:
        return AN_AUTOSCALER
    for autoscaler in scalers:
        target = autoscaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == ("Deployment", name):
            return f"{THE_AUTOSCALER}{autoscaler['metadata']['name']}"
    return ""
