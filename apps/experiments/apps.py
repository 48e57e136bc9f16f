"""The Django app of experiments."""

from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    """Configuration of `apps.experiments`."""

    name = "apps.experiments"
    label = "experiments"

    def ready(self) -> None:
        """Let what happens to a run's pod wake its reconcile; give rows to the overview, counts and search."""
        from apps.clusters import accounts, owners
        from apps.clusters.manifests import RUN
        from apps.clusters.routing import route
        from apps.clusters.usage import workloads
        from apps.experiments import holdings, overview, selectors
        from apps.experiments.services.launching import RECONCILE

        def resolve(cluster_id: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
            pk = labels[RUN]
            return [(RECONCILE, int(pk))] if pk.isascii() and pk.isdecimal() and len(pk) < 19 else []

        route(RUN, resolve, topic="run")
        accounts.register(holdings.holdings, holdings.give_up)
        owners.register(selectors.owner_of_pod)
        workloads.experiments(selectors.makers_of_runs)
        overview.connect()
