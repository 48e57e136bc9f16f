"""The round of a deployment that follows an alias: roll out what the alias points to now. It calls no cluster.

One transaction holds the whole round, so that being killed in it, and being asked for twice, change nothing.
"""

from django.db import transaction

from apps.core.access import require_alive
from apps.core.database.rows import put
from apps.core.errors import FlotillaError
from apps.core.work import DONE, Outcome, Retry
from apps.deployments.models import Deployment, Follow
from apps.deployments.services import deploy_revision, following
from apps.deployments.services.common import locked, tell
from apps.deployments.states import DeploymentState


def follow(pk: int) -> Outcome:
    """Roll out what the alias of one deployment points to, in the name of whoever moved it; a refusal is tried again.

    Nobody else's rights are used: who may move an alias need not be somebody who may deploy.
    """
    with transaction.atomic():
        deployment = locked(pk)
        if deployment is None or deployment.state != DeploymentState.ACTIVE or deployment.following is None:
            return DONE
        following.freeze(deployment)
        row = deployment.following
        if row.model is None or not row.course.is_due:
            return DONE
        try:
            with transaction.atomic():
                _roll_out(deployment, row)
        except FlotillaError as error:
            if row.refusal != error.sentence:
                put(row, refusal=row.course.refused(error.sentence).refusal)
                tell(deployment)
            return Retry(type(error).__name__)
        tell(deployment)
    return DONE


def _roll_out(deployment: Deployment, row: Follow) -> None:
    mover = row.last_mover
    require_alive(mover)
    deploy_revision(
        principal=mover,
        deployment=deployment,
        changes={"model": row.model.name if row.model else "", "alias": row.alias},
        because=f"{row.alias} moved to version {row.version}.",
    )
