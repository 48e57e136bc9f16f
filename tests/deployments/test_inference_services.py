"""What KServe is asked for, as whole objects and tables, and what is refused of it. No cluster is asked here."""

from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Workload
from apps.clusters.observed.rows import workload_row
from apps.core.access import Principal
from apps.core.errors import Conflict, FlotillaError, Invalid
from apps.core.models import Project
from apps.deployments import manifests, services
from apps.deployments.drift import Act, act_on
from apps.deployments.manifests import kserve, sizes
from apps.deployments.models import AppliedObject, Deployment, Revision, Target
from apps.deployments.pages.access import Card
from apps.deployments.pages.resources import trees_of
from apps.deployments.pages.spectext import as_text, changes_in
from apps.deployments.specs import SERVING_RUNTIMES, RevisionSpec, parse_revision
from tests import factories
from tests.clusters.podoptions.test_podoptions import EVERYTHING
from tests.deployments.conftest import SPEC
from tests.deployments.places import arrive, place_of, reread
from tests.deployments.test_manifests import IDENTITY, LABELS, SOURCE
from tests.deployments.test_resources import lines

MLFLOW: dict[str, Any] = {
    "model": {"name": "digits", "version": 4},
    "runtime": {"kserve": {"model_format": "mlflow"}},
    "env": {"THREADS": "2"},
    "resources": {"cpu": "250m", "memory": "256Mi"},
    "probes": {"live_path": ""},
}
# Those of PredictorSpec and ModelSpec that no pod and no container has, as its CustomResourceDefinition lists them.
OF_PREDICTOR = {"minReplicas", "deploymentStrategy", "model"}
OF_MODEL = {"modelFormat", "runtime", "protocolVersion"}


def made(spec: RevisionSpec, replicas: int = 3) -> dict[str, Any]:
    return manifests.workload(IDENTITY, 2, spec, replicas, source=SOURCE)


def pod_of(service: dict[str, Any]) -> dict[str, Any]:
    """The pod's spec in an InferenceService, with what the serving runtime adds to it."""
    predictor = service["spec"]["predictor"]
    spec = {name: value for name, value in predictor.items() if name not in OF_PREDICTOR}
    if "model" in predictor:
        own = {name: value for name, value in predictor["model"].items() if name not in OF_MODEL}
        spec["containers"] = [{"image": "runtime:1", **own, "name": "kserve-container"}]
    return spec


def test_the_inference_service_of_a_model_format() -> None:
    amounts = {"cpu": "250m", "memory": "256Mi"}
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False}
    model = [
        {"name": "FLOTILLA_MODEL_NAME", "value": "digits"},
        {"name": "FLOTILLA_MODEL_VERSION", "value": "4"},
        {"name": "FLOTILLA_MODEL_DIR", "value": "/mnt/models"},
    ]
    token = {"secretKeyRef": {"name": "digits-model-access", "key": "token"}}
    service = made(parse_revision(MLFLOW))
    assert service == {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "digits-r2",
            "namespace": "flotilla-demo",
            "labels": {**LABELS, "flotilla.dev/revision": "2", "networking.kserve.io/visibility": "cluster-local"},
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "none",
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 3,
                "deploymentStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
                },
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                # Of the runtime's image we know no user; it has to have one that is not root.
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "initContainers": [
                    {
                        "name": "fetch-model",
                        "image": "flotilla-model-server:2",
                        "command": ["python", "-m", "openinference.fetch"],
                        "env": [
                            *model,
                            {"name": "MLFLOW_TRACKING_URI", "value": "http://flotilla"},
                            {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": token},
                        ],
                        "resources": {"requests": amounts, "limits": amounts},
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [{"name": "flotilla-model", "mountPath": "/mnt/models"}],
                        "securityContext": confined | {"runAsUser": 65532, "runAsGroup": 65532},
                    }
                ],
                "volumes": [{"name": "flotilla-model", "emptyDir": {}}],
                "model": {
                    "modelFormat": {"name": "mlflow"},
                    "runtime": "kserve-mlserver",
                    "protocolVersion": "v2",
                    "env": [
                        {"name": "THREADS", "value": "2"},
                        *model,
                        {"name": "MLSERVER_MODEL_NAME", "value": "digits"},
                        {"name": "MLSERVER_MODEL_URI", "value": "/mnt/models"},
                        {"name": "MLSERVER_LOAD_MODELS_AT_STARTUP", "value": "true"},
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
                    "volumeMounts": [{"name": "flotilla-model", "mountPath": "/mnt/models", "readOnly": True}],
                    "securityContext": confined,
                },
            }
        },
    }


@pytest.mark.parametrize("wish", [MLFLOW, {"image": "team/digits:1", "runtime": {"kserve": {}}}])
@pytest.mark.parametrize("options", [{}, EVERYTHING | {"shutdown": {"drain_seconds": 5}, "args": ["--quiet"]}])
def test_what_is_inside_is_a_pod_as_kubernetes_takes_it(wish: dict[str, Any], options: dict[str, Any]) -> None:
    spec = parse_revision({**wish, **options})
    service = made(spec)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": pod_of(service)}
    kubernetes_validate.validate(pod, "1.37", strict=True)
    # A Service finds the pods by it, whatever port the serving runtime itself names.
    assert pod_of(service)["containers"][0]["ports"][0]["name"] == "http"
    assert parse_revision(spec.to_json()) == spec
    assert as_text(spec.to_json(), own_server=False).count("\nruntime:\n") == 1
    assert changes_in(as_text(spec.to_json(), own_server=False), spec.to_json(), own_server=False) == {}


def test_an_image_is_run_as_in_a_deployment_of_kubernetes() -> None:
    wish = {"image": "team/digits:1", "model": {"name": "digits", "version": 4}, **EVERYTHING}
    plain, service = made(parse_revision(wish)), made(parse_revision({**wish, "runtime": {"kserve": {}}}))
    pod = plain["spec"]["template"]["spec"]
    pod["containers"][0]["name"] = "kserve-container"
    assert pod_of(service) == pod
    assert service["spec"]["predictor"]["deploymentStrategy"] == plain["spec"]["strategy"]


@pytest.mark.parametrize("format_", SERVING_RUNTIMES)
def test_each_revision_s_model_is_called_by_its_own_name(format_: str) -> None:
    """KServe would call it as the InferenceService: then the address would change with each revision."""
    spec = parse_revision({**MLFLOW, "runtime": {"kserve": {"model_format": format_}}, "args": ["--workers=1"]})
    model = made(spec)["spec"]["predictor"]["model"]
    named = {each["name"]: each.get("value") for each in model["env"]}
    assert model["runtime"] == SERVING_RUNTIMES[format_]
    if format_ == "mlflow":
        assert (named["MLSERVER_MODEL_NAME"], model["args"]) == ("digits", ["--workers=1"])
    else:
        assert model["args"] == ["--model_name=digits", "--workers=1"] and "MLSERVER_MODEL_NAME" not in named


def test_what_a_spec_says_itself_stays() -> None:
    spec = parse_revision({**MLFLOW, "env": {"MLSERVER_MODEL_URI": "/mnt/models/part"}})
    env = made(spec)["spec"]["predictor"]["model"]["env"]
    assert [each["value"] for each in env if each["name"] == "MLSERVER_MODEL_URI"] == ["/mnt/models/part"]
    own = {"kserve": {"model_format": "onnx", "serving_runtime": "team-triton", "protocol": "v1"}}
    model = made(parse_revision({**MLFLOW, "runtime": own, "image": "team/triton:3"}))["spec"]["predictor"]["model"]
    assert (model["runtime"], model["protocolVersion"], model["image"]) == ("team-triton", "v1", "team/triton:3")
    assert "args" not in model, "nobody knows how it is told its model's name"


def of(**kserve: Any) -> dict[str, Any]:
    return {"runtime": {"kserve": kserve}}


@pytest.mark.parametrize(
    ("changes", "field", "hint"),
    [
        ({"runtime": {"knative": {}}}, "runtime.knative", "Known: kserve."),
        ({"runtime": "kserve"}, "runtime", ""),
        ({"runtime": {"kserve": "mlflow"}}, "runtime.kserve", ""),
        (of(format="mlflow"), "runtime.kserve.format", "Known: model_format"),
        (of(model_format=["mlflow"]), "runtime.kserve.model_format", 'For example "mlflow".'),
        (of(model_format="ml flow"), "runtime.kserve.model_format", 'For example "mlflow".'),
        (of(model_format="onnx"), "runtime.kserve.serving_runtime", "kubectl get clusterservingruntimes"),
        (of(model_format="onnx", serving_runtime="A B"), "runtime.kserve.serving_runtime", ""),
        (of(model_format="mlflow", protocol="grpc-v2"), "runtime.kserve.protocol", ""),
        (of(serving_runtime="kserve-mlserver"), "runtime.kserve.model_format", "without one KServe runs the image"),
        (of(protocol="v2"), "runtime.kserve.model_format", "without one KServe runs the image"),
        (of(), "image", "An image serves HTTP on $PORT."),
        ({**of(model_format="mlflow"), "model": None}, "model", "name an image"),
        ({**of(model_format="mlflow"), "model_path": "/models"}, "model_path", "Leave this out."),
    ],
)
def test_a_runtime_that_can_not_be_is_refused_with_what_to_do(changes: dict[str, Any], field: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_revision({**MLFLOW, **changes})
    assert caught.value.field == field and hint in (caught.value.hint or "")


def test_no_runtime_says_nothing_so_that_digests_stay() -> None:
    plain = parse_revision({"image": "x"})
    for nothing in (None, {}, {"kserve": None}):
        assert parse_revision({"image": "x", "runtime": nothing}) == plain
    by_kserve = parse_revision({"image": "x", "runtime": {"kserve": {}}})
    assert len({plain.digest, by_kserve.digest, parse_revision(MLFLOW).digest}) == 3


@pytest.mark.parametrize("runtime", [{}, {"runtime": {"kserve": {}}}])
def test_the_number_of_replicas_is_no_part_of_what_was_applied(runtime: dict[str, Any]) -> None:
    three, five = (made(parse_revision({"image": "x", **runtime}), count) for count in (3, 5))
    assert (sizes.size_of(three), sizes.size_of(sizes.unsized(three)), sizes.has_size(three)) == (3, 1, True)
    assert sizes.unsized(three) == sizes.unsized(five) and sizes.sized(sizes.unsized(three), five) == five
    inside: Any = sizes.resizing(three, 5)
    while isinstance(inside, dict):
        [inside] = inside.values()
    assert inside == 5
    service = manifests.service(IDENTITY)
    assert not sizes.has_size(service) and sizes.unsized(service) == service == sizes.sized(service, service)


def test_what_a_stranger_made_under_the_name_is_adopted_only_where_it_runs_the_same() -> None:
    mlflow = made(parse_revision(MLFLOW))
    other = made(parse_revision({**MLFLOW, "runtime": {"kserve": {"model_format": "sklearn"}}}))
    assert act_on(mlflow, mlflow, "asked", None) is Act.ADOPT
    assert act_on(other, mlflow, "asked", None) is Act.APPLY


def served(cluster: Cluster, *engines: str, version: str = "") -> None:
    """As if the last check of the cluster had found these engines."""
    cluster.check_report = {"engines": [{"name": name, "version": version} for name in engines]}
    cluster.save(update_fields=["check_report"])


BY_KSERVE = {"runtime": {"kserve": {}}}
LIKE_DIGITS = {key: value for key, value in SPEC.items() if key not in ("model", "version")}


@pytest.fixture
def served_by_kserve(developer: Principal, demo: Project, target: Target) -> Deployment:
    made = services.create_deployment(
        principal=developer,
        project=demo,
        asked=services.NewDeployment(name="app", targets=[target.name], replicas=1, spec=LIKE_DIGITS | BY_KSERVE),
    )
    arrive(made)
    return made


def _revise(by: Principal, app: Deployment, **changes: Any) -> None:
    services.deploy_revision(principal=by, deployment=app, changes=changes)


DOORS: dict[str, Callable[[Principal, Deployment], Any]] = {
    "a new one": lambda by, app: services.create_deployment(
        principal=by,
        project=app.project,
        asked=services.NewDeployment(name="b", targets=["local-production"], spec=LIKE_DIGITS | BY_KSERVE),
    ),
    "a new one's preview": lambda by, app: services.preview_deployment(
        principal=by,
        project=app.project,
        asked=services.NewDeployment(name="b", targets=["local-production"], spec=LIKE_DIGITS | BY_KSERVE),
    ),
    "a revision": lambda by, app: _revise(by, app, env={"A": "1"}),
    "a revision's preview": lambda by, app: services.preview_revision(
        principal=by, deployment=app, changes={"env": {"A": "1"}}
    ),
    "a restart": lambda by, app: services.restart(principal=by, deployment=app),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.django_db
def test_a_cluster_without_kserve_is_refused_by_every_door(
    developer: Principal, cluster: Cluster, served_by_kserve: Deployment, door: str
) -> None:
    before = Revision.objects.count()
    served(cluster, "Gateway API")
    with pytest.raises(Invalid, match="local has no KServe, which is to run it on local-production") as caught:
        DOORS[door](developer, reread(served_by_kserve))
    assert caught.value.field == "runtime.kserve" and "check the cluster again" in (caught.value.hint or "")
    served(cluster, "KServe", version="v0.15.2")
    with pytest.raises(Invalid, match=r"local has KServe v0\.15\.2") as caught:
        DOORS[door](developer, reread(served_by_kserve))
    assert (caught.value.hint or "").startswith("Upgrade it to 0.16")
    assert Revision.objects.count() == before
    served(cluster, "KServe", version="v0.16.0-rc1")
    DOORS[door](developer, reread(served_by_kserve))


@pytest.mark.django_db
def test_so_are_a_target_that_is_added_and_a_way_back(
    root: Principal, developer: Principal, cluster: Cluster, demo: Project, served_by_kserve: Deployment
) -> None:
    served(factories.cluster("plain"))
    services.create_target(principal=root, project=demo, name="plain", cluster="plain")
    with pytest.raises(Invalid, match="plain has no KServe"):
        services.add_target(principal=developer, deployment=served_by_kserve, target="plain")
    _revise(developer, served_by_kserve, runtime={})
    arrive(served_by_kserve)
    services.add_target(principal=developer, deployment=served_by_kserve, target="plain")
    arrive(served_by_kserve)
    with pytest.raises(Invalid, match="plain has no KServe"):
        services.rollback(principal=developer, deployment=served_by_kserve, revision=1)


@pytest.mark.django_db
def test_nothing_is_autoscaled_that_kserve_runs(
    developer: Principal, demo: Project, target: Target, served_by_kserve: Deployment
) -> None:
    with pytest.raises(Conflict, match="KServe runs app") as conflict:
        services.set_autoscaling(principal=developer, deployment=served_by_kserve, autoscaling={"max": 4})
    assert conflict.value.field == "autoscaling"
    # While the one that KServe runs serves still, too.
    _revise(developer, served_by_kserve, runtime={})
    with pytest.raises(Conflict, match="KServe runs app"):
        services.set_autoscaling(principal=developer, deployment=served_by_kserve, autoscaling={"max": 4})
    arrive(served_by_kserve)
    services.set_autoscaling(principal=developer, deployment=served_by_kserve, autoscaling={"max": 4})
    spec = LIKE_DIGITS | BY_KSERVE
    another = services.NewDeployment(name="b", targets=[target.name], autoscaling={"max": 4}, spec=spec)
    refused: list[Callable[[], Any]] = [
        lambda: _revise(developer, served_by_kserve, runtime={"kserve": {}}),
        lambda: services.rollback(principal=developer, deployment=served_by_kserve),
        lambda: services.create_deployment(principal=developer, project=demo, asked=another),
    ]  # fmt: skip
    for door in refused:
        with pytest.raises(FlotillaError) as caught:
            door()
        assert (caught.value.field, caught.value.hint) == (
            "runtime.kserve", "Turn autoscaling off, or leave the runtime out.",
        )  # fmt: skip


@pytest.mark.django_db
def test_a_serving_runtime_comes_without_the_image_before_it_and_goes_with_its_own(
    api: Client, developer: Principal, digits: Deployment
) -> None:
    runtime = {"runtime": {"kserve": {"model_format": "sklearn"}}}
    answer = api.post("/api/v1/deployments/digits/revisions?project=demo", runtime, content_type="application/json")
    assert answer.status_code == 201, answer.content
    spec = reread(digits).current.spec  # type: ignore[union-attr]
    named = {"model_format": "sklearn", "serving_runtime": "kserve-sklearnserver", "protocol": "v2"}
    assert (spec["runtime"], spec["image"], spec["command"]) == ({"kserve": named}, "", [])
    assert (spec["model_path"], spec["shutdown"]["drain_seconds"]) == ("/mnt/models", 5)
    assert Card(digits, {}, "").speaks, "it was asked to"
    client = Client()
    assert developer.user is not None
    client.force_login(developer.user)
    page = client.get("/p/demo/deployments/digits/").content.decode()
    assert "<dt>Runtime</dt><dd>KServe · " in page and "<dt>Image</dt>" not in page
    assert "kserve-sklearnserver" in client.get("/p/demo/deployments/").content.decode()
    _revise(developer, digits, runtime={}, image="team/digits:2")
    spec = reread(digits).current.spec  # type: ignore[union-attr]
    assert (spec["image"], "runtime" in spec, "model_path" in spec) == ("team/digits:2", False, False)


@pytest.mark.django_db
def test_replicas_hang_below_what_kserve_made_of_the_inference_service(digits: Deployment, cluster: Cluster) -> None:
    place, namespace = place_of(digits), place_of(digits).target.namespace
    labels = manifests.Identity("demo", "digits", namespace).labels(revision=1)
    for kind, name, status in (
        (kserve.KIND, "digits-r1", {"conditions": [{"type": "Ready", "status": "False", "message": "Not yet."}]}),
        ("Deployment", "digits-r1-predictor", {}),
    ):
        metadata = {"uid": name, "name": name, "namespace": namespace, "labels": labels}
        seen = {"metadata": metadata, "spec": {}, "status": status}
        Workload.objects.create(cluster=cluster, **workload_row(kind, seen, timezone.now()))
    manifest = {"kind": kserve.KIND, "metadata": {"name": "digits-r1"}, "spec": {}}
    AppliedObject.objects.create(placement=place, kind=kserve.KIND, name="digits-r1", asked="x", manifest=manifest)
    factories.pod(
        cluster, digits.project, namespace=namespace, deployment="digits", name="a", revision="1", health="Healthy"
    )
    [tree] = trees_of(reread(digits))
    assert lines(tree.resources) == [
        (0, "InferenceService", "digits-r1", "Progressing"),
        (1, "Deployment", "digits-r1-predictor", "Progressing"),
        (2, "Pod", "a", "Healthy"),
    ]
    assert tree.resources[0].said == "Not yet."
