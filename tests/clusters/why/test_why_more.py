"""More sentences: probes, volumes, admission, evictions, lost nodes, deletion, silence."""

from dataclasses import replace
from datetime import timedelta

import pytest

from apps.clusters.why import explain, refused
from apps.clusters.why.admission import admission
from apps.clusters.why.facts import Condition, ContainerFacts, Ended, EventFacts, PodFacts
from apps.clusters.why.probes import is_startup
from tests.clusters.why.test_why import MIN, NOW, cluster, node, pending, placed, waiting, why

RUNNING = ContainerFacts("main", running=True, running_since=NOW - 5 * MIN)


def event(reason: str, message: str, *, ago: timedelta = MIN, count: int = 1) -> EventFacts:
    return EventFacts(reason, message, NOW - ago, count)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Readiness probe failed: HTTP probe failed with statuscode: 503",
            "Not ready: the readiness probe of container main fails: it answers HTTP 503.",
        ),
        (
            'Readiness probe failed: Get "http://10.0.0.5:8080/": dial tcp 10.0.0.5:8080: connect: connection refused',
            "Not ready: the readiness probe of container main fails: nothing listens at 10.0.0.5:8080.",
        ),
        (
            'Readiness probe failed: Get "http://10.0.0.5/": context deadline exceeded (Client.Timeout exceeded while '
            "awaiting headers)",
            "Not ready: the readiness probe of container main fails: it does not answer in time.",
        ),
        (
            "Startup probe failed: cat: can't open '/up': No such file or directory",
            "Not ready: the startup probe of container main fails: cat: can't open '/up': No such file or directory.",
        ),
        (
            'Readiness probe errored and resulted in unknown state: command timed out: "check" timed out after 1s',
            "Not ready: the readiness probe of container main fails: it does not answer in time.",
        ),
        (
            'Readiness probe failed: timeout: failed to connect service "10.0.0.5:9000" within 1s: connection error',
            "Not ready: the readiness probe of container main fails: it does not answer in time.",
        ),
        (
            "Readiness probe failed: ",
            "Not ready: the readiness probe of container main fails: it gave no reason.",
        ),
    ],
)
def test_why_a_container_is_not_ready(message: str, sentence: str) -> None:
    explained = why(placed(RUNNING, events=(event("Unhealthy", message, count=7),)))
    assert explained.sentence == sentence and explained.state == "NotReady"
    assert "(7 times)" in explained.evidence[0].text


@pytest.mark.parametrize(
    ("seconds", "kind", "state"),
    [
        (3, "Startup", "Starting"),
        (29, "Readiness", "Starting"),
        (31, "Startup", "NotReady"),
        (31, "Readiness", "NotReady"),
        (3, "Liveness", "NotReady"),
        (3, "", "Starting"),
        (31, "", "NotReady"),
    ],
)
def test_a_startup_of_the_first_seconds_is_no_failure(seconds: int, kind: str, state: str) -> None:
    young = ContainerFacts("main", running=True, running_since=NOW - timedelta(seconds=seconds))
    failed = event("Unhealthy", f"{kind} probe failed: timeout: x", ago=timedelta(seconds=1))
    explained = why(placed(young, events=(failed,) if kind else ()))
    assert explained.state == state
    assert explained.sentence.startswith("Start" if state == "Starting" or not kind else "Not ready")


@pytest.mark.parametrize(
    ("message", "seconds", "startup"),
    [
        ("Startup probe failed: connection refused", 500, True),
        ("(combined from similar events): Startup probe failed: connection refused", 500, True),
        ("Readiness probe failed: HTTP probe failed with statuscode: 503", 10, True),
        ("Readiness probe failed: HTTP probe failed with statuscode: 503", 40, False),
        ("Liveness probe failed: HTTP probe failed with statuscode: 503", 1, False),
        ("Container main failed startup probe, will be restarted", 1, False),
    ],
)
def test_events_of_a_startup_are_no_warnings(message: str, seconds: int, startup: bool) -> None:
    assert is_startup(message, NOW, NOW - timedelta(seconds=seconds)) is startup


def test_a_container_that_the_kubelet_restarts_says_for_which_probe() -> None:
    events = (
        event("Killing", "Container main failed liveness probe, will be restarted"),
        event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500"),
    )
    down = waiting("CrashLoopBackOff", restarts=3, last_ended=Ended(137, "Error"))
    explained = why(placed(down, events=events))
    assert explained.sentence == (
        "Restarted by the kubelet: the liveness probe of container main failed: it answers HTTP 500."
    )
    oom = waiting("CrashLoopBackOff", restarts=3, last_ended=Ended(137, "OOMKilled"))
    assert why(placed(oom, events=events)).state == "OOMKilled", "out of memory explains the probe, too"


def test_a_kill_of_an_earlier_start_is_not_why_it_ended_now() -> None:
    killed = event("Killing", "Container main failed liveness probe, will be restarted", ago=60 * MIN)
    last = Ended(1, "Error", "", NOW - MIN, NOW - 5 * MIN)
    explained = why(placed(waiting("CrashLoopBackOff", restarts=9, last_ended=last), events=(killed,)))
    assert explained.sentence == "Container main ended with exit code 1. Restarted 9 times; it waits for the next try."
    sidecar = ContainerFacts("proxy", init=True, restarts=1, last_ended=Ended(137, "Error", "", NOW, NOW - 2 * MIN))
    killed = event("Killing", "Init container proxy failed startup probe, will be restarted")
    assert why(placed(sidecar, events=(killed,))).sentence.startswith(
        "Restarted by the kubelet: the startup probe of container proxy failed"
    )


def test_a_probe_that_failed_before_the_present_start_explains_nothing() -> None:
    old = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", ago=10 * MIN)
    explained = why(placed(RUNNING, events=(old,)))
    assert explained.sentence == "Started, but not ready yet: container main has not passed its readiness probe."


def test_an_unmet_readiness_gate_is_named() -> None:
    ready = ContainerFacts("main", ready=True, running=True)
    gate = Condition("target-health.example/ready", "False", "Registering")
    conditions = (Condition("Ready", "False", "ReadinessGatesNotReady"), gate, Condition("other.example/seen", "False"))
    explained = why(placed(ready, conditions=conditions, readiness_gates=(gate.type, "never/set")))
    assert explained.sentence == "Not ready: the readiness gates target-health.example/ready and never/set are not met."
    assert "Whoever sets this condition" in explained.next_step
    assert [each.source for each in explained.evidence] == ["Condition Ready", f"Condition {gate.type}"]


def test_a_container_that_has_ended_is_no_probe_that_fails() -> None:
    ready, done = ContainerFacts("main", ready=True, running=True), ContainerFacts("load", ended=Ended(0, "Completed"))
    explained = why(placed(ready, done))
    assert explained.sentence == "Not ready: container load has ended." and "log of load" in explained.next_step


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_what_has_ended_is_not_being_ended(phase: str) -> None:
    crashed = ContainerFacts("main", ended=Ended(1, "Error") if phase == "Failed" else Ended(0, "Completed"))
    pod = placed(crashed, phase=phase, reason="Error", deleting_since=NOW - 9 * MIN, finalizers=("x/hold",))
    explained = explain(pod, cluster(node("n1", ready=False)), NOW)
    assert explained == explain(replace(pod, deleting_since=None, finalizers=()), cluster(node("n1", ready=False)), NOW)
    assert explained is None or explained.sentence == "Container main ended with exit code 1."


@pytest.mark.parametrize(
    ("asked", "step"), [(MIN, "It was being deleted, and did not"), (None, "Somebody or something")]
)
def test_who_was_killed_for_its_deletion_is_not_looked_for_elsewhere(asked: timedelta | None, step: str) -> None:
    killed = ContainerFacts("run", ended=Ended(137, "Error", finished_at=NOW))
    pod = placed(killed, phase="Failed", deleted=True, deleting_since=asked and NOW - asked)
    assert why(pod).next_step.startswith(step)
    later = replace(pod, deleting_since=NOW + MIN)
    assert why(later).next_step.startswith("Somebody or something"), "it had ended before"


@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "model" : secret "model-key" not found',
            "Can't start: volume model needs Secret model-key, which does not exist.",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "cfg" : references non-existent config key: app.toml',
            "Can't start: volume cfg names a key app.toml that its ConfigMap lacks.",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "kube-api-access-w6fqm" : object "team-a"/"kube-root-ca.crt" not '
            "registered",
            "Starting: the node has not read kube-root-ca.crt for volume kube-api-access-w6fqm yet.",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed: secret "model-key" not found',
            "Can't start: a volume needs Secret model-key, which does not exist.",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "host" : hostPath type check failed: /data is not a directory',
            "Can't start: volume host can't be mounted: /data is not a directory.",
        ),
        (
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) db-0',
            "Waiting: volume pvc-1 is still attached to another node.",
        ),
        (
            "FailedMount",
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data], failed to process "
            "volumes=[]: timed out waiting for the condition",
            "Waiting: volume data is not mounted yet, and the node gave up waiting once.",
        ),
        (
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: "
            "plugin type=cni failed: no IP addresses available",
            "Can't start: n1 can't make its sandbox: no IP addresses available.",
        ),
        (
            "FailedCreatePodSandBox",
            'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to start sandbox "4f1": failed to '
            "create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable "
            "to start container process: container init was OOM-killed (memory limit too low?): unknown",
            "Can't start: its memory limit is too low to start with.",
        ),
        (
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to create containerd task: runc "
            'create failed: unable to start container process: exec: "/pause": permission denied: unknown',
            """Can't start: n1 can't make its sandbox: exec: "/pause": permission denied.""",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "nfs" : mount failed: exit status 32',
            "Can't start: volume nfs can't be mounted: mount failed: exit status 32.",
        ),
    ],
)
def test_why_a_pod_on_its_node_does_not_begin(reason: str, message: str, sentence: str) -> None:
    explained = why(placed(waiting("ContainerCreating"), phase="Pending", events=(event(reason, message),)))
    assert explained.sentence == sentence and explained.state == reason


def test_a_pull_that_goes_on_is_told() -> None:
    pulling = event("Pulling", 'Pulling image "team/train:3"')
    pod = placed(waiting("ContainerCreating"), phase="Pending", events=(pulling,))
    assert why(pod).sentence == "Starting: the node pulls the image team/train:3."
    pulled = (event("Pulled", 'Successfully pulled image "team/train:3" in 2s'), pulling)
    assert why(placed(waiting("ContainerCreating"), phase="Pending", events=pulled)).state == "ContainerCreating"


FORBIDDEN = 'Error creating: pods "run-9-abcde" is forbidden: '


@pytest.mark.parametrize(
    ("message", "sentence", "step"),
    [
        (
            "exceeded quota: team, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=6, "
            "limited: requests.nvidia.com/gpu=8",
            "quota team allows 8 nvidia.com/gpu, 6 are used, and it asks for 4.",
            "Ask for at most 2 nvidia.com/gpu, wait until others of the project end, or have the quota raised.",
        ),
        (
            "exceeded quota: team, requested: limits.cpu=2500m,pods=1, used: limits.cpu=4, limited: limits.cpu=4",
            "quota team allows limits of 4 CPU, 4 are used, and it asks for 2.5.",
            "Wait until others of the project end, or have the quota raised.",
        ),
        (
            "exceeded quota: team, requested: pods=1, used: pods=20, limited: pods=20",
            "quota team allows 20 pods, 20 are used, and it asks for 1.",
            "Wait until others",
        ),
        (
            "failed quota: team: must specify limits.cpu for: main; limits.memory for: main",
            "quota team demands that it says its limits.cpu, limits.memory.",
            "Say limits.cpu, limits.memory",
        ),
        (
            "maximum memory usage per Container is 1Gi, but limit is 2Gi",
            "the namespace allows at most 1Gi memory per container, and its limit is 2Gi.",
            "Ask for at most 1Gi memory.",
        ),
        (
            "[minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage per Pod is 2, but …]",
            "the namespace allows at least 100m cpu per container, and its request is 50m.",
            "Ask for at least 100m cpu.",
        ),
        (
            "minimum cpu usage per Container is 100m.  No request is specified",
            "it must say a cpu request of at least 100m per container.",
            "Say its cpu request.",
        ),
        (
            "memory max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            "its memory limit is 4.000000 times its request, and 2 is the most allowed.",
            "closer",
        ),
        (
            'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set …)',
            "it violates the Pod Security level restricted:latest: allowPrivilegeEscalation != false",
            "security context",
        ),
        (
            'error looking up service account team-a/trainer: serviceaccount "trainer" not found',
            "service account trainer does not exist.",
            "Make the service account trainer",
        ),
    ],
)
def test_why_a_pod_is_not_even_made(message: str, sentence: str, step: str) -> None:
    _, told, todo = admission(FORBIDDEN + message)
    assert told.startswith("Waiting: its pod can't be made: ") and sentence in told and step in todo


def test_a_webhook_and_anything_else_are_told_in_their_words() -> None:
    denied = 'Error creating: admission webhook "policy.example.com" denied the request: images must be signed'
    assert admission(denied)[1] == (
        "Waiting: its pod can't be made: the cluster's policy policy.example.com denies it: images must be signed."
    )
    again = '(combined from similar events): Error creating: pods "a" is forbidden: no providers available'
    assert admission(again)[1] == "Waiting: its pod can't be made: no providers available."
    explained = refused([event("FailedCreate", "Error creating: Internal error occurred: timeout", count=3)])
    assert explained is not None and explained.sentence == (
        "Waiting: its pod can't be made: Internal error occurred: timeout."
    )
    assert refused([event("SuccessfulCreate", "Created pod: run-9-abcde")]) is None


LOW = (
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 58472Ki. Container main was using "
    "3694056Ki, request is 100Mi, has larger consumption of memory. "
)


@pytest.mark.parametrize(
    ("reason", "message", "target", "sentence"),
    [
        (
            "Evicted",
            LOW,
            "TerminationByKubelet",
            "Evicted from n1: the node was low on memory; container main used 3.52 GiB and had asked for 100 MiB.",
        ),
        (
            "Evicted",
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
            "",
            "Evicted from n1: Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.",
        ),
        (
            "Evicted",
            "Pod was rejected: The node had condition: [DiskPressure]. ",
            "",
            "Evicted from n1: the node was short of disk and took no such pod.",
        ),
        (
            "Terminated",
            "Pod was terminated in response to imminent node shutdown.",
            "TerminationByKubelet",
            "Stopped: its node n1 was shut down.",
        ),
        ("Error", "", "TerminationByKubelet", "Evicted from n1: staged."),
        ("Error", "", "PreemptionByScheduler", "Preempted: it had to make room for a pod of higher priority."),
        (
            "Error",
            "",
            "EvictionByEvictionAPI",
            "Evicted from n1: somebody drained the node, or asked for it.",
        ),
        ("Error", "", "DeletionByTaintManager", "Evicted from n1: the node got a taint that it does not tolerate."),
        (
            "DeadlineExceeded",
            "Pod was active on the node longer than the specified deadline",
            "",
            "Stopped: it ran longer than its deadline allows.",
        ),
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1, "
            "Available: 0, which is unexpected",
            "",
            "n1 refused it: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. "
            "Requested: 1, Available: 0, which is unexpected.",
        ),
        (
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 4000, used: 3000, capacity: 4000",
            "",
            "n1 refused it: it has not enough cpu left.",
        ),
    ],
)
def test_why_a_pod_was_stopped(reason: str, message: str, target: str, sentence: str) -> None:
    conditions = (Condition("DisruptionTarget", "True", target, "staged", NOW),) if target else ()
    ended = ContainerFacts("main", ended=Ended(137, "Error"))
    explained = why(placed(ended, phase="Failed", reason=reason, message=message, conditions=conditions))
    assert explained.sentence == sentence, "and not the exit code that only echoes it"


def test_a_pod_on_a_node_that_is_silent_is_not_called_healthy() -> None:
    healthy = PodFacts("web-1", "Running", "Healthy", ready=True, node="gpu-1")
    silent = node("gpu-1", ready=False, reason="NodeStatusUnknown", not_ready_since=NOW - 4 * MIN)
    assert why(healthy, cluster(silent)).sentence == "Not heard of: node gpu-1 stopped answering 4 min ago."
    assert why(healthy, cluster(node("n2"))).sentence == "Not heard of: node gpu-1 no longer exists."
    assert explain(healthy, cluster(node("gpu-1")), NOW) is None


@pytest.mark.parametrize(
    ("of_run", "then"),
    [
        (False, "then its controller starts another."),
        (True, "then the run is tried again on another node."),
    ],
)
def test_what_becomes_of_a_pod_on_a_lost_node(of_run: bool, then: str) -> None:
    pod = PodFacts("run-1-x", "Running", "Healthy", ready=True, node="gpu-1", of_run=of_run)
    silent = node("gpu-1", ready=False, reason="NodeStatusUnknown", not_ready_since=NOW - 4 * MIN)
    assert why(pod, cluster(silent)).next_step.endswith(then)
    assert why(pod, cluster(node("n2"))).next_step.endswith(then)


@pytest.mark.parametrize(
    ("ago", "finalizers", "silent", "sentence"),
    [
        (timedelta(seconds=5), (), False, "Being deleted: its containers have a moment to end by themselves."),
        (9 * MIN, (), False, "Being deleted for 9 min: its containers have not ended yet."),
        (9 * MIN, ("batch.kubernetes.io/job-tracking",), False, "held by batch.kubernetes.io/job-tracking."),
        (9 * MIN, (), True, "so nothing confirms that it has ended."),
    ],
)
def test_what_holds_a_deletion(ago: timedelta, finalizers: tuple[str, ...], silent: bool, sentence: str) -> None:
    pod = placed(RUNNING, reason="Terminating", deleting_since=NOW - ago, finalizers=finalizers)
    around = cluster(node("n1", ready=not silent, not_ready_since=NOW - ago if silent else None))
    explained = why(pod, around)
    assert sentence in explained.sentence and explained.state == ("NodeLost" if silent else "Terminating")


def test_what_writes_too_much_is_not_told_to_try_again() -> None:
    message = 'Usage of EmptyDir volume "cache" exceeds the limit "1Gi". '
    explained = why(placed(phase="Failed", reason="Evicted", message=message))
    assert explained.next_step == "Let it write less, or raise that limit."
    assert "other" not in why(placed(phase="Failed", reason="Evicted", message=LOW)).next_step


def test_a_deletion_says_who_asked_for_it() -> None:
    target = Condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting", NOW)
    explained = why(placed(RUNNING, reason="Terminating", deleting_since=NOW, conditions=(target,)))
    assert ("DisruptionTarget", "EvictionByEvictionAPI: Eviction API: evicting") in [
        (each.source, each.text) for each in explained.evidence
    ]
    assert explained.state == "Evicted"
    assert explained.sentence.startswith("Evicted from n1: somebody drained the node, or asked for it. Being deleted: ")


def test_a_cluster_that_cant_be_asked_is_said_with_what_was_known() -> None:
    silent = cluster(answers=False, seen_at=NOW)
    healthy = PodFacts("web-1", "Running", "Healthy", ready=True, reason="Running", node="n1")
    assert why(healthy, silent).sentence == "As of 14:02 UTC: it was Running. gke-eu can't be asked now."
    refusing = replace(silent, silence="The API server refuses Flotilla's credential. It says: expired.")
    assert why(healthy, refusing).sentence.endswith(
        "gke-eu can't be asked now: The API server refuses Flotilla's credential. It says: expired."
    )
    since = cluster(answers=False, seen_at=NOW - timedelta(days=3))
    assert why(healthy, since).sentence.startswith("As of 22 Nov, 14:02 UTC: ")
    explained = why(pending("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), silent)
    assert explained.state == "Unreachable" and explained.sentence.startswith("As of 14:02 UTC: Waiting: not enough")


@pytest.mark.parametrize(
    "pod",
    [
        PodFacts("a", "Succeeded", "Healthy", reason="Completed"),
        PodFacts("a", "Running", "Healthy", ready=True, node="n1"),
        PodFacts("a", "Running", "Progressing", node="n1", deleted=True),
    ],
)
def test_what_is_well_or_gone_needs_no_reason(pod: PodFacts) -> None:
    assert explain(pod, cluster(node("n1")), NOW) is None


def test_what_nobody_foresaw_is_told_in_kubernetes_words() -> None:
    odd = PodFacts("a", "Failed", "Degraded", reason="SomethingNew", message="It did a new thing.", node="n1")
    assert (why(odd).state, why(odd).sentence) == ("SomethingNew", "It did a new thing.")
    fresh = PodFacts("a", "Pending", "Progressing")
    assert why(fresh).sentence == "Waiting: the scheduler has not looked at it yet."
    new = waiting("BrandNewError", "the moon is in the way")
    for phase in ("Pending", "Running"):
        assert why(placed(new, phase=phase)).sentence == (
            "Container main waits: BrandNewError: the moon is in the way."
        )


def test_a_message_can_neither_hide_nor_drown_the_sentence() -> None:
    hostile = "\x1b[31mred\x1b[0m \u202eevil\x00 <b>" + "x" * 100_000
    explained = why(PodFacts("a", "Failed", "Degraded", reason="N" * 500, message=hostile, node="n1"))
    assert (
        explained.sentence.startswith("red evil <b>xxx")
        and len(explained.sentence) <= 600
        and len(explained.state) <= 60
    )
    quota = f"Error creating: exceeded quota: {'q' * 3000}, requested: a=b, used: c, limited: d"
    told = refused([event("FailedCreate", quota)])
    assert told is not None and len(told.sentence) <= 600
