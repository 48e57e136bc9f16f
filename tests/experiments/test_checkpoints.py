"""A directory that outlives a run's pods and attempts, and ends with the run."""

from datetime import timedelta
from typing import Any

import kubernetes_validate
import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core import work
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.manifests.checkpoints import checkpoints_claim
from apps.experiments.models import KeptObject, Run
from apps.experiments.purging import rounds
from apps.experiments.reconcile import kept
from apps.experiments.specs import parse_spec
from apps.experiments.specs.checkpoints import Checkpoints
from apps.experiments.states import SETTLED, RunState
from tests import factories
from tests.experiments.rounds import follow, last, wait_for_line
from tests.experiments.test_manifests import job_of

CLAIM = ("v1", "PersistentVolumeClaim")
# It counts to six, and waits at three until somebody ends it.
COUNT = """
cd "$FLOTILLA_CHECKPOINTS"
at=$(cat at 2>/dev/null || echo 0); echo "from $at"
while [ $at -lt 6 ]; do
  at=$((at + 1)); echo $at >at; echo "at $at"
  if [ $at = 3 ]; then trap 'exit 143' TERM; sleep 300 & wait; fi
done
"""


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ("10Gi", "checkpoints", "an object with size, storage_class and path"),
        ({}, "checkpoints.size", "How large"),
        ({"size": "10Gi", "medium": "Memory"}, "checkpoints", "has no 'medium'"),
        ({"size": "10"}, "checkpoints.size", "less than 1 MiB"),
        ({"size": "much"}, "checkpoints.size", "much"),
        ({"size": "1Gi", "storage_class": "Fast One"}, "checkpoints.storage_class", "the name of a StorageClass"),
        ({"size": "1Gi", "path": "kept"}, "checkpoints.path", "an absolute path"),
        ({"size": "1Gi", "path": "/proc"}, "checkpoints.path", "may be mounted over"),
    ],
)
def test_what_can_not_be_kept_is_refused_at_its_field(asked: Any, field: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_spec({"image": "x", "checkpoints": asked})
    assert refused.value.field == field and said in refused.value.sentence


def test_the_place_and_the_variable_of_checkpoints_are_theirs_alone() -> None:
    asked: dict[str, Any] = {"image": "x", "checkpoints": {"size": "1Gi"}}
    with pytest.raises(Invalid, match="/checkpoints is where the checkpoints lie"):
        parse_spec(asked | {"volumes": [{"mountPath": "/checkpoints/", "emptyDir": {}}]})
    for env in (
        {"env": {"FLOTILLA_CHECKPOINTS": "x"}},
        {"secret_env": {"FLOTILLA_CHECKPOINTS": {"secretName": "s", "key": "k"}}},
    ):
        with pytest.raises(Invalid, match="FLOTILLA_CHECKPOINTS is set by Flotilla"):
            parse_spec(asked | env)
        parse_spec({"image": "x"} | env)
    spec = parse_spec(asked | {"git": {"url": "https://a.b/c"}})
    assert spec.checkpoints == Checkpoints("1Gi") and parse_spec(spec.to_json()) == spec
    assert "checkpoints" not in parse_spec({"image": "x"}).to_json()


def test_the_claim_of_a_run_and_how_its_pods_mount_it() -> None:
    spec = parse_spec(
        {
            "image": "x",
            "git": {"url": "https://a.b/c"},
            "checkpoints": {"size": "20Gi", "storage_class": "fast", "path": "/keep"},
        }
    )
    job = job_of(spec, number=2)
    pod = job["spec"]["template"]["spec"]
    kept = {"name": "flotilla-checkpoints", "persistentVolumeClaim": {"claimName": "run-7-checkpoints"}}
    assert pod["volumes"] == [{"name": "flotilla-code", "emptyDir": {}}, kept]
    [container] = pod["containers"]
    assert container["volumeMounts"][1] == {"name": "flotilla-checkpoints", "mountPath": "/keep"}
    assert container["env"][0] == {"name": "FLOTILLA_CHECKPOINTS", "value": "/keep"}
    claim = checkpoints_claim(job, 7, "demo", spec)
    assert claim == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "run-7-checkpoints",
            "namespace": "flotilla-demo",
            "labels": {
                "app.kubernetes.io/managed-by": "flotilla",
                "app.kubernetes.io/name": "run-7",
                "app.kubernetes.io/part-of": "demo",
                "flotilla.dev/run": "7",
            },
            "annotations": {"flotilla.dev/run-uid": "ab" * 16},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "fast",
        },
    }
    kubernetes_validate.validate(claim, "1.37", strict=True)
    kubernetes_validate.validate(job, "1.37", strict=True)
    several = parse_spec({"image": "x", "workers": 2, "checkpoints": {"size": "20Gi"}})
    shared = checkpoints_claim(job_of(several), 7, "demo", several)
    assert shared is not None and shared["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "storageClassName" not in shared["spec"], "the cluster's default"


@pytest.mark.django_db(transaction=True)
@pytest.mark.real_process
def test_an_attempt_goes_on_where_the_last_one_was_and_the_claim_ends_with_the_run(
    project: Project, developer: Any, principal: Principal, real_cluster: Cluster
) -> None:
    wish = {"experiment": "e", "image": "busybox", "command_line": COUNT, "checkpoints": {"size": "1Gi"}}
    [run] = services.launch_runs(principal=principal, project=project, wishes=[wish])
    follow(run, RunState.RUNNING)
    wait_for_line(run, "at 3")
    client, name = connect(real_cluster), last(run).pods[0]["name"]
    review = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": run.namespace}}
    client._transport.call("POST", f"/api/v1/namespaces/{run.namespace}/pods/{name}/eviction", body=review)
    follow(run, RunState.PENDING)
    Run.objects.filter(pk=run.pk).update(retry_at=timezone.now())
    follow(run, *SETTLED)
    assert run.state == RunState.SUCCEEDED and last(run).number == 2
    assert last(run).log.splitlines() == ["from 3", "at 4", "at 5", "at 6"]
    where = (*CLAIM, f"run-{run.pk}-checkpoints", run.namespace)
    assert client.exists(*where), "a run that has ended keeps it"
    assert kept.orphans() == []

    Run.objects.filter(pk=run.pk).update(deleted_at=timezone.now() - timedelta(days=400))
    assert rounds.purge_due(0) == work.DONE and not Run.objects.filter(pk=run.pk).exists()
    [(row, cluster)] = kept.orphans()
    assert cluster == real_cluster.pk
    assert kept.release(row) != work.DONE, "its absence is yet to be confirmed"
    assert not client.exists(*where)
    kept.release(row)
    assert KeptObject.objects.get().missing_since is not None, "said once, which is not enough"
    KeptObject.objects.update(missing_since=timezone.now() - timedelta(minutes=1))
    assert kept.release(row) == work.DONE and kept.orphans() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.real_process
def test_a_claim_that_is_another_one_s_is_neither_mounted_nor_deleted(
    project: Project, principal: Principal, real_cluster: Cluster
) -> None:
    wish = {"experiment": "e", "image": "busybox", "command_line": "true", "checkpoints": {"size": "1Gi"}}
    [run] = services.launch_runs(principal=principal, project=project, wishes=[wish])
    client, name = connect(real_cluster), f"run-{run.pk}-checkpoints"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    client.apply({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": run.namespace}})
    meta = {"name": name, "namespace": run.namespace}
    client.create({"apiVersion": "v1", "kind": CLAIM[1], "metadata": meta, "spec": spec})
    follow(run, *SETTLED)
    assert (run.state, run.reason) == (RunState.FAILED, "NameTaken") and name in run.message
    KeptObject.objects.update(run=None)
    [(row, _)] = kept.orphans()
    assert kept.release(row) == work.DONE and client.exists(*CLAIM, name, run.namespace)
    client.delete(*CLAIM, name, run.namespace, propagation="Background")


@pytest.mark.django_db
def test_the_form_takes_checkpoints_a_rerun_keeps_them_and_the_page_tells_them(
    browser: Client, project: Project
) -> None:
    cluster = factories.cluster("home", nodes=1)
    form = {"experiment": "e", "image": "x", "way": "line", "cluster": cluster.name, "cpu": "1", "memory": "1Gi"}
    wrong = browser.post("/p/demo/runs/new", form | {"checkpoints_size": "much"})
    assert "checkpoints_size" in wrong.context["form"].errors
    kept = {"checkpoints_size": "5Gi", "checkpoints_path": "/keep", "checkpoints_storage_class": "fast"}
    assert browser.post("/p/demo/runs/new", form | kept).status_code == 302
    run = Run.objects.get()
    assert run.spec["checkpoints"] == {"size": "5Gi", "storage_class": "fast", "path": "/keep"}
    again = browser.get(f"/p/demo/runs/new?again={run.uid}").context["form"]
    assert {name: again[name].value() for name in kept} == kept
    page = browser.get(f"/p/demo/runs/{run.uid}/").content.decode()
    assert f"/keep: claim run-{run.pk}-checkpoints" in page and "5Gi of class fast" in page
