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
from apps.core import audit, work
from apps.core.access import Principal
from apps.core.database.rows import Expect, held, put
from apps.core.database.transitions import advance, log
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.states import Health
from apps.deployments import manifests
from apps.deployments.models import Deployment, Revision, Rollout
from apps.deployments.rollout.strategy import Strategy, parse_strategy
from apps.deployments.services.server import with_image
from apps.deployments.specs import RevisionSpec, parse_revision
from apps.deployments.states import ROLLOUT_MOVES, UNFINISHED, DeploymentState, RolloutState
from apps.experiments.models import ModelVersion
from apps.experiments.selectors import model_version

KIND = "deployment"
"""The kind of work that a deployment's reconcile is."""


def identity_of(deployment: Deployment) -> manifests.Identity:
    """The identity that the names and labels of the deployment's objects follow from."""
    return manifests.Identity(deployment.project.name, deployment.name, deployment.target.namespace)


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
    """The row, locked, with what services need.

    Raises Conflict when it is being deleted, and what `expect` raises about the row as it is under the lock.
    """
    rows = Deployment.objects.filter(pk=deployment.pk)
    # Locked by a statement of its own: of a row that was waited for, a join gives nothing where `current` has changed.
    list(rows.select_for_update().values_list("pk"))
    row = rows.select_related("project", "target__cluster", "current", "stable").first()
    if row is None or row.state != DeploymentState.ACTIVE:
        raise Conflict(f"{deployment.name} is being deleted.")
    if expect is not None:
        expect(row)
    return row


def roll(
    deployment: Deployment,
    wish: Wish,
    principal: Principal,
    *,
    action: str,
    copied_from: int | None = None,
) -> Revision:
    """Add a revision and start its rollout, with an audit row under `action`."""
    now = deployment.current
    before = {"revision": now.number, "spec": now.spec} | kept(deployment) if now else None
    revision = add_revision(deployment, wish, principal, copied_from=copied_from)
    start_rollout(deployment, revision, principal, **wish.of_deployment)
    after = {"revision": revision.number, "spec": revision.spec} | kept(deployment)
    if copied_from is not None:
        after["copied_from"] = copied_from
    audit.record(
        principal=principal,
        action=action,
        obj=deployment,
        project=deployment.project,
        before=before,
        after=after,
    )
    announce(deployment)
    return revision


def kept(deployment: Deployment) -> dict[str, Any]:
    """The fields that belong to the deployment and not to a revision, for the audit trail."""
    return {"strategy": deployment.strategy, "alias": deployment.alias}


def add_revision(
    deployment: Deployment, wish: Wish, principal: Principal, *, copied_from: int | None = None
) -> Revision:
    """Insert the next revision. The caller saves `last_revision` (`start_rollout` does)."""
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


def start_rollout(deployment: Deployment, revision: Revision, principal: Principal, **kept_too: Any) -> Rollout:
    """Make `revision` the wanted one; a rollout that is still under way is superseded. Keywords are columns to set."""
    why = f"Revision {revision.number} was deployed meanwhile."
    end_unfinished(deployment, RolloutState.SUPERSEDED, why, principal)
    rollout = Rollout.objects.create(
        deployment=deployment,
        from_revision=deployment.stable or deployment.current,
        to_revision=revision,
        state=RolloutState.PENDING,
        reason="Waiting",
        message="Waiting for the first round.",
        created_by=principal.label,
    )
    log(rollout, from_state="", to_state=rollout.state, actor=principal.label)
    change_wanted(deployment, current=revision, last_revision=deployment.last_revision, **kept_too)
    return rollout


def first_words(cluster: Cluster) -> dict[str, Any]:
    """What is said of a deployment until the first round: while the cluster is away there is none, and that is why."""
    if is_away(cluster):
        return {
            "health": Health.UNKNOWN,
            "reason": cluster.reason[:100],
            "message": f"{cluster.name}: {cluster.message} What was asked for follows when it is back.",
        }
    return {"health": Health.PROGRESSING, "reason": "Waiting", "message": "Waiting for the first round."}


def change_wanted(deployment: Deployment, **fields: Any) -> None:
    """Store another wish for a deployment that is held.

    From here until a round has seen it, nobody may take the old health for the new one.
    """
    first = first_words(deployment.target.cluster)
    since = since_held(deployment, first["health"])
    put(deployment, **fields, **first, health_since=since, generation=deployment.generation + 1)


def end_unfinished(deployment: Deployment, to: RolloutState, message: str, principal: Principal) -> None:
    """End the rollout that is under way, if there is one, as superseded or canceled."""
    for rollout in Rollout.objects.select_for_update().filter(deployment=deployment, state__in=UNFINISHED):
        advance(
            rollout,
            to=to,
            allowed=ROLLOUT_MOVES,
            reason=to.value,
            message=message,
            actor=principal.label,
            ended_at=timezone.now(),
        )
        # `reason` and `message` of `advance` belong to the transition; the row shows them too.
        Rollout.objects.filter(pk=rollout.pk).update(reason=to.value, message=message)


def since_it_is(health: Health) -> Case:
    """`health_since` for rows that get this health, as an expression: the time moves only where the health does."""
    return Case(When(health=health, then=F("health_since")), default=Now())


def since_held(deployment: Deployment, health: Health) -> datetime:
    """The same as a time, for a row that is held."""
    return deployment.health_since if deployment.health == health else timezone.now()


def announce(deployment: Deployment) -> None:
    """Ask for the reconcile, and after the commit tell whoever shows the deployment."""
    work.ask(KIND, deployment.pk, cluster=deployment.target.cluster_id, first=True)
    for topic in (f"deployment:{deployment.pk}", "deployments", "overview"):
        hint(topic, deployment.project_id)
