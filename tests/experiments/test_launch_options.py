"""Options of pods on a real local cluster: where runs go, and what they find mounted there."""

from typing import Any

import pytest

from apps.clusters import services as cluster_services
from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import Run
from apps.experiments.states import SETTLED, RunState
from tests.experiments.rounds import follow

pytestmark = pytest.mark.django_db(transaction=True)

NODE = "local-cpu-2"
HERE = {"node_selector": {"kubernetes.io/hostname": NODE}}


def launch(principal: Principal, project: Project, *command: str, **options: Any) -> Run:
    wish = {"experiment": "digits", "image": "busybox", "command": list(command), **options}
    return services.launch_runs(principal=principal, project=project, wishes=[wish])[0]


def test_a_run_goes_where_its_selector_and_affinity_say(
    principal: Principal, project: Project, real_cluster: Cluster
) -> None:
    required = {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]}  # fmt: skip
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    for options in (HERE, {"affinity": affinity}):
        run = follow(launch(principal, project, "true", **options), *SETTLED)
        assert (run.state, run.attempts.get().nodes) == (RunState.SUCCEEDED, [NODE])
    nowhere = launch(principal, project, "true", node_selector={"accelerator": "none-has-this"})
    follow(nowhere, RunState.QUEUED, reasons=("Unschedulable",))
    assert "didn't match Pod's node affinity/selector" in nowhere.message
    services.cancel_run(principal=principal, run=nowhere)
    follow(nowhere, RunState.CANCELED)


def test_a_run_tolerates_the_taint_of_a_node(principal: Principal, project: Project, real_cluster: Cluster) -> None:
    client = cluster_services.connect(real_cluster)
    taint = {"key": "team", "value": "vision", "effect": "NoSchedule"}
    client.merge_patch("v1", "Node", NODE, {"spec": {"taints": [taint]}})
    try:
        kept_off = launch(principal, project, "true", **HERE)
        follow(kept_off, RunState.QUEUED, reasons=("Unschedulable",))
        assert "untolerated taint" in kept_off.message
        tolerations = [{"key": "team", "operator": "Equal", "value": "vision", "effect": "NoSchedule"}]
        run = follow(launch(principal, project, "true", **HERE, tolerations=tolerations), *SETTLED)
        assert (run.state, run.attempts.get().nodes) == (RunState.SUCCEEDED, [NODE])
        services.cancel_run(principal=principal, run=kept_off)
        follow(kept_off, RunState.CANCELED)
    finally:
        client.merge_patch("v1", "Node", NODE, {"spec": {"taints": None}})


def test_a_run_finds_its_volumes_and_takes_no_image_that_it_may_not_pull(
    principal: Principal, project: Project, real_cluster: Cluster
) -> None:
    client = cluster_services.connect(real_cluster)
    follow(launch(principal, project, "true"), *SETTLED)  # makes the namespace
    stored = {"ConfigMap": {"data": {"a": "from-a-map"}}, "Secret": {"stringData": {"b": "from-a-secret"}}}
    for kind, data in stored.items():
        metadata = {"name": "app", "namespace": "flotilla-demo"}
        client.apply({"apiVersion": "v1", "kind": kind, "metadata": metadata, **data})
    volumes = [
        {"mountPath": "/config", "configMap": {"name": "app"}},
        {"mountPath": "/keys", "secret": {"secretName": "app"}, "readOnly": True},
        {"mountPath": "/scratch", "emptyDir": {"sizeLimit": "10Mi"}},
    ]
    words = "cat /config/a /keys/b > /scratch/both && cat /scratch/both && echo $SECRET$MISSING"
    secret_env = {
        "SECRET": {"secretName": "app", "key": "b"},
        "MISSING": {"secretName": "none", "key": "b", "optional": True},
    }
    options = {"volumes": volumes, "secret_env": secret_env}
    run = follow(launch(principal, project, "sh", "-c", words, **options), *SETTLED)
    said = run.attempts.get().log.split()
    assert (run.state, said) == (RunState.SUCCEEDED, ["from-a-mapfrom-a-secretfrom-a-secret"])
    never = launch(principal, project, "true", image="nobody/has-this:1", image_pull_policy="Never")
    follow(never, RunState.STARTING, reasons=("ErrImageNeverPull",))
    services.cancel_run(principal=principal, run=never)
    follow(never, RunState.CANCELED)
