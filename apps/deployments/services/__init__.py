"""Every write of deployments: one transaction with its audit row and what it asks for."""

from apps.deployments.services.approving import approve, reject
from apps.deployments.services.autoscaling import set_autoscaling, stop_autoscaling
from apps.deployments.services.common import identity_of
from apps.deployments.services.creating import NewDeployment, create_deployment, preview_choice, preview_deployment
from apps.deployments.services.deployments import delete_deployment, restore, scale, set_spread
from apps.deployments.services.disruption import set_budget
from apps.deployments.services.placing import add_target, preview_target, remove_target
from apps.deployments.services.policies import surges
from apps.deployments.services.recordings import forget_request, record_request
from apps.deployments.services.rehearsing import Rehearsal, rehearse
from apps.deployments.services.revisions import deploy_revision, preview_revision, restart, rollback, set_strategy
from apps.deployments.services.scheduling import set_schedule
from apps.deployments.services.sources import create_source, delete_source
from apps.deployments.services.steering import Stood, abort, pause, promote, resume
from apps.deployments.services.targets import create_target, delete_target, edit_target

__all__ = [
    "NewDeployment",
    "Rehearsal",
    "Stood",
    "abort",
    "add_target",
    "approve",
    "create_deployment",
    "create_source",
    "create_target",
    "delete_deployment",
    "delete_source",
    "delete_target",
    "deploy_revision",
    "edit_target",
    "forget_request",
    "identity_of",
    "pause",
    "preview_choice",
    "preview_deployment",
    "preview_revision",
    "preview_target",
    "promote",
    "record_request",
    "rehearse",
    "reject",
    "remove_target",
    "restart",
    "restore",
    "resume",
    "rollback",
    "scale",
    "set_autoscaling",
    "set_budget",
    "set_schedule",
    "set_spread",
    "set_strategy",
    "stop_autoscaling",
    "surges",
]
