"""Why an attempt ended without success, out of the words that Kubernetes uses: one table. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions, the kubelet's admission and
eviction reasons (pkg/kubelet/lifecycle, pkg/kubelet/eviction) and the Job's own conditions.
"""

import re

from apps.clusters.why.ended import NEVER_RAN
from apps.experiments.states import Cause

# The pod's sandbox can't be made on its node. No container says so, only the pod's events do.
NO_SANDBOX = "FailedCreatePodSandBox"
# Reasons under which a container never starts unless somebody changes something.
START_ERRORS = frozenset(
    {
        NO_SANDBOX,
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
# Our own words for the end of a pod whose node is not ready any more, or for a run that can't be ended yet there.
NODE_LOST = "NodeLost"
NAME_TAKEN = "NameTaken"
DEADLINE = "DeadlineExceeded"
# The Job's reason where its rule about disrupted pods ended it: the only rule that we give it.
DISRUPTED = "PodFailurePolicy"

# Reasons of the pod's condition DisruptionTarget.
DISRUPTIONS = frozenset(
    {
        "PreemptionByScheduler",
        "DeletionByTaintManager",
        "EvictionByEvictionAPI",
        "DeletionByPodGC",
        "TerminationByKubelet",
    }
)
_TABLE: dict[str, Cause] = {
    **dict.fromkeys(DISRUPTIONS, Cause.INTERRUPTED),
    # The pod's own reason, where the kubelet or the node's controller ended it.
    **dict.fromkeys(
        (NODE_LOST, "Evicted", "Preempting", "Preempted", "Shutdown", "NodeShutdown", "Terminated", DISRUPTED),
        Cause.INTERRUPTED,
    ),
    # The node refused a pod that the scheduler had given it: nothing of the program has run.
    **dict.fromkeys(
        ("NodeAffinity", "NodeName", "NodePorts", "TaintToleration", "UnexpectedAdmissionError"), Cause.INTERRUPTED
    ),
    # Its node was restarted under it: the kubelet that came back does not know how it ended.
    "ContainerStatusUnknown": Cause.INTERRUPTED,
    # Somebody deleted it before it ran.
    NEVER_RAN: Cause.INTERRUPTED,
    **dict.fromkeys(START_ERRORS, Cause.START),
    # The runtime's words for a command that can't be executed.
    **dict.fromkeys(("StartError", "ContainerCannotRun", "PostStartHookError", "PreStartHookError"), Cause.START),
    "OOMKilled": Cause.OUT_OF_MEMORY,
    DEADLINE: Cause.DEADLINE,
    NAME_TAKEN: Cause.REFUSED,
}
# A pod that writes more than it may is evicted, and would be again.
_OVER = re.compile(r"exceeds the .*limit|exceeded its .*limit", re.IGNORECASE)


def cause_of(reason: str, message: str = "") -> Cause:
    """The cause behind a reason; a reason that is in no table is the program's own failure."""
    if reason == "Evicted" and _OVER.search(message):
        return Cause.ERROR
    if reason.startswith("OutOf") and len(reason) > len("OutOf"):
        return Cause.INTERRUPTED
    return _TABLE.get(reason, Cause.ERROR)
