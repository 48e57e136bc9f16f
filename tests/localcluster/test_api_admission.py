"""Quotas and limit ranges.

The facts are those of https://kubernetes.io/docs/concepts/policy/resource-quotas/ and
https://kubernetes.io/docs/concepts/policy/limit-range/ unless a docstring says otherwise.
"""

from collections import Counter
from typing import Any

import pytest

from localcluster.admission.usage import in_scope
from localcluster.controllers import base
from tests.kube.support import wait_until
from tests.localcluster.nodes import Side, scenario
from tests.localcluster.served import Object, Reply, Served, deployment, pod, serve
from tests.localcluster.test_api_custom import GROUP, TABS, define, tab

CORE = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"


def hard_of(api: Served, name: str, hard: dict[str, str], **spec: Any) -> None:
    reply = api.post(f"{CORE}/resourcequotas", {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    assert reply.status == 201, reply.body


def used(api: Served, name: str = "q") -> dict[str, str]:
    return dict((api.get(f"{CORE}/resourcequotas/{name}").json.get("status") or {}).get("used") or {})


def asking(name: str, requests: dict[str, str] | None = None, limits: dict[str, str] | None = None) -> Object:
    made = pod(name)
    made["spec"]["containers"][0]["resources"] = {"requests": requests or {}, "limits": limits or {}}
    return made


def post(api: Served, obj: Object) -> Reply:
    return api.post(f"{CORE}/pods", obj)


def refused(reply: Reply) -> str:
    assert (reply.status, reply.json["reason"]) == (403, "Forbidden")
    return str(reply.json["message"])


def test_the_example_of_the_documentation(api: Served) -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/manage-resources/quota-memory-cpu-namespace/"""
    hard = {"requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "2", "limits.memory": "2Gi"}
    hard_of(api, "mem-cpu-demo", hard)
    first = {"cpu": "400m", "memory": "600Mi"}, {"cpu": "800m", "memory": "800Mi"}
    assert post(api, asking("quota-mem-cpu-demo", *first)).status == 201
    expected = {"limits.cpu": "800m", "limits.memory": "800Mi", "requests.cpu": "400m", "requests.memory": "600Mi"}
    wait_until("the status", lambda: used(api, "mem-cpu-demo") == expected, 10)
    second = {"cpu": "400m", "memory": "700Mi"}, {"cpu": "800m", "memory": "1Gi"}
    assert refused(post(api, asking("quota-mem-cpu-demo-2", *second))) == (
        'pods "quota-mem-cpu-demo-2" is forbidden: exceeded quota: mem-cpu-demo, '
        "requested: requests.memory=700Mi, used: requests.memory=600Mi, limited: requests.memory=1Gi"
    )


def test_pods_are_counted_until_they_finish(api: Served) -> None:
    """ "pods: The total number of Pods in the namespace that are in a non-terminal state"; count/pods counts all."""
    hard_of(api, "q", {"pods": "2", "count/pods": "3"})
    for name in ("a", "b"):
        assert post(api, pod(name)).status == 201
    said = "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    assert refused(post(api, pod("c"))).endswith(said)
    api.patch(f"{CORE}/pods/a/status", {"status": {"phase": "Succeeded"}}, MERGE)
    assert post(api, pod("c")).status == 201
    wait_until("the status", lambda: used(api) == {"count/pods": "3", "pods": "2"}, 10)
    assert "count/pods=1,pods=1" in refused(post(api, pod("d")))
    api.request("DELETE", f"{CORE}/pods/a")
    assert "requested: pods=1," in refused(post(api, pod("d")))
    api.request("DELETE", f"{CORE}/pods/b")
    assert post(api, pod("d")).status == 201


def test_what_a_quota_is_on_must_be_stated(api: Served) -> None:
    """ "If quota is enabled in a namespace for compute resources like cpu and memory, users must specify requests or
    limits for those values"."""
    hard_of(api, "compute", {"requests.cpu": "1", "limits.memory": "1Gi"})
    assert refused(post(api, pod("a"))) == (
        'pods "a" is forbidden: failed quota: compute: must specify limits.memory for: main; requests.cpu for: main'
    )
    assert post(api, asking("a", {"cpu": "1"}, {"memory": "1Gi"})).status == 201


def test_extended_resources_have_quotas_on_requests(api: Served) -> None:
    """ "Resource quota for extended resources": requests.nvidia.com/gpu."""
    hard_of(api, "gpus", {"requests.nvidia.com/gpu": "4"})
    assert post(api, asking("a", {}, {"nvidia.com/gpu": "3"})).status == 201
    assert post(api, pod("none")).status == 201
    assert refused(post(api, asking("b", {}, {"nvidia.com/gpu": "2"}))).endswith(
        "exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=3, "
        "limited: requests.nvidia.com/gpu=4"
    )


def test_objects_of_any_kind_are_counted(api: Served) -> None:
    """ "Quota on object count": count/<resource>.<group>, and for custom resources, too."""
    define(api)
    hard = {
        "count/deployments.apps": "1",
        f"count/crontabs.{GROUP}": "1",
        "configmaps": "1",
        "services.loadbalancers": "0",
    }
    hard_of(api, "q", hard)
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    assert api.post(deployments, deployment("a")).status == 201
    assert "count/deployments.apps=1" in refused(api.post(deployments, deployment("b")))
    assert api.post(TABS, tab("a")).status == 201
    assert f"count/crontabs.{GROUP}=1" in refused(api.post(TABS, tab("b")))
    assert api.post(f"{CORE}/configmaps", {"metadata": {"name": "a"}}).status == 201
    assert "configmaps=1" in refused(api.post(f"{CORE}/configmaps", {"metadata": {"name": "b"}}))
    balanced = {"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    assert "services.loadbalancers=1" in refused(api.post(f"{CORE}/services", balanced))
    assert api.post("/api/v1/namespaces/kube-public/configmaps", {"metadata": {"name": "b"}}).status == 201


def test_a_quota_counts_what_was_there_before_and_follows_its_spec(api: Served) -> None:
    for name in ("a", "b", "c"):
        post(api, pod(name))
    hard_of(api, "q", {"pods": "2"})
    wait_until("the status", lambda: used(api) == {"pods": "3"}, 10)
    refused(post(api, pod("d")))
    api.patch(f"{CORE}/resourcequotas/q", {"spec": {"hard": {"pods": "4"}}}, MERGE)
    assert post(api, pod("d")).status == 201
    refused(post(api, pod("e")))
    api.request("DELETE", f"{CORE}/resourcequotas/q")
    assert post(api, pod("e")).status == 201


def test_quotas_are_there_after_a_restart(tmp_path: Any) -> None:
    with serve(path=tmp_path / "state") as api:
        hard_of(api, "q", {"pods": "1"})
        post(api, pod("a"))
    with serve(path=tmp_path / "state") as api:
        assert "used: pods=1" in refused(post(api, pod("b")))


def test_a_dry_run_is_checked_and_not_counted(api: Served) -> None:
    hard_of(api, "q", {"pods": "1"})
    for _ in range(2):
        assert api.post(f"{CORE}/pods?dryRun=All", pod("a")).status == 201
    assert post(api, pod("a")).status == 201
    refused(api.post(f"{CORE}/pods?dryRun=All", pod("b")))


def of_priority(operator: str, *values: str) -> Object:
    wanted = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [wanted]}}


LIMITED = {**pod("a"), "spec": {**pod("a")["spec"], "activeDeadlineSeconds": 5}}
PREFERRED = {**pod("a"), "spec": {**pod("a")["spec"], "priorityClassName": "high"}}


@pytest.mark.parametrize(
    ("spec", "obj", "concerned"),
    [
        ({}, pod("a"), True),
        ({"scopes": ["Terminating"]}, LIMITED, True),
        ({"scopes": ["Terminating"]}, pod("a"), False),
        ({"scopes": ["NotTerminating"]}, pod("a"), True),
        ({"scopes": ["BestEffort"]}, pod("a"), True),
        ({"scopes": ["BestEffort"]}, asking("a", {"cpu": "1"}), False),
        ({"scopes": ["NotBestEffort", "Terminating"]}, asking("a", {"cpu": "1"}), False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            PREFERRED,
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["low"]}]
                }
            },
            PREFERRED,
            False,
        ),
        (of_priority("In", "high"), PREFERRED, True),
        (of_priority("In", "low"), PREFERRED, False),
        (of_priority("NotIn", "low"), PREFERRED, True),
        (of_priority("Exists"), pod("a"), False),
        (of_priority("DoesNotExist"), pod("a"), True),
    ],
)
def test_quota_scopes(spec: Object, obj: Object, concerned: bool) -> None:
    """ "Quota scopes"."""
    assert in_scope({"spec": spec}, "pods", obj) is concerned


def test_a_refused_pod_of_a_workload_is_told_by_an_event() -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/manage-resources/quota-pod-namespace/"""

    async def story(side: Side) -> None:
        registry = side.registry
        hard = {"metadata": {"name": "pod-demo"}, "spec": {"hard": {"pods": "2"}}}
        registry.create("resourcequotas", hard, namespace="default")
        registry.create("deployments", deployment("pod-quota-demo", 3), namespace="default")
        said = "exceeded quota: pod-demo, requested: pods=1, used: pods=2, limited: pods=2"
        await side.until(lambda: [e for e in registry.list("events") if said in e["message"]])
        assert len(registry.list("pods")) == 2

    scenario(story, hollow=True)


def test_a_refused_replica_set_is_told_by_its_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As kube-controller-manager (pkg/controller/deployment/sync.go), whose condition is written once."""
    monkeypatch.setattr(base, "_LAST_RETRY", 0.04)
    written: Counter[str] = Counter()

    async def story(side: Side) -> None:
        registry = side.registry
        hard = {"metadata": {"name": "few"}, "spec": {"hard": {"count/replicasets.apps": "0"}}}
        registry.create("resourcequotas", hard, namespace="default")
        registry.store.listen(("deployments",), lambda change: written.update([change.resource]))
        registry.create("deployments", deployment("web", 1), namespace="default")
        said = "exceeded quota: few, requested: count/replicasets.apps=1"

        def times() -> int:
            return sum(e["count"] for e in registry.list("events") if e["reason"] == "ReplicaSetCreateError")

        await side.until(lambda: times() >= 10)
        (condition,) = registry.get("deployments", "web", "default")["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Progressing", "False")
        assert condition["reason"] == "ReplicaSetCreateError" and said in condition["message"]
        assert written["deployments"] <= 3, "made, and told once"
        registry.delete("resourcequotas", "few", "default")
        await side.until(lambda: len(side.pods()) == 1)

        def progress() -> str:
            conditions = registry.get("deployments", "web", "default")["status"]["conditions"]
            return next(str(each["status"]) for each in conditions if each["type"] == "Progressing")

        await side.until(lambda: progress() == "True")

    scenario(story, hollow=True)


REFUSALS = [
    ("resourcequotas", {"hard": {"pods": "0"}}, "exceeded quota: it"),
    ("limitranges", {"limits": [{"type": "Pod", "max": {"cpu": "1m"}}]}, "maximum cpu usage per Pod is 1m"),
]


@pytest.mark.parametrize(("resource", "spec", "said"), REFUSALS, ids=["quota", "limit range"])
def test_who_is_refused_pods_tries_ever_more_slowly_and_writes_little(
    resource: str, spec: Object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal names another pod: neither may that be a change that wakes its writer, nor an event of its own."""
    monkeypatch.setattr(base, "_LAST_RETRY", 0.04)  # the pause of the fourth: forty rounds in two seconds
    owners = ("replicasets", "deployments", "jobs")
    written: Counter[str] = Counter()

    async def story(side: Side) -> None:
        registry = side.registry
        registry.create(resource, {"metadata": {"name": "it"}, "spec": spec}, namespace="default")
        web = deployment("web", 2)
        template = web["spec"]["template"]
        template["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
        registry.store.listen(owners, lambda change: written.update([change.resource]))
        registry.create("deployments", web, namespace="default")
        once = {**template["spec"], "restartPolicy": "Never"}
        job = {"parallelism": 2, "completions": 2, "template": {"spec": once}}
        registry.create("jobs", {"metadata": {"name": "j"}, "spec": job}, namespace="default")

        def refusals(kind: str) -> list[Object]:
            events = [e for e in registry.list("events") if e["involvedObject"]["kind"] == kind]
            return [e for e in events if e["reason"] == "FailedCreate" and said in e["message"]]

        for kind in ("ReplicaSet", "Job"):
            await side.until(lambda kind=kind: sum(e["count"] for e in refusals(kind)) >= 30)
            assert len(refusals(kind)) <= 10
        # Made, its revision noted, its status (waiting, refused): each few times, however many rounds there were.
        assert all(written[owner] <= 8 for owner in owners), written
        (replica_set,) = registry.list("replicasets", "default")
        assert [c["reason"] for c in replica_set["status"]["conditions"]] == ["FailedCreate"]
        assert registry.get("jobs", "j", "default")["status"]["startTime"]
        registry.delete(resource, "it", "default")
        await side.until(lambda: len(side.pods()) == 4)
        await side.until(lambda: "conditions" not in registry.list("replicasets", "default")[0]["status"])

    scenario(story, hollow=True)


def limits(api: Served, **item: Any) -> None:
    body = {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", **item}]}}
    assert api.post(f"{CORE}/limitranges", body).status == 201


def resources(reply: Reply) -> Object:
    assert reply.status == 201, reply.body
    return dict(reply.json["spec"]["containers"][0]["resources"])


def test_limit_ranges_give_defaults(api: Served) -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/manage-resources/memory-default-namespace/"""
    limits(api, default={"memory": "512Mi"}, defaultRequest={"memory": "256Mi"})
    made = post(api, pod("a"))
    assert resources(made) == {"requests": {"memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    assert made.json["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: memory request for container main; memory limit for container main"
    )
    assert made.json["status"]["qosClass"] == "Burstable"
    # A limit without a request: the request is the limit, not the default.
    assert resources(post(api, asking("b", {}, {"memory": "1Gi"})))["requests"] == {"memory": "1Gi"}
    assert resources(post(api, asking("c", {"memory": "128Mi"}))) == {
        "requests": {"memory": "128Mi"},
        "limits": {"memory": "512Mi"},
    }


def test_a_maximum_is_the_default_of_a_limit_range_without_one(api: Served) -> None:
    """https://kubernetes.io/docs/tasks/administer-cluster/manage-resources/cpu-constraint-namespace/"""
    limits(api, max={"cpu": "800m"}, min={"cpu": "200m"})
    limit = api.get(f"{CORE}/limitranges/l").json["spec"]["limits"][0]
    assert (limit["default"], limit["defaultRequest"]) == ({"cpu": "800m"}, {"cpu": "800m"})
    assert resources(post(api, pod("a"))) == {"requests": {"cpu": "800m"}, "limits": {"cpu": "800m"}}
    assert refused(post(api, asking("constraints-cpu-demo-2", {"cpu": "500m"}, {"cpu": "1500m"}))) == (
        'pods "constraints-cpu-demo-2" is forbidden: maximum cpu usage per Container is 800m, but limit is 1500m'
    )
    assert refused(post(api, asking("constraints-cpu-demo-3", {"cpu": "100m"}, {"cpu": "800m"}))) == (
        'pods "constraints-cpu-demo-3" is forbidden: minimum cpu usage per Container is 200m, but request is 100m'
    )
    both = refused(post(api, asking("d", {"cpu": "100m"}, {"cpu": "900m"})))
    assert both == (
        'pods "d" is forbidden: [minimum cpu usage per Container is 200m, but request is 100m, '
        "maximum cpu usage per Container is 800m, but limit is 900m]"
    )


def test_limit_ranges_of_pods_and_ratios(api: Served) -> None:
    items = [{"type": "Pod", "max": {"cpu": "1"}}, {"type": "Container", "maxLimitRequestRatio": {"memory": "2"}}]
    assert api.post(f"{CORE}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": items}}).status == 201
    two = asking("a", {"memory": "1Gi"}, {"cpu": "600m", "memory": "1Gi"})
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "second"})
    assert "maximum cpu usage per Pod is 1, but limit is 1200m" in refused(post(api, two))
    wide = asking("b", {"memory": "1Gi"}, {"cpu": "1", "memory": "3Gi"})
    said = "memory max limit to request ratio per Container is 2, but provided ratio is 3.000000"
    assert said in refused(post(api, wide))
