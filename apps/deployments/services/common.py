"""What every write of a deployment needs: the locked row, the checked wish, the next revision, the announcement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, F, When
from django.db.models.functions import Now
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.clusters.services import is_away
from apps.core import work
from apps.core.access import Principal
from apps.core.database import prepared
from apps.core.database.rows import Expect, held, put
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Health
from apps.core.text.subjects import about
from apps.deployments import manifests
from apps.deployments.models import Deployment, Placement, Revision, Target
from apps.deployments.models.observed import Observed
from apps.deployments.rollout.gateway import Gateway, parse_gateway
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.selectors.placements import with_places
from apps.deployments.services.server import with_image
from apps.deployments.specs import RevisionSpec, parse_revision
from apps.deployments.states import DeploymentState
from apps.experiments.models import ModelVersion
from apps.experiments.selectors import model_version

KIND = "placement"
"""The kind of work that bringing about one placement is: its rounds call the placement's cluster."""
PROBES = "analysis"
"""The kind of work that a look of an analysis is which asks somebody: replicas, say."""
CLOCK = "deployment"
"""The kind of work that moving a rollout on is when only time has passed: its rounds call no cluster."""
FOLLOW = "follow"
"""The kind of work that rolling out is what a followed alias points to: its rounds call no cluster."""


def identity_of(placement: Placement) -> manifests.Identity:
    """The identity that the names and labels of the placement's objects follow from."""
    deployment = placement.deployment
    return manifests.Identity(deployment.project.name, deployment.name, placement.target.namespace)


def gateway_of(target: Target) -> Gateway | None:
    """The Gateway to which routes of deployments on the target are attached, if it names one."""
    return parse_gateway(target.gateway)


def hostname_of(placement: Placement) -> str:
    """The hostname by which the target's Gateway takes requests for the deployment; "" where it names none."""
    deployment = placement.deployment
    return hostname_on(placement.target, deployment.project.name, deployment.name)


def hostname_on(target: Target, project: str, name: str) -> str:
    """The same for a deployment of this name in the target's project."""
    gateway = gateway_of(target)
    if gateway is None:
        return ""
    place = {"namespace": target.namespace, "environment": target.environment, "target": target.name}
    return gateway.hostname_of(deployment=name, project=project, **place)


@dataclass(frozen=True)
class Wish:
    """What shall run, and how to get there. `alias` is the one out of which the model version was resolved."""

    spec: RevisionSpec
    version: ModelVersion | None
    strategy: Strategy
    alias: str = ""

    @property
    def of_deployment(self) -> dict[str, Any]:
        """The fields that the deployment keeps; the rest becomes a revision."""
        return {"strategy": self.strategy.to_json(), "alias": self.alias}


def resolve(project: Project, spec: Mapping[str, Any], strategy: Strategy) -> Wish:
    """Check the spec and find its model version: `model` is a name, with `version` or `alias` beside it.

    What `spec` says of the strategy changes the given one.
    """
    rolls = parse_strategy(spec.get("strategy"), strategy)
    name = spec.get("model")
    if not name:
        return Wish(parse_revision({**spec, "model": None}), None, rolls)
    number, alias = spec.get("version"), str(spec.get("alias") or "")
    if number in (None, "") and not alias:
        raise Invalid("Which version of the model?", field="version", hint="Give a version or an alias.")
    version = model_version(project, str(name), alias if number in (None, "") else str(number))
    model = {"name": version.model.name, "version": version.version}
    return Wish(parse_revision({**with_image(spec, version), "model": model}), version, rolls, alias)


def once_more(revision: Revision, strategy: Strategy, alias: str = "") -> Wish:
    """What a revision asks for, asked for again: with the model's present name, and only while its version is there.

    Raises Conflict when the version was deleted since: a model that is called the same today is another one.
    """
    model, version = revision.spec.get("model"), revision.model_version
    if not model:
        return Wish(parse_revision(revision.spec), None, strategy, alias)
    if version is None:
        raise Conflict(
            f"Version {model['version']} of {model['name']}, which revision {revision.number} serves, was deleted: "
            "new replicas could not fetch it.",
            hint="Roll out another version.",
            field="revision",
        )
    named = {"name": version.model.name, "version": version.version}
    return Wish(parse_revision({**revision.spec, "model": named}), version, strategy, alias)


def hold(deployment: Deployment, expect: Expect | None = None) -> Deployment:
    """The row, locked, with what services need: its placements, too.

    Who changes a placement or a rollout holds their deployment. Raises Conflict when it is being deleted, and what
    `expect` raises about the row as it is under the lock.
    """
    row = locked(deployment.pk)
    if row is None or row.state != DeploymentState.ACTIVE:
        raise Conflict(f"{deployment.name} is being deleted.")
    if expect is not None:
        expect(row)
    return row


def locked(pk: int) -> Deployment | None:
    """The deployment with its placements, locked until the transaction ends; None when it is gone."""
    # Locked by a statement of its own: of a row that was waited for, a join gives nothing where `current` has changed.
    with prepared.cursor() as cursor:
        cursor.execute("SELECT id FROM deployments_deployment WHERE id = %s FOR NO KEY UPDATE", [pk])
    return with_places(pk)


def kept(deployment: Deployment) -> dict[str, Any]:
    """The fields that belong to the deployment and not to a revision, for the audit trail."""
    return {"strategy": deployment.strategy, "alias": deployment.alias}


def add_revision(
    deployment: Deployment, wish: Wish, principal: Principal, *, copied_from: int | None = None
) -> Revision:
    """Insert the next revision. The caller saves `last_revision` (`rollouts.begin` does)."""
    if wish.version is not None:
        # A deletion locks it too, then asks who serves it: it sees this revision, or we see that the version is gone.
        held(wish.version)
    deployment.last_revision += 1
    return Revision.objects.create(
        deployment=deployment,
        number=deployment.last_revision,
        spec=wish.spec.to_json(),
        digest=wish.spec.digest,
        alias=wish.alias,
        model_version=wish.version,
        copied_from=copied_from,
        created_by=principal.label,
    )


def first_words(cluster: Cluster) -> dict[str, Any]:
    """What is said of a placement until the first round: while the cluster is away there is none, and that is why."""
    if is_away(cluster):
        return {
            "health": Health.UNKNOWN,
            "reason": cluster.reason[:100],
            "message": about(cluster.name, f"{cluster.message} What was asked for follows when it is back."),
        }
    return {"health": Health.PROGRESSING, "reason": "Waiting", "message": "Waiting for the first round."}


def change_wanted(placement: Placement, **fields: Any) -> None:
    """Store another wish for a placement whose deployment is held, and ask for a round.

    From here until a round has seen it, nobody may take the old health for the new one.
    """
    first = first_words(placement.target.cluster)
    since = since_held(placement, first["health"])
    _want(placement, **fields, **first, refused={}, health_since=since)


def change_beside(placement: Placement, **fields: Any) -> None:
    """The same for a wish that leaves what serves where it is, such as another number of replicas.

    It fares as it was seen last: `generation` is ahead of `observed_generation` until a round has looked.
    """
    if placement.health == Health.SUSPENDED or is_away(placement.target.cluster):
        change_wanted(placement, **fields)
    else:
        _want(placement, **fields)


def _want(placement: Placement, **fields: Any) -> None:
    put(placement, **fields, generation=placement.generation + 1)
    work.ask(KIND, placement.pk, cluster=placement.target.cluster_id, first=True)


def since_it_is(health: Health) -> Case:
    """`health_since` for rows that get this health, as an expression: the time moves only where the health does."""
    return Case(When(health=health, then=F("health_since")), default=Now())


def since_held(row: Observed, health: Health) -> datetime:
    """The same as a time, for a row that is held."""
    return row.health_since if row.health == health else timezone.now()


def ask_all(deployment: Deployment) -> None:
    """Ask for a round for each of its placements."""
    work.ask_many(KIND, [(each.pk, each.target.cluster_id) for each in deployment.places], first=True)


def tell(deployment: Deployment) -> None:
    """After the commit, tell whoever shows the deployment."""
    for topic in (f"deployment:{deployment.pk}", "deployments", "overview"):
        hint(topic, deployment.project_id)
