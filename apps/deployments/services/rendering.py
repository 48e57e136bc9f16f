"""The objects that a new deployment would have, for whoever asks first; and whether their names are free."""

import re
from typing import Any

from django.db.models import Q

from apps.core.errors import Conflict
from apps.core.models import Project
from apps.deployments import manifests, scaling
from apps.deployments.manifests import routes
from apps.deployments.models import Deployment, Target
from apps.deployments.rollout.traffic import TO_SERVICE
from apps.deployments.scaling.policy import Autoscaling
from apps.deployments.services.common import Wish, gateway_of, hostname_on
from apps.deployments.services.server import source_on

_OF_REVISION = re.compile(r"(?P<name>.+)-r\d+")


def first_objects(
    project: Project, name: str, target: Target, wish: Wish, replicas: int, policy: Autoscaling | None
) -> list[dict[str, Any]]:
    """The objects of a first revision on a target."""
    identity = manifests.Identity(project.name, name, target.namespace)
    manifest = manifests.workload(identity, 1, wish.spec, replicas, source=source_on(target.cluster))
    objects = [
        manifests.stamped(manifest, manifests.asked_of(identity, 1, wish.spec.digest)),
        manifests.stamped(manifests.service(identity), manifests.asked_of(identity, 1)),
    ]
    if policy is not None:
        scaler, asked = scaling.scaler(identity, 1, policy, policy.bounds)
        objects.append(manifests.stamped(scaler, asked))
    gateway = gateway_of(target)
    if gateway is not None:
        hostname = hostname_on(target, project.name, name)
        asked = routes.asked_for(identity, gateway, hostname, TO_SERVICE)
        objects.append(manifests.stamped(routes.http_route(identity, gateway, hostname, TO_SERVICE), asked))
    return objects


def check_names_of_objects(project: Project, name: str) -> None:
    """Check that no other deployment has this name for a Service, its preview's and its revisions' included.

    Raises Conflict.
    """
    match, suffix = _OF_REVISION.fullmatch(name), manifests.PREVIEW_SUFFIX
    names = {name.removesuffix(suffix), f"{name}{suffix}", match["name"] if match else name} - {name}
    clash = Q(name__in=names) | Q(name__regex=rf"^{re.escape(name)}-r[0-9]+$")
    other = Deployment.objects.filter(clash, project=project).order_by("name").first()
    if other is not None:
        short, long = sorted((other.name, name), key=len)
        is_preview = long == f"{short}{suffix}"
        said = f"The preview of {short} would be" if is_preview else f"The Service of a revision of {short} may be"
        raise Conflict(
            f"{said} called {long}. Another deployment can't have that name.", field="name", hint="Choose another name."
        )
