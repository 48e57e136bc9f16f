"""A run with its attempts: read in two queries, written in one transaction."""

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.clusters.models import Cluster
from apps.clusters.selectors import unlisted
from apps.core.database import prepared, transitions
from apps.core.database.prepared import FindAll, FindOne
from apps.core.secrets.tokens import issue_token, restore_tokens, revoke_tokens
from apps.core.states import Role
from apps.experiments.decision import AttemptFacts, RunFacts, Standing, cause_of, standing
from apps.experiments.manifests import job_name
from apps.experiments.models import Attempt, Run, Tag
from apps.experiments.services.away import why_away
from apps.experiments.services.placing import room_was_made
from apps.experiments.specs import Retries, parse_retries
from apps.experiments.states import ENDED, LAUNCHED_MOVES, SETTLED, AttemptState, RunKind, RunState
from apps.experiments.tracking.pulse import run_changed
from apps.experiments.tracking.tags import COMMIT_TAG

logger = logging.getLogger(__name__)

MAX_REASON = 100
MAX_MESSAGE = 4000
# Without what only a cluster's own pages show.
_run = FindOne(
    Run,
    "id",
    related=("experiment", "experiment__project", "cluster"),
    without=("experiment__tags", "cluster__check_report", "cluster__streams"),
)
_attempts = FindAll(Attempt, "run", without=("log",), order_by=("number",))
_FACTS = ("number", "state", "reason", "message", "cause", "exit_code", "started_at", "ended_at")


@dataclass
class Case:
    """One launched run and its attempts by number."""

    run: Run
    attempts: list[Attempt]

    @property
    def last(self) -> Attempt | None:
        """The attempt that counts."""
        return self.attempts[-1] if self.attempts else None

    @property
    def retries(self) -> Retries:
        """The policy that was asked for."""
        return parse_retries(self.run.spec)

    @property
    def is_homeless(self) -> bool:
        """Whether it is on no cluster because none was chosen yet, not because its cluster was removed."""
        has_begun = self.last is not None and self.last.state not in ENDED
        return self.run.cluster_id is None and self.run.anywhere is not None and not has_begun

    @property
    def deadline_at(self) -> datetime | None:
        """When the run's time is over: counted from its first Job, or from where a queue let it begin, for all attempts
        together."""
        seconds = self.run.spec.get("deadline_seconds")
        if not seconds or not self.attempts or not self.attempts[0].job_uid:
            return None
        first = self.attempts[0]
        begun = first.started_at if self.run.spec.get("queue") else first.created_at
        return begun + timedelta(seconds=seconds) if begun is not None else None

    def standing(self, now: datetime, changes: Mapping[str, Any] | None = None) -> Standing:
        """The run's state, or the one that follows once the last attempt has these values."""
        facts = [AttemptFacts(**{name: getattr(each, name) for name in _FACTS}) for each in self.attempts]
        if changes and facts:
            facts[-1] = replace(facts[-1], **{name: changes[name] for name in _FACTS if name in changes})
        run = RunFacts(
            state=self.run.state,
            retries=self.retries,
            retry_at=self.run.retry_at,
            deadline_at=self.deadline_at,
            cluster_gone=self.run.cluster_id is None and not self.is_homeless,
        )
        return standing(run, facts, now, random.random())  # noqa: S311 - spreads load, guards nothing


def load(pk: int) -> Case | None:
    """The launched run of that id with its attempts, without their logs; None where there is none."""
    run = _run(pk)
    return Case(run, _attempts(pk)) if run is not None and run.kind == RunKind.LAUNCHED else None


def begin(case: Case, number: int, now: datetime) -> str:
    """Note the next attempt, before anything is made of it; the text of the run's token where it is the first.

    What another worker has noted raises IntegrityError: two can't begin the same attempt.
    """
    run = case.run
    with transaction.atomic():
        attempt = Attempt(
            run=run,
            number=number,
            cluster_id=run.cluster_id,
            namespace=run.namespace,
            job_name=job_name(run.pk, number),
            state=AttemptState.PENDING,
            created_at=now,
        )
        prepared.insert(attempt)
        text = new_token(run) if number == 1 else ""
        if run.retry_at is not None:
            Run.objects.filter(pk=run.pk, state=run.state).update(retry_at=None, reason="", message="")
            run.retry_at, run.reason, run.message = None, "", ""
            run_changed(run, "overview")
    case.attempts.append(attempt)
    return text


def new_token(run: Run) -> str:
    """The text of a new token that writes to this run alone."""
    project = run.experiment.project
    return issue_token(name=f"run {run.uid[:8]}", project=project, run_uid=run.uid, role=Role.DEVELOPER)[1]


def ending(state: AttemptState | None, reason: str, message: str) -> dict[str, Any]:
    """The columns that tell what an attempt is and why, shortened to what they hold."""
    fields: dict[str, Any] = {"reason": reason[:MAX_REASON], "message": message[:MAX_MESSAGE]}
    if state is not None:
        fields["state"] = state
    if state == AttemptState.FAILED:
        fields["cause"] = cause_of(reason, message)
    return fields


def record(case: Case, now: datetime, changes: Mapping[str, Any] | None = None, *, why: str = "") -> None:
    """Give the last attempt new values, and the run the state that follows from them, in one transaction.

    `why` is the reason in the history where it is another than the attempt's. If another process has moved the attempt
    meanwhile, that one wins.
    """
    last = case.last
    after = case.standing(now, changes)
    changed = {
        name: value
        for name, value in (changes or {}).items()
        # The log is deferred: to compare it would be to load it.
        if last is not None and (name == "log" or getattr(last, name) != value)
    }
    with transaction.atomic():
        if last is not None and changed:
            if not prepared.change(last, {"state": last.state}, changed):
                return
            for name, value in changed.items():
                setattr(last, name, value)
            _note_commit(case.run, changed.get("pods") or [])
        if _follow(case.run, after, why, now) or changed:
            _say_away(case.run)
            run_changed(case.run, "overview")


def _say_away(run: Run) -> None:
    """Where the cluster went away while it was asked, `following` has said so of the run: these words are late.

    Read after the run's row is written, which waits for who has said it.
    """
    if run.state in SETTLED or run.cluster_id is None:
        return
    reason, message = why_away(Cluster.objects.defer(*unlisted()).get(pk=run.cluster_id))
    if reason:
        Run.objects.filter(pk=run.pk).update(reason=reason, message=message)


def _note_commit(run: Run, pods: list[dict[str, Any]]) -> None:
    """Tag the run with the commit that was fetched for it, as MLflow's clients do for code in a git folder."""
    commit = next((pod["commit"] for pod in pods if pod.get("commit")), "")
    if commit:
        tag = Tag(run=run, experiment_id=run.experiment_id, key=COMMIT_TAG, value=commit)
        Tag.objects.bulk_create([tag], ignore_conflicts=True)


def _follow(run: Run, after: Standing, why: str, now: datetime) -> bool:
    """Let the run be what its attempts make of it; whether that changed anything. Tokens end and live with it."""
    words = {"reason": after.reason[:MAX_REASON], "message": after.message[:MAX_MESSAGE]}
    values = {name: getattr(after, name) for name in ("exit_code", "started_at", "ended_at", "retry_at")}
    before = run.state
    if after.state == before:
        if all(getattr(run, name) == value for name, value in {**words, **values}.items()):
            return False
        changed = Run.objects.filter(pk=run.pk, state=before).update(**words, **values, updated_at=now)
    else:
        lost_at = run.ended_at
        message, reason = words["message"], why or words["reason"]
        changed = transitions.advance(
            run,
            to=after.state,
            allowed=LAUNCHED_MOVES,
            reason=reason,
            message=message,
            columns={**words, **values, "updated_at": now},
        )
        if not changed:
            logger.info("run %s: %s → %s was not to be", run.pk, before, after.state)
            return False
        if after.state in SETTLED:
            revoke_tokens(run_uid=run.uid)
            room_was_made()
        elif before == RunState.LOST and lost_at is not None:
            restore_tokens(run_uid=run.uid, since=lost_at)
    for name, value in {**words, **values}.items():
        setattr(run, name, value)
    return bool(changed)


def note(run: Run, reason: str, message: str) -> None:
    """Say on the run why it does not go on; its state stays."""
    words = {"reason": reason[:MAX_REASON], "message": message[:MAX_MESSAGE]}
    if run.state in SETTLED or (run.reason, run.message) == tuple(words.values()):
        return
    Run.objects.filter(pk=run.pk, state=run.state).update(**words)
    run_changed(run, "overview")
