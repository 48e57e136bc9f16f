"""The arithmetic of rollouts and the decisions about jobs, by tables."""

from typing import Any

import pytest

from localcluster.controllers import jobrules
from localcluster.controllers.deployment import same_template, template_hash
from localcluster.controllers.endpointslice import slices
from localcluster.controllers.jobrules import Counts, Ending, Indexes, Step
from localcluster.controllers.rolling import Bounds, Set, bounds, grow, shrink, spread
from localcluster.meta import time_of


@pytest.mark.parametrize(
    ("desired", "surge", "unavailable", "wanted"),
    [
        (10, "25%", "25%", Bounds(10, 3, 2)),
        (3, 1, 0, Bounds(3, 1, 0)),
        (3, 0, "25%", Bounds(3, 0, 1)),
        (1, "25%", "25%", Bounds(1, 1, 0)),
        (2, 1, 5, Bounds(2, 1, 2)),
    ],
)
def test_bounds(desired: int, surge: Any, unavailable: Any, wanted: Bounds) -> None:
    assert bounds(desired, surge, unavailable) == wanted


@pytest.mark.parametrize(
    ("new", "old", "limits", "grown"),
    [
        (0, [3], Bounds(3, 1, 0), 1),
        (1, [3], Bounds(3, 1, 0), 1),
        (1, [2], Bounds(3, 1, 0), 2),
        (0, [3], Bounds(3, 0, 1), 0),
        (0, [2], Bounds(3, 0, 1), 1),
        (0, [], Bounds(3, 1, 0), 3),
        (5, [], Bounds(3, 1, 0), 3),
    ],
)
def test_the_new_set_grows_into_the_room(new: int, old: list[int], limits: Bounds, grown: int) -> None:
    assert grow(Set("n", new), [Set(str(i), each) for i, each in enumerate(old)], limits) == grown


@pytest.mark.parametrize(
    ("new", "old", "limits", "wanted"),
    [
        # Nothing goes before the new one is available.
        (Set("n", 1, 0), [Set("a", 3, 3)], Bounds(3, 1, 0), {}),
        (Set("n", 1, 1), [Set("a", 3, 3)], Bounds(3, 1, 0), {"a": 2}),
        (Set("n", 3, 3), [Set("a", 1, 1)], Bounds(3, 1, 0), {"a": 0}),
        (Set("n", 0, 0), [Set("a", 3, 3)], Bounds(3, 0, 1), {"a": 2}),
        # What is broken goes first, even while the new one is not available.
        (Set("n", 1, 0), [Set("a", 2, 0), Set("b", 2, 2)], Bounds(3, 2, 1), {"a": 0}),
        (Set("n", 1, 1), [Set("a", 1, 1), Set("b", 2, 0)], Bounds(3, 1, 0), {"b": 1}),
    ],
)
def test_the_old_sets_shrink_behind_it(new: Set, old: list[Set], limits: Bounds, wanted: dict[str, int]) -> None:
    assert shrink(new, old, limits) == wanted


def test_a_rollout_keeps_its_bounds_at_every_step() -> None:
    limits, old, new = Bounds(10, 3, 2), Set("a", 10, 10), Set("n", 0, 0)
    for _ in range(50):
        new = Set("n", grow(new, [old], limits), new.available)
        old_size = shrink(new, [old], limits).get("a", old.replicas)
        old = Set("a", old_size, min(old.available, old_size))
        assert new.replicas + old.replicas <= limits.most
        assert new.available + old.available >= limits.least_available
        new = Set("n", new.replicas, min(new.available + 1, new.replicas))
    assert (new.replicas, old.replicas) == (10, 0)


def test_a_change_of_size_is_shared_out() -> None:
    assert spread([Set("a", 5), Set("n", 5)], 20) == {"a": 10, "n": 10}
    assert spread([Set("a", 2), Set("n", 1)], 10) == {"a": 6, "n": 4}
    assert spread([Set("a", 0), Set("n", 0)], 4) == {"n": 4}
    assert spread([], 4) == {}


def test_templates_are_the_same_but_for_the_hash() -> None:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}
    marked = {"metadata": {"labels": {"app": "x", "pod-template-hash": "abc"}}, "spec": {"containers": []}}
    assert same_template({"spec": {"template": marked}}, {"spec": {"template": template}})
    assert (
        template_hash(template, 0) == template_hash(dict(reversed(template.items())), 0) != template_hash(template, 1)
    )


def _job(status: Any = None, **spec: Any) -> Any:
    template = {"spec": {"restartPolicy": spec.pop("policy", "Never")}}
    defaults = {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": template}
    return {"metadata": {"name": "j", "namespace": "n"}, "spec": {**defaults, **spec}, "status": status or {}}


def _pod(name: str, phase: str = "Running", *, ended: float = 0.0, code: int = 1, restarts: int = 0) -> Any:
    state = {"terminated": {"exitCode": code, "finishedAt": time_of(ended)}} if phase in {"Failed", "Succeeded"} else {}
    return {
        "metadata": {"name": name, "namespace": "n", "creationTimestamp": time_of(0)},
        "spec": {"nodeName": "a"},
        "status": {"phase": phase, "containerStatuses": [{"name": "c", "restartCount": restarts, "state": state}]},
    }


def _deleted(pod: Any) -> Any:
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": time_of(50), "deletionGracePeriodSeconds": 30}}


@pytest.mark.parametrize(
    ("pod", "spec", "ended"),
    [
        (_pod("a"), {}, None),
        (_pod("a", "Failed"), {}, "Failed"),
        # isPodFailed: "Count deleted Pods as failures to account for orphan Pods that never have a chance to reach the
        # Failed phase" ...
        (_deleted(_pod("a")), {}, "Failed"),
        (_deleted(_pod("a", "Succeeded")), {}, "Succeeded"),
        # ... unless the job replaces failed pods alone, as one with a podFailurePolicy does.
        (_deleted(_pod("a")), {"podReplacementPolicy": "TerminatingOrFailed"}, "Failed"),
        (_deleted(_pod("a")), {"podReplacementPolicy": "Failed"}, None),
        (_deleted(_pod("a")), {"podFailurePolicy": {"rules": []}}, None),
        ({**_deleted(_pod("a")), "spec": {}}, {"podReplacementPolicy": "Failed"}, "Failed"),
    ],
)
def test_how_a_pod_counts(pod: Any, spec: Any, ended: str | None) -> None:
    assert jobrules.ended(spec, pod) == ended


COMPLETE = Ending("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
TOO_OFTEN = Ending("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
TOO_LONG = Ending("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")


@pytest.mark.parametrize(
    ("job", "pods", "counts", "wanted"),
    [
        (_job(), [], Counts(0, 0, 0, 0), Step(create=1)),
        (_job(parallelism=3, completions=5), [_pod("a")], Counts(1, 0, 3, 0), Step(create=1)),
        (_job(parallelism=3, completions=None), [_pod("a")], Counts(1, 0, 1, 0), Step()),
        (_job(completions=None), [], Counts(0, 0, 1, 0), Step(ending=COMPLETE)),
        (_job(), [], Counts(0, 0, 1, 0), Step(ending=COMPLETE)),
        (_job(backoffLimit=0), [_pod("a", "Failed")], Counts(0, 0, 0, 1), Step(ending=TOO_OFTEN)),
        (_job(backoffLimit=1), [_pod("a", "Failed", ended=95)], Counts(0, 0, 0, 1), Step(again=5.0)),
        (_job(backoffLimit=1), [_pod("a", "Failed", ended=90)], Counts(0, 0, 0, 1), Step(create=1)),
        (
            _job(policy="OnFailure", backoffLimit=2),
            [_pod("a", restarts=2)],
            Counts(1, 0, 0, 0),
            Step(0, ("a",), TOO_OFTEN),
        ),
        (
            _job({"startTime": time_of(0)}, activeDeadlineSeconds=100),
            [_pod("a")],
            Counts(1, 0, 0, 0),
            Step(0, ("a",), TOO_LONG),
        ),
        (
            _job({"startTime": time_of(50)}, activeDeadlineSeconds=100),
            [_pod("a")],
            Counts(1, 0, 0, 0),
            Step(again=50.0),
        ),
        # podReplacementPolicy Failed: "wait until a previously created Pod is fully terminated".
        (_job(backoffLimit=1), [_deleted(_pod("a"))], Counts(0, 1, 0, 1), Step(create=1)),
        (_job(podReplacementPolicy="Failed"), [_deleted(_pod("a"))], Counts(0, 1, 0, 0), Step()),
        (_job(suspend=True), [_pod("a")], Counts(1, 0, 0, 0), Step(delete=("a",))),
        (_job(parallelism=0), [_pod("a")], Counts(1, 0, 0, 0), Step(delete=("a",))),
    ],
)
def test_the_next_step_of_a_job(job: Any, pods: Any, counts: Counts, wanted: Step) -> None:
    assert jobrules.step(job, pods, counts, 100.0) == wanted


def test_a_failure_policy_fails_or_ignores() -> None:
    rules = [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
    policy = {"rules": rules}
    verdict = jobrules.policy_verdict(policy, _pod("a", "Failed", code=42))
    assert verdict == ("FailJob", "Container c for pod n/a failed with exit code 42 matching FailJob rule at index 0")
    assert jobrules.policy_verdict(policy, _pod("a", "Failed", code=1)) is None
    disrupted = _pod("a", "Failed")
    disrupted["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert jobrules.policy_verdict(policy, disrupted) == (
        "Ignore",
        "Pod n/a has condition DisruptionTarget matching Ignore rule at index 1",
    )


@pytest.mark.parametrize("text", ["", "0", "0-2", "0-2,5", "1,3,5-9"])
def test_indexes_read_what_they_write(text: str) -> None:
    assert str(Indexes.parse(text)) == text


def test_slices_say_who_takes_traffic() -> None:
    def member(name: str, *, ready: bool, going: bool = False, port: int = 8080) -> Any:
        pod = _pod(name)
        pod["metadata"]["uid"] = name
        if going:
            pod["metadata"]["deletionTimestamp"] = time_of(0)
        pod["spec"]["containers"] = [{"ports": [{"name": "http", "containerPort": port}]}]
        pod["status"] |= {"podIP": f"127.9.0.{ord(name)}", "conditions": [{"type": "Ready", "status": str(ready)}]}
        return pod

    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "n", "uid": "u"},
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]},
    }
    members = [member("a", ready=True), member("b", ready=False), member("c", ready=True, going=True)]
    (slice_,) = slices(service, members)
    assert [tuple(each["conditions"].values()) for each in slice_["endpoints"]] == [
        (True, True, False),
        (False, False, False),
        (False, True, True),
    ]
    assert slice_["ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
    assert slice_["endpoints"][0]["targetRef"] == {"kind": "Pod", "namespace": "n", "name": "a", "uid": "a"}
    assert len(slices(service, [*members, member("d", ready=True, port=9090)])) == 2
    assert slices(service, [])[0]["endpoints"] == []
