"""The sentences, from messages as Kubernetes 1.30 and later writes them.

The wordings are those of its source: pkg/scheduler/framework (FitError, the plugins' ErrReason constants),
pkg/kubelet/images, kuberuntime, prober and eviction, pkg/volume/util, plugin/pkg/admission/{resourcequota,limitranger},
and of containerd's pulls as people quote them.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.clusters.why import explain
from apps.clusters.why.exclusions import parse
from apps.clusters.why.facts import (
    ClusterFacts,
    Condition,
    ContainerFacts,
    Ended,
    EventFacts,
    Holder,
    NodeFacts,
    PodFacts,
)
from apps.clusters.why.result import Why
from apps.clusters.why.scheduling import fits

NOW = datetime(2026, 11, 25, 14, 2, tzinfo=UTC)
GIB = 1024**3
GPU = "nvidia.com/gpu"
MIN = timedelta(minutes=1)


def node(name: str, *, gpu: int = 0, used: int = 0, cpu: int = 8000, busy: int = 0, **fields: Any) -> NodeFacts:
    return NodeFacts(
        name,
        {"cpu": cpu, "memory": 32 * GIB, "gpu": gpu, "pods": 110},
        {"cpu": busy, "memory": 0, "gpu": used, "pods": 3},
        **fields,
    )


def cluster(*nodes: NodeFacts, **fields: Any) -> ClusterFacts:
    return ClusterFacts("gke-eu", nodes, **fields)


def pending(message: str, *, reason: str = "Unschedulable", **fields: Any) -> PodFacts:
    condition = Condition("PodScheduled", "False", reason, message, NOW - MIN)
    asks = fields.pop("asks", {"cpu": 1000, GPU: 4})
    return PodFacts("run-9-x", "Pending", "Progressing", reason=reason, conditions=(condition,), asks=asks, **fields)


def placed(*containers: ContainerFacts, phase: str = "Running", **fields: Any) -> PodFacts:
    return PodFacts("web-1", phase, "Degraded", node="n1", containers=containers, **fields)


def why(pod: PodFacts, around: ClusterFacts | None = None) -> Why:
    explained = explain(pod, around or cluster(node("n1")), NOW)
    assert explained is not None
    return explained


CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
NO_GPU = (
    "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
    "2 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
    "2 No preemption victims found for incoming pod."
)


@pytest.mark.parametrize(
    ("message", "lacking", "excluded"),
    [
        (NO_GPU, {GPU: 2}, {f"with the taint {CONTROL_PLANE}": 1}),
        (f"(combined from similar events): {NO_GPU}", {GPU: 2}, {f"with the taint {CONTROL_PLANE}": 1}),
        # 1.32 and later.
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match pod anti-affinity "
            "rules. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful.",
            {},
            {"with a taint": 1, "ruled out by an anti-affinity rule": 2},
        ),
        (
            "0/9 nodes are available: 2 Too many pods, 3 Insufficient cpu, 3 Insufficient memory, "
            "1 node(s) were unschedulable.",
            {"pods": 2, "cpu": 3, "memory": 3},
            {"cordoned": 1},
        ),
        (
            "0/5 nodes are available: 2 node(s) had volume node affinity conflict, "
            "3 node(s) didn't match Pod's node affinity/selector.",
            {},
            {"in another zone than its volume": 2, "without the labels that it demands": 3},
        ),
        (
            "0/2 nodes are available: 1 node(s) had taint {a: b}, that the pod didn't tolerate, "
            "1 node(s) didn't have free ports for the requested pod ports.",
            {},
            {"with the taint a=b": 1, "with its host port taken": 1},
        ),
        (
            "0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints.",
            {},
            {"ruled out by its spread constraint": 2},
        ),
        (
            "0/4 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, "
            "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, "
            "2 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }. preemption: 0/4 nodes are available",
            {},
            {"not ready": 2, "short of disk": 2},
        ),
        # Dynamic resource allocation, 1.34.
        (
            "0/64 nodes are available: 1 cannot allocate all claims, 1 node(s) had untolerated taint(s), 62 node(s) "
            "didn't match Pod's node affinity/selector. still not schedulable, preemption: 0/64 nodes are available: "
            "64 Preemption is not helpful for scheduling.",
            {},
            {"without the devices that it claims": 1, "with a taint": 1, "without the labels that it demands": 62},
        ),
        (
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. preemption: 0/2 "
            "nodes are available: 2 Preemption is not helpful for scheduling..",
            {},
            {"without a volume for its claim": 2},
        ),
        (
            "0/3 nodes are available: 1 node(s) didn't match the requested node name, 2 node(s) had no available "
            "volume zone.",
            {},
            {"of another name than it demands": 1, "in another zone than its volume": 2},
        ),
    ],
)
def test_the_schedulers_words_are_read(message: str, lacking: dict[str, int], excluded: dict[str, int]) -> None:
    parsed = parse(message)
    assert parsed is not None and (dict(parsed.lacking), dict(parsed.excluded), parsed.other) == (lacking, excluded, ())


def test_a_pod_that_waits_for_gpus_says_the_largest_gap_and_who_ends() -> None:
    around = cluster(
        node("cp", gpu=8, taints=({"key": CONTROL_PLANE, "effect": "NoSchedule"},)),
        node("gpu-1", gpu=8, used=6, holders=(Holder("run-17", {"gpu": 2}), Holder("run-3", {"gpu": 4}))),
        node("gpu-2", gpu=8, used=8, holders=(Holder("run-5", {"gpu": 8}),)),
    )
    explained = why(pending(NO_GPU), around)
    # The control plane's node has more, but is none that it may have.
    assert (
        explained.sentence
        == "Waiting: no node that may take it has 4 free nvidia.com/gpu; the largest gap is 2 on gpu-1."
    )
    workers = replace(around, nodes=around.nodes[1:])
    assert why(pending(NO_GPU), workers).sentence == (
        "Waiting: no node has 4 free nvidia.com/gpu; the largest gap is 2 on gpu-1."
    )
    assert explained.next_step == "Ask for at most 2 nvidia.com/gpu, or wait for run-17 to end."
    assert [(e.source, e.text) for e in explained.evidence[1:]] == [
        ("Free nvidia.com/gpu", "gpu-1 2 of 8, gpu-2 0 of 8"),
        ("Left out", f"1 of 3 nodes: 1 with the taint {CONTROL_PLANE}"),
    ]
    assert (
        explained.evidence[0].source == "kube-scheduler"
        and "2 Insufficient nvidia.com/gpu" in explained.evidence[0].text
    )
    assert explained.state == "Unschedulable" and explained.at == NOW - MIN


KINDS = NodeFacts("mixed", {GPU: 8, "nvidia.com/mig-1g.5gb": 7}, {GPU: 2, "nvidia.com/mig-1g.5gb": 6})
BOTH = {"cpu": 6000, GPU: 1}
CORDON = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
TEAM = {"key": "team", "value": "vision", "effect": "NoSchedule"}
OWN = [node("n1", gpu=4, used=4, holders=(Holder("run-9", {"gpu": 4}, "demo/run-9", "run-9-y"),))]
SCHEDULING: list[tuple[PodFacts, ClusterFacts, str, str]] = [
    (
        pending("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        cluster(node("n1", gpu=4, used=4), elsewhere=("eks-us",)),
        "Waiting: no node has 4 free nvidia.com/gpu; none is free on gke-eu.",
        "Wait until 4 more nvidia.com/gpu are free on n1. It would fit on eks-us.",
    ),
    # What its own Job's other pods hold is let go only by the Job itself; another's comes first.
    (
        pending("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", owner="demo/run-9"),
        cluster(*OWN),
        "Waiting: no node has 4 free nvidia.com/gpu; none is free on gke-eu.",
        "Let fewer of its pods run at once: one of them, run-9-y, holds 4 nvidia.com/gpu until it ends.",
    ),
    (
        pending("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.", owner="demo/run-9"),
        cluster(*OWN, node("n2", gpu=8, used=8, holders=(Holder("run-9", {"gpu": 8}, "other/run-9", "run-9-z"),))),
        "Waiting: no node has 4 free nvidia.com/gpu; none is free on gke-eu.",
        "Wait for run-9 to end.",
    ),
    (
        pending("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        cluster(node("n1", gpu=2)),
        "Waiting: no node has 4 nvidia.com/gpu; the largest has 2.",
        "Ask for at most 2 nvidia.com/gpu, or have a larger node added: waiting does not help.",
    ),
    (
        pending("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
        cluster(node("n1")),
        "Waiting: no node that may take it has any nvidia.com/gpu.",
        "Have a larger node added: waiting does not help.",
    ),
    (
        pending("0/1 nodes are available: 1 Insufficient cpu.", asks={"cpu": 4000}),
        cluster(node("n1", busy=4500)),
        "Waiting: no node has 4 free CPU; the largest gap is 3.5 on n1.",
        "Ask for at most 3.5 CPU, or wait until 0.5 more CPU are free on n1.",
    ),
    (
        pending("0/1 nodes are available: 1 Insufficient memory.", asks={"memory": 64 * GIB}),
        cluster(node("n1")),
        "Waiting: no node has 64 GiB of memory; the largest has 32 GiB.",
        "Ask for at most 32 GiB of memory, or have a larger node added: waiting does not help.",
    ),
    (
        pending("0/1 nodes are available: 1 Too many pods.", asks={"cpu": 100}),
        cluster(replace(node("n1"), requested={"pods": 110})),
        "Waiting: every node that may take it has as many pods as it can.",
        "Wait until a pod on n1 ends.",
    ),
    (
        pending("0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient nvidia.com/gpu.", asks=BOTH),
        cluster(node("a", gpu=1, busy=5000), node("b", cpu=8000)),
        "Waiting: no single node has 6 CPU and 1 nvidia.com/gpu free at once.",
        "Ask for less of one of them, or wait for room.",
    ),
    (
        pending("0/1 nodes are available: 1 Insufficient rdma/hca.", asks={"cpu": 100, "rdma/hca": 1}),
        cluster(node("n1")),
        "Waiting: not enough rdma/hca on any node that may take it.",
        "Ask for less, or wait for room.",
    ),
    (
        pending("0/1 nodes are available: 1 Insufficient nvidia.com/mig-1g.5gb.", asks={"nvidia.com/mig-1g.5gb": 2}),
        cluster(KINDS),
        "Waiting: no node has 2 free nvidia.com/mig-1g.5gb; the largest gap is 1 on mixed.",
        "Ask for at most 1 nvidia.com/mig-1g.5gb, or wait until 1 more nvidia.com/mig-1g.5gb is free on mixed.",
    ),
    (
        pending("0/2 nodes are available: 1 node(s) were unschedulable, 1 node(s) had untolerated taint {a: b}."),
        cluster(),
        "Waiting: no node may take it: 1 cordoned and 1 with the taint a=b.",
        "Bring the nodes back, or run it elsewhere.",
    ),
    (
        pending("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),
        cluster(),
        "Waiting: no node may take it: 2 without the labels that it demands.",
        "Change what it demands of a node, or label a node to match.",
    ),
    (
        pending(
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            selector={"zone": "a", "gpu": "h100"},
        ),
        cluster(node("n1", gpu=8)),
        "Waiting: no node has the labels that it demands: gpu=h100, zone=a.",
        "Correct its node selector, or label a node to match.",
    ),
    # A node that is away for a while would do: that is the way out, and no larger one is needed.
    (
        pending("0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) were unschedulable."),
        cluster(node("big", gpu=8, schedulable=False, taints=(CORDON,)), node("n1", gpu=2)),
        "Waiting: no node that may take it has 4 nvidia.com/gpu; the largest has 2.",
        "Ask for at most 2 nvidia.com/gpu, or bring big back: it is cordoned and has room.",
    ),
    (
        pending("0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint(s)."),
        cluster(node("big", gpu=8, ready=False), node("n1", gpu=8, used=8)),
        "Waiting: no node that may take it has 4 free nvidia.com/gpu; none of theirs is free.",
        "Wait until 4 more nvidia.com/gpu are free on n1, or bring big back: it is not ready and has room.",
    ),
    # Newer schedulers don't name taints: the nodes do.
    (
        pending("0/3 nodes are available: 3 node(s) had untolerated taint(s)."),
        cluster(*(node(name, gpu=8, taints=(TEAM,)) for name in "ab"), node("c", gpu=8, ready=False)),
        "Waiting: no node may take it: 2 with the taint team=vision and 1 not ready.",
        "Bring the nodes back, or run it elsewhere.",
    ),
    (
        pending("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/memory-pressure: }."),
        cluster(),
        "Waiting: no node may take it: 1 short of memory.",
        "Free room on the nodes, or run it elsewhere.",
    ),
    (
        pending("0/1 nodes are available: 1 cannot allocate all claims, 1 something that is new."),
        cluster(),
        "Waiting: no node may take it: 1 without the devices that it claims; 1 something that is new.",
        "Claim less, wait for devices to be let go, or have nodes with such devices added.",
    ),
    (
        pending('running PreBind plugin "VolumeBinding": binding volumes: timed out', reason="SchedulerError"),
        cluster(),
        'Waiting: running PreBind plugin "VolumeBinding": binding volumes: timed out.',
        "",
    ),
    (
        pending("no nodes available to schedule pods"),
        cluster(),
        "Waiting: the cluster has no nodes.",
        "Have a node added.",
    ),
    (
        pending("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes …"),
        cluster(node("n1", gpu=8)),
        "Waiting: its volume claim has no volume yet.",
        "See that the claim's storage class exists and can provision.",
    ),
    (
        pending('0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available'),
        cluster(node("n1", gpu=8)),
        "Waiting: its volume claim data does not exist.",
        "Make the claim data in its namespace.",
    ),
    (
        pending("Scheduling is blocked due to non-empty scheduling gates", reason="SchedulingGated"),
        cluster(),
        "Waiting: its scheduling gates are still closed, so no node is looked for.",
        "A queue such as Kueue opens them when there is quota.",
    ),
]


@pytest.mark.parametrize(("pod", "around", "sentence", "step"), SCHEDULING)
def test_why_no_node_takes_it(pod: PodFacts, around: ClusterFacts, sentence: str, step: str) -> None:
    explained = why(pod, around)
    assert (explained.sentence, explained.next_step) == (sentence, step)


def test_a_pod_fits_where_taints_selector_and_room_allow() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    pod = pending("", asks={GPU: 1}, selector={"zone": "a"})
    good = node("n", gpu=1, labels={"zone": "a"}, taints=(taint,))
    assert not fits(pod, [good])
    for toleration in (
        {"key": "gpu", "operator": "Exists"},
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"operator": "Exists"},
    ):
        assert fits(replace(pod, tolerations=(toleration,)), [good])
    assert not fits(replace(pod, tolerations=({"key": "gpu", "value": "no"},)), [good])
    tolerant = replace(pod, tolerations=({"operator": "Exists"},))
    assert not fits(tolerant, [replace(good, labels={})]) and not fits(tolerant, [replace(good, schedulable=False)])
    assert not fits(tolerant, [replace(good, ready=False)]) and not fits(replace(tolerant, asks={GPU: 2}), [good])


def waiting(reason: str, message: str = "", image: str = "team/train:3", **fields: Any) -> ContainerFacts:
    return ContainerFacts("main", image, waiting=reason, waiting_message=message, **fields)


REGISTRY = 'rpc error: code = {code} desc = failed to pull and unpack image "docker.io/team/train:3": {rest}'
IMAGES = [
    (
        REGISTRY.format(code="NotFound", rest="failed to resolve reference: docker.io/team/train:3: not found"),
        "the registry does not have it",
        "Correct the image's name or tag",
    ),
    (
        REGISTRY.format(
            code="Unknown",
            rest="failed to resolve reference: pull access denied, repository does not exist or may require "
            "authorization: server message: insufficient_scope: authorization failed",
        ),
        "the registry does not allow it, or does not have it",
        "pull secret",
    ),
    (
        REGISTRY.format(code="Unknown", rest="429 Too Many Requests - toomanyrequests: You have reached"),
        "the registry limits how often it may be pulled",
        "tried again by itself",
    ),
    (
        REGISTRY.format(code="Unknown", rest='Head "https://reg": dial tcp: lookup reg on 10.0.0.2:53: no such host'),
        "the registry's name does not resolve",
        "Correct",
    ),
    (
        REGISTRY.format(code="Unknown", rest="dial tcp 10.1.2.3:443: i/o timeout"),
        "the registry can't be reached",
        "tried again",
    ),
    (
        REGISTRY.format(code="Unknown", rest="tls: failed to verify certificate: x509: certificate signed by unknown"),
        "certificate is not trusted",
        "trust it",
    ),
    (
        REGISTRY.format(code="Unknown", rest="http: server gave HTTP response to HTTPS client"),
        "speaks plain HTTP",
        "Serve the registry by HTTPS",
    ),
    (
        REGISTRY.format(code="NotFound", rest="no match for platform in manifest: not found"),
        "not built for the node's kind of machine",
        "platform",
    ),
]


@pytest.mark.parametrize("state", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize(("words", "cause", "step"), IMAGES)
def test_why_an_image_does_not_come(state: str, words: str, cause: str, step: str) -> None:
    # Before 1.31 the back-off did not repeat the cause: then only the event has it.
    back_off = waiting(state, 'Back-off pulling image "team/train:3"')
    event = EventFacts("Failed", f'Failed to pull image "team/train:3": {words}', NOW)
    for pod in (placed(waiting(state, words), phase="Pending"), placed(back_off, phase="Pending", events=(event,))):
        explained = why(pod)
        assert explained.sentence.startswith("Can't start: the image team/train:3 can't be pulled; "), (
            explained.sentence
        )
        assert cause in explained.sentence and step in explained.next_step and explained.state == state
        assert any("rpc error" in e.text for e in explained.evidence)


def test_a_tag_is_not_taken_for_the_registry_s_answer() -> None:
    refused = 'Failed to pull image "team/train:404": dial tcp 10.1.2.3:443: connect: connection refused'
    explained = why(placed(waiting("ErrImagePull", refused, "team/train:404"), phase="Pending"))
    assert explained.sentence == "Can't start: the image team/train:404 can't be pulled; the registry can't be reached."


def test_words_of_a_registry_that_are_new_to_us_are_told_without_their_wrapping() -> None:
    words = 'rpc error: code = Unknown desc = failed to unpack image: unexpected media type text/html for "x": unknown'
    explained = why(placed(waiting("ErrImagePull", words), phase="Pending"))
    assert explained.sentence.endswith("""can't be pulled: unexpected media type text/html for "x".""")


def test_a_pull_secret_that_is_missing_is_named() -> None:
    denied = waiting("ErrImagePull", "pull access denied: authorization failed: no basic auth credentials")
    message = "Unable to retrieve some image pull secrets (registry-key); attempting to pull the image may not succeed."
    events = (EventFacts("FailedToRetrieveImagePullSecret", message, NOW),)
    explained = why(placed(denied, phase="Pending", events=events))
    assert explained.next_step == "Make the pull secret registry-key in its namespace."
    assert message in [each.text for each in explained.evidence]


def test_an_image_that_is_no_name_or_never_pulled() -> None:
    bad = waiting("InvalidImageName", "couldn't parse image name: invalid reference format", "Team/Train")
    assert why(placed(bad, phase="Pending")).sentence == "Can't start: Team/Train is no valid image name."
    never = waiting("ErrImageNeverPull", 'Container image "team/train:3" is not present with pull policy of Never')
    assert "its pull policy is Never" in why(placed(never, phase="Pending")).sentence


@pytest.mark.parametrize(
    ("reason", "message", "sentence"),
    [
        ("CreateContainerConfigError", 'secret "db" not found', "Can't start: Secret db does not exist."),
        ("CreateContainerConfigError", 'configmap "app" not found', "Can't start: ConfigMap app does not exist."),
        (
            "CreateContainerConfigError",
            "couldn't find key password in Secret team-a/db",
            "Can't start: Secret db has no key password.",
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key url in ConfigMap team-a/app",
            "Can't start: ConfigMap app has no key url.",
        ),
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root (pod: x, container: main)",
            "Can't start: the image of container main runs as root, which is not allowed here.",
        ),
        (
            "RunContainerError",
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            'failed: unable to start container process: exec: "trian.py": executable file not found in $PATH: unknown',
            "Can't start: the command trian.py is not in the image of container main.",
        ),
        (
            "RunContainerError",
            "failed to create containerd task: OCI runtime create failed: runc create failed: unable to start "
            "container process: container init was OOM-killed (memory limit too low?): unknown",
            "Can't start: container main has a memory limit that is too low to start with.",
        ),
        (
            "PostStartHookError",
            "command 'sh -c warm-up' exited with 7",
            "Can't start: container main: command 'sh -c warm-up' exited with 7.",
        ),
    ],
)
def test_why_a_container_cant_be_made(reason: str, message: str, sentence: str) -> None:
    explained = why(placed(waiting(reason, message), phase="Pending"))
    assert (explained.sentence, explained.state) == (sentence, reason)


BACK_OFF = "back-off 5m0s restarting failed container=main pod=web-1_team-a(0a1b)"


@pytest.mark.parametrize(
    ("container", "sentence", "step"),
    [
        (
            waiting(
                "CrashLoopBackOff",
                BACK_OFF,
                restarts=4,
                last_ended=Ended(137, "OOMKilled", "", NOW),
                memory_limit=2 * GIB,
            ),
            "Container main ran out of memory: it used more than its limit of 2 GiB (exit code 137). Restarted "
            "4 times; it waits for the next try.",
            "Ask for more memory, or let it use less.",
        ),
        (
            waiting("CrashLoopBackOff", BACK_OFF, restarts=1, last_ended=Ended(1, "Error")),
            "Container main ended with exit code 1. Restarted 1 time; it waits for the next try.",
            "The end of its log says why.",
        ),
        (
            waiting("CrashLoopBackOff", BACK_OFF, restarts=3, last_ended=Ended(0, "Completed")),
            "Container main ended with exit code 0, as if its work were done, but it is to keep running. Restarted "
            "3 times; it waits for the next try.",
            "The end of its log says why.",
        ),
        (
            waiting("CrashLoopBackOff", BACK_OFF, restarts=3),
            "Container main keeps ending. Restarted 3 times; it waits for the next try.",
            "The end of its log says why.",
        ),
        (
            waiting("CrashLoopBackOff", BACK_OFF, restarts=2, last_ended=Ended(139, "Error")),
            "Container main was killed by SIGSEGV (exit code 139). Restarted 2 times; it waits for the next try.",
            "The end of its log says why.",
        ),
        (
            ContainerFacts("main", ended=Ended(127, "Error")),
            "Container main ended with exit code 127; the command was not found.",
            "Correct its command, or the image that should have it.",
        ),
        (
            ContainerFacts("main", ended=Ended(0, "OOMKilled")),
            "Container main ran out of memory: it used more than its limit (exit code 137).",
            "Ask for more memory, or let it use less.",
        ),
    ],
)
def test_why_a_container_ended(container: ContainerFacts, sentence: str, step: str) -> None:
    explained = why(placed(container, log_line="MemoryError"))
    assert (explained.sentence, explained.next_step) == (sentence, step)
    assert ("Last line of its log", "MemoryError") in [(e.source, e.text) for e in explained.evidence]
    assert explained.quoted == f"{sentence} Its last words: “MemoryError”"
    if "memory" in sentence:
        assert explained.state == "OOMKilled", "never told as a mere Error"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Traceback:\n  File\nValueError: no such layer\n\n", " Its last words: “ValueError: no such layer”"),
        ("\x1b[31mbad\x1b[0m \x00end", " Its last words: “bad end”"),
        ("x" * 500, f" Its last words: “{'x' * 159}…”"),
        ("2026-11-30 09:31:03,562 ERROR no such layer", " Its last words: “no such layer”"),
        ("[2026-11-30T09:31:03.562Z] [info]: done", " Its last words: “done”"),
        ("2026-11-30T09:31:03+02:00 no such layer", " Its last words: “no such layer”"),
        ("ERROR: no such layer", " Its last words: “ERROR: no such layer”"),
        ("  \n\n", ""),
        ("", ""),
        (
            "Fatal Python error: init_fs_encoding: no codec\nPython runtime state: core initialized\n"
            "ModuleNotFoundError: No module named 'encodings'\n\n"
            "Current thread 0x00007fd68c5cab80 (most recent call first):\n  <no Python frame>\n",
            " Its last words: “ModuleNotFoundError: No module named 'encodings'”",
        ),
        (
            "Fatal Python error: Segmentation fault\n\nThread 0x00007f10 [worker] (most recent call first):\n"
            '  File "a.py", line 3 in wait\n\nCurrent thread 0x00007f11 (most recent call first):\n  File "b.py"\n',
            " Its last words: “Fatal Python error: Segmentation fault”",
        ),
        (
            "Current thread 0x00007f11 (most recent call first):\n  <no Python frame>",
            " Its last words: “<no Python frame>”",
        ),
    ],
)
def test_what_is_kept_of_a_container_that_ended_has_its_last_line(message: str, words: str) -> None:
    explained = why(placed(ContainerFacts("main", ended=Ended(3, "Error", message))))
    assert explained.quoted == f"Container main ended with exit code 3.{words}"


def test_a_failed_init_container_is_named_and_a_working_one_is_waited_for() -> None:
    setup = ContainerFacts("setup", init=True, ended=Ended(2, "Error"))
    failed = why(placed(setup, waiting("PodInitializing"), phase="Pending"))
    assert failed.sentence == "Init container setup ended with exit code 2."
    assert failed.next_step == "The end of its log says why; choose container setup there."
    busy = ContainerFacts("setup", init=True, running=True, running_since=NOW - MIN)
    pod = placed(ContainerFacts("a", init=True, ended=Ended(0, "Completed"), ready=True), busy, phase="Pending")
    assert why(pod).sentence == ("Starting: init container setup (2 of 2) is still at work; the others wait for it.")


def test_a_sidecar_that_is_stopped_after_the_main_container_is_not_the_cause() -> None:
    proxy = ContainerFacts("proxy", init=True, restarts=2, ended=Ended(143, "Error", "", NOW + MIN))
    logs = ContainerFacts("logs", ended=Ended(137, "Error", "", NOW + MIN))
    main = ContainerFacts("main", ended=Ended(1, "Error", "", NOW))
    assert why(placed(proxy, logs, main, phase="Failed")).sentence == "Container main ended with exit code 1."
