"""Who says how many replicas there are: an autoscaler by the deployment's policy, or people."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction

from apps.clusters.connect.checks import engines_of
from apps.core.access import Principal, require_role
from apps.core.database.rows import Expect
from apps.core.errors import Conflict, Invalid
from apps.core.states import Role
from apps.deployments.models import Deployment, Placement, Target
from apps.deployments.scaling.policy import CUSTOM_METRICS, KEDA, Autoscaling, parse_autoscaling
from apps.deployments.scaling.schedule import check_slots, stored_schedule
from apps.deployments.selectors.loads import most_of
from apps.deployments.services.common import hold
from apps.deployments.services.policies import as_they_are, check, check_sizes, resized
from apps.deployments.services.runtimes import refuse_by_kserve
from apps.deployments.services.wanting import want

# Of each engine that a policy may need: the field that needs it, what a cluster without it lacks, and what to do.
_LACKS = {
    CUSTOM_METRICS: (
        "requests_per_replica",
        "knows no requests of pods: it serves no custom metrics.",
        "Install prometheus-adapter, or another server of custom.metrics.k8s.io, and check the cluster again; or scale "
        "by cpu_percent.",
    ),
    KEDA: (
        "triggers",
        "has no KEDA, which scales to zero and by triggers.",
        "Install KEDA and check the cluster again; or leave the triggers out, with min 1 or a schedule that sleeps.",
    ),
}


def set_autoscaling(
    *, principal: Principal, deployment: Deployment, autoscaling: Mapping[str, Any], expect: Expect | None = None
) -> Deployment:
    """Let an autoscaler say how many replicas there are on each target; restarts nothing. Needs the developer role.

    Raises Invalid about the policy, and where a cluster lacks what it needs; Conflict where replicas are spread over
    the targets.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        if held.spread is not None:
            raise Conflict(
                f"The replicas of {held.name} are spread over its targets: nobody else says how many.",
                hint="End the spread first, so that each target has a number of its own.",
            )
        refuse_by_kserve(held)
        policy = parse_autoscaling(autoscaling)
        check_slots(stored_schedule(held.schedule), policy)
        check_engines(policy, [place.target for place in held.places])
        spec = held.current.spec if held.current else {}
        most = most_of(held.schedule, policy.to_json(), policy.bounds.most)
        asks = [resized(place, most, spec, spec) for place in held.places]
        check_sizes(principal, held, asks)
        if held.autoscaling != policy.to_json():
            want(held, principal, "autoscaling", policy.to_json(), lambda place: {})
    return held


def stop_autoscaling(*, principal: Principal, deployment: Deployment, expect: Expect | None = None) -> Deployment:
    """Let people say again how many replicas there are: as many as there are now, until somebody scales.

    Needs the developer role. Doing it again is harmless.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    with transaction.atomic():
        held = hold(deployment, expect)
        check(principal, held.project, as_they_are(held.places))
        if held.autoscaling:
            want(held, principal, "autoscaling", {}, _kept)
    return held


def refuse_scaled(deployment: Deployment) -> None:
    """Raises Conflict where an autoscaler of ours says how many replicas there are: a number would not last."""
    if not deployment.autoscaling:
        return
    bounds = deployment.autoscaling
    raise Conflict(
        f"{deployment.name} is autoscaled, from {bounds['min']} to {bounds['max']} replicas on each target.",
        hint="Change these bounds, or turn autoscaling off first.",
    )


def check_engines(policy: Autoscaling | None, targets: Iterable[Target]) -> None:
    """Raises Invalid for the first target whose cluster lacks an engine that the policy needs."""
    if policy is None or not policy.needs:
        return
    for target in targets:
        there = engines_of(target.cluster.check_report)
        # Where the last check could not ask, the autoscaler itself tells what it lacks.
        lacks = next((engine for engine in policy.needs if there is not None and engine not in there), "")
        if lacks:
            field, what, hint = _LACKS[lacks]
            raise Invalid(f"{target.cluster.name} {what}", field=f"autoscaling.{field}", hint=hint)


def _kept(place: Placement) -> dict[str, Any]:
    """Without an autoscaler there are as many as there were with it: nobody asked for more or fewer. What sleeps keeps
    the number that it wakes up to."""
    stays = place.is_autoscaled and place.wanted_replicas
    return {"desired_replicas": place.wanted_replicas} if stays else {}
