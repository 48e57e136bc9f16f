"""Deployments on several targets, as rows: who waits for whom, what is asked for, and where everything goes back to."""

import re
from functools import partial
from html import unescape
from typing import Any

import pytest
import yaml
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.database.transitions import transitions_of
from apps.core.models import AuditEntry, Project
from apps.core.work.models import Work
from apps.deployments import holdings, services
from apps.deployments.models import Deployment, Placement, Rollout, Stage, Target
from apps.deployments.pages.forms import a_canary
from apps.deployments.pages.rolling import in_a_line
from apps.deployments.rollout.refusals import Refusal
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.services import observing
from apps.deployments.services.common import KIND, locked
from tests import factories
from tests.concurrent import meanwhile
from tests.deployments.places import arrive, arrive_on, reread
from tests.deployments.test_api import post

pytestmark = pytest.mark.django_db
SPEC: dict[str, Any] = {"image": "team/server:1", "env": {"TAG": "1"}}
CANARY: dict[str, Any] = {
    "kind": "canary",
    "steps": [{"set_weight": 50}, {"pause": {}}],
    "waves": [{"targets": ["eu"]}, {"targets": ["us"]}],
}


@pytest.fixture
def both(root: Principal, demo: Project) -> list[Target]:
    made = []
    for name in ("eu", "us"):
        factories.cluster(name)
        made.append(
            services.create_target(principal=root, project=demo, name=name, cluster=name, environment="production")
        )
    return made


def place(root: Principal, demo: Project, name: str = "app", **spec: Any) -> Deployment:
    return services.create_deployment(
        principal=root,
        project=demo,
        asked=services.NewDeployment(name=name, targets=["eu", "us"], replicas=2, spec={**SPEC, **spec}),
    )


@pytest.fixture
def app(root: Principal, demo: Project, both: list[Target]) -> Deployment:
    """Revision 1 serves on both targets, and a canary goes from wave to wave."""
    made = place(root, demo, strategy=CANARY)
    arrive(made)
    return made


def revise(root: Principal, app: Deployment, tag: str) -> Rollout:
    services.deploy_revision(principal=root, deployment=app, changes={"env": {"TAG": tag}})
    return Rollout.objects.get(deployment=app, ended_at=None)


def wanted(app: Deployment) -> dict[str, tuple[int | None, int | None, int]]:
    """What is wanted on each target: the revision that serves, the one that comes, and its share."""
    return {
        row.target.name: (row.stable and row.stable.number, row.coming and row.coming.number, row.weight)
        for row in app.placements.select_related("target", "stable", "coming")
    }


def test_each_deployment_is_listed_once_however_many_of_its_placements_match(api: Client, app: Deployment) -> None:
    for query, count in (
        ("environment=production", 1), ("target=eu", 1), ("cluster=us&target=us", 1), ("cluster=us&target=eu", 0),
        ("environment=staging", 0),
    ):  # fmt: skip
        assert len(api.get(f"/api/v1/deployments?{query}").json()["results"]) == count, query


@pytest.mark.parametrize("named", [{"targets": []}, {"targets": ["eu", "eu"]}, {"targets": ["eu"], "target": "eu"}, {}])
def test_where_it_goes_is_said_in_one_way(api: Client, both: list[Target], named: dict[str, Any]) -> None:
    answer = post(api, "/api/v1/deployments", {"project": "demo", "name": "app", **SPEC, **named})
    assert answer.status_code == 400
    assert "arget" in answer.text or "named twice" in answer.text


def test_a_cluster_that_goes_away_holds_deployments_before_their_placements(
    transactional_db: None, app: Deployment
) -> None:
    eu = Cluster.objects.get(name="eu")
    Cluster.objects.filter(pk=eu.pk).update(state="Unreachable", reason="Timeout", message="No answer.")
    eu.refresh_from_db()
    went = meanwhile(
        lambda: locked(app.pk),
        transaction.atomic(partial(observing.follow_cluster, eu)),
        # As a round does that has just seen something: Postgres would end one of two that wait for each other.
        then=lambda: Placement.objects.filter(deployment=app).update(reason="Seen"),
    )
    assert went is None
    assert Placement.objects.get(deployment=app, target__name="eu").reason == "Timeout"


def test_two_deployments_to_the_same_targets_in_another_order_are_both_made(
    transactional_db: None, root: Principal, demo: Project, both: list[Target]
) -> None:
    eu, us = both
    asked = services.NewDeployment(name="app", targets=["us", "eu"], replicas=1, spec=SPEC)
    create = partial(services.create_deployment, principal=root, project=demo, asked=asked)

    def hold(target: Target) -> None:
        list(Target.objects.select_for_update(no_key=True).filter(pk=target.pk))

    made = meanwhile(partial(hold, eu), create, then=partial(hold, us))
    assert isinstance(made, Deployment), made
    assert [row.target.name for row in made.places] == ["us", "eu"], "as they were named"


def test_a_rollback_while_the_former_revision_serves_is_at_once_and_no_copy(
    api: Client, app: Deployment, root: Principal
) -> None:
    rollout = revise(root, app, "2")
    arrive_on(app, "eu")
    assert wanted(app)["eu"] == (1, 2, 50)
    answer = post(api, "/api/v1/deployments/app/rollback", {"revision": 1})
    assert (answer.status_code, answer.json()["number"]) == (200, 1)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.abort_asked) == ("RollingBack", "dev rolled back to revision 1.")
    assert post(api, "/api/v1/deployments/app/rollback", {"revision": 1}).status_code == 409, "it is on its way"
    arrive(app)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.message) == ("Aborted", "Aborted. dev rolled back to revision 1.")
    app.refresh_from_db()
    assert (app.last_revision, app.current == app.stable) == (2, True)
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}
    assert AuditEntry.objects.get(action="deployment.rollback").after == {"revision": 1}


def test_asking_again_for_what_serves_still_takes_the_rollout_back(
    api: Client, app: Deployment, root: Principal
) -> None:
    """As Argo Rollouts does for a spec that is the stable one's: nobody waits at a step for what has passed them."""
    rollout = revise(root, app, "2")
    arrive_on(app, "eu")
    body = {"env": {"TAG": "1"}, "strategy": {"kind": "canary", "on_failure": "hold"}}
    answer = post(api, "/api/v1/deployments/app/revisions", body)
    assert (answer.status_code, answer.json()["number"]) == (200, 1)
    arrive(app)
    rollout.refresh_from_db()
    assert (rollout.state, reread(app).last_revision) == ("Aborted", 2)
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}
    assert app.strategy["on_failure"] == "hold", "what was asked for beside it is kept"


@pytest.mark.parametrize("way", [services.rollback, services.restart])
def test_what_has_served_everywhere_waits_at_no_step_again(app: Deployment, root: Principal, way: Any) -> None:
    if way is services.rollback:
        revise(root, app, "2")
        for _ in range(2):
            arrive(app)
            services.promote(principal=root, deployment=app)
        arrive(app)
        assert reread(app).stable == app.current
    way(principal=root, deployment=app)
    rollout = Rollout.objects.get(deployment=app, ended_at=None)
    assert transitions_of(rollout)[0].message == "It has served here before: none of its steps is waited for."
    assert {name: share for name, (*_, share) in wanted(app).items()} == {"eu": 100, "us": 0}, "waves stay in order"
    arrive_on(app, "eu")
    arrive_on(app, "us")
    rollout.refresh_from_db()
    assert (rollout.state, app.stable == app.current) == ("Healthy", True)


def test_a_copy_goes_through_all_steps_where_it_never_served(root: Principal, app: Deployment, demo: Project) -> None:
    rollout = revise(root, app, "2")
    arrive_on(app, "eu")
    services.abort(principal=root, deployment=app)
    arrive(app)
    services.rollback(principal=root, deployment=app, revision=2)
    rollout = Rollout.objects.get(deployment=app, ended_at=None)
    assert (rollout.full_asked, wanted(app)["eu"]) == (False, (1, 3, 50))


@pytest.mark.parametrize(("trouble", "serves"), [("", 2), ("It crashes.", 1)])
def test_what_serves_goes_on_when_it_is_superseded(
    root: Principal, demo: Project, both: list[Target], trouble: str, serves: int
) -> None:
    strategy = {"kind": "blue_green", "scale_down_delay_seconds": 300, "on_failure": "hold"}
    app = place(root, demo, strategy=strategy)
    arrive(app)
    second = revise(root, app, "2")
    arrive(app)
    services.promote(principal=root, deployment=app)
    arrive(app)
    second.refresh_from_db()
    assert (second.reason, wanted(app)["eu"]) == ("KeepingOld", (1, 2, 100))
    Stage.objects.filter(rollout=second).update(trouble=trouble)
    third = revise(root, app, "3")
    assert wanted(app) == {"eu": (serves, 3, 0), "us": (serves, 3, 0)}
    assert third.from_revision is not None and third.from_revision.number == serves
    arrive(app)
    services.abort(principal=root, deployment=app)
    arrive(app)
    assert wanted(app) == {"eu": (serves, None, 0), "us": (serves, None, 0)}
    reread(app)
    assert app.stable == app.current and app.current.number == serves


def test_where_one_wave_serves_the_next_its_successor_comes_there_beside_it(root: Principal, app: Deployment) -> None:
    revise(root, app, "2")
    arrive_on(app, "eu")
    services.promote(principal=root, deployment=app)
    arrive_on(app, "eu")
    assert wanted(app) == {"eu": (1, 2, 100), "us": (1, 2, 50)}
    third = revise(root, app, "3")
    assert wanted(app) == {"eu": (2, 3, 50), "us": (1, 3, 0)}
    arrive_on(app, "eu")
    services.abort(principal=root, deployment=app)
    arrive(app)
    third.refresh_from_db()
    assert third.state == "Aborted"
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}, "taking back means the same everywhere"


def test_a_strategy_that_changed_meanwhile_is_brought_to_the_objects_when_the_rollout_ends(
    root: Principal, app: Deployment
) -> None:
    """The Service of a blue-green selects one revision, that of others all."""
    services.restart(principal=root, deployment=app)
    services.set_strategy(principal=root, deployment=app, strategy={"kind": "blue_green"})
    Work.objects.filter(kind=KIND).delete()
    for target in ("eu", "us"):
        arrive_on(app, target)
    assert app.under_way is None
    assert Work.objects.filter(kind=KIND, object_id__in=app.placements.values("pk")).count() == 2


@pytest.mark.parametrize("brought", [False, True])
def test_what_is_taken_back_while_all_of_it_is_away_is_no_more_wanted_all_the_same(
    app: Deployment, root: Principal, brought: bool
) -> None:
    rollout = revise(root, app, "2")
    if brought:
        arrive_on(app, "eu")
    Cluster.objects.update(state="Unreachable", reason="Timeout", message="No answer.")
    services.abort(principal=root, deployment=app)
    rollout.refresh_from_db()
    assert rollout.state == "Aborted"
    app.refresh_from_db()
    assert app.current is not None
    assert (app.current.number, app.current == app.stable) == (1, True)
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}


def test_all_targets_go_back_to_one_revision_though_they_serve_different_ones(
    root: Principal, demo: Project, both: list[Target]
) -> None:
    app = place(root, demo, strategy={**CANARY, "waves": [{"targets": ["us"]}, {"targets": ["eu"]}]})
    arrive_on(app, "us")
    # The first revision never comes to eu; the second one comes to neither.
    revise(root, app, "2")
    third = revise(root, app, "3")
    assert third.from_revision is not None and third.from_revision.number == 1
    assert wanted(app)["us"][0] == 1
    services.abort(principal=root, deployment=app)
    arrive(app)
    arrive(app)
    third.refresh_from_db()
    assert third.state == "Aborted"
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}
    app.refresh_from_db()
    assert app.current is not None
    assert (app.current.number, app.current == app.stable) == (1, True), "what comes next can go back to it"
    assert app.health == "Healthy"


def test_a_target_gets_a_part_in_one_wave_and_the_rest_in_a_later_one(
    api: Client, root: Principal, app: Deployment
) -> None:
    waves = [
        {"targets": ["eu"], "steps": [{"set_weight": 10}], "soak_seconds": 600},
        {"targets": ["eu"], "steps": []},
        {"targets": ["us"]},
    ]
    wish = {"env": {"TAG": "2"}, "strategy": {"waves": waves}}
    answer = post(api, "/api/v1/deployments/app/revisions", wish)
    assert answer.status_code == 201, answer.text
    strategy = api.get("/api/v1/deployments/app").json()["strategy"]
    assert strategy["waves"] == waves
    assert in_a_line(parse_strategy(strategy)) == "canary, 2 steps, 3 waves, 2 of them by their own steps"
    rollout = reread(app).rollouts.get(ended_at=None)
    assert list(rollout.stages.values_list("placement__target__name", "wave")) == [("eu", 0), ("us", 2)]
    arrive(app)
    assert wanted(app) == {"eu": (1, 2, 10), "us": (1, 2, 0)}, "it is watched with its part"
    services.promote(principal=root, deployment=app)
    assert wanted(app) == {"eu": (1, 2, 100), "us": (1, 2, 0)}
    arrive(app)
    assert wanted(app) == {"eu": (1, 2, 100), "us": (1, 2, 50)}, "this wave goes by the strategy's steps"
    services.abort(principal=root, deployment=app)
    arrive(app)
    assert wanted(app) == {"eu": (1, None, 0), "us": (1, None, 0)}
    said = yaml.safe_load(a_canary(reread(app)))
    assert services.set_strategy(principal=root, deployment=app, strategy=said), "the example of the page holds"


def test_a_cluster_that_is_given_up_takes_its_wave_along(root: Principal, app: Deployment) -> None:
    rollout = revise(root, app, "2")
    arrive_on(app, "eu")
    holdings.give_up(Cluster.objects.get(name="eu").pk, root)
    rollout.refresh_from_db()
    assert rollout.state == "Paused", rollout.message
    services.promote(principal=root, deployment=app)
    arrive(app)
    reread(app)
    assert app.strategy["waves"] == [{"targets": ["us"]}]
    services.promote(principal=root, deployment=app)
    arrive(app)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.message) == ("Healthy", "All ready.")
    reread(app)
    assert revise(root, app, "3").plan[0]["targets"] == ["us"]


def test_what_people_tell_a_rollout_is_another_wish(api: Client, app: Deployment, root: Principal) -> None:
    revise(root, app, "2")
    for action in ("pause", "resume", "promote", "abort"):
        tag = api.get("/api/v1/deployments/app")["ETag"]
        assert post(api, f"/api/v1/deployments/app/{action}", **{"If-Match": tag}).status_code == 200
        late = post(api, f"/api/v1/deployments/app/{action}", **{"If-Match": tag})
        assert late.status_code == 412, f"somebody else has pressed {action} meanwhile"


def test_a_press_goes_past_the_step_that_it_was_made_for_and_steers_no_other_rollout(
    api: Client, client: Client, app: Deployment, root: Principal, demo: Project
) -> None:
    """Two people have the page open at the first gate and press in turn, when the second gate was just reached."""
    client.force_login(root.user)  # type: ignore[arg-type]
    services.set_strategy(
        principal=root, deployment=app, strategy={**CANARY, "steps": [{"set_weight": 50}, {"pause": {}}, {"pause": {}}]}
    )
    rollout = revise(root, app, "2")
    arrive_on(app, "eu")

    def forms() -> dict[str, dict[str, str]]:
        """What each form of the page sends, by its word."""
        page = client.get(reverse("deployments:detail", args=["demo", "app"])).content.decode()
        found = re.findall(r'/rollout/([a-z-]+)".*?name="stood" value="([0-9.]+)"', page)
        return {word: {"stood": stood} for word, stood in found}

    def press(word: str, form: dict[str, str]) -> str:
        """Where it stands after the press, and what the person is told if nothing was done."""
        answer = client.post(reverse("deployments:steer", args=["demo", "app", word]), form, follow=True)
        said = re.search(r"[^<>]*Nothing was done\.[^<>]*", answer.content.decode())
        rollout.refresh_from_db()
        return f"{rollout.step} {unescape(said[0]).strip() if said else ''}".strip()

    ada, bob = forms(), forms()
    assert set(ada) == {"abort", "promote-fully", "pause", "promote"} and ada["promote"] != ada["pause"]
    assert press("promote", ada["promote"]) == "2"
    gone_on = "The rollout has gone on since: it is at step 3 of 8 now. Nothing was done."
    assert press("promote", bob["promote"]).startswith(f"2 {gone_on} Paused at 50 % on eu until a person goes on.")
    told = post(api, "/api/v1/deployments/app/promote", {"rollout": rollout.pk, "step": 1})
    assert (told.status_code, told.json()["detail"].startswith(gone_on)) == (409, True), told.json()
    assert rollout.step == 2 and not rollout.promote_asked
    # A pause that somebody else has made since is not ended by whoever saw an earlier one; and a pause holds anywhere.
    assert press("pause", bob["pause"]) == "2"
    late = post(api, "/api/v1/deployments/app/resume", {"rollout": rollout.pk, "step": 1})
    assert late.status_code == 409 and Rollout.objects.get(pk=rollout.pk).paused
    assert press("resume", forms()["resume"]) == "2" and not rollout.paused
    # Another rollout is nobody's who looks at this one.
    newer = revise(root, app, "3")
    for word in ("promote", "promote-fully", "pause", "abort"):
        said = press(word, bob[word])
        assert "The rollout to revision 2 that this was meant for ended Superseded, and revision 3 is rolled" in said
    for word, body in (("abort", {}), ("pause", {}), ("promote", {"full": True})):
        answer = post(api, f"/api/v1/deployments/app/{word}", {"rollout": rollout.pk, **body})
        assert answer.status_code == 409, answer.json()
    newer.refresh_from_db()
    assert (newer.abort_asked, newer.full_asked, newer.paused) == ("", False, False)
    assert post(api, "/api/v1/deployments/app/promote", {"step": 1}).status_code == 400
    wrong = client.post(reverse("deployments:steer", args=["demo", "app", "abort"]), {"stood": "1.x"})
    assert "Load the page again." in wrong.content.decode()
    assert post(api, "/api/v1/deployments/app/abort", {"rollout": newer.pk}).status_code == 200


@pytest.mark.parametrize("action", ["", "/pause", "/abort"])
def test_what_is_told_of_stages_costs_the_same_however_many_there_are(
    api: Client, app: Deployment, root: Principal, demo: Project, action: str
) -> None:
    services.create_deployment(
        principal=root, project=demo, asked=services.NewDeployment(name="solo", targets=["eu"], spec=SPEC)
    )
    counts = []
    for name in ("app", "solo"):
        revise(root, Deployment.objects.get(name=name), "2")
        with CaptureQueriesContext(connection) as queries:
            path = f"/api/v1/deployments/{name}"
            answer = post(api, path + action) if action else api.get(path)
        assert answer.status_code == 200, answer.json()
        counts.append(sum("SELECT" in query["sql"] and "deployments_target" in query["sql"] for query in queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("state", ["Disabled", "Unreachable"])
def test_a_round_that_comes_late_does_not_call_what_can_no_longer_be_asked_healthy(
    developer: Principal, root: Principal, demo: Project, cluster: Cluster, state: str
) -> None:
    """It was under way when the cluster went away: nobody would take its good word back."""
    services.create_target(principal=root, project=demo, name="here", cluster="local", environment="production")
    asked = services.NewDeployment(name="app", targets=["here"], replicas=1, spec=SPEC)
    app = services.create_deployment(principal=developer, project=demo, asked=asked)
    arrive(app)
    assert app.health == "Healthy"
    Cluster.objects.filter(pk=cluster.pk).update(state=state, reason="Gone", message="It is gone.")
    cluster.refresh_from_db()
    observing.follow_cluster(cluster)
    arrive(app)
    late = app.placements.get()
    observing.record_refused(late, None, Refusal("", 403, "Forbidden", "no."), timezone.now())
    for row in (reread(app), app.placements.get()):
        assert (row.health, row.reason) == ("Unknown", "Gone")
    Cluster.objects.filter(pk=cluster.pk).update(state="Healthy")
    arrive(app)
    assert app.health == "Healthy"
