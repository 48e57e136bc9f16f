"""The deployments that serve model versions, for the pages of runs and models."""

from collections.abc import Collection

from apps.core.pages import nav
from apps.deployments import selectors
from apps.deployments.health import ready_text
from apps.experiments.registry.served import Serving


def serving(versions: Collection[int]) -> list[Serving]:
    """What serves each of these model versions now, or is about to."""
    return [
        Serving(
            version=version,
            name=deployment.name,
            state=deployment.health,
            note=ready_text(deployment.ready_replicas, deployment.wanted_replicas, deployment.health),
            url=nav.link("deployments:detail", deployment.project.name, deployment.name),
        )
        for version, deployment in selectors.served_versions(versions)
    ]
