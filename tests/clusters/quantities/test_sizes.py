"""What a container may ask for: nonsense is refused with what was meant, and so is what fits on no node."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.clusters.models import Cluster, Node
from apps.clusters.quantities.sizes import GPU, Size, sensible
from apps.clusters.selectors import check_all_fit, check_fits
from apps.core.errors import Invalid
from tests import factories

GIB = 1024**3


@pytest.mark.parametrize(
    ("memory", "says", "meant"),
    [
        ("512m", "512m of memory is less than one byte (m means thousandths), and", "512Mi was probably meant."),
        (
            "1.5",
            "1.5 of memory is 1.5 bytes, and a container needs at least 4 MiB to start.",
            "1.5Gi was probably meant.",
        ),
        ("1Mi", "1Mi of memory is 1 MiB, and", "1Gi was probably meant."),
        ("512", "512 of memory is 512 bytes, and", "512Mi was probably meant."),
        ("4095Ki", "4095Ki of memory is less than 4 MiB, and", "4095Mi was probably meant."),
        ("1e3", "1e3 of memory is 1000 bytes, and", "Ask for less"),
        ("64E", "64E of memory is more than any machine has: at most 64 TiB.", "64Gi was probably meant."),
        ("65Ti", "65Ti of memory is more than any machine has", "65Gi was probably meant."),
    ],
)
def test_memory_that_makes_no_sense_is_refused_with_what_was_meant(memory: str, says: str, meant: str) -> None:
    with pytest.raises(Invalid) as refused:
        sensible("1", memory, 0)
    assert refused.value.message.startswith(says) and refused.value.hint.startswith(meant)
    assert refused.value.field == "resources.memory"


@pytest.mark.parametrize(
    ("cpu", "says", "meant"),
    [
        ("0.0001", "0.0001 CPU is less than 1m, a thousandth of a core", 'Write "500m" or "2".'),
        ("500u", "500u CPU is less than 1m", 'Write "500m" or "2".'),
        ("5000", "5000 CPU is more cores than any machine has", "5000m was probably meant."),
        ("512Mi", "512Mi CPU is more cores than any machine has", "Ask for less"),
    ],
)
def test_cpu_that_makes_no_sense_is_refused_with_what_was_meant(cpu: str, says: str, meant: str) -> None:
    with pytest.raises(Invalid) as refused:
        sensible(cpu, "1Gi", 0)
    assert refused.value.message.startswith(says) and refused.value.hint.startswith(meant)
    assert refused.value.field == "resources.cpu"


@pytest.mark.parametrize(
    ("cpu", "memory", "size"),
    [
        ("1m", "4Mi", Size(1, 4 * 1024**2)),
        ("0.5", "4194304", Size(500, 4 * 1024**2)),
        ("4096", "64Ti", Size(4_096_000, 64 * 1024**4)),
        ("1e0", "5000000000m", Size(1000, 5_000_000)),
    ],
)
def test_what_makes_sense_is_taken_up_to_the_bounds(cpu: str, memory: str, size: Size) -> None:
    assert sensible(cpu, memory, 0) == size


@pytest.fixture
def cluster(db: None) -> Cluster:
    """A large one for CPU, a large one for memory, a small one with GPUs."""
    made = factories.cluster("gke-eu", nodes=0)
    for name, cpu, memory, gpus in (
        ("cpu-1", 64_000, 64 * GIB, {}),
        ("mem-1", 16_000, 512 * GIB, {}),
        ("gpu-1", 8_000, 32 * GIB - 7, {GPU: 4, "nvidia.com/mig-1g.5gb": 7}),
    ):
        node = factories.node(made, name)
        Node.objects.filter(pk=node.pk).update(
            allocatable_cpu_m=cpu, allocatable_memory_b=memory, allocatable_gpus=gpus
        )
    return made


@pytest.mark.parametrize(
    ("asked", "says", "hint", "field"),
    [
        (
            Size(65_000, GIB),
            "No node of gke-eu has 65 CPU: the largest, cpu-1, has 64 CPU to give.",
            "Ask for less, or choose a cluster with larger nodes.",
            "resources.cpu",
        ),
        (
            Size(500_000, GIB),
            "No node of gke-eu has 500 CPU: the largest, cpu-1, has 64 CPU to give.",
            "500m was probably meant.",
            "resources.cpu",
        ),
        (
            Size(1000, 513 * GIB),
            "No node of gke-eu has 513 GiB of memory: the largest, mem-1, has 512 GiB of memory to give.",
            "Ask for less",
            "resources.memory",
        ),
        (
            Size(1000, GIB, 5),
            "No node of gke-eu has 5 nvidia.com/gpu: the largest, gpu-1, has 4 nvidia.com/gpu to give.",
            "Ask for less",
            "resources.gpu",
        ),
        (
            Size(32_000, 128 * GIB),
            "No single node of gke-eu has 32 CPU and 128 GiB of memory.",
            "Ask for less",
            "resources",
        ),
        (
            Size(1000, 33 * GIB, 1),
            "No single node of gke-eu has 1 CPU, 33 GiB of memory and 1 nvidia.com/gpu.",
            "Ask for less",
            "resources",
        ),
    ],
)
def test_what_fits_on_no_node_is_refused_with_the_largest(
    cluster: Cluster, asked: Size, says: str, hint: str, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        check_fits(cluster, asked)
    assert (refused.value.message, refused.value.field) == (says, field)
    assert refused.value.hint.startswith(hint)


def test_what_fits_costs_one_query_however_many_nodes(cluster: Cluster) -> None:
    with CaptureQueriesContext(connection) as queries:
        check_fits(cluster, Size(64_000, 64 * GIB))
        check_fits(cluster, Size(8_000, GIB, 4))
    assert len(queries) == 2


def test_a_cluster_without_gpus_says_so(cluster: Cluster) -> None:
    Node.objects.filter(name="gpu-1").delete()
    with pytest.raises(Invalid) as refused:
        check_fits(cluster, Size(1000, GIB, 1))
    assert refused.value.message == "No node of gke-eu has 1 nvidia.com/gpu."


def test_nodes_that_are_not_known_or_come_as_needed_refuse_nothing(cluster: Cluster) -> None:
    huge = Size(4_000_000, 60 * 1024 * GIB, 16)
    check_fits(factories.cluster("new", nodes=0), huge)
    Cluster.objects.filter(pk=cluster.pk).update(labels={"autoscaling": "true"})
    cluster.refresh_from_db()
    check_fits(cluster, huge)


def test_many_are_checked_in_one_query_and_the_first_that_fits_nowhere_is_named(cluster: Cluster) -> None:
    small = factories.cluster("small", nodes=1)
    unknown = factories.cluster("unknown", nodes=0)
    fits = [(cluster, Size(1000 + number, GIB, number % 5)) for number in range(50)]
    with CaptureQueriesContext(connection) as queries:
        check_all_fit([*fits, (small, Size(4000, GIB, 2)), (unknown, Size(4_000_000, GIB, 16))])
    assert len(queries) == 1
    with pytest.raises(Invalid) as refused:
        check_all_fit([*fits, (small, Size(5000, GIB)), (cluster, Size(1000, GIB, 5))])
    assert refused.value.message.startswith("No node of small has 5 CPU")
