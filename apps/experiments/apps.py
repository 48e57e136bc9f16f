"""The Django app of experiments."""

from django.apps import AppConfig

from apps.core.text.numbers import BIGINT_DIGITS, whole


class ExperimentsConfig(AppConfig):
    """Configuration of `apps.experiments`."""

    name = "apps.experiments"
    label = "experiments"

    def ready(self) -> None:
        """Let what happens to a run's pod ask for its reconcile; give rows to the overview, counts and search."""
        from apps.clusters.manifests import RUN
        from apps.clusters.observed import owners
        from apps.clusters.observed.interests import on_state, route
        from apps.clusters.services import dependents
        from apps.clusters.usage import workloads
        from apps.core import holdings as belongings
        from apps.core import work
        from apps.experiments import holdings, reconcile, selectors
        from apps.experiments.pages import overview
        from apps.experiments.purging import rounds
        from apps.experiments.reconcile import following, kept
        from apps.experiments.services import bins
        from apps.experiments.services.placing import KIND
        from apps.experiments.tracking import packing

        def resolve(cluster_id: int, namespace: str, labels: dict[str, str]) -> list[tuple[str, int]]:
            pk = whole(labels[RUN], BIGINT_DIGITS)
            return [] if pk is None else [(KIND, pk)]

        work.register(KIND, reconcile.reconcile_run, resync=selectors.unsettled_launched)
        work.register(kept.KIND, kept.release, resync=kept.orphans)
        work.register(bins.KIND, rounds.purge_due, every=60.0)
        work.register("experiments-pack", packing.pack_due, every=60.0)
        route(RUN, resolve, topic="run", homes=selectors.clusters_of)
        on_state(following.follow_cluster)
        dependents.register(holdings.holdings, holdings.give_up)
        belongings.register(holdings.of_project, holdings.forget_project)
        owners.register(selectors.owner_of_pod)
        owners.tell_overran(selectors.overran)
        workloads.experiments(selectors.makers_of_runs)
        overview.connect()
