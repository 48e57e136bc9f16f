"""The Django app of clusters."""

from django.apps import AppConfig


class ClustersConfig(AppConfig):
    """Configuration of `apps.clusters`."""

    name = "apps.clusters"
    label = "clusters"

    def ready(self) -> None:
        """Give rows to the overview, counts to the rail and answers to the search; check what changes its state."""
        from apps.clusters import reconcile
        from apps.clusters.observed import interests, owners
        from apps.clusters.pages import overview
        from apps.clusters.selectors import jobs
        from apps.clusters.services import checking, holdings, reaching
        from apps.clusters.services.asking import CHECK
        from apps.clusters.usage import rollup
        from apps.core import holdings as belongings
        from apps.core import work

        overview.connect()
        owners.tell_overran(jobs.overran)
        belongings.register(holdings.of_project)
        # A check from before the cluster was lost, or came back, says nothing of it now.
        interests.on_state(lambda cluster: work.ask(CHECK, cluster.pk, cluster=cluster.pk))
        work.register(CHECK, checking.check_now, lane=work.Lane.PERSON, resync=checking.unchecked)
        work.register(reaching.REACH, reaching.reach_round, lane=work.Lane.PERSON, resync=reaching.unanswered)
        work.register("usage", rollup.roll_up, every=60.0)
        work.register("clusters-tidy", reconcile.tidy, every=60.0)
