"""A pod's page keeps itself up to date: why it waits, and that it no longer does."""

from playwright.sync_api import expect

from apps.clusters.models import Pod
from apps.core import hints
from tests.frontend.conftest import Opener

WAITS = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu. preemption: 0/2 nodes are available: 2 No victims."
PATIENT = 30_000


def test_why_comes_and_goes_with_what_happens_on_the_cluster(open_page: Opener) -> None:
    pod = Pod.objects.filter(deployment="digits", ready=True).earliest("name")
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": WAITS}
    asks = {"resources": {"main": {"limits": {"nvidia.com/gpu": "4"}}}, "conditions": [condition]}
    before = Pod.objects.filter(pk=pod.pk).values("phase", "ready", "health", "reason", "node_name", "status").get()
    waits = {"phase": "Pending", "ready": False, "health": "Progressing", "reason": "Unschedulable", "node_name": ""}
    Pod.objects.filter(pk=pod.pk).update(**waits, status=asks, requests_gpus={"nvidia.com/gpu": 4})
    page = open_page(f"/clusters/{pod.cluster.name}/pods/{pod.namespace}/{pod.name}/")
    why = page.get_by_role("region", name="Why")
    expect(why).to_contain_text("Waiting: no node has 4 nvidia.com/gpu; the largest has 2.")
    why.locator("summary").click()
    expect(why).to_contain_text("2 Insufficient nvidia.com/gpu")
    expect(page.locator("[data-live-switch]")).to_have_attribute("data-state", "live")
    page.wait_for_load_state("networkidle")

    Pod.objects.filter(pk=pod.pk).update(requests_gpus={"nvidia.com/gpu": 3})
    hints.hint(f"cluster:{pod.cluster_id}")
    expect(why).to_contain_text("no node has 3 nvidia.com/gpu", timeout=PATIENT)
    expect(why.locator("details")).to_have_attribute("open", "")

    Pod.objects.filter(pk=pod.pk).update(**before)
    hints.hint(f"cluster:{pod.cluster_id}")
    expect(why).to_be_hidden(timeout=PATIENT)
    expect(page.locator("#verdict")).to_contain_text("Healthy", timeout=PATIENT)
