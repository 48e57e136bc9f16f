"""The Helm chart: what it renders is valid for a strict API server, safe, and the same processes as the design's."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.role import cluster_role

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "flotilla"
PROCESSES = {"web", "worker", "watcher"}
FERNET_KEY = "c3RhZ2VkLWtleS1mb3ItdGhlLXRlc3RzLTMyLWJ5dGU="

SECRETS = {
    "secretKey": "staged-secret-key-of-more-than-32-characters",
    "credentialsKeys": FERNET_KEY,
    "databaseUrl": "postgres://flotilla:staged-password@db:5432/flotilla",
    "redisUrl": "redis://:staged-password@cache:6379/0",
}
SMALLEST = {"publicUrl": "https://flotilla.example.com", "existingSecret": "flotilla-secrets"}
OWN_SECRET = {"publicUrl": "https://flotilla.example.com:8443", "secrets": SECRETS}
EVERYTHING = OWN_SECRET | {
    "allowedHosts": ["fleet.example.com"],
    "modelServerImage": "registry.example.com/flotilla-model-server:2",
    "image": {"repository": "registry.example.com/flotilla", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "pull"}],
    "artifacts": {"accessMode": "ReadWriteMany", "storageClass": "shared", "size": "1Ti"},
    "web": {"autoscaling": {"enabled": True}},
    "worker": {"autoscaling": {"enabled": True, "maxReplicas": 20}},
    "watcher": {"replicas": 2},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a": "b"}},
    "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
    "manager": {"enabled": True},
    "settings": {"FLOTILLA_LOG_LEVEL": "DEBUG", "FLOTILLA_WORK_PER_CLUSTER": 8},
    "podAnnotations": {"team": "ml"},
    "podLabels": {"team": "ml"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "ops", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}
VALUES = {"smallest": SMALLEST, "own secret": OWN_SECRET, "everything": EVERYTHING}

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Run helm; skip where it is not."""
    bundled = ROOT / ".tools" / "helm"
    program = str(bundled) if bundled.is_file() else shutil.which("helm")
    if program is None:
        pytest.skip("helm is neither in .tools/ nor on PATH: python scripts/helm_tools.py fetches it")

    def run(*args: str, values: dict | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *args, *([] if values is None else ["--values", "-"])],
            input=None if values is None else yaml.safe_dump(values),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def template(helm: Helm) -> Callable[[dict], list[dict]]:
    """Render the chart with values, once for each set of them."""
    rendered: dict[str, list[dict]] = {}

    def render(values: dict) -> list[dict]:
        key = yaml.safe_dump(values)
        if key not in rendered:
            done = helm("template", "flotilla", str(CHART), "--namespace", "ops", values=values)
            assert done.returncode == 0, done.stderr
            rendered[key] = [each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each]
        return rendered[key]

    return render


def by_kind(objects: list[dict], kind: str) -> dict[str, dict]:
    """Objects of a kind, by name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def pods(objects: list[dict]) -> dict[str, dict]:
    """Pod specs of all Deployments and Jobs, by component."""
    workloads = [*by_kind(objects, "Deployment").values(), *by_kind(objects, "Job").values()]
    return {
        thing["metadata"]["labels"]["app.kubernetes.io/component"]: thing["spec"]["template"] for thing in workloads
    }


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_lint_is_content(helm: Helm, values: dict):
    done = helm("lint", "--strict", str(CHART), values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_a_strict_api_server_would_take_every_object(template, values: dict):
    objects = template(values)
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)
    assert objects


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_every_process_of_the_design_is_there(template, values: dict):
    rendered = pods(template(values))
    assert set(rendered) == PROCESSES | {"migrate"}
    commands = {name: " ".join(pod["spec"]["containers"][0]["command"]) for name, pod in rendered.items()}
    assert commands["web"].startswith("uvicorn controlplane.asgi:application --host 0.0.0.0 --port 8000")
    assert commands["worker"].startswith("celery -A controlplane worker ")
    assert {"--without-gossip", "--without-mingle", "--prefetch-multiplier=1"} <= set(commands["worker"].split())
    assert commands["watcher"] == "python manage.py watch_clusters"
    assert commands["migrate"] == "python manage.py migrate --noinput"


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_pods_may_do_nothing_that_they_need_not(template, values: dict):
    """What the `restricted` pod security standard asks for, a read-only root, and no token of the cluster."""
    for pod in pods(template(values)).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} <= {
            "emptyDir",
            "persistentVolumeClaim",
        }
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_no_secret_stands_outside_a_secret(template, values: dict):
    objects = template(values)
    plain = [each for each in objects if each["kind"] != "Secret"]
    for text in ("staged-secret-key", "staged-password", FERNET_KEY):
        assert text not in yaml.safe_dump_all(plain)
    name = values.get("existingSecret", "flotilla")
    for component, pod in pods(objects).items():
        from_secret = [variable for variable in pod["spec"]["containers"][0]["env"] if "valueFrom" in variable]
        secret = f"{name}-migrate" if component == "migrate" and "secrets" in values else name
        assert {variable["name"]: variable["valueFrom"] for variable in from_secret} == {
            key: {"secretKeyRef": {"name": secret, "key": key}}
            for key in ("FLOTILLA_SECRET_KEY", "FLOTILLA_CREDENTIALS_KEYS", "DATABASE_URL", "REDIS_URL")
        }
    assert ("Secret" in {each["kind"] for each in objects}) == ("secrets" in values)


def test_processes_are_probed_under_a_host_name_that_django_knows(template):
    rendered = pods(template(OWN_SECRET))
    web = rendered["web"]["spec"]["containers"][0]
    environment = {variable["name"]: variable.get("value") for variable in web["env"]}
    assert environment["FLOTILLA_ALLOWED_HOSTS"] == "flotilla.example.com"
    assert web["livenessProbe"]["httpGet"]["path"] == web["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert web["readinessProbe"]["httpGet"] == {
        "path": "/readyz",
        "port": "http",
        "httpHeaders": [{"name": "Host", "value": "flotilla.example.com"}],
    }
    for name, file in (("worker", "/tmp/alive"), ("watcher", "/tmp/alive")):
        container = rendered[name]["spec"]["containers"][0]
        assert container["livenessProbe"]["exec"]["command"][:4] == [
            "python",
            "/app/controlplane/healthcheck.py",
            "file",
            file,
        ]
        assert "startupProbe" in container
    beats = [*rendered["worker"]["spec"]["containers"][0]["env"], *rendered["watcher"]["spec"]["containers"][0]["env"]]
    assert beats.count({"name": "FLOTILLA_HEARTBEAT_FILE", "value": "/tmp/alive"}) == 2


def test_migrations_run_before_an_install_or_an_upgrade_with_secrets_that_are_there_by_then(template):
    objects = template(OWN_SECRET)
    hooks = {
        (each["kind"], each["metadata"]["name"]): int(each["metadata"]["annotations"]["helm.sh/hook-weight"])
        for each in objects
        if each["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-install,pre-upgrade"
    }
    assert hooks == {("Secret", "flotilla-migrate"): -5, ("Job", "flotilla-migrate"): 0}
    secrets = by_kind(objects, "Secret")
    assert secrets["flotilla"]["data"] == secrets["flotilla-migrate"]["data"]


def test_every_process_scales(template):
    scaled = template(EVERYTHING)
    deployments = by_kind(scaled, "Deployment")
    assert deployments["flotilla-watcher"]["spec"]["replicas"] == 2
    for name in ("flotilla-web", "flotilla-worker"):
        # An autoscaler owns it: a value here would undo its work at each upgrade.
        assert "replicas" not in deployments[name]["spec"]
        assert by_kind(scaled, "HorizontalPodAutoscaler")[name]["spec"]["scaleTargetRef"]["name"] == name
    assert set(by_kind(scaled, "PodDisruptionBudget")) == {"flotilla-web", "flotilla-worker", "flotilla-watcher"}


def test_several_web_replicas_need_a_volume_that_they_can_share(helm: Helm, template):
    refused = helm("template", str(CHART), values=SMALLEST | {"web": {"replicas": 2}})
    assert refused.returncode != 0
    assert "set artifacts.accessMode to ReadWriteMany" in refused.stderr
    shared = SMALLEST | {"web": {"replicas": 2}, "artifacts": {"accessMode": "ReadWriteMany"}}
    assert by_kind(template(shared), "Deployment")["flotilla-web"]["spec"]["strategy"]["type"] == "RollingUpdate"


def test_a_bucket_takes_the_place_of_the_volume(template):
    bucket = {"url": "s3://models/team", "endpoint": "https://s3.example.com", "credentialsSecret": "store"}
    objects = template(SMALLEST | {"web": {"replicas": 2}, "artifacts": bucket})
    assert not by_kind(objects, "PersistentVolumeClaim")
    web = by_kind(objects, "Deployment")["flotilla-web"]["spec"]
    assert web["strategy"]["type"] == "RollingUpdate"
    (container,) = web["template"]["spec"]["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {"tmp"}
    env = {each["name"]: each for each in container["env"]}
    assert env["FLOTILLA_ARTIFACTS_URL"]["value"] == "s3://models/team"
    assert env["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"] == {
        "name": "store",
        "key": "AWS_SECRET_ACCESS_KEY",
    }
    by_identity = template(SMALLEST | {"artifacts": {"url": "s3://models"}})
    (container,) = by_kind(by_identity, "Deployment")["flotilla-web"]["spec"]["template"]["spec"]["containers"]
    assert not any(each["name"].startswith("AWS_") for each in container["env"])


def test_selectors_choose_exactly_their_pods(template):
    objects = template(EVERYTHING)
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}

    def chosen(selector: dict) -> set[str]:
        return {name for name, each in labels.items() if selector.items() <= each.items()}

    for deployment in by_kind(objects, "Deployment").values():
        component = deployment["metadata"]["labels"]["app.kubernetes.io/component"]
        assert chosen(deployment["spec"]["selector"]["matchLabels"]) == {component}
    assert chosen(by_kind(objects, "Service")["flotilla"]["spec"]["selector"]) == {"web"}
    policies = by_kind(objects, "NetworkPolicy")
    assert chosen(policies["flotilla-web"]["spec"]["podSelector"]["matchLabels"]) == {"web"}
    assert chosen(policies["flotilla"]["spec"]["podSelector"]["matchLabels"]) == PROCESSES | {"migrate"}


def test_rights_are_given_only_when_asked_for_and_are_what_flotilla_asks_of_any_cluster(template):
    kinds = {each["kind"] for each in template(SMALLEST)}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    objects = template(EVERYTHING)
    assert by_kind(objects, "ClusterRole")["flotilla-manager"]["rules"] == cluster_role()["rules"]
    binding = by_kind(objects, "ClusterRoleBinding")["flotilla-manager"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "flotilla-manager", "namespace": "ops"}]
    # No pod of ours runs as it: the token is for registering the cluster.
    assert {pod["spec"].get("serviceAccountName") for pod in pods(objects).values()} == {"flotilla", None}


def test_the_ingress_serves_each_host_over_tls(template):
    ingress = by_kind(template(EVERYTHING), "Ingress")["flotilla"]["spec"]
    hosts = ["flotilla.example.com", "fleet.example.com"]
    assert [rule["host"] for rule in ingress["rules"]] == hosts
    assert ingress["tls"] == [{"secretName": "tls", "hosts": hosts}]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"existingSecret": "s"}, "publicUrl is needed"),
        ({"publicUrl": "https://f.example.com"}, r"secrets\.secretKey is needed unless existingSecret names a Secret"),
        (OWN_SECRET | {"secrets": SECRETS | {"redisUrl": ""}}, r"secrets\.redisUrl is needed"),
        (OWN_SECRET | {"secrets": SECRETS | {"secretKey": "short"}}, "/secrets/secretKey"),
        (OWN_SECRET | {"secrets": SECRETS | {"credentialsKeys": "no-fernet-key"}}, "/secrets/credentialsKeys"),
        (OWN_SECRET | {"secrets": SECRETS | {"databaseUrl": "mysql://db/x"}}, "/secrets/databaseUrl"),
        (SMALLEST | {"publicUrl": "flotilla.example.com"}, "/publicUrl"),
        (SMALLEST | {"allowedHosts": ["*"]}, "/allowedHosts/0"),
        (SMALLEST | {"web": {"replica": 3}}, "additional properties 'replica' not allowed"),
        (SMALLEST | {"replicas": 3}, "additional properties 'replicas' not allowed"),
        (SMALLEST | {"web": {"replicas": "two"}}, "/web/replicas"),
        (SMALLEST | {"web": {"resources": {"requests": {"cpu": "a lot"}}}}, "/web/resources/requests/cpu"),
        (SMALLEST | {"settings": {"FLOTILLA_SECRET_KEY": "x"}}, "/settings/FLOTILLA_SECRET_KEY"),
        (SMALLEST | {"settings": {"DATABASE_URL": "x"}}, "at '/settings': additional properties 'DATABASE_URL'"),
        (SMALLEST | {"image": {"repository": "f", "digest": "latest"}}, "/image/digest"),
        (SMALLEST | {"service": {"type": "ExternalName"}}, "/service/type"),
    ],
)
def test_wrong_values_are_refused_with_their_place(helm: Helm, values: dict, said: str):
    done = helm("template", "flotilla", str(CHART), values=values)
    assert done.returncode != 0
    assert re.search(said, done.stderr), done.stderr


def test_in_cluster_gives_the_manager_s_token_to_those_who_talk_to_it(template: Callable[[dict], list[dict]]) -> None:
    objects = template(SMALLEST | {"manager": {"enabled": True, "inCluster": True, "tokenSecret": False}})
    specs = {
        name.removeprefix("flotilla-"): obj["spec"]["template"]["spec"]
        for name, obj in by_kind(objects, "Deployment").items()
    }
    for component in ("web", "worker", "watcher"):
        assert specs[component]["serviceAccountName"] == "flotilla-manager"
        assert specs[component]["automountServiceAccountToken"] is True
    assert "flotilla-manager" not in by_kind(objects, "Secret")
