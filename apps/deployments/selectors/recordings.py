"""Reads of the requests that were kept of a deployment."""

from django.db.models import QuerySet

from apps.core.errors import Missing
from apps.deployments.models import Deployment, Recording


def recordings_of(of: Deployment) -> QuerySet[Recording]:
    """The requests that analyses of the deployment send again, the first one first."""
    return Recording.objects.filter(deployment=of).order_by("number")


def recording(of: Deployment, number: int) -> Recording:
    """One of them, without its body. Raises Missing."""
    found = recordings_of(of).filter(number=number).defer("body").first() if number < 2**31 else None
    if found is None:
        raise Missing(f"{of.name} has no recorded request {number}.")
    return found
