"""The Django app of clusters."""

from django.apps import AppConfig


class ClustersConfig(AppConfig):
    """Configuration of `apps.clusters`."""

    name = "apps.clusters"
    label = "clusters"

    def ready(self) -> None:
        """Give rows to the overview, counts to the rail and answers to the search; check what changes its state."""
        from apps.clusters import overview, routing
        from apps.clusters.services.registration import CHECK

        overview.connect()
        # What was found before a cluster was lost, or came back, says nothing of it now.
        routing.on_state(lambda cluster_id: [(CHECK, cluster_id)])
