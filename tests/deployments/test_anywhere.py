"""Deployments that go to any targets that fit: chosen with a reason, by every door, and never what a policy refuses."""

import re
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Node
from apps.clusters.usage.models import UsagePrice
from apps.core.access import Principal
from apps.core.database.transitions import transitions_of
from apps.core.errors import Invalid
from apps.core.models import AuditEntry, Project
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Placement, Rollout, Target
from apps.deployments.rollout.anywhere import Anywhere, parse_anywhere
from apps.deployments.rollout.decisions import Decision
from apps.deployments.services.observing import Round, record_round
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState
from tests import factories
from tests.concurrent import at_once
from tests.deployments.places import arrive, reread
from tests.deployments.test_api import post

pytestmark = pytest.mark.django_db
SPEC: dict[str, Any] = {"image": "team/server:1", "resources": {"cpu": "2", "memory": "1Gi"}}
FREEZE = {"from": "2020-01-01 00:00", "until": "2090-01-01 00:00"}


@pytest.fixture
def fleet(root: Principal, demo: Project) -> list[Target]:
    """eu has room for two replicas of SPEC, us for six, staging for two on eu's cluster."""
    for name, nodes in (("eu", 1), ("us", 3)):
        factories.cluster(name, nodes=nodes)
        Cluster.objects.filter(name=name).update(labels={"region": name})
    made = [("eu", "eu", "production"), ("us", "us", "production"), ("staging", "eu", "staging")]
    return [
        services.create_target(
            principal=root, project=demo, name=name, cluster=on, environment=environment, namespace=f"team-{name}"
        )
        for name, on, environment in made
    ]


def body(anywhere: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"project": "demo", "name": "app", **SPEC, "anywhere": anywhere or {}, **more}


def tried(api: Client, anywhere: dict[str, Any] | None = None, **more: Any) -> dict[str, str]:
    """What a dry run says: of each target why, "+" where it is chosen and fits, "-" where it is chosen and waits."""
    answer = post(api, "/api/v1/deployments?dry_run=true", body(anywhere, **more))
    assert answer.status_code == 200, answer.json()
    choice = answer.json()["choice"]
    said = {each["target"]: f"{'+' if each['fits'] else '-'} {each['why']}" for each in choice["chosen"]}
    return said | {each["target"]: each["why"] for each in choice["others"]}


def allow(name: str, **policy: Any) -> None:
    Target.objects.filter(name=name).update(policy=policy)


def test_a_deployment_goes_where_it_fits_and_says_why(api: Client, root: Principal, fleet: list[Target]) -> None:
    made = post(api, "/api/v1/deployments", body({"environment": "production"}, replicas=2))
    assert made.status_code == 201, made.json()
    [place] = made.json()["placements"]
    why = "fits: 3 of 3 nodes have 2 CPU and 1 GiB free, most room of 2"
    assert (place["target"], place["chosen"]["why"], place["chosen"]["fits"]) == ("us", why, True)
    others = {each["target"]: each["why"] for each in place["chosen"]["others"]}
    assert others == {
        "eu": "fits: 1 of 1 node has 2 CPU and 1 GiB free, room for 2",
    }
    assert place["chosen"]["asked"] == Anywhere(environment="production").to_json()
    app = Deployment.objects.get()
    for row in (app, Rollout.objects.get()):
        [told] = [each for each in transitions_of(row) if each.reason == "Placed"]
        assert told.message.startswith(f"On us: {why}. Not eu: fits: ") and told.actor.startswith("dev")
    audited = AuditEntry.objects.get(action="deployment.create").after
    assert (audited["targets"], audited["anywhere"]["environment"]) == (["us"], "production")
    # What somebody names was chosen by nobody else.
    services.add_target(principal=root, deployment=app, target="eu")
    shown = api.get("/api/v1/deployments/app?project=demo").json()
    assert [each["chosen"] is None for each in shown["placements"]] == [False, True]


CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    # what is asked for, the rest of the deployment: the beginning of what is said of the targets
    "the most room": ({}, {}, {"us": "+ fits: 3 of 3", "eu": "fits: 1 of 1"}),
    "labels of clusters": ({"cluster_selector": {"region": "eu"}}, {},
                           {"eu": "+ fits: 1 of 1", "us": "label region is us, not eu", "staging": "fits"}),
    "an environment": ({"environment": "staging"}, {}, {"staging": "+ fits: 1 of 1 node has 2 CPU"}),
    "two, on two clusters": ({"targets": 2}, {}, {"us": "+ ", "eu": "+ fits", "staging": "fits"}),
    "three, and one beside another": ({"targets": 3}, {},
                                      {"staging": "+ fits: 1 of 1 node has 2 CPU and 1 GiB free, on the same cluster"}),
    "more than there is room for": ({}, {"replicas": 7}, {"us": "- room for 6 of 7 pods", "eu": "room for 2 of 7"}),
    "the part of a spread": ({"targets": 2}, {"spread": {"replicas": 4}}, {"us": "+ ", "eu": "+ "}),
    "only there": ({"environment": "production", "cluster_selector": {"region": "eu"}}, {},
                   {"eu": "+ fits: 1 of 1 node has 2 CPU and 1 GiB free, the only one that does"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOICES)
def test_what_is_asked_for_decides(api: Client, fleet: list[Target], case: str) -> None:
    anywhere, more, expected = CHOICES[case]
    said = tried(api, anywhere, **more)
    assert {name: said[name][: len(start)] for name, start in expected.items()} == expected, said
    assert not Deployment.objects.exists()


POLICIES: dict[str, tuple[dict[str, Any], str]] = {
    "who": ({"deployers": ["ada"]}, "You may not deploy to us"),
    "how": ({"strategies": ["canary"]}, "us allows canary rollouts, and this one is rolling"),
    "how much": ({"quota": {"cpu": "1"}}, "us has a quota of 1 CPU, and 2 CPU would be asked for"),
    "a freeze": ({"freezes": [FREEZE]}, "frozen until "),
    "an approval": ({"approval": True}, "it waits for an approval"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_what_a_policy_refuses_is_no_candidate_and_what_it_holds_is_the_last(
    api: Client, fleet: list[Target], case: str
) -> None:
    policy, why = POLICIES[case]
    waits = case in ("a freeze", "an approval")
    allow("us", **policy)
    said = tried(api, {"environment": "production"})
    assert said["eu"].startswith("+ fits") and why in said["us"], said
    # Where there is no other it is taken all the same, if it only waits.
    only = body({"cluster_selector": {"region": "us"}})
    answer = post(api, "/api/v1/deployments", only)
    assert answer.status_code == (201 if waits else 400), answer.json()
    if waits:
        assert why in answer.json()["placements"][0]["chosen"]["why"]
    else:
        assert (
            answer.json()["field"] == "anywhere"
            and f"No target could ever take this. us: {why}" in (answer.json()["detail"])
        )
        assert not Deployment.objects.exists()


def test_the_cheapest_that_fits_is_taken(api: Client, fleet: list[Target]) -> None:
    Node.objects.filter(cluster__name="us").update(labels={"pool": "dear"})
    UsagePrice.objects.create(name="all", cpu_core_hour="0.1", currency="EUR")
    UsagePrice.objects.create(name="dear", labels={"pool": "dear"}, cpu_core_hour="0.3", currency="EUR")
    asked = {"environment": "production"}
    said = tried(api, asked)
    assert said["eu"].endswith("cheapest of 2, 0.20 EUR an hour") and said["us"].endswith(", 0.60 EUR an hour")
    assert tried(api, {**asked, "prefer": "room"})["us"].startswith("+ ")
    # Who is cheap and full waits for nobody.
    assert tried(api, asked, replicas=3)["us"].endswith("the only one that does, 1.80 EUR an hour")


def test_room_is_promised_until_pods_hold_it(api: Client, root: Principal, demo: Project, fleet: list[Target]) -> None:
    """A round has asked Kubernetes for them, and no pod is there: the next one to choose finds the room taken."""
    post(api, "/api/v1/deployments", body({"environment": "production"}, replicas=6))
    place = selectors.for_reconcile(Placement.objects.get().pk)
    assert place is not None and place.target.name == "us"

    def observe(existing: int) -> None:
        now, seen = timezone.now(), {1: ObservedRevision(6, existing, 0)}
        decision = Decision({1: 6}, RolloutState.PROGRESSING, "Creating", "It is created.", 0, 0, progressed=True)
        record_round(place, selectors.stage_of(place), Round(seen, decision, [], now))

    observe(0)
    assert tried(api, {"environment": "production"}, name="next")["us"].endswith("beside what is about to start there")
    # What was made has pods, and these hold the room: none is here, so that it is free.
    observe(6)
    assert tried(api, {"environment": "production"}, name="next")["us"].startswith("+ fits: 3 of 3 nodes")


def test_no_room_is_promised_twice(api: Client, fleet: list[Target]) -> None:
    for name, on in (("a", "us"), ("b", "us"), ("c", "eu")):
        made = post(api, "/api/v1/deployments", body({"environment": "production"}, name=name, replicas=2))
        assert made.json()["placements"][0]["target"] == on, name
    said = tried(api, {"environment": "production"}, replicas=3)
    assert said["us"] == "- room for 2 of 3 pods beside what is about to start there", said
    made = post(api, "/api/v1/deployments", body({"environment": "production"}, replicas=3)).json()
    assert made["placements"][0]["chosen"]["fits"] is False
    [told] = [each for each in transitions_of(Deployment.objects.get(name="app")) if each.reason == "NoRoom"]
    assert told.message.startswith("It waits on us for room: room for 2 of 3 pods beside")


def test_who_asks_at_the_same_time_is_not_given_the_same_room(
    transactional_db: None, root: Principal, demo: Project, fleet: list[Target]
) -> None:
    def create(name: str) -> Deployment:
        wish: dict[str, Any] = {"anywhere": {"environment": "production"}, "replicas": 3, "spec": SPEC}
        return services.create_deployment(principal=root, project=demo, asked=services.NewDeployment(name=name, **wish))

    made = at_once([partial(create, name) for name in "abc"])
    assert all(isinstance(each, Deployment) for each in made), made
    assert sorted(place.chosen["fits"] for place in Placement.objects.all()) == [False, True, True], "room for six"


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "too large": (body(resources={"cpu": "64", "memory": "1Gi"}), "anywhere", "no node is large enough: 4 CPU at most"),
    "too many": (body({"targets": 4}), "anywhere", "Only 3 of 4 targets could ever take this: us, eu, staging."),
    "no such label": (body({"cluster_selector": {"region": "mars"}}), "anywhere", "label region is us, not mars"),
    "no KServe": (body(runtime={"kserve": {"model_format": "mlflow"}}, model="digits", version=1),
                  "anywhere", "us has no KServe"),
    "no such environment": (body({"environment": "prod"}), "anywhere.environment", "There is production, staging."),
    "both": (body(targets=["eu"]), "", "or ask for anywhere"),
    "neither": ({"project": "demo", "name": "app", **SPEC}, "", "or ask for anywhere"),
    "waves": (body(strategy={"kind": "canary", "waves": [{"targets": ["eu"]}]}), "strategy.waves", "nobody knows"),
    "no number": (body({"targets": 0}), "anywhere.targets", "from 1 to 50"),
    "no order": (body({"prefer": "luck"}), "", "anywhere.prefer can't be"),
    "unknown": (body({"region": "eu"}), "", "region: There is no such field"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("dry", ["", "?dry_run=true"])
def test_what_can_never_be_is_refused(api: Client, fleet: list[Target], model: Any, case: str, dry: str) -> None:
    Cluster.objects.update(check_report={"engines": []})
    asked, field, why = REFUSED[case]
    answer = post(api, f"/api/v1/deployments{dry}", asked)
    assert answer.status_code == 400 and why in answer.content.decode(), answer.json()
    assert answer.json().get("field", "") == field, answer.json()
    assert not Deployment.objects.exists()


def test_one_more_target_may_be_chosen(api: Client, root: Principal, fleet: list[Target]) -> None:
    app = services.create_deployment(
        principal=root, project=fleet[0].project, asked=services.NewDeployment(name="app", targets=["eu"], spec=SPEC)
    )
    arrive(app)
    path = "/api/v1/deployments/app/targets"
    dry = post(api, f"{path}?dry_run=true", {"anywhere": {}}).json()
    assert (dry["target"], dry["replicas"], dry["choice"]["chosen"][0]["fits"]) == ("us", 1, True)
    assert dry["choice"]["others"] == [
        {
            "target": "staging",
            "cluster": "eu",
            "why": "fits: 1 of 1 node has 2 CPU and 1 GiB free, on the same cluster as eu",
        }
    ]
    assert Placement.objects.count() == 1
    assert post(api, f"{path}?dry_run=true", {"target": "staging"}).json()["choice"] is None
    made = post(api, path, {"anywhere": {}})
    assert made.status_code == 201 and made.json()["placements"][1]["chosen"]["why"].startswith("fits: 3 of 3")
    told = [row.message for row in transitions_of(Rollout.objects.first()) if row.reason == "Placed"]  # type: ignore[arg-type]
    assert told and told[0].startswith("On us: fits")
    for wrong, field in (({"anywhere": {"targets": 2}}, "anywhere.targets"), ({}, "target")):
        refused = post(api, path, wrong)
        assert (refused.status_code, refused.json()["field"]) == (400, field)
    arrive(reread(app))
    assert (
        post(api, path, {"anywhere": {"environment": "production"}}).json()["detail"]
        == "There is no target that it could go to."
    )


@pytest.fixture
def person(developer: Principal, client: Client) -> Client:
    assert developer.user is not None
    client.force_login(developer.user)
    return client


FORM = {"name": "app", "where": "*", "targets": 1, "image": "team/server:1", "replicas": 2, "cpu": "2", "memory": "1Gi"}


def test_targets_that_can_be_asked_are_offered_first_and_of_others_it_is_said(
    person: Client, fleet: list[Target]
) -> None:
    Cluster.objects.filter(pk=fleet[0].cluster_id).update(state="Unreachable", reason="Timeout")
    shown = person.get("/p/demo/deployments/new").content.decode()
    offered = re.findall(r'name="target" value="([^"]*)"', shown)
    assert offered == ["us", "eu", "staging"]
    assert shown.count("eu can&#x27;t be reached · ") == 2


def test_the_form_shows_the_choice_before_it_makes_it(person: Client, fleet: list[Target]) -> None:
    """The fragment beside the form, while it is filled in."""
    Cluster.objects.update(check_report={"engines": []})
    shown = person.get("/p/demo/deployments/new").content.decode()
    assert "On any that fit" in shown and 'hx-get="/p/demo/deployments/new/place"' in shown
    sent = shown.partition('hx-params="')[2].partition('"')[0].split(",")
    assert {"where", "cluster_selector", "cpu", "replicas", "runtime", "affinity"} <= set(sent), sent
    assert not {"command", "env", "csrfmiddlewaretoken"} & set(sent), "they may be longer than an address"

    def place(**changed: Any) -> str:
        asked = {name: value for name, value in (FORM | changed).items() if name not in ("name", "image")}
        return " ".join(person.get("/p/demo/deployments/new/place", asked).content.decode().split())

    said = place(environment="production")
    assert "us</span>" in said and "most room of 2" in said and "staging" not in said
    assert "eu</span>" in place(cluster_selector="region=eu") and "label region is us, not eu" in place(
        cluster_selector="region=eu"
    )
    assert "It would wait there for room:</b> room for 6 of 9 pods" in place(replicas=9)
    for wrong, why in (
        ({"cpu": "64"}, "No target could ever take this."),
        ({"cpu": "lots"}, "lots"),
        ({"targets": 0}, "“How many targets” is 1 at least."),
        ({"cluster_selector": "eu"}, "Only clusters with: "),
        ({"where": "named"}, "On the targets that you choose."),
        ({"runtime": "kserve"}, "us has no KServe"),
        ({"kind": "shadow"}, "us: us names no Gateway, and it is a Gateway that mirrors requests to a shadow"),
    ):
        assert why in place(**wrong), wrong
    assert "us</span>" in place(kind="canary") and "kind" in sent
    Target.objects.filter(name="eu").update(gateway={"name": "g", "namespace": "n"})
    assert "eu</span>" in place(kind="shadow"), "the only one that has a Gateway"
    allow("us", strategies=["rolling"])
    assert "us</span>" not in place(kind="canary") and "us</span>" in place(kind="rolling")
    assert not Deployment.objects.exists()


def test_a_deployment_is_made_by_the_form_and_its_page_tells_why(person: Client, fleet: list[Target]) -> None:
    refused = person.post("/p/demo/deployments/new", FORM | {"where": "named"})
    assert refused.status_code == 400 and "Choose a target at least." in refused.content.decode()
    refused = person.post("/p/demo/deployments/new", FORM | {"cpu": "64"})
    assert refused.status_code == 400 and "No target could ever take this." in refused.content.decode()
    made = person.post("/p/demo/deployments/new", FORM | {"environment": "production", "prefer": "room"}, follow=True)
    page = made.content.decode()
    assert "app is being deployed on us." in page
    assert "on us: fits: 3 of 3 nodes have 2 CPU and 1 GiB free, most room of 2" in page
    assert "not eu: fits: 1 of 1 node has" in page
    form = person.get("/p/demo/deployments/app/targets/new").content.decode()
    assert "Any that fits" in form and 'hx-get="/p/demo/deployments/app/targets/place"' in form
    assert 'hx-params="target,environment,prefer,cluster_selector,replicas"' in form
    place = "/p/demo/deployments/app/targets/place"
    assert (
        "eu</span>" in person.get(place, {"target": "*", "replicas": 1, "environment": "production"}).content.decode()
    )
    assert "On eu, as you say." in person.get(place, {"target": "eu", "replicas": 1}).content.decode()
    assert "“Replicas” is needed: fill it in." in person.get(place, {"target": "*"}).content.decode()
    asked = {"target": "*", "replicas": 1, "environment": "staging", "_form": "pressed-twice"}
    added = person.post("/p/demo/deployments/app/targets/new", asked, follow=True).content.decode()
    assert "app is being brought to staging." in added and "on staging: fits: 1 of 1" in added
    # Pressed twice, it is one target: the second press would choose another one.
    again = person.post("/p/demo/deployments/app/targets/new", asked, follow=True).content.decode()
    assert "was sent before" in again
    assert [place.target.name for place in Deployment.objects.get().places] == ["us", "staging"]
    # One target is left: there is nothing to choose.
    assert "Any that fits" not in person.get("/p/demo/deployments/app/targets/new").content.decode()


def test_what_was_asked_for_is_read_again_as_it_was_written() -> None:
    for asked in (Anywhere(), Anywhere(3, "staging", {"region": "eu"})):
        assert parse_anywhere(asked.to_json()) == asked
    with pytest.raises(Invalid, match="is a name"):
        parse_anywhere({"environment": 3})


def test_a_hostname_that_another_deployment_has_at_the_gateway_is_a_reason_against_a_target(
    api: Client, person: Client, root: Principal, fleet: list[Target]
) -> None:
    gateway = {"name": "public", "namespace": "gateways", "hostname": "{{deployment}}.example.com"}
    for row in fleet:
        services.edit_target(principal=root, target=row, gateway=gateway)
    other = Project.objects.create(name="other")
    services.create_target(principal=root, project=other, name="theirs", cluster="us", gateway=gateway)
    asked = services.NewDeployment(name="app", targets=["theirs"], spec=SPEC)
    theirs = services.create_deployment(principal=root, project=other, asked=asked)
    said = tried(api)
    assert said["us"] == "Another project's deployment has the hostname app.example.com at Gateway gateways/public"
    assert said["eu"].startswith("+ fits") and "hostname" not in said["staging"]
    page = person.get("/p/demo/deployments/new/place", FORM).content.decode()
    assert said["us"].replace("'", "&#x27;") in page
    # Two of its own targets would share one: the second is not for it.
    two = post(api, "/api/v1/deployments?dry_run=true", body({"targets": 2}))
    assert two.status_code == 400 and "staging: the same hostname as eu" in two.json()["detail"], two.json()
    made = post(api, "/api/v1/deployments", body())
    assert [each["target"] for each in made.json()["placements"]] == ["eu"], made.json()
    more = post(api, "/api/v1/deployments/app/targets?project=demo", {"project": "demo", "anywhere": {}})
    assert more.status_code == 400 and "app on eu has the hostname app.example.com" in more.json()["detail"]
    services.delete_deployment(principal=root, deployment=theirs)
    Placement.objects.filter(deployment=theirs).delete()
    more = post(api, "/api/v1/deployments/app/targets?project=demo", {"project": "demo", "anywhere": {}})
    assert {each["target"] for each in more.json()["placements"]} == {"eu", "us"}, more.json()
