"""The kind of machine that a run was on, which is remembered when the node is gone."""

import pytest
from django.test import Client

from apps.clusters.models import Node
from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments import reconcile, services
from apps.experiments.decision import NodeKind, kind_of_node
from apps.experiments.reconcile import reconcile_run
from tests import factories
from tests.experiments.memory import Api
from tests.experiments.rounds import last


@pytest.mark.parametrize(
    ("labels", "kind", "text"),
    [
        ({"node.kubernetes.io/instance-type": "g5.xlarge", "kubernetes.io/arch": "amd64", "nvidia.com/gpu.product":
          "NVIDIA-A10G"}, NodeKind("g5.xlarge", "NVIDIA-A10G", "amd64"), "g5.xlarge, NVIDIA-A10G, amd64"),
        ({"beta.kubernetes.io/instance-type": "old", "beta.kubernetes.io/arch": "arm64"}, NodeKind("old", "", "arm64"),
         "old, arm64"),
        ({"cloud.google.com/gke-accelerator": "nvidia-tesla-t4", "kubernetes.io/arch": ""},
         NodeKind("", "nvidia-tesla-t4", ""), "nvidia-tesla-t4"),
        ({"kubernetes.io/hostname": "n1"}, NodeKind(), ""),
    ],
)  # fmt: skip
def test_what_labels_tell_of_a_machine(labels: dict[str, str], kind: NodeKind, text: str) -> None:
    found = kind_of_node(labels)
    assert found == kind and found.text == text and NodeKind.from_json(found.to_json()) == found


@pytest.mark.django_db(transaction=True)
def test_a_run_tells_the_kind_of_its_node_also_when_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, principal: Principal, project: Project, browser: Client
) -> None:
    api = Api()
    monkeypatch.setattr(reconcile, "connect", lambda cluster: api)
    node = factories.node(factories.cluster("home", nodes=0), "n1")
    Node.objects.filter(pk=node.pk).update(labels={"node.kubernetes.io/instance-type": "g5.xlarge"})
    wish = {"experiment": "digits", "image": "busybox", "command": ["true"]}
    [run] = services.launch_runs(principal=principal, project=project, wishes=[wish])
    reconcile_run(run.pk)
    api.pods = [api.pod(last(run).job_name, phase="Running")]
    reconcile_run(run.pk)
    node.delete()
    api.end(last(run).job_name, 0)
    reconcile_run(run.pk)
    assert [(pod["state"], pod["node_kind"]) for pod in last(run).pods] == [
        ("Succeeded", {"instance_type": "g5.xlarge"})
    ]
    assert "g5.xlarge" in browser.get(f"/p/demo/runs/{run.uid}/").content.decode().partition(">Node kind<")[2]
    assert "exact=1" not in browser.get(f"/p/demo/runs/new?again={run.uid}").content.decode(), "nothing was pulled"
    compared = browser.get(f"/p/demo/runs/compare?run={run.uid}&all=1").content.decode()
    assert "g5.xlarge" in compared.partition(">Launch")[2]
