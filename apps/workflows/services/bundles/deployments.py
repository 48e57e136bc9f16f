"""The deployments of a bundle: made, or changed where they differ. By the services that pages and REST call."""

from collections.abc import Mapping
from typing import Any

from apps.clusters.podoptions import NO_OPTIONS
from apps.core.access import Principal
from apps.core.models import Project
from apps.deployments import selectors
from apps.deployments import services as deploying
from apps.deployments.models import Deployment
from apps.deployments.states import DeploymentState
from apps.workflows.services.bundles.documents import Document

# Of the deployment; all else is a revision's.
PLACES = frozenset({"name", "project", "target", "targets", "anywhere"})
NUMBERS = frozenset({"replicas", "autoscaling", "spread", "schedule", "disruption_budget"})
# What takes an option of a revision away again.
EMPTY: Mapping[str, Any] = {
    **NO_OPTIONS.everything(),
    "command": [],
    "args": [],
    "env": {},
    "follow": False,
}


class Deployments:
    """What shall serve."""

    def seen(self, project: Project, name: str) -> dict[str, Any] | None:
        """What is wanted, and not what is observed."""
        row = _found(project, name)
        if row is None or row.state == DeploymentState.DELETING:
            return None
        counts = {place.target.name: place.desired_replicas for place in row.places}
        follows = row.following
        return {
            **(row.current.spec if row.current else {}),
            "strategy": row.strategy,
            "alias": row.alias,
            "follow": follows.alias if follows is not None else "",
            "targets": sorted(counts),
            "replicas": {} if row.spread else counts,
            "autoscaling": row.autoscaling,
            "spread": row.spread or {},
            "schedule": row.schedule,
            "disruption_budget": row.disruption_budget,
        }

    def put(self, principal: Principal, project: Project, document: Document, gone: frozenset[str]) -> None:
        """Make it, or change what differs. Raises FlotillaError where that is refused."""
        row = _found(project, document.name)
        if row is None:
            _create(principal, project, document)
            return
        _bring(principal, row, document)
        _count(principal, row, document, gone)
        changes = {key: document.values[key] for key in document.named - PLACES - NUMBERS}
        changes |= {key: EMPTY[key] for key in gone & EMPTY.keys()}
        deploying.deploy_revision(principal=principal, deployment=row, changes=changes)
        _take_off(principal, row, document)

    def remove(self, principal: Principal, project: Project, name: str) -> str:
        """Take it down."""
        row = _found(project, name)
        if row is not None:
            deploying.delete_deployment(principal=principal, deployment=row)
        return ""

    def revision(self, project: Project, name: str) -> int | None:
        """The number of the revision that shall serve."""
        row = _found(project, name)
        return row.current.number if row is not None and row.current is not None else None


def _found(project: Project, name: str) -> Deployment | None:
    return selectors.detailed(project=project, name=name).first()


def _create(principal: Principal, project: Project, document: Document) -> None:
    values = document.values
    spec = {key: value for key, value in values.items() if key not in PLACES | NUMBERS - {"disruption_budget"}}
    more = {key: values.get(key) for key in ("anywhere", "autoscaling", "spread", "schedule")}
    asked = deploying.NewDeployment(
        name=document.name, spec=spec, targets=values["targets"], replicas=values["replicas"], **more
    )
    deploying.create_deployment(principal=principal, project=project, asked=asked)


def _there(row: Deployment) -> set[str]:
    return {place.target.name for place in row.places}


def _bring(principal: Principal, row: Deployment, document: Document) -> None:
    """To the targets that it names and is not on."""
    for target in document.values["targets"]:
        if target not in _there(row):
            deploying.add_target(principal=principal, deployment=row, target=target)


def _take_off(principal: Principal, row: Deployment, document: Document) -> None:
    """From those that it names no more. Where any will do, it stays on those that were chosen."""
    wanted = document.values["targets"]
    for target in sorted(_there(row) - set(wanted)) if wanted else ():
        deploying.remove_target(principal=principal, deployment=row, target=target)


def _count(principal: Principal, row: Deployment, document: Document, gone: frozenset[str]) -> None:
    """Let it have the numbers of replicas that the document names. What excludes another goes first."""
    values, told = document.values, document.named | gone
    edit: dict[str, Any] = {"principal": principal, "deployment": row}
    wanted: Mapping[str, Any] = {key: values.get(key) for key in NUMBERS & told}
    if "autoscaling" in wanted and not wanted["autoscaling"] and row.autoscaling:
        deploying.stop_autoscaling(**edit)
    if "spread" in wanted and not wanted["spread"] and row.spread is not None:
        deploying.set_spread(**edit, spread=None)
    if "schedule" in wanted and row.schedule != (wanted["schedule"] or []):
        deploying.set_schedule(**edit, schedule=wanted["schedule"] or [])
    if wanted.get("autoscaling"):
        deploying.set_autoscaling(**edit, autoscaling=wanted["autoscaling"])
    if wanted.get("spread"):
        deploying.set_spread(**edit, spread=wanted["spread"])
    if "disruption_budget" in wanted:
        deploying.set_budget(**edit, budget=wanted["disruption_budget"] or None)
    fresh = selectors.detailed(pk=row.pk).get()
    count = values["replicas"] if "replicas" in document.named and not (fresh.autoscaling or fresh.spread) else None
    if count is not None and any(place.desired_replicas != count for place in fresh.places):
        deploying.scale(**edit, replicas=count)
