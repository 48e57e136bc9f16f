"""The work to do: a queue in Postgres, in which each object stands once, as in controller-runtime's workqueue.

A service asks, in the transaction that changes the object, and knows a kind by its name only:

    work.ask("run", run.pk, cluster=run.cluster_id)

An app registers what a round of a kind is, in `AppConfig.ready`:

    work.register("run", reconcile_run, resync=unsettled)   # reconcile_run(pk) -> work.DONE, work.Again(30.0), …

A worker claims an object that is due, runs the round, and stores the outcome (`worker.py`). A service that asks during
a round gets another one. Nothing is ever sent twice, because nothing is sent: a message only says "look now"
(`bell.py`).

queue        the rows: ask, claim, finish, and free what a killed worker held
resync       finds objects that were left behind
gates        clusters that do not answer: closed, probed now and then, opened
contact      whether a round has called its cluster, and was answered
kinds        the function that runs a round, by kind
outcomes     the results of a round, and how long to wait after each. Pure
worker       threads that claim and run
steps        makes a Celery worker have such threads
bell         "look now", to workers that would look by themselves a second later
"""

from apps.core.work.gates import close, open_up
from apps.core.work.kinds import Lane, register
from apps.core.work.outcomes import DONE, Again, Away, Outcome, Retry
from apps.core.work.queue import ask, ask_many, forget

__all__ = [
    "DONE",
    "Again",
    "Away",
    "Lane",
    "Outcome",
    "Retry",
    "ask",
    "ask_many",
    "close",
    "forget",
    "open_up",
    "register",
]
