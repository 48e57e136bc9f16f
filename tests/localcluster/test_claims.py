"""Volumes that outlive their pods."""

import pytest

from localcluster.errors import StatusError
from tests.localcluster.nodes import Side, scenario

pytestmark = pytest.mark.real_process
MOUNTED = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}


def of(claim: str) -> dict[str, object]:
    return {"volumes": [{"name": "kept", "persistentVolumeClaim": {"claimName": claim}}]}


def test_a_claim_keeps_what_one_pod_wrote_for_the_next_and_goes_when_none_uses_it() -> None:
    async def story(side: Side) -> None:
        side.run("first", "sh", "-c", "echo hello > /kept/note", spec=of("data"), **MOUNTED)
        await side.until(lambda: "FailedScheduling" in side.reasons("first"))
        [refused] = [event["message"] for event in side.events("first")]
        assert refused.startswith('0/3 nodes are available: persistentvolumeclaim "data" not found. preemption: ')
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        side.registry.create(
            "persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": spec}, namespace="default"
        )
        await side.until(lambda: side.phase("first") == "Succeeded")
        claim = side.registry.get("persistentvolumeclaims", "data", "default")
        assert claim["status"]["capacity"] == {"storage": "1Gi"} and claim["spec"]["storageClassName"] == "standard"
        side.run("second", "sh", "-c", "cat /kept/note; sleep 60", spec=of("data"), **MOUNTED)
        await side.until(lambda: "hello" in side.log("second"))
        folder = side.kubelet.pods_folder.parent / "claims" / claim["spec"]["volumeName"]
        side.registry.delete("persistentvolumeclaims", "data", "default")
        assert side.exists("persistentvolumeclaims", "data") and folder.is_dir(), "a pod uses it"
        side.registry.delete("pods", "second", "default", grace_seconds=0)
        await side.until(lambda: not side.exists("persistentvolumeclaims", "data") and not folder.exists())

    scenario(story)


def test_a_claim_of_an_unknown_class_waits_and_a_senseless_one_is_refused() -> None:
    async def story(side: Side) -> None:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        other = {"metadata": {"name": "fast"}, "spec": {**spec, "storageClassName": "fast"}}
        side.registry.create("persistentvolumeclaims", other, namespace="default")
        side.run("waits", "true", spec=of("fast"), **MOUNTED)
        await side.until(lambda: "unbound immediate" in side.events("waits")[0]["message"])
        await side.until(lambda: side.reasons("fast") == ["ProvisioningFailed"])
        for wrong in ({"accessModes": []}, {"accessModes": ["Sometimes"]}, {"resources": {}}):
            with pytest.raises(StatusError, match=r"is invalid: spec\.(accessModes|resources)"):
                side.registry.create(
                    "persistentvolumeclaims",
                    {"metadata": {"name": "wrong"}, "spec": {**spec, **wrong}},
                    namespace="default",
                )

    scenario(story)
