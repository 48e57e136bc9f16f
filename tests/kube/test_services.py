"""The Services that a blue-green switches, on any cluster: applied one after another as a rollout does, and followed.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from collections.abc import Callable

from kubernetes import client

from apps.deployments.drift import differences, projection
from apps.deployments.manifests import PORT_NAME, Identity, selected_by, services
from tests.kube.conftest import Rest
from tests.kube.support import Object, pod, wait_until

APPLY = "application/apply-patch+yaml"


def test_a_service_is_switched_from_one_revision_to_the_other_and_back(
    core: client.CoreV1Api, rest: Rest, namespace: str
) -> None:
    identity = Identity("demo", "web", namespace)
    path = f"/api/v1/namespaces/{namespace}/services"
    for number in (1, 2):
        made = pod(identity.workload(number), "sleep", "100000", labels=identity.labels(revision=number))
        made["spec"]["containers"][0]["ports"] = [{"name": PORT_NAME, "containerPort": 8080}]
        core.create_namespaced_pod(namespace, made)

    def apply(selects: int | None, preview: int | None) -> None:
        for stated, _ in services(identity, 1, selects=selects, preview=preview):
            where = f"{path}/{stated['metadata']['name']}"
            status, answer = rest("PATCH", f"{where}?fieldManager=flotilla&force=true", stated, type_=APPLY)
            assert status in (200, 201), answer
            live: Object = rest("GET", where)[1]
            assert differences(live, projection(answer, stated)) == []
        assert selected_by(rest("GET", f"{path}/{identity.service}")[1]) == selects

    def comes_to(service: str, *revisions: int) -> Callable[[], bool]:
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        wanted = {identity.workload(number) for number in revisions}

        def look() -> bool:
            found = rest("GET", f"{slices}?labelSelector=kubernetes.io/service-name={service}")[1]["items"]
            ends = [end for each in found for end in each.get("endpoints") or [] if end["conditions"].get("ready")]
            return {end["targetRef"]["name"] for end in ends} == wanted

        return look

    apply(None, None)
    wait_until("requests to come to both, as another strategy has it", comes_to("web", 1, 2))
    address = rest("GET", f"{path}/web")[1]["spec"]["clusterIP"]
    apply(1, 2)
    wait_until("requests to come to the first alone", comes_to("web", 1))
    wait_until("the preview to be the second", comes_to("web-preview", 2))
    for now in (2, 1):
        apply(now, 2)
        wait_until(f"requests to come to {now} alone", comes_to("web", now))
    assert comes_to("web-preview", 2)()
    apply(None, None)
    wait_until("requests to come to both again", comes_to("web", 1, 2))
    assert rest("GET", f"{path}/web")[1]["spec"]["clusterIP"] == address, "whoever has it goes on asking there"
    assert rest("DELETE", f"{path}/web-preview")[0] == 200
    wait_until("nothing to be left of the preview", comes_to("web-preview"))
