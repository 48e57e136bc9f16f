"""The Django app of deployments."""

from django.apps import AppConfig
from django.utils import timezone


class DeploymentsConfig(AppConfig):
    """Configuration of `apps.deployments`."""

    name = "apps.deployments"
    label = "deployments"

    def ready(self) -> None:
        """Let what happens to a deployment's objects ask for its reconcile; give rows to the overview."""
        from apps.clusters.manifests import DEPLOYMENT
        from apps.clusters.observed import owners
        from apps.clusters.observed.interests import on_state, route
        from apps.clusters.services import dependents
        from apps.clusters.usage import workloads
        from apps.core import holdings as belongings
        from apps.core import work
        from apps.deployments import holdings, selectors
        from apps.deployments.pages import overview, serving
        from apps.deployments.reconcile import reconcile
        from apps.deployments.reconcile.following import follow
        from apps.deployments.reconcile.measuring import measure
        from apps.deployments.services import following, observing
        from apps.deployments.services.access import RENEW_BEFORE
        from apps.deployments.services.common import CLOCK, FOLLOW, KIND, PROBES
        from apps.deployments.services.rollouts import tick
        from apps.experiments.registry import moves, served, uses

        def resolve(cluster_id: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
            return [(KIND, pk) for pk in selectors.ids_by_labels(cluster_id, namespace, labels)]

        work.register(KIND, reconcile, resync=lambda: selectors.unsettled(timezone.now(), token_margin=RENEW_BEFORE))
        work.register(CLOCK, tick, resync=selectors.rolling)
        work.register(PROBES, measure, resync=selectors.probing)
        work.register(FOLLOW, follow, resync=selectors.left_behind)
        route(DEPLOYMENT, resolve, topic="deployment")
        on_state(observing.follow_cluster)
        dependents.register(holdings.holdings, holdings.give_up)
        belongings.register(holdings.of_project)
        owners.register(selectors.owner_of_pod)
        workloads.deployments(selectors.makers_by_name)
        uses.register(selectors.users_of_versions)
        served.register(serving.serving)
        moves.register(following.hear)
        overview.connect()
