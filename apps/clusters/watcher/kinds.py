"""The kinds that are watched on each cluster. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WatchedKind:
    """One kind. Without an optional one a cluster is as well as ever: pages only say that it is not shown.

    Of an optional engine, which most clusters don't have, they say nothing: what needs the engine says so itself.
    """

    api_version: str
    kind: str
    optional: bool = False
    of_engine: bool = False


KINDS: tuple[WatchedKind, ...] = (
    WatchedKind("v1", "Node"),
    WatchedKind("v1", "Pod"),
    WatchedKind("v1", "Event"),
    WatchedKind("batch/v1", "Job"),
    WatchedKind("apps/v1", "Deployment"),
    WatchedKind("v1", "Service", optional=True),
    WatchedKind("autoscaling/v2", "HorizontalPodAutoscaler", optional=True),
    WatchedKind("keda.sh/v1alpha1", "ScaledObject", optional=True, of_engine=True),
    WatchedKind("serving.kserve.io/v1beta1", "InferenceService", optional=True, of_engine=True),
    WatchedKind("trainer.kubeflow.org/v1alpha1", "TrainJob", optional=True, of_engine=True),
)
