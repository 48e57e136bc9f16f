"""From the observations of a run to the state of its attempt, and to what follows for the run. Pure.

`sight` reads a Job and its pods, `attempts` decides about one attempt, `causes` says why one ended, `runs` says what
the run is, and `retries` whether it is tried again.
"""

from apps.experiments.decision.attempts import Act, Decision, Facts, decide
from apps.experiments.decision.causes import DEADLINE, NO_SANDBOX, NODE_LOST, START_ERRORS, cause_of
from apps.experiments.decision.facts import AttemptFacts, RunFacts
from apps.experiments.decision.nodekinds import NodeKind, kind_of_node
from apps.experiments.decision.runs import Standing, standing
from apps.experiments.decision.sight import (
    FAILING,
    SUCCEEDING,
    WAITING_FOR,
    JobSeen,
    Object,
    PodSeen,
    index_of,
    is_being_made,
    node_of,
    remembered,
    see,
)

__all__ = [
    "DEADLINE",
    "FAILING",
    "NODE_LOST",
    "NO_SANDBOX",
    "START_ERRORS",
    "SUCCEEDING",
    "WAITING_FOR",
    "Act",
    "AttemptFacts",
    "Decision",
    "Facts",
    "JobSeen",
    "NodeKind",
    "Object",
    "PodSeen",
    "RunFacts",
    "Standing",
    "cause_of",
    "decide",
    "index_of",
    "is_being_made",
    "kind_of_node",
    "node_of",
    "remembered",
    "see",
    "standing",
]
