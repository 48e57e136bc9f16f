"""Whole objects: what a revision becomes on the cluster, and when it is applied again."""

from base64 import b64decode
from typing import Any

import kubernetes_validate
import pytest

from apps.clusters.podoptions import parse
from apps.core.errors import Invalid
from apps.deployments import manifests
from apps.deployments.manifests.modelfiles import Source
from apps.deployments.specs import RevisionSpec, parse_revision
from tests.clusters.podoptions.test_podoptions import EVERYTHING

IDENTITY = manifests.Identity("demo", "digits", "flotilla-demo")
SPEC = parse_revision(
    {
        "image": "team/digits:1",
        "command": ["python", "serve.py"],
        "env": {"THREADS": "2"},
        "model": {"name": "digits", "version": 4},
        "resources": {"cpu": "250m", "memory": "256Mi", "gpu": 1},
    }
)
SOURCE = Source("http://flotilla", "flotilla-model-server:2")
LABELS = {
    "app.kubernetes.io/managed-by": "flotilla",
    "app.kubernetes.io/name": "digits",
    "app.kubernetes.io/part-of": "demo",
    "flotilla.dev/deployment": "digits",
}


def test_the_workload_of_a_revision() -> None:
    labels = {**LABELS, "flotilla.dev/revision": "2"}
    made = manifests.workload(IDENTITY, 2, SPEC, 3, source=SOURCE)
    amounts = {"cpu": "250m", "memory": "256Mi", "nvidia.com/gpu": "1"}
    live = {"httpGet": {"path": "/v2/health/live", "port": "http"}}
    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "digits-r2", "namespace": "flotilla-demo", "labels": labels},
        "spec": {
            "replicas": 3,
            "revisionHistoryLimit": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": {"flotilla.dev/deployment": "digits", "flotilla.dev/revision": "2"}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "restartPolicy": "Always",
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "server",
                            "image": "team/digits:1",
                            "command": ["python", "serve.py"],
                            "env": [
                                {"name": "THREADS", "value": "2"},
                                {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                                {"name": "PORT", "value": "8080"},
                                {"name": "FLOTILLA_MODEL_NAME", "value": "digits"},
                                {"name": "FLOTILLA_MODEL_VERSION", "value": "4"},
                                {"name": "MLFLOW_TRACKING_URI", "value": "http://flotilla"},
                                {
                                    "name": "MLFLOW_TRACKING_TOKEN",
                                    "valueFrom": {"secretKeyRef": {"name": "digits-model-access", "key": "token"}},
                                },
                            ],
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "resources": {"requests": amounts, "limits": amounts},
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "readinessProbe": {
                                "httpGet": {"path": "/v2/health/ready", "port": "http"},
                                "periodSeconds": 1,
                                "timeoutSeconds": 2,
                                "failureThreshold": 3,
                            },
                            "startupProbe": {
                                **live,
                                "periodSeconds": 1,
                                "timeoutSeconds": 2,
                                "failureThreshold": 600,
                            },
                            "livenessProbe": {**live, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 6},
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "privileged": False,
                            },
                        }
                    ],
                },
            },
        },
    }


def test_the_workload_of_a_revision_with_options_is_that_without_and_what_they_say() -> None:
    def made(spec: RevisionSpec) -> dict[str, Any]:
        return manifests.workload(IDENTITY, 2, spec, 3, source=SOURCE)

    options = parse(EVERYTHING)
    expected = made(SPEC)
    pod = expected["spec"]["template"]["spec"]
    pod |= options.pod_fields({"flotilla.dev/deployment": "digits", "flotilla.dev/revision": "2"})
    env = pod["containers"][0]["env"]
    # Behind those of the spec, before those that Flotilla sets.
    pod["containers"][0]["env"] = [env[0], *options.env, *env[1:]]
    pod["containers"][0] |= options.container_fields()
    spec = parse_revision({**SPEC.to_json(), **EVERYTHING})
    assert made(spec) == expected
    kubernetes_validate.validate(expected, "1.37", strict=True)
    assert spec.digest != SPEC.digest and parse_revision(spec.to_json()) == spec


def test_a_spec_without_options_says_nothing_of_them_so_that_its_digest_stays() -> None:
    assert set(SPEC.to_json()) == {"model", "image", "command", "args", "env", "resources", "port", "probes"}
    empty = {"node_selector": {}, "tolerations": [], "affinity": {}, "image_pull_policy": "", "volumes": None}
    assert parse_revision({**SPEC.to_json(), **empty}).digest == SPEC.digest


def test_a_replica_drains_before_it_is_told_to_end() -> None:
    spec = parse_revision({"image": "x", "shutdown": {"drain_seconds": 5, "grace_seconds": 60}})
    made = manifests.workload(IDENTITY, 1, spec, 1, source=SOURCE)
    kubernetes_validate.validate(made, "1.37", strict=True)
    pod = made["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert parse_revision(spec.to_json()) == spec
    # What is as by default is not said, so that digests stay.
    assert "shutdown" not in parse_revision({"image": "x", "shutdown": {"grace_seconds": 30}}).to_json()


def test_an_init_step_brings_the_models_files_and_has_the_token_alone() -> None:
    mine = {"name": "scratch", "emptyDir": {}}
    spec = parse_revision(
        {**SPEC.to_json(), "model_path": "/mnt/models", "volumes": [{**mine, "mountPath": "/scratch"}]}
    )
    source = Source("http://flotilla", "registry.example.com/flotilla-model-server:2", "/var/lib/models")
    made = manifests.workload(IDENTITY, 2, spec, 3, source=source)
    kubernetes_validate.validate(made, "1.37", strict=True)
    pod = made["spec"]["template"]["spec"]
    model = [
        {"name": "FLOTILLA_MODEL_NAME", "value": "digits"},
        {"name": "FLOTILLA_MODEL_VERSION", "value": "4"},
        {"name": "FLOTILLA_MODEL_DIR", "value": "/mnt/models"},
    ]
    access = [
        {"name": "MLFLOW_TRACKING_URI", "value": "http://flotilla"},
        {
            "name": "MLFLOW_TRACKING_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "digits-model-access", "key": "token"}},
        },
    ]
    cache = {"name": "FLOTILLA_MODEL_CACHE", "value": "/var/cache/flotilla-models"}
    amounts = {"cpu": "250m", "memory": "256Mi"}
    assert pod["initContainers"] == [
        {
            "name": "fetch-model",
            "image": "registry.example.com/flotilla-model-server:2",
            "command": ["python", "-m", "openinference.fetch"],
            "env": [*model, *access, cache],
            "resources": {"requests": amounts, "limits": amounts},
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "flotilla-model", "mountPath": "/mnt/models"},
                {"name": "flotilla-model-cache", "mountPath": "/var/cache/flotilla-models"},
            ],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "privileged": False,
            },
        }
    ]
    assert pod["volumes"] == [
        {"name": "flotilla-model", "emptyDir": {}},
        {"name": "flotilla-model-cache", "hostPath": {"path": "/var/lib/models", "type": "Directory"}},
        mine,
    ]
    server = pod["containers"][0]
    assert server["env"][-3:] == model, "and neither the token nor the node's own folder"
    assert server["volumeMounts"] == [
        {"name": "flotilla-model", "mountPath": "/mnt/models", "readOnly": True},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
    # No cluster keeps models unless its administrator says where.
    pod = manifests.workload(IDENTITY, 2, spec, 3, source=SOURCE)["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["flotilla-model", "scratch"]
    assert "FLOTILLA_MODEL_CACHE" not in {variable["name"] for variable in pod["initContainers"][0]["env"]}
    assert parse_revision(spec.to_json()) == spec and spec.digest != SPEC.digest


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model_path": "models"}, "model_path"),
        ({"model_path": "/proc/1"}, "model_path"),
        ({"model_path": "/"}, "model_path"),
        ({"model_path": 7}, "model_path"),
        ({"model_path": "/m", "model": None}, "model_path"),
        ({"model_path": "/m/", "volumes": [{"mountPath": "/m", "emptyDir": {}}]}, "model_path"),
        (
            {"model_path": "/m", "volumes": [{"name": "flotilla-model", "mountPath": "/x", "emptyDir": {}}]},
            "volumes",
        ),
        ({"env": {"FLOTILLA_MODEL_DIR": "/m"}}, "env"),
    ],
)
def test_a_place_for_the_models_files_that_can_not_be_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_revision({**SPEC.to_json(), **changes})
    assert refused.value.field == field


def test_the_service_selects_every_revision() -> None:
    made = manifests.service(IDENTITY)
    assert made == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "digits", "namespace": "flotilla-demo", "labels": LABELS},
        "spec": {
            "type": "ClusterIP",
            "selector": {"flotilla.dev/deployment": "digits"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def test_services_of_a_blue_green_select_one_revision_each() -> None:
    [(main, noted), (preview, noted_of_preview)] = manifests.services(IDENTITY, 4, selects=3, preview=4)
    whole = manifests.service(IDENTITY)
    chosen = {**whole["spec"]["selector"], "flotilla.dev/revision": "3"}
    assert main == {**whole, "spec": {**whole["spec"], "selector": chosen}}
    assert preview["metadata"] == {**whole["metadata"], "name": "digits-preview"}
    assert preview["spec"]["selector"] == {**chosen, "flotilla.dev/revision": "4"}
    assert [manifests.selected_by(each) for each in (main, preview, whole)] == [3, 4, None]
    # What is selected is asked for, whatever serves in the end; and the objects are known by their notes.
    assert manifests.services(IDENTITY, 3, selects=3, preview=None)[0] == (main, noted)
    assert noted in manifests.notes_of(IDENTITY, 3, "d")
    assert noted_of_preview in manifests.notes_of(IDENTITY, 4, "d") - manifests.notes_of(IDENTITY, 3, "d")


def test_the_secret_holds_the_token_and_says_only_its_prefix() -> None:
    made = manifests.token_secret(IDENTITY, prefix="flt_12345678", token="flt_1234567890")
    assert made["metadata"]["annotations"] == {"flotilla.dev/token-prefix": "flt_12345678"}
    assert b64decode(made["data"]["token"]) == b"flt_1234567890"
    assert made["metadata"]["name"] == "digits-model-access"


def test_a_bare_server_needs_neither_model_nor_token_nor_probes() -> None:
    spec = parse_revision({"image": "busybox", "probes": {"ready_path": "", "live_path": ""}, "port": 9000})
    container = manifests.workload(IDENTITY, 1, spec, 1, source=SOURCE)["spec"]["template"]["spec"]["containers"][0]
    assert not {"readinessProbe", "livenessProbe", "startupProbe", "command", "args"} & set(container)
    assert [variable["name"] for variable in container["env"]] == ["HOST", "PORT"]


def test_the_selector_finds_all_that_belongs_to_the_deployment_and_to_this_project() -> None:
    assert IDENTITY.selector == (
        "app.kubernetes.io/managed-by=flotilla,app.kubernetes.io/part-of=demo,flotilla.dev/deployment=digits"
    )


def test_what_was_asked_is_noted_and_nothing_of_how_it_is_rendered() -> None:
    asked = manifests.asked_of(IDENTITY, 2, "digest")
    elsewhere = manifests.Identity("demo", "digits", "other")
    others = [manifests.asked_of(elsewhere, 2, "digest"), manifests.asked_of(IDENTITY, 3, "digest")]
    assert len({asked, *others, manifests.asked_of(IDENTITY, 2, "another"), manifests.asked_of(IDENTITY, 2)}) == 5
    made = manifests.workload(IDENTITY, 2, SPEC, 3, source=SOURCE)
    noted = manifests.stamped(made, asked)
    assert noted["metadata"].pop("annotations") == {"flotilla.dev/asked": asked}
    assert noted == made
