"""The sums of clusters, made by SQL, are those of the nodes and pods themselves."""

from typing import Any

import pytest

from apps.clusters import selectors
from apps.clusters.models import Cluster, Node, Pod
from apps.clusters.selectors.sums import pod_groups, pods_by_cluster, pods_by_cluster_and_project
from apps.core.access import Principal
from apps.core.models import Project, User
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def pods() -> list[Pod]:
    """On two clusters: pods of all kinds, one that has ended and one that is gone."""
    project = Project.objects.create(name="demo")
    made = []
    for where in (factories.cluster("east"), factories.cluster("west", nodes=1)):
        gpu = {"requests_gpu": 1, "requests_gpus": {"nvidia.com/gpu": 1}}
        kinds = [
            {}, gpu, gpu, gpu | {"phase": "Pending"}, {"node_name": "", "phase": "Pending"}, {"health": "Degraded"},
            {"used_cpu_m": None, "used_memory_b": None}, {"phase": "Succeeded"},
        ]  # fmt: skip
        made += [factories.pod(where, project, **fields) for fields in kinds]
        made.append(factories.pod(where, None, deleted_at=made[-1].created_at))
    Node.objects.filter(name="east-node-2").update(ready=False, used_cpu_m=None, used_memory_b=None)
    return made


def test_groups_are_those_that_the_orm_makes(pods: list[Pod]) -> None:
    ids = [*Cluster.objects.values_list("pk", flat=True)]
    wanted = list(pod_groups(Pod.objects.filter(cluster__in=ids), "cluster_id"))
    assert len(wanted) == 4
    groups = pods_by_cluster(ids)
    assert [group for group in groups if group not in wanted] == [] and len(groups) == len(wanted)
    both = [{key: group[key] for key in wanted[0]} for group in pods_by_cluster_and_project(ids)[0]]
    assert [group for group in both if group not in wanted] == [] and len(both) == len(wanted)


def test_clusters_come_with_the_sums_of_their_nodes_and_pods(pods: list[Pod]) -> None:
    person = Principal(user=User.objects.create_user("ada"))
    east, west = selectors.with_sums(selectors.clusters(person))
    assert (east.nodes, east.nodes_ready, west.nodes, west.nodes_ready) == (3, 2, 1, 1)
    assert (east.cpu.used, east.cpu.asked, east.cpu.total) == (1800, 6 * 250, 12_000)
    assert (west.memory.used, west.memory.asked) == (2 * factories.GIB, 6 * factories.GIB // 4)
    assert (east.pods, east.pods_bad, east.room.pods_waiting) == (7, 1, 1)
    kinds = [(use.kind, use.capacity.used, use.capacity.asked, use.capacity.total) for use in east.gpus]
    assert kinds == [("nvidia.com/gpu", 2, 3, 2)]


def test_a_list_of_clusters_reads_no_credential(pods: list[Pod]) -> None:
    person = Principal(user=User.objects.create_user("ada"))
    for cluster in selectors.clusters(person):
        assert {"credential_encrypted", "ca", "check_report", "streams"} <= cluster.get_deferred_fields()


MIG = "nvidia.com/mig-1g.5gb"


def test_what_is_free_is_what_a_pod_could_get() -> None:
    """Nodes that take no pods have no room, and each resource is counted by its own name."""
    west = factories.cluster("west", nodes=0)
    columns = {"allocatable_cpu_m": 4000, "allocatable_memory_b": 8 * factories.GIB, "allocatable_pods": 110}
    nodes: dict[str, dict[str, Any]] = {
        "half": {}, "empty": {"allocatable_gpus": {"nvidia.com/gpu": 2, MIG: 7}},
        "cordoned": {"schedulable": False, "allocatable_gpus": {"nvidia.com/gpu": 8}},
        "unready": {"ready": False, "allocatable_cpu_m": 64_000},
        "crowded": {"allocatable_pods": 1, "allocatable_cpu_m": 32_000},
        "overdrawn": {"allocatable_cpu_m": 500},
    }  # fmt: skip
    for name, changes in nodes.items():
        Node.objects.filter(pk=factories.node(west, name).pk).update(**columns | {"allocatable_gpus": {}} | changes)
    for on, gpus in (
        ("half", {}), ("half", {}), ("empty", {"nvidia.com/gpu": 1}), ("empty", {MIG: 3}), ("cordoned", {}),
        ("crowded", {}), ("overdrawn", {}), ("overdrawn", {}), ("", {}),
    ):  # fmt: skip
        asked = {"requests_cpu_m": 500, "requests_memory_b": factories.GIB, "requests_gpus": gpus}
        factories.pod(west, None, node_name=on, **asked)
    factories.pod(west, None, node_name="half", phase="Succeeded", requests_cpu_m=3000)
    assert selectors.free_room([west.pk]) == {
        west.pk: {
            "cpu": (3000 + 3000 + 0, 3000),
            "memory": ((6 + 6 + 6) * factories.GIB, 6 * factories.GIB),
            "nvidia.com/gpu": (1, 1),
            MIG: (4, 4),
        }
    }
    Node.objects.update(ready=False)
    assert selectors.free_room([west.pk]) == {}
