"""Environment, volumes, probes, init containers and images of real pods."""

import base64
from pathlib import Path

import pytest

from tests.localcluster.nodes import Side, scenario

pytestmark = pytest.mark.real_process


def _config(side: Side, name: str, **data: str) -> None:
    side.registry.create("configmaps", {"metadata": {"name": name}, "data": data}, namespace="default")


def _secret(side: Side, name: str, **data: str) -> None:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    side.registry.create("secrets", {"metadata": {"name": name}, "data": encoded}, namespace="default")


def test_environment_from_every_source() -> None:
    async def story(side: Side) -> None:
        _config(side, "config", MODE="fast", **{"0no-name": "x"})
        _secret(side, "secret", TOKEN="s3cret")
        side.run(
            "env",
            "sh",
            "-c",
            'echo "$MODE|$P_TOKEN|$TOKEN|$NAME|$IP|$NODE|$TEAM|$LIMIT|$BOTH|$(MODE)"',
            env=[
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "TOKEN"}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
                {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "BOTH", "value": "$(NAME)-$(TEAM)-$$(X)-$(UNKNOWN)"},
            ],
            envFrom=[{"configMapRef": {"name": "config"}}, {"secretRef": {"name": "secret"}, "prefix": "P_"}],
            resources={"limits": {"memory": "64Mi"}},
            metadata={"labels": {"team": "blue"}},
        )
        await side.until(lambda: side.phase("env") == "Succeeded")
        pod = side.pod("env")
        ip, node = pod["status"]["podIP"], pod["spec"]["nodeName"]
        text = side.log("env").split(" ", 1)[1].strip()
        assert text == f"fast|s3cret|s3cret|env|{ip}|{node}|blue|64|env-blue-$(X)-$(UNKNOWN)|fast"

    scenario(story)


def test_a_missing_secret_holds_the_container_until_it_comes() -> None:
    async def story(side: Side) -> None:
        reference = {"secretKeyRef": {"name": "late", "key": "TOKEN"}}
        side.run("waiting", "sh", "-c", "echo $TOKEN", env=[{"name": "TOKEN", "valueFrom": reference}])
        waiting = await side.until(lambda: side.state("waiting").get("waiting", {}).get("message"))
        assert waiting == 'secret "late" not found'
        assert side.state("waiting")["waiting"]["reason"] == "CreateContainerConfigError"
        assert side.phase("waiting") == "Pending"
        assert 'Error: secret "late" not found' in [e["message"] for e in side.events("waiting")]
        _secret(side, "late", OTHER="x")
        message = "couldn't find key TOKEN in Secret default/late"
        await side.until(lambda: side.state("waiting")["waiting"].get("message") == message)
        side.registry.mutate("secrets", "late", "default", lambda s: s["data"].update(TOKEN="eA=="))
        await side.until(lambda: side.phase("waiting") == "Succeeded")
        assert side.log("waiting").endswith(" x\n")

    scenario(story)


def test_volumes_are_files_below_the_mount_path() -> None:
    async def story(side: Side) -> None:
        _config(side, "config", **{"app.ini": "colour=green"})
        _secret(side, "secret", token="s3cret")
        volumes = [
            {"name": "config", "configMap": {"name": "config", "items": [{"key": "app.ini", "path": "sub/a.ini"}]}},
            {"name": "secret", "secret": {"secretName": "secret", "defaultMode": 0o400}},
            {
                "name": "both",
                "projected": {"sources": [{"secret": {"name": "secret"}}, {"configMap": {"name": "config"}}]},
            },
            {
                "name": "pod",
                "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]},
            },
            {"name": "scratch", "emptyDir": {}},
        ]
        paths = {"config": "/etc/app", "secret": "/run/secrets/app", "both": "/both", "pod": "/pod", "scratch": "/data"}
        side.run(
            "files",
            "sh",
            "-c",
            "cat /etc/app/sub/a.ini; echo; cat $SECRET_FILE; echo; stat -Lc %a $SECRET_FILE; cat /both/app.ini; echo;"
            "cat /pod/name; echo; echo kept > /data/x; cat $LOCALCLUSTER_ROOT/data/x; echo last > /dev/termination-log",
            env=[{"name": "SECRET_FILE", "value": "/run/secrets/app/token"}],
            volumeMounts=[{"name": name, "mountPath": path} for name, path in paths.items()],
            spec={"volumes": volumes},
        )
        await side.until(lambda: side.phase("files") in {"Succeeded", "Failed"})
        lines = [line.split(" ", 1)[1] for line in side.log("files").splitlines()]
        assert lines == ["colour=green", "s3cret", "400", "colour=green", "files", "kept"]
        assert side.state("files")["terminated"]["message"] == "last\n"

    scenario(story)


def test_a_changed_configmap_reaches_the_mounted_file() -> None:
    async def story(side: Side) -> None:
        _config(side, "config", colour="green")
        side.run(
            "watcher",
            "sh",
            "-c",
            "until grep -q blue /etc/app/colour; do sleep 0.05; done",
            volumeMounts=[{"name": "config", "mountPath": "/etc/app"}],
            spec={"volumes": [{"name": "config", "configMap": {"name": "config"}}]},
        )
        await side.until(lambda: "running" in side.state("watcher"))
        side.registry.mutate("configmaps", "config", "default", lambda c: c["data"].update(colour="blue"))
        await side.until(lambda: side.phase("watcher") == "Succeeded")

    scenario(story)


def test_init_containers_run_in_order_before_the_others() -> None:
    async def story(side: Side) -> None:
        mounts = [{"name": "shared", "mountPath": "/shared"}]
        init = [
            {"name": "one", "image": "busybox", "command": ["sh", "-c", "sleep 0.2; echo 1 >> /shared/x"]},
            {"name": "two", "image": "busybox", "command": ["sh", "-c", "echo 2 >> /shared/x"]},
        ]
        for container in init:
            container["volumeMounts"] = mounts
        spec = {"initContainers": init, "volumes": [{"name": "shared", "emptyDir": {}}]}
        side.run("ordered", "sh", "-c", "cat /shared/x", volumeMounts=mounts, spec=spec)
        await side.until(lambda: side.state("ordered").get("waiting", {}).get("reason") == "PodInitializing")
        conditions = {c["type"]: c for c in side.pod("ordered")["status"]["conditions"]}
        assert conditions["Initialized"]["message"] == "containers with incomplete status: [one two]"
        await side.until(lambda: side.phase("ordered") == "Succeeded")
        assert [line[-1] for line in side.log("ordered").splitlines()] == ["1", "2"]

    scenario(story)


def test_a_failing_init_container_fails_the_pod() -> None:
    async def story(side: Side) -> None:
        init = [{"name": "setup", "image": "busybox", "command": ["sh", "-c", "exit 7"]}]
        side.run("never", "true", spec={"initContainers": init})
        await side.until(lambda: side.phase("never") == "Failed")
        assert side.pod("never")["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 7

    scenario(story)


def test_an_unknown_image_cannot_be_pulled() -> None:
    async def story(side: Side) -> None:
        side.run("nobody", "true", image="nobody/knows:1")
        waiting = await side.until(
            lambda: side.state("nobody").get("waiting", {}).get("message") and side.state("nobody")["waiting"]
        )
        assert waiting["reason"] == "ErrImagePull"
        assert 'failed to resolve reference "nobody/knows:1"' in waiting["message"]
        await side.until(lambda: side.state("nobody")["waiting"]["reason"] == "ImagePullBackOff")
        messages = [event["message"] for event in side.events("nobody")]
        assert 'Pulling image "nobody/knows:1"' in messages
        assert "Error: ErrImagePull" in messages
        assert 'Back-off pulling image "nobody/knows:1"' in messages
        assert side.phase("nobody") == "Pending"

    scenario(story)


def test_a_container_restarts_with_its_new_image() -> None:
    async def story(side: Side) -> None:
        side.run("web", "sleep", "60", policy="Always")
        await side.until(lambda: "running" in side.state("web"))
        side.registry.mutate(
            "pods", "web", "default", lambda pod: pod["spec"]["containers"][0].update(image="python:3.11")
        )
        await side.until(lambda: side.container("web")["restartCount"] == 1 and "running" in side.state("web"))
        assert side.container("web")["image"] == "python:3.11"
        assert "Container main definition changed, will be restarted" in [e["message"] for e in side.events("web")]

    scenario(story)


def test_a_readiness_gate_keeps_a_pod_from_being_ready() -> None:
    async def story(side: Side) -> None:
        def condition(kind: str) -> dict[str, str]:
            return next(c for c in side.pod("gated")["status"]["conditions"] if c["type"] == kind)

        side.run("gated", "sleep", "60", spec={"readinessGates": [{"conditionType": "example.com/open"}]})
        await side.until(lambda: condition("ContainersReady")["status"] == "True")
        assert condition("Ready")["reason"] == "ReadinessGatesNotReady"
        gate = {"type": "example.com/open", "status": "True", "lastTransitionTime": None}
        side.registry.mutate(
            "pods", "gated", "default", lambda pod: pod["status"]["conditions"].append(gate), subresource="status"
        )
        await side.until(lambda: condition("Ready")["status"] == "True")

    scenario(story)


def test_an_image_of_the_table_brings_its_files(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("import os; print(os.environ['MODE'], open('data.txt').read())")
    (tmp_path / "app" / "data.txt").write_text("42")
    table = tmp_path / "images.toml"
    table.write_text('[images]\n"my/app:1" = { files = "app", python = true, env = { MODE = "x" } }\n')

    async def story(side: Side) -> None:
        side.run("app", "python", "main.py", image="my/app:1")
        await side.until(lambda: side.phase("app") == "Succeeded")
        assert side.log("app").endswith(" x 42\n")

    scenario(story, images=table)


SERVER = """
import http.server, os, pathlib, socketserver
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if pathlib.Path(self.path.strip('/')).exists() else 200); self.end_headers()
    def log_message(self, *a): pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((os.environ['HOST'], 8080), H).serve_forever()
"""


def test_readiness_follows_the_probe_and_liveness_restarts() -> None:
    async def story(side: Side) -> None:
        side.run(
            "web",
            "python",
            "-c",
            SERVER,
            image="python:3.11",
            policy="Always",
            ports=[{"name": "http", "containerPort": 8080}],
            readinessProbe={"httpGet": {"path": "/unready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
            livenessProbe={"httpGet": {"path": "/dead", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2},
            startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30},
        )
        await side.until(lambda: "running" in side.state("web"))
        assert side.container("web")["ready"] is False
        await side.until(lambda: side.container("web")["ready"] and side.container("web")["started"])
        work = next(side.kubelet.pods_folder.glob("*/main/work"))
        (work / "unready").touch()
        await side.until(lambda: not side.container("web")["ready"])
        ready = next(c for c in side.pod("web")["status"]["conditions"] if c["type"] == "Ready")
        assert ready["message"] == "containers with unready status: [main]"
        assert "Readiness probe failed: HTTP probe failed with statuscode: 503" in [
            e["message"] for e in side.events("web")
        ]
        (work / "unready").unlink()
        await side.until(lambda: side.container("web")["ready"])
        (work / "dead").touch()
        await side.until(lambda: side.container("web")["restartCount"] == 1 and side.container("web")["ready"])
        assert "Container main failed liveness probe, will be restarted" in [e["message"] for e in side.events("web")]

    scenario(story)


def test_exec_probes_run_beside_the_container() -> None:
    async def story(side: Side) -> None:
        side.run(
            "probed",
            "sleep",
            "60",
            policy="Always",
            readinessProbe={"exec": {"command": ["test", "-f", "ok"]}, "periodSeconds": 1},
        )
        await side.until(lambda: "Unhealthy" in side.reasons("probed"))
        assert not side.container("probed").get("ready")
        next(side.kubelet.pods_folder.glob("*/main/work")).joinpath("ok").touch()
        await side.until(lambda: side.container("probed").get("ready"))

    scenario(story)


def test_a_pod_may_not_be_active_longer_than_its_deadline() -> None:
    async def story(side: Side) -> None:
        side.run("slow", "sleep", "60", spec={"activeDeadlineSeconds": 1})
        await side.until(lambda: side.phase("slow") == "Failed")
        assert side.pod("slow")["status"]["reason"] == "DeadlineExceeded"

    scenario(story)
