"""Traces are deleted, for good."""

from collections.abc import Sequence

from django.db import transaction

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.states import Role
from apps.experiments.models import Experiment, Trace
from apps.experiments.tracking.traces import store

# Of one call: a client that wants more of them gone asks again.
MOST_AT_ONCE = 50_000


@transaction.atomic
def delete_traces(
    *,
    principal: Principal,
    experiment: Experiment,
    uids: Sequence[str] = (),
    until: int | None = None,
    most: int | None = None,
) -> int:
    """Delete traces of an experiment with these ids, else those that began by `until` (milliseconds), the oldest first.

    At most `most` of them, and 50,000. Returns how many. Needs the developer role.
    """
    require_role(principal, experiment.project, Role.DEVELOPER)
    rows = Trace.objects.filter(experiment=experiment)
    rows = rows.filter(uid__in=uids) if uids else rows.filter(began__lte=until)
    pks = list(rows.order_by("began", "uid").values_list("pk", flat=True)[: min(most or MOST_AT_ONCE, MOST_AT_ONCE)])
    if not pks:
        return 0
    gone = store.delete(pks)
    audit.record(
        principal=principal,
        action="trace.delete",
        obj=experiment,
        project=experiment.project,
        after={"traces": gone},
    )
    return gone
