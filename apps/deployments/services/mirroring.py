"""What a shadow needs of the targets that it goes to: a Gateway that copies requests."""

from collections.abc import Iterable

from apps.clusters.connect.checks import is_before, version_of
from apps.core.errors import Invalid
from apps.deployments.models import Target
from apps.deployments.rollout.gateway import ENGINE
from apps.deployments.rollout.strategy import Kind, Strategy

# The first version whose standard channel mirrors a share of the requests; an earlier one knows all of them or none.
SHARES_SINCE = (1, 3)


def check_mirror(strategy: Strategy, targets: Iterable[Target]) -> None:
    """Raise Invalid for the first of the targets on which a shadow could not be sent what its steps ask for."""
    if strategy.kind is not Kind.SHADOW:
        return
    for target in targets:
        if not target.gateway:
            raise Invalid(
                f"{target.name} names no Gateway, and it is a Gateway that mirrors requests to a shadow.",
                field="strategy.kind",
                hint="Let the target name one, or choose a canary or a blue-green.",
            )
        # What the last check of the cluster could not read the Gateway tells.
        version = version_of(target.cluster.check_report, ENGINE)
        if strategy.mirrors_shares and is_before(version, SHARES_SINCE):
            raise Invalid(
                f"{target.cluster.name} has the Gateway API {version}, which mirrors all requests or none.",
                field="strategy.steps",
                hint="Mirror 100 %, or upgrade it to 1.3 or later and check the cluster again.",
            )
