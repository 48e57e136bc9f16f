"""Deployments that follow an alias of the registry: turned on and off, told of moves, and let go by people's choices.

Locks are taken in the order deployment, model, version. The registry moves an alias with its model locked, and so
nothing moves between what is read here and what is stored.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import F
from django.utils import timezone

from apps.core import audit, work
from apps.core.access import Principal
from apps.core.database.rows import held as locked_row
from apps.core.database.rows import put
from apps.core.errors import Invalid
from apps.core.hints import hint
from apps.deployments.models import Deployment, Follow
from apps.deployments.services.common import FOLLOW, Wish
from apps.experiments.models import ModelAlias, RegisteredModel
from apps.experiments.registry.moves import Move


def hear(move: Move) -> None:
    """An alias moves, in the transaction that moves it: whoever follows it notes that, and is asked for."""
    rows = Follow.objects.filter(model=move.model, alias=move.alias).order_by("deployment")
    followers = list(rows.values_list("deployment", "deployment__project"))
    if not followers:
        return
    rows.order_by().update(
        version=move.version,
        moves=F("moves") + 1,
        refusal="",
        mover=move.principal.person_pk,
        mover_token=move.principal.token,
        moved_by=move.principal.label,
        moved_at=timezone.now(),
    )
    if move.version is not None:
        work.ask_many(FOLLOW, [(pk, None) for pk, _ in followers], first=True)
    for pk, project in followers:
        hint(f"deployment:{pk}", project)


def check_follows(asked: Mapping[str, Any]) -> None:
    """What is asked for names an alias of a model to `follow`. Raises Invalid."""
    if asked.get("version") not in (None, ""):
        said = "A version never moves: what is followed is an alias."
        raise Invalid(said, field="follow", hint="Name the alias instead of the version, or leave this out.")
    if not asked.get("alias"):
        raise Invalid("Which alias shall it follow?", field="follow", hint='Name one as alias, such as "champion".')
    if not asked.get("model"):
        raise Invalid("An alias is a model's: it serves none.", field="follow", hint="Name the model, too.")


def named(deployment: Deployment, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with all that `follow` among them asks for: model and alias, where it names none. Raises Invalid.

    What is followed is rolled out: whoever turns it on again after a choice of their own goes back to the alias.
    """
    if not changes.get("follow"):
        return dict(changes)
    row = deployment.following
    served = deployment.current.spec.get("model") if deployment.current else None
    model = changes.get("model") or (served["name"] if served else None)
    alias = changes.get("alias") or (row.alias if row is not None else "") or deployment.alias
    asked = {**changes, "model": model, "alias": alias}
    check_follows(asked)
    return asked


def freeze(deployment: Deployment, model: str = "") -> None:
    """Let no alias move of the model that a held deployment follows, or is to follow, until the transaction ends."""
    row = deployment.following
    rows = RegisteredModel.objects.filter(project=deployment.project, name=model) if model else None
    pks = set(rows.values_list("pk", flat=True)) if rows is not None else set()
    if row is not None and row.model_id is not None:
        pks.add(row.model_id)
    for found in RegisteredModel.objects.filter(pk__in=pks).order_by("pk"):
        locked_row(found)
    if row is not None:
        row.refresh_from_db()


def start(deployment: Deployment, wish: Wish, principal: Principal) -> bool:
    """Let a held deployment follow the alias of `wish`, which is being rolled out; its model is frozen. Returns whether
    that is new. Where the alias has moved since the wish was made, the deployment goes after it."""
    version, before = wish.version, deployment.following
    if version is None:
        raise Invalid("An alias is a model's: it serves none.", field="follow", hint="Name the model, too.")
    if before is not None and (before.model_id, before.alias) == (version.model_id, wish.alias):
        put(before, done=before.moves, refusal="")
        return False
    if before is not None:
        before.delete()
    now = ModelAlias.objects.filter(model=version.model_id, name=wish.alias).values_list("version__version", flat=True)
    points_to = now.first()
    is_late = points_to != version.version
    deployment.follow = Follow.objects.create(
        deployment=deployment,
        model_id=version.model_id,
        alias=wish.alias,
        version=points_to,
        moves=1,
        done=0 if is_late else 1,
        mover_id=principal.person_pk,
        mover_token=principal.token,
        created_by=principal.label,
    )
    if is_late and points_to is not None:
        work.ask(FOLLOW, deployment.pk, cluster=None, first=True)
    _audit(deployment, principal, before.alias if before is not None else "", wish.alias)
    return True


def stop(deployment: Deployment, principal: Principal) -> bool:
    """Let a held deployment follow nothing; returns whether it has followed anything."""
    row = deployment.following
    if row is None:
        return False
    row.delete()
    _audit(deployment, principal, row.alias, "")
    return True


def chosen(deployment: Deployment, model: int | None, principal: Principal) -> None:
    """Somebody has chosen what a held deployment serves: that stays until the alias moves again.

    Where it is another model, or none, nothing is left to follow.
    """
    row = deployment.following
    if row is None:
        return
    if model != row.model_id:
        stop(deployment, principal)
    elif (row.done, row.refusal) != (row.moves, ""):
        put(row, done=row.moves, refusal="")


def _audit(deployment: Deployment, principal: Principal, before: str, after: str) -> None:
    audit.record(
        principal=principal,
        action="deployment.follow",
        obj=deployment,
        project=deployment.project,
        before={"follow": before},
        after={"follow": after},
    )
