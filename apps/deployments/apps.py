"""The Django app of deployments."""

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """Configuration of `apps.deployments`."""

    name = "apps.deployments"
    label = "deployments"

    def ready(self) -> None:
        """Let what happens to a deployment's objects wake its reconcile; give rows to the overview."""
        from apps.clusters import accounts, owners
        from apps.clusters.manifests import DEPLOYMENT
        from apps.clusters.routing import on_state, route
        from apps.clusters.usage import workloads
        from apps.deployments import holdings, overview, selectors

        def resolve(cluster_id: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
            return [("deployments.reconcile", pk) for pk in selectors.ids_by_labels(cluster_id, namespace, labels)]

        def on_cluster(cluster_id: int) -> list[tuple[str, int]]:
            return [("deployments.reconcile", pk) for pk in selectors.ids_on_cluster(cluster_id)]

        route(DEPLOYMENT, resolve, topic="deployment")
        on_state(on_cluster)
        accounts.register(holdings.holdings, holdings.give_up)
        owners.register(selectors.owner_of_pod)
        workloads.deployments(selectors.makers_by_name)
        overview.connect()
