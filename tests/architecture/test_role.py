"""Everything that Flotilla does on a cluster, under the role that it offers and nothing else.

The calls are recorded and compared with the table of permissions in both ways: a call that the table lacks would fail
on somebody's cluster, and a permission that no call needs is one too many.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.clusters import logs
from apps.clusters import services as clusters
from apps.clusters.connect import grants
from apps.clusters.connect.permissions import NEEDED
from apps.clusters.kube import pool
from apps.clusters.kube.client import KubeClient
from apps.clusters.models import Cluster, Pod, Reach
from apps.clusters.services.reaching import reach_round
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.deployments import predict
from apps.deployments import services as deployments
from apps.deployments.models import Deployment
from apps.deployments.reconcile import reconcile
from apps.deployments.services.made import look_at_made
from apps.experiments import services as experiments
from apps.experiments.manifests import run_secret
from apps.experiments.models import KeptObject, Run
from apps.experiments.reconcile import kept, reconcile_run
from apps.experiments.specs import parse_spec
from controlplane.embedded.fleet import BASE_DIR
from tests.calls import Call, Calls, recorded
from tests.clusters.fakeapi import kubeconfig as kubeconfig_of
from tests.clusters.watching import FAST, Watching
from tests.deployments import keda, kserve
from tests.experiments import trainer
from tests.role import RBAC, administrator, offered_token
from tests.stack import LocalCluster

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_process]

SERVER = """
import json, os, signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        data = b'{"name": "app", "inputs": [], "outputs": []}'
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers()
        self.wfile.write(data)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""
BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}


def until(what: str, condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value."""
    end = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return met


@pytest.fixture
def kube(local_cluster: LocalCluster) -> KubeClient:
    """The cluster's administrator."""
    return administrator(local_cluster)


@pytest.fixture
def role_token(kube: KubeClient) -> Iterator[str]:
    """The token of what the check page offers."""
    yield offered_token(kube)
    kube._transport.call("DELETE", f"/apis/{RBAC}/clusterrolebindings/{grants.NAME}")
    kube.delete(RBAC, "ClusterRole", grants.NAME)
    kube.delete("v1", "Namespace", grants.NAMESPACE, propagation="Background")
    kube.delete("v1", "Namespace", "flotilla-roletest", propagation="Background")
    pool._forget_all()


class Everything:
    """All acts of the product on one cluster, as people would do them."""

    def __init__(self, root: Principal, cluster: Cluster) -> None:
        self.root = root
        self.cluster = cluster
        self.project = Project.objects.create(name="roletest")
        self.experiment = experiments.create_experiment(principal=root, project=self.project, name="e")

    def check(self) -> None:
        report = clusters.check_connection(principal=self.root, cluster=self.cluster)
        assert report.ok and all(each.ok for each in report.permissions), report.sentence
        engines = [(engine.name, engine.version) for engine in report.engines or ()]
        assert engines == [("Kubeflow Trainer", ""), ("KServe", ""), ("Gateway API", "v1.3.0"), ("KEDA", "")]

    def reach(self) -> None:
        clusters.ask_for_reach(principal=self.root, cluster=self.cluster)

        def answered() -> bool:
            reach_round(self.cluster.pk)
            return Reach.objects.get().outcome != ""

        until("a pod has asked", answered)
        assert Reach.objects.get().outcome != "NotRun", Reach.objects.get().words

    def launch(self, *command: str, **more: Any) -> Run:
        spec = parse_spec({"image": "busybox", "command": list(command), "checkpoints": {"size": "1Gi"}, **more})
        return experiments.launch_run(principal=self.root, experiment=self.experiment, spec=spec)

    def follow(self, run: Run, state: str) -> None:
        def there() -> bool:
            reconcile_run(run.pk)
            run.refresh_from_db()
            return run.state == state

        until(f"run {run.pk} is {state}", there)

    def runs(self) -> None:
        run = self.launch("sh", "-c", "echo hello; sleep 1")
        self.follow(run, "Succeeded")
        assert "hello" in run.attempts.get().log
        again = experiments.rerun(principal=self.root, run=run)
        self.follow(again, "Running")
        pod = until("its pod is known", lambda: Pod.objects.filter(run=str(again.pk)).first())
        until("its log is shown", lambda: "hello" in logs.read(pod, logs.query_of({})).text)
        # A first process without a handler would take its 30 s of grace.
        sleeping = self.launch("sh", "-c", "trap 'exit 143' TERM; sleep 300 & wait")
        # What was left of a token that is not valid any more is replaced.
        name = {"project": self.project.name, "namespace_name": sleeping.namespace, "run_pk": sleeping.pk}
        clusters.connect(self.cluster).create(run_secret(**name, run_uid=sleeping.uid, token="flt_old"))
        self.follow(sleeping, "Running")
        experiments.cancel_run(principal=self.root, run=sleeping)
        self.follow(sleeping, "Canceled")
        self.follow(again, "Succeeded")

    def train_jobs(self) -> None:
        """Nobody runs it: it waits until it is canceled. Then all that runs have left goes with them."""
        waiting = self.launch("true", runtime={"trainer": "torch-distributed"})
        self.follow(waiting, "Queued")
        experiments.cancel_run(principal=self.root, run=waiting)
        self.follow(waiting, "Canceled")
        KeptObject.objects.update(run=None)
        for pk, _ in kept.orphans():
            until("it is gone", lambda pk=pk: kept.release(pk) and KeptObject.objects.get(pk=pk).missing_since)

    def serves(self, app: Deployment, ready: int) -> None:
        def there() -> bool:
            reconcile(app.placements.get().pk)
            app.refresh_from_db()
            return app.health == "Healthy" and app.under_way is None and app.ready_replicas == ready

        until(f"{ready} replicas serve", there)

    def deployments(self) -> None:
        gateway = {"name": "local", "namespace": "kube-system"}
        deployments.create_target(
            principal=self.root, project=self.project, name="here", cluster=self.cluster.name, gateway=gateway
        )
        resources = {"cpu": "100m", "memory": "64Mi"}
        spec = {"image": "python:3.11", "command": ["python", "-c", SERVER], "resources": resources}
        spec["shutdown"] = {"drain_seconds": 0}
        app = deployments.create_deployment(
            principal=self.root,
            project=self.project,
            asked=deployments.NewDeployment(name="app", targets=["here"], replicas=1, spec=spec),
        )
        self.serves(app, 1)
        place = app.placements.get()
        found = look_at_made(place, list(place.applied.all()))
        assert (len(found.replica_sets), found.missing, found.trouble) == (1, [], "")
        assert found.slices, "its Service leads somewhere"
        predict.predict(principal=self.root, deployment=app, body=BODY)
        predict.describe(principal=self.root, deployment=app)
        deployments.scale(principal=self.root, deployment=app, replicas=2)
        self.serves(app, 2)
        deployments.set_autoscaling(principal=self.root, deployment=app, autoscaling={"min": 2, "max": 2})
        self.serves(app, 2)
        by_keda = {"min": 2, "max": 2, "triggers": [keda.PROMETHEUS]}
        deployments.set_autoscaling(principal=self.root, deployment=app, autoscaling=by_keda)
        self.serves(app, 2)
        deployments.stop_autoscaling(principal=self.root, deployment=app)
        self.serves(app, 2)
        deployments.set_budget(principal=self.root, deployment=app, budget={"min_available": 1})
        self.serves(app, 2)
        deployments.deploy_revision(principal=self.root, deployment=app, changes={"env": {"A": "1"}})
        self.serves(app, 2)
        deployments.rollback(principal=self.root, deployment=app)
        self.serves(app, 2)
        self.delete(app)

    def inference_services(self) -> None:
        """KServe's controller is not there: what we do with its objects is all the same."""
        spec = {"image": "python:3.11", "resources": {"cpu": "100m", "memory": "64Mi"}, "runtime": {"kserve": {}}}
        app = deployments.create_deployment(
            principal=self.root,
            project=self.project,
            asked=deployments.NewDeployment(name="by-kserve", targets=["here"], replicas=0, spec=spec),
        )
        reconcile(app.placements.get().pk)
        self.delete(app)

    def delete(self, app: Deployment) -> None:
        deployments.delete_deployment(principal=self.root, deployment=app)

        def gone() -> bool:
            placement = app.placements.first()
            if placement is not None:
                reconcile(placement.pk)
            return not Deployment.objects.filter(pk=app.pk).exists()

        until("the deployment is deleted", gone)

    def observed(self) -> None:
        until("use is measured", lambda: Cluster.objects.get().has_metrics)
        assert Cluster.objects.get().state == "Healthy", Cluster.objects.get().message
        assert "not shown" not in str(Cluster.objects.get().conditions)


@pytest.fixture
def everything(local_cluster: LocalCluster, kube: KubeClient, role_token: str, db: None) -> Iterator[Everything]:
    root = Principal(user=User.objects.create_superuser("root"))
    access = local_cluster.access
    text = kubeconfig_of(access.server, access.ca.encode(), {"token": role_token})
    with keda.installed(kube), kserve.installed(kube), trainer.installed(kube):
        yield Everything(root, clusters.register(principal=root, name="by-role", kubeconfig_text=text))


def test_everything_works_under_the_offered_role_and_uses_all_of_it(everything: Everything) -> None:
    with recorded() as calls:
        watching = Watching(FAST)
        try:
            until("it is watched", lambda: Cluster.objects.get().state == "Healthy")
            everything.check()
            everything.reach()
            everything.runs()
            everything.train_jobs()
            everything.deployments()
            everything.inference_services()
            everything.observed()
        except AssertionError:
            assert not calls.refused, "what could not be done was refused"
            raise
        finally:
            watching.stop()
    assert not calls.refused
    used, granted = in_the_table_s_words(calls), of_the_table()
    assert used - granted == set(), "calls that the role does not allow"
    assert granted - used == set(), "permissions that nothing needs"


def of_the_table() -> set[Call]:
    return {
        Call(needed.group, needed.resource, verb, name)
        for needed in NEEDED
        for verb in needed.verbs
        for name in needed.names or ("",)
    }


def in_the_table_s_words(calls: Calls) -> set[Call]:
    """Names count only where a permission is about names."""
    granted = of_the_table()
    return {call if call in granted else call._replace(name="") for call in calls.made}


def test_the_docs_have_the_same_table() -> None:
    text = (BASE_DIR / "docs" / "clusters.md").read_text()
    rows = re.findall(r"^\| `([^`]*)` \| ([a-z, ]+) \| (.*) \|$", text, re.M)
    expected = []
    for needed in NEEDED:
        full = f"{needed.resource}.{needed.group}" if needed.group else needed.resource
        expected.append((" ".join([full, *needed.names]), ", ".join(needed.verbs), needed.why))
    assert rows == expected
