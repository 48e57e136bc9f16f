"""Runs that go to any cluster that fits: chosen with a reason, waiting with one, tried again elsewhere."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Node
from apps.clusters.services import connect, follow_state
from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.core.work import DONE, Again
from apps.core.work.models import Work
from apps.experiments import services
from apps.experiments.models import Attempt, Experiment, Run
from apps.experiments.reconcile import case as cases
from apps.experiments.reconcile import reconcile_run
from apps.experiments.reconcile.places import is_due
from apps.experiments.states import SETTLED, RunState
from tests import factories
from tests.experiments.rounds import follow
from tests.experiments.runpage import whole

pytestmark = pytest.mark.django_db
ONE_GPU = {"resources": {"cpu": "1", "memory": "1Gi", "gpu": 1}}
WISH = {"experiment": "digits", "image": "busybox", "command": ["true"]}


@pytest.fixture
def fleet(project: Project) -> dict[str, Cluster]:
    """Two clusters with a node each: two GPUs in the one, one in the other."""
    clusters = {name: factories.cluster(name, nodes=0) for name in ("eu", "us")}
    for name, gpu in (("eu", 2), ("us", 1)):
        factories.node(clusters[name], f"{name}-node-1", gpu=gpu)
        Cluster.objects.filter(name=name).update(labels={"region": name})
    return clusters


def launch(principal: Principal, project: Project, **more: Any) -> Run:
    return services.launch_runs(principal=principal, project=project, wishes=[{**WISH, **ONE_GPU, **more}])[0]


def placed(run: Run) -> str:
    """A round of the reconcile, which calls no cluster; the cluster that was chosen, or ""."""
    assert reconcile_run(run.pk) is not None
    run.refresh_from_db()
    return run.cluster.name if run.cluster else ""


def due_on(run: Run) -> int | None:
    row = Work.objects.filter(kind="run", object_id=run.pk).first()
    return row.cluster if row is not None else None


def test_a_run_goes_where_it_fits_and_says_why(
    principal: Principal, project: Project, fleet: dict[str, Cluster], browser: Client
) -> None:
    run = launch(principal, project)
    assert (run.cluster, run.state, due_on(run)) == (None, RunState.PENDING, 0)
    assert placed(run) == "eu"
    assert due_on(run) == fleet["eu"].pk
    why = "fits: 1 of 1 node has 1 CPU, 1 GiB and 1 GPU free, most room of 2"
    assert run.placing["why"] == why and run.placing["others"][0]["cluster"] == "us"
    last = transitions.transitions_of(run)[-1]
    assert (last.to_state, last.reason) == (RunState.PENDING, "Placed")
    assert last.message.startswith(f"On eu: {why}. Others: us: fits: ")
    page = whole(browser, run)
    assert f"on eu: {why}" in page


def test_no_room_is_promised_twice_and_who_finds_none_waits(
    principal: Principal, project: Project, fleet: dict[str, Cluster], browser: Client
) -> None:
    runs = [launch(principal, project) for _ in range(4)]
    assert sorted(placed(run) for run in runs) == ["", "eu", "eu", "us"]
    waiting = runs[-1]
    assert (waiting.state, waiting.reason) == (RunState.PENDING, "NoRoom")
    lacks = "not enough GPU: 0 free, 1 wanted beside what is about to start there"
    assert waiting.message == f"No cluster has room now. eu: {lacks}; us: {lacks}"
    page = whole(browser, waiting)
    assert "No cluster that it may go to has room for it now." in page and lacks in page
    again = reconcile_run(waiting.pk)
    assert again == Again(3.0)
    assert [row.reason for row in transitions.transitions_of(waiting)] == ["Launched", "NoRoom"], "told once"
    Run.objects.filter(pk=waiting.pk).update(
        placing={**waiting.placing, "since": (timezone.now() - timedelta(minutes=2)).isoformat()}
    )
    later = reconcile_run(waiting.pk)
    assert isinstance(later, Again) and 29 < later.after < 32
    # A run that ends makes room, and lets it look again; so does a cluster that is back.
    Work.objects.all().delete()
    services.cancel_run(principal=principal, run=runs[0])
    Run.objects.filter(pk=runs[0].pk).update(cluster=None, state=RunState.CANCELING, placing={})
    assert reconcile_run(runs[0].pk) == DONE
    runs[0].refresh_from_db()
    assert runs[0].state == RunState.CANCELED and due_on(waiting) == 0
    Work.objects.all().delete()
    follow_state(fleet["us"])
    assert due_on(waiting) == 0
    assert placed(waiting) == "eu" and waiting.message == ""


def test_a_cluster_that_goes_away_before_anything_began_is_left(
    principal: Principal, project: Project, fleet: dict[str, Cluster]
) -> None:
    run = launch(principal, project)
    assert placed(run) == "eu"
    Cluster.objects.filter(name="eu").update(state="Unreachable")
    follow_state(Cluster.objects.get(name="eu"))
    assert due_on(run) == 0, "a round that calls no cluster"
    assert placed(run) == "us"
    assert run.placing["others"][0] == {"cluster": "eu", "why": "unreachable"}


def test_the_next_attempt_goes_elsewhere(principal: Principal, project: Project, fleet: dict[str, Cluster]) -> None:
    run = launch(principal, project)
    assert placed(run) == "eu"
    now = timezone.now()

    def interrupted(number: int, cluster: Cluster | None) -> None:
        about = {"namespace": run.namespace, "job_name": f"run-{run.pk}-{number}", "job_uid": "u"}
        Attempt.objects.create(run=run, number=number, cluster=cluster, **about, state="Failed", reason="NodeLost",
                               cause="interrupted", created_at=now, ended_at=now)  # fmt: skip
        Run.objects.filter(pk=run.pk).update(retry_at=now)

    interrupted(1, run.cluster)
    assert placed(run) == "us"
    why = next(each["why"] for each in run.placing["others"] if each["cluster"] == "eu")
    assert why.endswith("attempt 1 was interrupted there")
    interrupted(2, run.cluster)
    Node.objects.filter(cluster=fleet["eu"]).update(ready=False)
    assert placed(run) == "us", "no other has room"
    assert run.placing["why"].endswith("attempt 2 was interrupted there; no other fits")


def test_a_run_with_checkpoints_stays_where_they_are_and_says_so_where_it_can_not(
    principal: Principal, project: Project, fleet: dict[str, Cluster]
) -> None:
    run = launch(principal, project, checkpoints={"size": "1Gi"})
    assert placed(run) == "eu"
    now = timezone.now()
    about = {"namespace": run.namespace, "job_name": f"run-{run.pk}-1", "job_uid": "u"}
    Attempt.objects.create(run=run, number=1, cluster=run.cluster, **about, state="Failed", reason="NodeLost",
                           cause="interrupted", created_at=now, ended_at=now)  # fmt: skip
    Run.objects.filter(pk=run.pk).update(retry_at=now)
    case = cases.load(run.pk)
    assert case is not None and not is_due(case, 2), "a round on its cluster, not a choice"
    Cluster.objects.filter(name="eu").update(state="Unreachable")
    assert placed(run) == "us"
    assert run.placing["why"].endswith("; its checkpoints are on eu, so it begins anew")


def test_what_no_cluster_can_ever_hold_is_refused(
    principal: Principal, project: Project, fleet: dict[str, Cluster], browser: Client
) -> None:
    with pytest.raises(Invalid, match=r"No cluster could ever hold this\. eu: no node is large enough: 2 GPUs at most"):
        launch(principal, project, resources={"gpu": 3})
    with pytest.raises(Invalid, match="label region is us, not mars") as refused:
        launch(principal, project, cluster_selector={"region": "mars"})
    assert refused.value.field == "cluster_selector"
    with pytest.raises(Invalid, match="leaves nothing to choose"):
        launch(principal, project, cluster="eu", prefer="room")
    assert not Run.objects.exists()
    # Two halves are not one whole.
    with pytest.raises(Invalid):
        launch(principal, project, resources={"gpu": 2}, cluster_selector={"region": "us"})
    assert placed(launch(principal, project, cluster_selector={"region": "us"})) == "us"
    # Of a cluster without nodes nobody knows: it waits, and is not told that it goes on by itself.
    factories.cluster("new", nodes=0)
    hopes = launch(principal, project, resources={"gpu": 3})
    assert placed(hopes) == "" and hopes.message.startswith("No cluster that is known could ever hold it. ")
    page = whole(browser, hopes)
    assert "a node that could ever hold it" in page and "goes on by itself" not in page


def test_rest_and_form_let_flotilla_choose(
    principal: Principal, project: Project, fleet: dict[str, Cluster], browser: Client
) -> None:
    def post(query: str = "", **more: Any) -> Any:
        body = {"project": "demo", **WISH, **ONE_GPU, **more}
        return browser.post(f"/api/v1/runs{query}", body, content_type="application/json")

    rehearsed = post("?dry_run=true", cluster_selector={"region": "us"}).json()
    assert [each["cluster"] for each in rehearsed["placements"]] == ["us"]
    assert post("?dry_run=true", cluster="eu").json()["placements"] == [None]
    answer = post(cluster=None, cluster_selector={"region": "us"}).json()
    assert (answer["cluster"], answer["cluster_selector"], answer["placement"]) == (None, {"region": "us"}, None)
    run = Run.objects.get(uid=answer["run_id"])
    assert placed(run) == "us"
    shown = browser.get(f"/api/v1/runs/{run.uid}").json()
    assert shown["cluster"] == shown["placement"]["cluster"] == "us"
    again = browser.post(f"/api/v1/runs/{run.uid}/rerun").json()
    assert again["cluster"] is None and again["cluster_selector"] == {"region": "us"}

    form = browser.get(f"/p/demo/runs/new?again={run.uid}").content.decode()
    assert "Any cluster that fits" in form and 'value="region=us"' in form
    filled = {"cpu": "1", "memory": "1Gi", "gpu": "1", "cluster": "", "cluster_selector": "region=eu"}
    where = browser.get("/p/demo/runs/new/place", filled).content.decode()
    chosen, others = where.split("</tr>")[:2]
    assert "eu</span>" in chosen and "fits: 1 of 1 node has 1 CPU, 1 GiB and 1 GPU free, the only one" in chosen
    assert ">us</th>" in others
    assert "label region is us, not eu" in where
    for other, says in (
        ({"gpu": 9}, "No cluster could ever hold this."),
        ({"cluster": "us", "cluster_selector": ""}, "On us, as you say."),
        ({"cpu": ""}, "“CPU” is needed: fill it in."),
    ):
        assert says in browser.get("/p/demo/runs/new/place", {**filled, **other}).content.decode()
    sent = {**filled, "experiment": "digits", "image": "busybox", "command": "true", "way": "line"}
    assert browser.post("/p/demo/runs/new", sent).status_code == 302
    assert Run.objects.latest("pk").anywhere == {"selector": {"region": "eu"}, "prefer": "price"}


@pytest.mark.django_db(transaction=True)
def test_on_a_real_cluster_it_runs_and_leaves_nothing_there_between_attempts(
    principal: Principal, project: Project, real_cluster: Cluster
) -> None:
    factories.node(real_cluster, "local-node", gpu=0)
    Cluster.objects.filter(pk=real_cluster.pk).update(state="Healthy")
    factories.cluster("full", nodes=0)
    wish = {**WISH, "command": ["sh", "-c", "exit 5"], "retries": 1}
    run = services.launch_runs(principal=principal, project=project, wishes=[wish])[0]
    follow(run, RunState.QUEUED, RunState.STARTING, RunState.RUNNING)
    follow(run, RunState.PENDING)
    client = connect(real_cluster)
    assert not client.exists("v1", "Secret", f"run-{run.pk}", run.namespace), "the next one may be elsewhere"
    Run.objects.filter(pk=run.pk).update(retry_at=timezone.now())
    follow(run, *SETTLED)
    assert (run.state, run.exit_code, run.placing["attempt"]) == (RunState.FAILED, 5, 2)
    assert not client.exists("v1", "Secret", f"run-{run.pk}", run.namespace)
    assert Experiment.objects.get(name="digits").runs.get() == run
