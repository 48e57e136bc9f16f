"""Controllers at work: what a person does, and what becomes of it."""

import asyncio
from typing import Any

from localcluster.errors import StatusError
from localcluster.kubelet.hollow import EXIT_CODE, RUN_SECONDS
from tests.localcluster.nodes import Side, scenario

Object = dict[str, Any]


def _template(
    app: str, *, annotations: dict[str, str] | None = None, policy: str = "Always", **container: Any
) -> Object:
    main = {"name": "main", "image": "busybox", "command": ["sleep", "60"], **container}
    return {
        "metadata": {"labels": {"app": app}, "annotations": annotations or {}},
        "spec": {"containers": [main], "restartPolicy": policy, "terminationGracePeriodSeconds": 1},
    }


def _deployment(side: Side, name: str, replicas: int, **spec: Any) -> None:
    body = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": _template(name), **spec}
    side.registry.create("deployments", {"metadata": {"name": name}, "spec": body}, namespace="default")


def _status(side: Side, name: str, resource: str = "deployments") -> Object:
    return side.registry.get(resource, name, "default").get("status", {})


def _condition(side: Side, name: str, kind: str, resource: str = "deployments") -> Object:
    return next((c for c in _status(side, name, resource).get("conditions") or [] if c["type"] == kind), {})


def _sets(side: Side) -> dict[str, int]:
    return {
        each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: each["spec"]["replicas"]
        for each in side.registry.list("replicasets", "default")
    }


async def _complete(side: Side, name: str, revision: str) -> None:
    def done() -> bool:
        deployment = side.registry.get("deployments", name, "default")
        return (
            deployment["metadata"]["annotations"].get("deployment.kubernetes.io/revision") == revision
            and deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"]
            and _condition(side, name, "Progressing")["reason"] == "NewReplicaSetAvailable"
        )

    await side.until(done)


def test_a_deployment_rolls_and_rolls_back() -> None:
    async def story(side: Side) -> None:
        _deployment(side, "web", 3, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
        await _complete(side, "web", "1")
        assert _status(side, "web")["availableReplicas"] == 3
        assert _condition(side, "web", "Available")["reason"] == "MinimumReplicasAvailable"
        fewest = 3

        def watch(change: Any) -> None:
            nonlocal fewest
            fewest = min(fewest, change.stored.obj["status"].get("availableReplicas", 0))

        side.registry.store.listen(("deployments",), watch)
        first = side.registry.get("deployments", "web", "default")["spec"]["template"]
        side.registry.mutate(
            "deployments", "web", "default", lambda d: d["spec"]["template"]["metadata"].update(annotations={"v": "2"})
        )
        await _complete(side, "web", "2")
        assert _sets(side) == {"1": 0, "2": 3}
        side.registry.mutate("deployments", "web", "default", lambda d: d["spec"].update(template=first))
        await _complete(side, "web", "3")
        assert _sets(side) == {"2": 0, "3": 3}
        assert fewest == 3
        messages = [event["message"] for event in side.events("web")]
        assert any(
            message.startswith("Scaled up replica set web-") and message.endswith("from 0 to 3") for message in messages
        )

    scenario(story, hollow=True)


def test_a_deployment_scales_and_keeps_its_history_short() -> None:
    async def story(side: Side) -> None:
        _deployment(side, "web", 2, revisionHistoryLimit=1)
        await _complete(side, "web", "1")
        for revision in ("2", "3"):
            side.registry.mutate(
                "deployments",
                "web",
                "default",
                lambda d, r=revision: d["spec"]["template"]["metadata"].update(annotations={"v": r}),
            )
            await _complete(side, "web", revision)
        await side.until(lambda: _sets(side) == {"2": 0, "3": 2})
        side.registry.mutate("deployments", "web", "default", lambda d: d["spec"].update(replicas=5))
        await side.until(lambda: _status(side, "web").get("availableReplicas") == 5)
        side.registry.mutate("deployments", "web", "default", lambda d: d["spec"].update(replicas=0))
        await side.until(lambda: not side.pods())

    scenario(story, hollow=True)


def test_recreate_takes_the_old_pods_away_first() -> None:
    async def story(side: Side) -> None:
        _deployment(side, "web", 2, strategy={"type": "Recreate"})
        await _complete(side, "web", "1")
        most = 0

        def watch(change: Any) -> None:
            nonlocal most
            most = max(most, len(side.pods()))

        side.registry.store.listen(("pods",), watch)
        side.registry.mutate(
            "deployments", "web", "default", lambda d: d["spec"]["template"]["metadata"].update(annotations={"v": "2"})
        )
        await _complete(side, "web", "2")
        assert most == 2

    scenario(story, hollow=True)


def test_a_rollout_that_hangs_says_so_and_keeps_the_old_pods() -> None:
    async def story(side: Side) -> None:
        _deployment(side, "web", 2, progressDeadlineSeconds=1, strategy={"rollingUpdate": {"maxUnavailable": 0}})
        await _complete(side, "web", "1")
        side.registry.mutate(
            "deployments",
            "web",
            "default",
            lambda d: d["spec"]["template"]["spec"]["containers"][0].update(image="nobody/knows:1"),
        )
        await side.until(lambda: _condition(side, "web", "Progressing").get("reason") == "ProgressDeadlineExceeded")
        assert _condition(side, "web", "Progressing")["status"] == "False"
        assert _condition(side, "web", "Available")["status"] == "True"
        assert _status(side, "web")["availableReplicas"] == 2

    scenario(story)


def test_a_deleted_pod_is_replaced_and_an_orphan_adopted() -> None:
    async def story(side: Side) -> None:
        orphan = _template("web")
        orphan["metadata"]["name"] = "orphan"
        side.registry.create("pods", orphan, namespace="default")
        body = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": _template("web")}
        side.registry.create("replicasets", {"metadata": {"name": "web"}, "spec": body}, namespace="default")
        await side.until(lambda: _status(side, "web", "replicasets").get("readyReplicas") == 2)
        assert side.pod("orphan")["metadata"]["ownerReferences"][0]["name"] == "web"
        side.registry.delete("pods", "orphan", "default", grace_seconds=0)
        await side.until(
            lambda: _status(side, "web", "replicasets").get("readyReplicas") == 2 and len(side.pods()) == 2
        )

    scenario(story, hollow=True)


def test_deletion_reaches_processes_in_every_way() -> None:
    async def story(side: Side) -> None:
        for name in ("back", "fore", "orphan"):
            _deployment(side, name, 1)
            await _complete(side, name, "1")
        side.registry.delete("deployments", "back", "default", propagation="Background")
        assert not side.exists("deployments", "back")
        await side.until(lambda: not side.pods("app=back"))
        side.registry.delete("deployments", "fore", "default", propagation="Foreground")
        assert side.exists("deployments", "fore")
        await side.until(lambda: not side.exists("deployments", "fore"))
        assert not side.pods("app=fore")
        side.registry.delete("deployments", "orphan", "default", propagation="Orphan")
        await side.until(lambda: not side.exists("deployments", "orphan"))
        (left,) = side.registry.list("replicasets", "default")
        assert not left["metadata"].get("ownerReferences")
        assert len(side.pods("app=orphan")) == 1
        side.registry.delete("replicasets", left["metadata"]["name"], "default")
        await side.until(lambda: not side.pods())
        assert not [w for w in side.kubelet._workers.values() if w.runners]

    scenario(story)


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    async def story(side: Side) -> None:
        side.registry.create("namespaces", {"metadata": {"name": "team"}})
        body = {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}, "template": _template("x")}
        side.registry.create("deployments", {"metadata": {"name": "x"}, "spec": body}, namespace="team")
        side.registry.create("configmaps", {"metadata": {"name": "c"}}, namespace="team")
        job = {"template": _template("j", policy="Never")}
        side.registry.create("jobs", {"metadata": {"name": "j"}, "spec": job}, namespace="team")
        await side.until(lambda: len(side.registry.list("pods", "team")) == 3)
        side.registry.delete("namespaces", "team")
        await side.until(lambda: not side.registry.exists("namespaces", "team"))
        assert not side.registry.list("pods", "team")

    scenario(story)


def _job(side: Side, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    body = {"template": _template(name, annotations=annotations, policy="Never"), **spec}
    side.registry.create("jobs", {"metadata": {"name": name}, "spec": body}, namespace="default")


def test_jobs_complete_fail_and_are_suspended() -> None:
    quick = {RUN_SECONDS: "0.05"}

    async def story(side: Side) -> None:
        _job(side, "good", quick, completions=3, parallelism=2)
        _job(side, "bad", {**quick, EXIT_CODE: "3"}, backoffLimit=0)
        _job(side, "slow", {RUN_SECONDS: "60"}, activeDeadlineSeconds=1)
        _job(side, "later", quick, suspend=True)
        _job(side, "gone", quick, ttlSecondsAfterFinished=0)
        await side.until(lambda: _condition(side, "good", "Complete", "jobs"))
        assert _status(side, "good", "jobs")["succeeded"] == 3
        assert "Completed" in side.reasons("good")
        await side.until(lambda: _condition(side, "bad", "Failed", "jobs"))
        assert _condition(side, "bad", "Failed", "jobs")["reason"] == "BackoffLimitExceeded"
        assert _status(side, "bad", "jobs")["failed"] == 1
        await side.until(lambda: _condition(side, "slow", "Failed", "jobs"))
        assert _condition(side, "slow", "Failed", "jobs")["reason"] == "DeadlineExceeded"
        assert not side.pods("job-name=slow")
        await side.until(lambda: not side.exists("jobs", "gone"))
        await side.until(lambda: not side.pods("job-name=gone"))
        assert _condition(side, "later", "Suspended", "jobs")["status"] == "True"
        assert not side.pods("job-name=later")
        side.registry.mutate("jobs", "later", "default", lambda j: j["spec"].update(suspend=False))
        await side.until(lambda: _condition(side, "later", "Complete", "jobs"))

    scenario(story, hollow=True)


def test_a_job_replaces_a_deleted_pod_and_counts_it_once() -> None:
    async def story(side: Side) -> None:
        _job(side, "work", {RUN_SECONDS: "60"}, backoffLimit=2)
        (pod,) = await side.until(lambda: side.pods("job-name=work"))
        await side.until(lambda: side.phase(pod["metadata"]["name"]) == "Running")
        side.registry.delete("pods", pod["metadata"]["name"], "default")
        await side.until(lambda: not side.exists("pods", pod["metadata"]["name"]))
        (second,) = await side.until(
            lambda: [p for p in side.pods("job-name=work") if p["metadata"]["uid"] != pod["metadata"]["uid"]]
        )
        await side.until(lambda: side.phase(second["metadata"]["name"]) == "Running")
        await side.until(lambda: side.registry.get("jobs", "work", "default")["status"].get("active") == 1)
        assert side.registry.get("jobs", "work", "default")["status"].get("failed") == 1
        assert [each["metadata"]["uid"] for each in side.pods("job-name=work")] == [second["metadata"]["uid"]]

    scenario(story, hollow=True)


def test_a_job_says_that_its_pod_was_disrupted_also_when_the_pod_is_gone() -> None:
    """podFailurePolicy is asked before the finalizer goes, or the reason would go with the pod."""
    rules = [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drained"}

    async def story(side: Side) -> None:
        _job(side, "work", {RUN_SECONDS: "60"}, backoffLimit=0, podFailurePolicy={"rules": rules})
        await side.until(lambda: [pod for pod in side.pods() if pod.get("status", {}).get("phase") == "Running"])
        name = side.pods()[0]["metadata"]["name"]

        def disrupt(pod: Object) -> None:
            pod["status"].setdefault("conditions", []).append(target)

        side.registry.mutate("pods", name, "default", disrupt, subresource="status")
        side.registry.delete("pods", name, "default")
        await side.until(lambda: _condition(side, "work", "Failed", "jobs"))
        failed = _condition(side, "work", "Failed", "jobs")
        assert failed["reason"] == "PodFailurePolicy"
        assert failed["message"].endswith("has condition DisruptionTarget matching FailJob rule at index 0")

    scenario(story, hollow=True)


def test_what_a_job_takes_away_itself_is_no_failure() -> None:
    """Suspended, or with less parallelism: it may go on later, whatever its backoffLimit (deleteJobPods lets go of the
    finalizer first)."""

    async def story(side: Side) -> None:
        _job(side, "work", {RUN_SECONDS: "60"}, backoffLimit=0, parallelism=3, completions=3)
        await side.until(lambda: sum(pod.get("status", {}).get("phase") == "Running" for pod in side.pods()) == 3)
        side.registry.mutate("jobs", "work", "default", lambda job: job["spec"].update(parallelism=1))
        await side.until(lambda: len(side.pods()) == 1)
        side.registry.mutate("jobs", "work", "default", lambda job: job["spec"].update(suspend=True))
        await side.until(lambda: not side.pods())
        side.registry.mutate("jobs", "work", "default", lambda job: job["spec"].update(suspend=False))
        await side.until(lambda: _status(side, "work", "jobs")["active"] == 1)
        assert not _status(side, "work", "jobs").get("failed")

    scenario(story, hollow=True)


def test_an_indexed_job_runs_every_index_once() -> None:
    async def story(side: Side) -> None:
        command = ["sh", "-c", "echo index $JOB_COMPLETION_INDEX"]
        body = {"completions": 3, "parallelism": 3, "completionMode": "Indexed"}
        template = _template("all", policy="Never", command=command)
        side.registry.create(
            "jobs", {"metadata": {"name": "all"}, "spec": {**body, "template": template}}, namespace="default"
        )
        await side.until(lambda: _condition(side, "all", "Complete", "jobs"))
        assert _status(side, "all", "jobs")["completedIndexes"] == "0-2"
        logs = {side.log(pod["metadata"]["name"]).split(" ", 1)[1] for pod in side.pods()}
        assert logs == {"index 0\n", "index 1\n", "index 2\n"}
        assert {pod["metadata"]["name"][:6] for pod in side.pods()} == {"all-0-", "all-1-", "all-2-"}

    scenario(story)


def test_a_service_knows_its_ready_pods() -> None:
    async def story(side: Side) -> None:
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
        side.registry.create("services", {"metadata": {"name": "web"}, "spec": spec}, namespace="default")
        _deployment(side, "web", 2)

        def ready() -> list[str]:
            slices = side.registry.list("endpointslices", "default", label_selector="kubernetes.io/service-name=web")
            return sorted(e["addresses"][0] for s in slices for e in s["endpoints"] if e["conditions"]["ready"])

        await side.until(lambda: len(ready()) == 2)
        assert ready() == sorted(pod["status"]["podIP"] for pod in side.pods())
        side.registry.mutate("deployments", "web", "default", lambda d: d["spec"].update(replicas=1))
        await side.until(lambda: len(ready()) == 1)
        side.registry.delete("services", "web", "default")
        await side.until(lambda: not side.registry.list("endpointslices", "default"))

    scenario(story, hollow=True)


def test_hundreds_of_hollow_pods_run() -> None:
    from localcluster.config import hollow_nodes

    async def story(side: Side) -> None:
        _deployment(side, "many", 400)
        await side.until(lambda: _status(side, "many").get("availableReplicas") == 400, 60)
        assert len({pod["status"]["podIP"] for pod in side.pods()}) == 400

    scenario(story, hollow=True, nodes=hollow_nodes(3))


def test_nodes_beat_and_come_back() -> None:
    async def story(side: Side) -> None:
        node = side.registry.get("nodes", "local-gpu-1")
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
        try:
            side.registry.create("pods", {"metadata": {"name": "x"}, "spec": {}}, namespace="nowhere")
        except StatusError as error:
            assert error.code == 404
        await asyncio.sleep(0)

    scenario(story, hollow=True)
