"""A request of the console that is kept, so that analyses send it again: what serves has to answer it first."""

from typing import Any, NamedTuple

from apps.core.access import Principal, require_role
from apps.core.states import Role
from apps.deployments.models import Deployment, Recording
from apps.deployments.predict import Prediction, encode, predict
from apps.deployments.services import record_request
from apps.deployments.services.recordings import body_to_record, check_room


class Kept(NamedTuple):
    """The answer, and the request as it is kept; `new` where it was not kept before."""

    prediction: Prediction
    recording: Recording
    new: bool


def keep(*, principal: Principal, deployment: Deployment, body: Any, name: str = "") -> Kept:
    """Ask the model, and keep the request when it has answered. Needs the developer role.

    Raises what `predict` raises, and Conflict where as many are kept as may be.
    """
    require_role(principal, deployment.project, Role.DEVELOPER)
    name = name.strip()
    encode(body)
    request = body_to_record(body)
    check_room(deployment, request, name)
    prediction = predict(principal=principal, deployment=deployment, body=body)
    kept = record_request(
        principal=principal, deployment=deployment, body=request, revision=prediction.revision, name=name
    )
    return Kept(prediction, *kept)
