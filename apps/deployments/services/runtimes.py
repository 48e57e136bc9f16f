"""What runs a revision, where that is not Kubernetes alone: whether it is there on every target."""

from collections.abc import Iterable, Mapping
from typing import Any

from apps.clusters.connect.checks import engines_of, is_before, version_of
from apps.core.errors import Conflict, Invalid
from apps.deployments.manifests.kserve import ENGINE
from apps.deployments.models import Deployment, Target
from apps.deployments.specs import RevisionSpec

# The first version with the deployment mode `Standard` and the autoscaler class `none`.
SINCE = (0, 16)


def check_runtime(spec: RevisionSpec, targets: Iterable[Target], autoscaling: Mapping[str, Any] | None) -> None:
    """Raise Invalid for the first target whose cluster lacks what is to run the spec, and where an autoscaler is to say
    how many replicas it has."""
    if spec.kserve is None:
        return
    for target in targets:
        there = engines_of(target.cluster.check_report)
        # Where the last check could not ask, the first round tells.
        if there is not None and ENGINE not in there:
            raise Invalid(
                f"{target.cluster.name} has no KServe, which is to run it on {target.name}.",
                field="runtime.kserve",
                hint="Install KServe and check the cluster again, or leave the runtime out.",
            )
        version = version_of(target.cluster.check_report, ENGINE)
        if is_before(version, SINCE):
            raise Invalid(
                f"{target.cluster.name} has KServe {version}, which knows no Standard mode without an autoscaler.",
                field="runtime.kserve",
                hint=f"Upgrade it to {SINCE[0]}.{SINCE[1]} or later, and check the cluster again.",
            )
    if autoscaling:
        raise Invalid(
            "Flotilla autoscales no revision that KServe runs.",
            field="runtime.kserve",
            hint="Turn autoscaling off, or leave the runtime out.",
        )


def refuse_by_kserve(deployment: Deployment) -> None:
    """Raises Conflict where KServe runs a revision of a held deployment that serves or comes: it has the number from
    us, and leaves none to an autoscaler."""
    rows = [deployment.current, *(row for place in deployment.places for row in (place.stable, place.coming))]
    if any("kserve" in (row.spec.get("runtime") or {}) for row in rows if row is not None):
        raise Conflict(
            f"KServe runs {deployment.name}: Flotilla autoscales no revision that KServe runs.",
            hint="Say how many replicas there are, or by a schedule; or roll out a revision without KServe first.",
            field="autoscaling",
        )
