"""Create, replace, the patch formats, delete, scale, and what is refused.

The facts are those of https://kubernetes.io/docs/reference/using-api/api-concepts/ unless a docstring says otherwise.
"""

import json
from typing import Any

import pytest

from tests.localcluster.served import Served, deployment, pod

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"


def test_create_fills_in_identity_and_defaults(api: Served) -> None:
    made = api.create("deployments", deployment("web"))
    metadata = made["metadata"]
    assert metadata["generation"] == 1
    assert {"uid", "resourceVersion", "creationTimestamp"} <= metadata.keys()
    assert made["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert api.get(f"{DEPLOYMENTS}/web").json == made


def test_generated_names_begin_with_the_prefix(api: Served) -> None:
    made = api.create("pods", {**pod(""), "metadata": {"generateName": "job-"}})
    assert made["metadata"]["name"].startswith("job-")
    assert len(made["metadata"]["name"]) == len("job-") + 5


def test_a_second_create_of_a_name_is_a_conflict(api: Served) -> None:
    api.create("pods", pod("a"))
    reply = api.post(PODS, pod("a"))
    assert (reply.status, reply.json["reason"]) == (409, "AlreadyExists")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "Not_A_Name"}}, "metadata.name"),
        ({"metadata": {"name": "a", "labels": {"x": "not a label!"}}}, "metadata.labels"),
        ({"spec": {"containers": []}}, "spec.containers"),
        ({"spec": {"containers": [{"name": "main"}]}}, "spec.containers[0].image"),
        (
            {"spec": {"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": "much"}}}]}},
            "spec.containers[0].resources.limits[cpu]",
        ),
        (
            {
                "spec": {
                    "containers": [
                        {"name": "a", "image": "b", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}
                    ]
                }
            },
            "spec.containers[0].resources.requests",
        ),
        (
            {"spec": {"containers": [{"name": "a", "image": "b", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}},
            "spec.containers[0].volumeMounts[0].name",
        ),
    ],
)
def test_an_invalid_pod_is_refused_with_the_field(api: Served, change: dict[str, Any], field: str) -> None:
    """422 with `details.causes`, as https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/."""
    reply = api.post(PODS, {**pod("a"), **change})
    assert (reply.status, reply.json["reason"]) == (422, "Invalid")
    assert field in [cause["field"] for cause in reply.json["details"]["causes"]]
    assert field in reply.json["message"]


def test_a_body_that_does_not_fit_is_400(api: Served) -> None:
    assert api.request("POST", PODS, b"{not json").status == 400
    assert api.post(PODS, {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a"}}).status == 400
    wrong = deployment("a")
    wrong["spec"]["replicas"] = "three"
    reply = api.post(DEPLOYMENTS, wrong)
    assert reply.status == 400
    assert "spec.replicas" in reply.json["message"]
    assert api.post(PODS, pod("a"), type_="text/csv").status == 415
    assert api.post("/api/v1/namespaces/nowhere/pods", pod("a")).status == 404


def test_unknown_fields_are_refused_warned_about_or_ignored(api: Served) -> None:
    """ "Setting the field validation level": Strict, Warn (the default), Ignore; the field is dropped in any case."""
    odd = deployment("web")
    odd["spec"]["replica"] = 3
    strict = api.post(f"{DEPLOYMENTS}?fieldValidation=Strict", odd)
    assert strict.status == 400
    assert 'unknown field "spec.replica"' in strict.json["message"]
    warned = api.post(f"{DEPLOYMENTS}?dryRun=All", odd)
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.replica\\""'
    assert "replica" not in warned.json["spec"]
    ignored = api.post(f"{DEPLOYMENTS}?dryRun=All&fieldValidation=Ignore", odd)
    assert (ignored.status, "warning" in ignored.headers) == (201, False)


def test_a_replacement_with_an_old_version_is_a_conflict(api: Served) -> None:
    """ "Optimistic concurrency": the resourceVersion of a PUT must be the present one."""
    made = api.create("deployments", deployment("web"))
    api.patch(f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    made["spec"]["replicas"] = 5
    reply = api.request("PUT", f"{DEPLOYMENTS}/web", made)
    assert (reply.status, reply.json["reason"]) == (409, "Conflict")
    del made["metadata"]["resourceVersion"]
    assert api.request("PUT", f"{DEPLOYMENTS}/web", made).json["spec"]["replicas"] == 5


def test_generation_counts_changes_of_the_spec_alone(api: Served) -> None:
    api.create("deployments", deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    assert api.patch(path, {"metadata": {"labels": {"a": "b"}}}, MERGE).json["metadata"]["generation"] == 1
    assert api.patch(path, {"spec": {"replicas": 4}}, MERGE).json["metadata"]["generation"] == 2
    assert api.patch(f"{path}/status", {"status": {"replicas": 4}}, MERGE).json["metadata"]["generation"] == 2


def test_status_and_spec_are_written_through_their_own_doors(api: Served) -> None:
    """A write to the object leaves its status alone, one to /status everything else."""
    api.create("deployments", deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    api.patch(path, {"status": {"replicas": 9}, "spec": {"replicas": 2}}, MERGE)
    assert api.get(path).json["status"] == {}
    api.patch(f"{path}/status", {"status": {"replicas": 2}, "spec": {"replicas": 7}}, MERGE)
    now = api.get(path).json
    assert (now["status"], now["spec"]["replicas"]) == ({"replicas": 2}, 2)


def test_an_apply_is_yaml_in_which_an_escaped_surrogate_is_no_character(api: Served) -> None:
    """https://yaml.org/spec/1.2.2/#57-escaped-characters; a real API server says the same."""
    path = "/api/v1/namespaces/default/configmaps/emoji?fieldManager=t"
    about = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "emoji"}, "data": {"a": "🚀"}}
    escaped = api.patch(path, json.dumps(about).encode(), APPLY)
    assert escaped.status == 400 and "invalid Unicode character escape code" in escaped.json["message"]
    whole = api.patch(path, json.dumps(about, ensure_ascii=False).encode(), APPLY)
    assert (whole.status, whole.json["data"]) == (201, {"a": "🚀"})
    plain = {**about, "data": {"a": "\u00fc\u4eac"}}
    assert api.patch(path, json.dumps(plain).encode(), APPLY).json["data"] == {"a": "ü京"}


def test_a_micro_time_has_six_digits_also_where_they_are_zero(api: Served) -> None:
    """https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#MicroTime: what clients leave out is refused."""
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    about = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}}
    for wrong in ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00.5Z", "now"):
        refused = api.post(path, {**about, "spec": {"renewTime": wrong}})
        assert refused.status == 400 and f'parsing time "{wrong}"' in refused.json["message"]
    right = "2026-01-01T00:00:00.000000Z"
    assert api.post(path, {**about, "spec": {"renewTime": right}}).json["spec"]["renewTime"] == right


def test_a_patch_that_changes_nothing_writes_nothing(api: Served) -> None:
    made = api.create("deployments", deployment("web"))
    again = api.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 1}}, MERGE).json
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_a_strategic_patch_merges_containers_by_name(api: Served) -> None:
    """https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/"""
    api.create("deployments", deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    second = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}}
    patched = api.patch(path, second, STRATEGIC).json
    names = [each["name"] for each in patched["spec"]["template"]["spec"]["containers"]]
    assert sorted(names) == ["main", "side"]
    replaced = api.patch(path, second, MERGE).json
    assert [each["name"] for each in replaced["spec"]["template"]["spec"]["containers"]] == ["side"]


def test_a_json_patch_does_all_or_nothing(api: Served) -> None:
    """RFC 6902."""
    api.create("deployments", deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    good = [
        {"op": "test", "path": "/spec/replicas", "value": 1},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]
    assert api.patch(path, good, JSON_PATCH).json["spec"]["replicas"] == 3
    bad = [{"op": "replace", "path": "/spec/replicas", "value": 9}, {"op": "remove", "path": "/spec/none"}]
    assert api.patch(path, bad, JSON_PATCH).status == 422
    assert api.get(path).json["spec"]["replicas"] == 3
    assert api.patch(path, {}, "application/unknown").status == 415


def test_what_may_not_change_is_refused(api: Served) -> None:
    """Pods: https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement."""
    api.create("pods", pod("a"))
    reply = api.patch(f"{PODS}/a", {"spec": {"containers": [{"name": "main", "command": ["x"]}]}}, STRATEGIC)
    assert reply.status == 422
    assert "pod updates may not change fields other than" in reply.json["message"]
    assert api.patch(f"{PODS}/a", {"spec": {"containers": [{"name": "main", "image": "x"}]}}, STRATEGIC).status == 200
    api.create("deployments", deployment("web"))
    selector = {"spec": {"selector": {"matchLabels": {"app": "other"}}}}
    assert api.patch(f"{DEPLOYMENTS}/web", selector, MERGE).status == 422
    sealed = {"metadata": {"name": "c"}, "data": {"a": "b"}, "immutable": True}
    api.create("configmaps", sealed)
    path = "/api/v1/namespaces/default/configmaps/c"
    assert api.patch(path, {"data": {"a": "c"}}, MERGE).status == 422


def test_a_dry_run_answers_and_keeps_nothing(api: Served) -> None:
    """ "Dry-run": the answer is as if, nothing is stored."""
    assert api.post(f"{DEPLOYMENTS}?dryRun=All", deployment("web")).json["metadata"]["uid"]
    assert api.get(f"{DEPLOYMENTS}/web").status == 404
    made = api.create("deployments", deployment("web"))
    path = f"{DEPLOYMENTS}/web"
    assert api.patch(f"{path}?dryRun=All", {"spec": {"replicas": 9}}, MERGE).json["spec"]["replicas"] == 9
    assert api.request("DELETE", f"{path}?dryRun=All").status == 200
    assert api.get(path).json == made
    assert api.post(f"{DEPLOYMENTS}?dryRun=Some", deployment("x")).status == 422


def test_scale_reads_and_writes_replicas_alone(api: Served) -> None:
    """https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/ (read/replace scale)"""
    api.create("deployments", deployment("web", replicas=2))
    path = f"{DEPLOYMENTS}/web/scale"
    scale = api.get(path).json
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=web")
    assert api.patch(path, {"spec": {"replicas": 5}}, MERGE).json["spec"]["replicas"] == 5
    assert api.request("PUT", path, {**scale, "spec": {"replicas": 3}}).status == 409
    assert api.patch(path, {"spec": {"replicas": -1}}, MERGE).status == 422
    assert api.get(f"{DEPLOYMENTS}/web").json["spec"]["replicas"] == 5


def test_secrets_take_plain_text_and_give_base64(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/configuration/secret/: stringData is write-only."""
    made = api.create("secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (made["data"], made["type"], "stringData" in made) == ({"a": "Yg=="}, "Opaque", False)


def test_a_service_gets_an_address_and_keeps_it(api: Served) -> None:
    services = "/api/v1/namespaces/default/services"
    made = api.create("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    assert made["spec"]["clusterIP"].startswith("127.24")
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    replaced = api.request("PUT", f"{services}/web", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 81}]}})
    assert replaced.json["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert api.patch(f"{services}/web", {"spec": {"clusterIP": "127.241.0.9"}}, MERGE).status == 422
    headless = {"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
    assert api.create("services", headless)["spec"]["clusterIP"] == "None"


def test_a_job_gets_a_selector_for_its_own_pods(api: Served) -> None:
    """https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-selector"""
    spec = {"template": {"spec": {**pod("")["spec"], "restartPolicy": "Never"}}}
    made = api.create("jobs", {"metadata": {"name": "j"}, "spec": spec})
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["batch.kubernetes.io/job-name"] == "j"
    wrong = {"metadata": {"name": "k"}, "spec": {"template": {"spec": pod("")["spec"]}}}
    assert api.post("/apis/batch/v1/namespaces/default/jobs", wrong).status == 422
