"""The users of model versions: the apps above name them here, before anything that they need is taken away.

A stored reference is checked when it is used, too: a person may take the version away all the same.
"""

from collections.abc import Callable, Collection

from django.db.models import QuerySet

from apps.clusters.quantities.words import listed
from apps.core.errors import Conflict
from apps.experiments.files.artifacts import Owner
from apps.experiments.models import ModelVersion, Run

Told = Callable[[Collection[int]], list[str]]
"""(keys of model versions) → the servers of any of them, in words: "deployment digits (3 of 3 replicas ready)"."""

NAMES_SHOWN = 5
_tellers: list[Told] = []


class InUse(Conflict):
    """Somebody needs it now."""

    title = "In use"


def register(teller: Told) -> None:
    """Let `teller` say which of its things serve a model version."""
    if teller not in _tellers:
        _tellers.append(teller)


def check_unused(versions: QuerySet[ModelVersion], what: str, *, may_force: bool) -> None:
    """Raise InUse when one of these versions is being served. `what` names the refused act, for the sentence.

    Locks the versions. A service that begins to serve one locks it, too, so that none does between this and the act.
    """
    keys = list(versions.order_by("pk").select_for_update(of=("self",), no_key=True).values_list("pk", flat=True))
    users = [name for teller in _tellers for name in teller(keys)] if keys else []
    if not users:
        return
    need = f"{listed(users, NAMES_SHOWN)} {'needs' if len(users) == 1 else 'need'}"
    force = ", or delete it by Flotilla's REST API with ?force=true" if may_force else ""
    raise InUse(
        f"{what}, which {need}: a replica that starts again could not fetch it.",
        hint=f"Roll out another version or delete the deployment first{force}.",
    )


def check_files_unused(owner: Owner, path: str) -> None:
    """The same for the files of a run or a logged model at or below `path`."""
    if isinstance(owner, Run):
        versions = ModelVersion.objects.filter(run=owner, logged_model=None)
    else:
        versions = ModelVersion.objects.filter(logged_model=owner)
    there = [
        pk
        for pk, folder in versions.values_list("pk", "artifact_path")
        if not folder or f"{path}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{path}/")
    ]
    check_unused(ModelVersion.objects.filter(pk__in=there), f"These are files of {owner}", may_force=False)
