"""What the overview says of a project's deployments, few or very many."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Pod
from apps.clusters.selectors.explain import explain_pod
from apps.core.access import Principal
from apps.core.models import Project, User
from apps.core.pages import overview as page
from apps.core.pages.overview import Scope
from apps.core.states import Health
from apps.deployments import selectors
from apps.deployments.models import Deployment, Placement, Revision, Rollout, Target
from apps.deployments.pages import panels
from apps.deployments.pages.overview import ATTENTION_ROWS, attention, edited, rollout_row, tiles
from apps.deployments.pages.replicas import parse_by
from apps.deployments.pages.servingcard import SERVING_ROWS, SQUARES, serving
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("health", "ready", "state", "note"),
    [
        (Health.HEALTHY, 3, "Healthy", "1 deployment as wanted"),
        (Health.PROGRESSING, 2, "Progressing", "1 not ready"),
        (Health.DEGRADED, 2, "Degraded", "1 not ready"),
        (Health.DEGRADED, 3, "Degraded", "1 in trouble"),
        (Health.UNKNOWN, 3, "Unknown", "3 on a cluster that can't be asked"),
    ],
)
def test_the_tile_of_replicas_claims_no_more_than_is_known(health: Health, ready: int, state: str, note: str) -> None:
    project = factories.busy_project(size=1)
    for table in (Deployment, Placement):
        table.objects.update(health=health, ready_replicas=ready)
    served = project.deployments.get()
    calm = Target.objects.create(
        project=project, name="calm", cluster=factories.cluster("calm"), namespace="n", environment="e"
    )
    # What is on another target can be asked all the same.
    Placement.objects.create(deployment=served, target=calm, health="Healthy", desired_replicas=5, ready_replicas=5)
    [tile] = tiles(Scope(Principal(user=User.objects.create_superuser("root")), project))
    assert (tile.value, tile.state, tile.note) == (str(ready), state, note)


def test_what_was_edited_by_hand_is_nothing_that_is_as_wanted() -> None:
    project = factories.busy_project(size=3)
    scope = scope_of(project)
    assert edited(scope) == []
    at = "2026-01-31T12:00:00Z"
    edit = {"object": "Deployment app-r1", "field": "spec.replicas", "kind": "changed", "manager": "kubectl", "at": at}
    first, second = project.deployments.order_by("name")[:2]
    Deployment.objects.filter(pk=first.pk).update(drift=[edit])
    [line] = edited(scope)
    assert (line.title, line.state, line.count) == (f"{first.name} was edited by hand", "Warning", 1)
    assert line.why.startswith("Deployment app-r1: spec.replicas is not as it was applied by kubectl")
    Deployment.objects.filter(pk=second.pk).update(drift=[edit | {"manager": "", "at": ""}])
    [both] = edited(scope)
    assert (both.title, both.count) == ("2 deployments were edited by hand", 2)
    assert [member.title for member in both.members] == [first.name, second.name]
    assert "2 deployments edited by hand" in page.verdict([both], anything=True).detail


def scope_of(project: Project) -> Scope:
    return Scope(Principal(user=User.objects.create_superuser("root")), project)


def test_only_what_is_on_a_target_that_can_not_be_asked_is_greyed() -> None:
    project = factories.busy_project(size=1)
    for table in (Deployment, Placement):
        table.objects.update(health=Health.UNKNOWN)
    [row] = serving(scope_of(project))
    assert row.unheard and row.replicas and all(square["stale"] for square in row.replicas)
    client = Client()
    client.force_login(User.objects.get(username="root"))
    page = f"/p/demo/deployments/{row.name}/"
    assert 'class="card stale" id="replicas"' in client.get(page).content.decode()
    calm = Target.objects.create(
        project=project, name="calm", cluster=factories.cluster("calm"), namespace="n", environment="e"
    )
    served = project.deployments.get()
    Placement.objects.create(
        deployment=served, target=calm, health="Healthy", state="Active", stable=served.stable, desired_replicas=1
    )
    factories.pod(calm.cluster, project, namespace="n", deployment=served.name, revision="1", name="calm-pod")
    text = client.get(page).content.decode()
    assert 'class="card" id="replicas"' in text, "the others' replicas are known"
    squares = {name: classes for classes, name in re.findall(r'class="([a-z ]+)" title="([\w-]+): ', text)}
    assert "stale" not in squares.pop("calm-pod") and squares and all("stale" in each for each in squares.values())
    [row] = serving(Scope(Principal(user=User.objects.get(username="root")), project))
    assert not row.unheard and any(square["stale"] for square in row.replicas)
    lost = [square for square in row.replicas if square["stale"]]
    assert {(square["state"], square["detail"]) for square in lost} <= {
        ("Unknown", f"{was} when last seen") for was in Health
    }
    assert "calm-pod: Ready" in text and "Unknown, Ready when last seen" in text and text.count(": Ready, ") == 2
    assert row.apart.endswith(" on a target that can't be asked") and row.ready == "0 of 1"
    assert [square["stale"] for square in row.replicas if square["name"] == "calm-pod"] == [False]


def many_deployments(count: int, **fields: Any) -> Project:
    project = factories.busy_project(size=1)
    like = project.deployments.get()
    made = Deployment.objects.bulk_create(
        Deployment(project=project, name=f"more-{number:03}", current=like.current, **fields) for number in range(count)
    )
    target = like.places[0].target
    Placement.objects.bulk_create(Placement(deployment=each, target=target, **fields) for each in made)
    return project


@pytest.mark.parametrize(
    ("state", "health", "step", "steps", "says", "bar"),
    [
        # Ready, not ready, and where it ends when all are ready: by what is wanted at a step, or of it all.
        ("Progressing", "Progressing", 0, 1, "1 of 4 new ready, 2 not ready", (25, 50, 100)),
        # No progress is claimed beside a deployment in trouble.
        ("Progressing", "Degraded", 0, 1, "1 of 4 new ready, 2 not ready", (25, 50, 100)),
        ("Progressing", "Progressing", 1, 4, "step 2 of 4", (25, 50, 75)),
        ("Paused", "Degraded", 2, 4, "paused at step 3 of 4", (25, 50, 75)),
        ("Progressing", "Progressing", 4, 4, "step 4 of 4", (25, 50, 75)),
        ("RollingBack", "Degraded", 2, 4, "1 new left", (25, 50, 75)),
        ("Held", "Progressing", 0, 1, "not begun", (0, 0, 100)),
    ],
)
def test_a_rollout_on_the_overview_says_how_far_it_is(
    state: str, health: str, step: int, steps: int, says: str, bar: tuple[int, int, int]
) -> None:
    new = {"revision": 2, "wanted": 3, "existing": 3, "ready": 1}
    seen = [*([] if state == "Held" else [new]), {"revision": 1, "wanted": 4, "existing": 4, "ready": 4}]
    # It waits for an approval, say, before its first replica.
    state = "Paused" if state == "Held" else state
    row = Deployment(name="digits", project=Project(name="demo"), desired_replicas=4, observed=seen, health=health)
    rollout = Rollout(state=state, step=step, plan=[{"targets": ["t"]}] * steps, to_revision=Revision(number=2))
    assert rollout_row(row, rollout).state == state, "the old replicas may be in trouble, and it goes on"
    setattr(rollout, "in_trouble", True)  # noqa: B010 - annotated where rollouts are read
    shown = rollout_row(row, rollout)
    state = "Degraded" if (state, health) == ("Progressing", "Degraded") else state
    assert (shown.state, shown.text) == (state, says)
    assert (shown.replicas.ready_share, shown.replicas.unready_share, shown.replicas.wanted_share) == bar


def test_of_very_many_deployments_in_trouble_the_worst_are_shown_and_the_rest_counted() -> None:
    project = many_deployments(40, health=Health.DEGRADED, desired_replicas=2, observed_at=timezone.now())
    for number in range(40):
        Deployment.objects.filter(name=f"more-{number:03}").update(message=f"Cause {number}.")
    for table, name in ((Deployment, "name"), (Placement, "deployment__name")):
        table.objects.filter(**{name: "more-039"}).update(health=Health.UNKNOWN)
    scope = scope_of(project)
    rows = attention(scope)
    assert len(rows) == 1 + ATTENTION_ROWS + 1
    assert rows[0].title == "more-039 is unknown"
    assert (rows[-1].title, rows[-1].count) == ("31 more deployments in trouble", 31)
    assert rows[1].at == Deployment.objects.get(name="more-000").health_since
    degraded = [each for each in page.attention(scope) if each.state == Health.DEGRADED and "deployment" in each.noun]
    assert degraded[-1].count == 31, "what stands for the rest comes last"


def test_what_serves_is_the_worst_first_and_no_more_is_loaded_than_shown() -> None:
    project = many_deployments(20, health=Health.HEALTHY, desired_replicas=1)
    served = project.deployments.get(name="digits")
    Deployment.objects.filter(pk=served.pk).update(health=Health.DEGRADED)
    for _ in range(SQUARES + 5):
        factories.pod(served.places[0].target.cluster, project, deployment="digits", revision="1")
    scope = scope_of(project)
    rows = serving(scope)
    assert [row.name for row in rows] == ["digits", *(f"more-{number:03}" for number in range(SERVING_ROWS - 1))]
    assert len(rows[0].replicas) == SQUARES
    held = factories.canary(project.deployments.get(name="digits"), served.current.model_version)
    Deployment.objects.filter(pk=served.pk).update(health=Health.PROGRESSING)
    row = serving(scope)[0]
    assert row.state == held.state == "Paused", "the same word as in the list and on its page"
    assert not any(square["young"] for square in row.replicas), "what is marked is not young, but of what comes"
    # It sorts before the many that are shown.
    factories.pod(served.places[0].target.cluster, project, deployment="digits", revision="0", name="comes")
    Revision.objects.filter(pk=held.to_revision_id).update(number=0)
    assert [square["name"] for square in serving(scope)[0].replicas if square["young"]] == ["comes"]
    assert len(selectors.first_pods_of([served], each=SQUARES)) == SQUARES


def test_figures_of_all_deployments_come_without_loading_them() -> None:
    project = many_deployments(30, health=Health.HEALTHY, desired_replicas=2, ready_replicas=3)
    Deployment.objects.filter(name="more-000").update(health=Health.DEGRADED, ready_replicas=0)
    Deployment.objects.filter(name="more-001").update(health=Health.UNKNOWN)
    Placement.objects.filter(deployment__name="more-001").update(health=Health.UNKNOWN)
    totals = selectors.totals(project)
    assert (totals.deployments, totals.bad, totals.worst) == (31, 2, Health.UNKNOWN)
    assert (totals.wanted, totals.ready, totals.short, totals.unknown) == (63, 61, 2, 2)
    assert selectors.totals(Project.objects.create(name="empty")) == selectors.Totals(0, 0, Health.HEALTHY, 0, 0, 0)


def test_of_very_many_replicas_those_that_are_not_ready_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "SHOWN_REPLICAS", 5)
    project = factories.busy_project(size=1)
    served = project.deployments.get()
    for number in range(8):
        factories.pod(served.places[0].target.cluster, project, deployment="digits", revision="1", name=f"a-{number}")
    Deployment.objects.update(observed=[{"revision": 1, "wanted": 12, "existing": 12, "ready": 11}])
    served.refresh_from_db()
    board = panels.Board(served, Principal(user=User.objects.create_superuser("root")))
    assert (len(board.pods), board.hidden) == (5, 7)
    assert sum(not pod.ready for pod in board.pods) == 1
    # Ready at the beginning of a new try, and no better than before it.
    Pod.objects.filter(name="a-0").update(ready=True, health=Health.DEGRADED, reason="CrashLoopBackOff")
    board = panels.Board(served, Principal(user=User.objects.get(username="root")))
    assert {row.name: row.state for row in board.replicas}["a-0"] == "CrashLoopBackOff"


def test_replicas_are_grouped_as_the_address_asks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    project = factories.busy_project(size=1)
    served = project.deployments.get()
    [home], away = [place.target.cluster for place in served.places], factories.cluster("away", nodes=2)
    target = Target.objects.create(project=project, name="far", cluster=away, namespace="demo", environment="prod")
    Placement.objects.create(deployment=served, target=target, state="Active")
    Pod.objects.all().delete()
    for cluster, name, node, revision in (
        (home, "a", "node-1", "1"), (home, "b", "node-2", "2"), (away, "c", "node-1", "2"), (away, "d", "", "1"),
    ):  # fmt: skip
        factories.pod(cluster, project, namespace="demo" if cluster == away else "", deployment="digits", name=name,
                      revision=revision, node_name=node, ready=bool(node), used_cpu_m=1234)  # fmt: skip

    def shown(by: str) -> list[tuple[str, str, list[str]]]:
        board = panels.Board(served, Principal(user=User.objects.get(is_superuser=True)), parse_by(by))
        return [(group.title, group.note, [row.name for row in group.rows]) for group in board.groups]

    client.force_login(User.objects.create_superuser("root"))
    assert shown("anything") == [("Revision 2", "", ["b", "c"]), ("Revision 1", "", ["a", "d"])]
    assert shown("cluster") == [("away", "", ["c", "d"]), (home.name, "", ["b", "a"])]
    assert shown("node") == [
        ("On no node yet", "on away", ["d"]), ("node-1", "on away", ["c"]), ("node-1", f"on {home.name}", ["a"]),
        ("node-2", f"on {home.name}", ["b"]),
    ]  # fmt: skip

    def counted(by: str) -> list[tuple[str, str, int]]:
        board = panels.Board(served, Principal(user=User.objects.get(username="root")), parse_by(by))
        return [(group.title, group.ready, len(group.rows)) for group in board.groups]

    with monkeypatch.context() as patched:
        # Of more than are shown all are counted; d, which is not ready, is shown, and one more.
        patched.setattr(panels, "SHOWN_REPLICAS", 2)
        assert counted("cluster") == [("away", "1 of 2 ready", 1), (home.name, "2 of 2 ready", 1)]
        assert counted("revision") == [("Revision 1", "1 of 2 ready", 2), ("Revision 2", "2 of 2 ready", 0)]
        assert counted("node") == [("On no node yet", "0 of 1 ready", 1), ("node-1", "1 of 1 ready", 1)]
    page = client.get("/p/demo/deployments/digits/?by=cluster").content.decode()
    assert "part=replicas" in page and "by=cluster&amp;part=replicas" in page and "1 of 2 ready" in page
    assert "1.23" in page, "what a replica uses"


def test_a_pod_that_only_bears_the_labels_is_asked_for_no_prediction() -> None:
    project = factories.busy_project(size=1)
    served = project.deployments.get()
    for revision in ("1", "77", "one", ""):
        pod = {"deployment": "digits", "revision": revision, "name": f"pod-{revision}"}
        factories.pod(served.places[0].target.cluster, project, **pod)
    ready = [name for name, *_ in selectors.ready_replicas(served) if name.startswith("pod-")]
    assert ready == ["pod-1"]


def test_a_verdict_quotes_a_broken_replica_in_the_words_of_its_page() -> None:
    project = factories.busy_project(size=1)
    [home] = Cluster.objects.filter(targets__project=project)
    said = 'Back-off pulling image "team/none:1": ErrImagePull: rpc error: code = NotFound desc = not found'
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": said}}}
    status = {"containers": [{"name": "server", "image": "team/none:1", "restarts": 0, **waiting}]}
    ill: dict[str, Any] = {"health": "Degraded", "reason": "ImagePullBackOff", "message": said, "status": status}
    Pod.objects.all().delete()
    for revision, name in (("1", "a"), ("2", "b"), ("2", "c")):
        factories.pod(home, project, name=name, revision=revision, phase="Pending", ready=False, **ill)
    factories.pod(home, project, name="d", revision="1", message="All containers are ready.")
    pods = list(Pod.objects.order_by("name"))
    on_pages = {pod.name: why.sentence for pod in pods if (why := explain_pod(pod))}
    a, b, c, d = (replica.message for replica in selectors.replicas_of(pods))
    assert (a, b) == (on_pages["a"], on_pages["b"]) and "the image team/none:1 can't be pulled" in a
    assert (c, d) == (said, "All containers are ready."), "the first of each revision is quoted"


def test_a_late_verdict_quotes_what_the_probe_answered_last() -> None:
    project = factories.busy_project(size=1)
    [home] = Cluster.objects.filter(targets__project=project)
    Pod.objects.all().delete()
    began = (timezone.now() - timedelta(hours=1)).isoformat()
    server = {"name": "server", "started": True, "ready": False, "state": {"running": {"startedAt": began}}}
    slow: dict[str, Any] = {"ready": False, "health": "Progressing", "message": "Not ready.", "revision": "2"}
    for name in ("a", "b"):
        pod = factories.pod(home, project, name=name, status={"containers": [server]}, **slow)
        factories.warning(home, pod, message="Readiness probe failed: HTTP probe failed with statuscode: 503")
    pods = list(Pod.objects.order_by("name"))
    said = [replica.message for replica in selectors.replicas_of(pods, is_late=True)]
    assert said == [explain_pod(pods[0]).sentence, "Not ready."]  # type: ignore[union-attr]
    assert "503" in said[0], said[0]
    assert [replica.message for replica in selectors.replicas_of(pods)] == ["Not ready."] * 2, "nothing is asked before"


def test_what_is_being_rolled_out_is_told_beside_what_serves() -> None:
    project = factories.busy_project(size=1)
    digits = project.deployments.get()
    scope = Scope(Principal(user=User.objects.create_superuser("root")), project)
    assert digits.current is not None
    first = digits.current.spec["model"]
    named = f"{first['name']} version {first['version']}"
    [row] = serving(scope)
    assert row.sub.partition(" · ")[0] == named
    other = factories.version(digits.current.model_version.model, digits.current.model_version.run)
    rollout = factories.canary(digits, other)
    [row] = serving(scope)
    assert row.sub.partition(" · ")[0] == f"{named}, version {other.version} is coming"
    Rollout.objects.filter(pk=rollout.pk).update(state="RollingBack")
    Deployment.objects.update(current=rollout.from_revision)
    [row] = serving(scope)
    assert row.sub.partition(" · ")[0] == f"{named}, version {other.version} is taken back"
    # Another image of the same version.
    Rollout.objects.filter(pk=rollout.pk).update(state="Progressing")
    Revision.objects.filter(pk=rollout.to_revision_id).update(spec=digits.current.spec)
    [row] = serving(scope)
    assert row.sub.partition(" · ")[0] == f"{named}, revision {rollout.to_revision.number} is coming"


def test_that_there_is_no_heal_is_explained_beside_replicas_that_were_restarted() -> None:
    project = factories.busy_project(size=1)
    root = User.objects.create_superuser("root")
    client = Client()
    client.force_login(root)
    served = project.deployments.get()
    address = f"/p/{project.name}/deployments/{served.name}/?part=history"
    assert "No replica has gone down by itself." in client.get(address).content.decode()
    ended = {"exitCode": 1, "finishedAt": "2026-11-23T13:00:00Z"}
    containers = [{"name": "server", "restarts": 2, "last_state": {"terminated": ended}}]
    Pod.objects.filter(deployment=served.name).update(status={"containers": containers}, restarts=2)
    page = client.get(address).content.decode()
    assert "No replica has gone down" not in page and "No heal was seen" in page
    Cluster.objects.update(state="Unreachable")
    Placement.objects.update(health=Health.UNKNOWN)
    lost = client.get(address).content.decode()
    assert "nothing is heard of" in lost and "when last seen" in lost and "The cluster has said nothing" not in lost
