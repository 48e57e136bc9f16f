"""Pages of targets: the table, what one allows, approvals, and the matrix of deployments and targets."""

import html
import re
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.models import Project
from apps.core.states import Role
from apps.deployments import services
from apps.deployments.models import Approval, Deployment, Placement, Target
from apps.deployments.pages.matrix import MatrixRow
from tests import factories
from tests.deployments.places import arrive, arrive_on, reread
from tests.deployments.test_placements import SPEC, revise
from tests.deployments.test_placements import both as both
from tests.deployments.test_policies import allow, at_gate
from tests.deployments.test_policies import app as app
from tests.deployments.test_policies import bob as bob

pytestmark = pytest.mark.django_db


def signed_in(principal: Principal) -> Client:
    client = Client()
    assert principal.user is not None
    client.force_login(principal.user)
    return client


def text_of(page: str, row: str) -> str:
    """What is to be read in the element with this id, up to the end of its row or section."""
    part = re.search(rf'id="{row}".*?(?=</tr>|</section>)', page, re.DOTALL)
    assert part, row
    return " ".join(re.sub(r"<[^>]+>", " ", part[0].partition(">")[2]).split())


def test_who_waits_for_whom_and_what_changes(
    app: Deployment, developer: Principal, bob: Principal, root: Principal
) -> None:
    allow(root, approval=True)
    rollout = at_gate(app, developer)
    row = Approval.objects.get()
    mine, theirs = signed_in(bob), signed_in(developer)
    page = mine.get("/p/demo/approvals/").content.decode()
    said = text_of(page, f"approval-{row.pk}")
    assert "The whole change" not in said, "a line says all of it"
    for part in (
        "app to us",
        "production on us",
        "asked by dev",
        "1 → 2",
        "rolling",
        "env.TAG 1 → 2",
        "Approve",
        "Reject",
    ):
        assert part in said, said
    assert "1 approval waits for you" in page
    assert "Approvals <span" in mine.get("/p/demo/deployments/").content.decode()
    assert "app waits for your approval of us" in mine.get("/p/demo/").content.decode()
    other = theirs.get("/p/demo/approvals/").content.decode()
    assert "none waits for you" in other and "Approve</button>" not in other
    assert "waits for your approval" not in theirs.get("/p/demo/").content.decode()
    assert "/p/demo/approvals/" in theirs.get("/p/demo/deployments/app/").content.decode()

    refused = mine.post(f"/p/demo/approvals/{row.pk}/reject", {"comment": ""})
    assert (refused.status_code, b"Why is it rejected?" in refused.content) == (400, True)
    assert theirs.post(f"/p/demo/approvals/{row.pk}/approve", {}).status_code == 403
    assert mine.post(f"/p/demo/approvals/{row.pk}/approve", {"comment": "Fine."}).status_code == 302
    rollout.refresh_from_db()
    assert rollout.state == "Progressing"
    done = mine.get("/p/demo/approvals/").content.decode()
    assert "Approved by bob Fine." in text_of(done, f"decided-{row.pk}")
    story = mine.get("/p/demo/deployments/app/").content.decode()
    assert "Approved for us: Fine." in story and "Waiting for approval of us." in story


def test_an_approver_sees_the_whole_of_a_change_on_every_page_and_by_rest(
    app: Deployment, developer: Principal, bob: Principal, root: Principal
) -> None:
    allow(root, approval=True)
    program = "import time\n" + "\n".join(f"step({number})  # {'x' * 40}" for number in range(9))
    wide = {"env": {f"NAME_{number}": str(number) for number in range(9)} | {"PROMPT": "long " * 80 + "end"}}
    services.deploy_revision(
        principal=developer, deployment=app, changes={**wide, "command": ["python", "-c", program]}
    )
    arrive_on(app, "eu")
    [row] = Approval.objects.all()
    client = signed_in(bob)
    whole = client.get(f"/api/v1/approvals/{row.pk}").json()["changes"]
    assert client.get("/api/v1/deployments/app/revisions/2/changes").json() == {
        "from_revision": 1, "revision": 2, "changes": whole,
    }  # fmt: skip
    assert {"field": "env.TAG", "before": "1", "after": ""} in whole and len(whole) == 12
    for place in ("approvals/", "deployments/app/", "deployments/app/revisions/2/"):
        page = client.get(f"/p/demo/{place}").content.decode()
        [table] = re.findall(r'<table class="changed">.*?</table>', page, re.DOTALL)
        shown = html.unescape(re.sub(r"<[^>]+>", "\n", table))
        for change in whole:
            for value in (change["field"], change["before"] or "not set", change["after"] or "not set"):
                assert value in shown, (place, value)
        assert "12 fields" in page
    # The first has nothing before it, and any two can be compared.
    first = client.get("/api/v1/deployments/app/revisions/1/changes").json()
    assert first["from_revision"] is None and {"field": "env.TAG", "before": "", "after": "1"} in first["changes"]
    back = client.get("/api/v1/deployments/app/revisions/1/changes?against=2").json()["changes"]
    assert {"field": "env.TAG", "before": "", "after": "1"} in back
    for wrong, status in (("9/changes", 404), ("2/changes?against=9", 404), ("2/changes?against=x", 400)):
        assert client.get(f"/api/v1/deployments/app/revisions/{wrong}").status_code == status


def test_a_policy_is_written_by_form_and_read_in_the_table(app: Deployment, root: Principal, bob: Principal) -> None:
    admin, member = signed_in(root), signed_in(bob)
    sent: dict[str, Any] = {
        "deployers": "named", "people": "dev, bob", "approval": "on", "strategies": ["canary", "rolling"],
        "freezes": "fri 18:00 to mon 08:00 Europe/Berlin # weekend\n2026-01-01 00:00 - 2126-01-01 00:00",
        "replicas": "20", "memory": "64Gi",
    }  # fmt: skip
    assert admin.post("/p/demo/targets/us/", sent).status_code == 302
    policy = Target.objects.get(name="us").policy
    assert policy == {
        "deployers": ["dev", "bob"],
        "approval": True,
        "strategies": ["rolling", "canary"],
        "freezes": [
            {"name": "weekend", "from": "fri 18:00", "until": "mon 08:00", "time_zone": "Europe/Berlin"},
            {"from": "2026-01-01 00:00", "until": "2126-01-01 00:00", "time_zone": "UTC"},
        ],
        "quota": {"replicas": 20, "memory": "64Gi"},
    }
    # The form shows what it has stored, and sending that again changes nothing.
    shown = admin.get("/p/demo/targets/us/").context["form"].initial
    again = {name: value for name, value in shown.items() if value not in (None, False)} | {"approval": "on"}
    assert admin.post("/p/demo/targets/us/", again).status_code == 302
    assert Target.objects.get(name="us").policy == policy
    row = text_of(member.get("/p/demo/targets/").content.decode(), f"target-{Target.objects.get(name='us').pk}")
    for part in (
        "Frozen until",
        "only dev, bob",
        "approval",
        "rolling or canary",
        "2 of 20 replicas",
        "of 64 GiB memory",
    ):
        assert part in row, row
    assert member.get("/p/demo/targets/us/").status_code == 403
    for wrong, at in REFUSED_POLICIES:
        refused = admin.post("/p/demo/targets/us/", {"deployers": "developer", **wrong})
        errors = refused.context["form"].errors
        assert (refused.status_code, list(errors)) == (400, [at]), wrong
        assert "policy." not in errors[at][0], "the words of REST"
    asked = {"policy": {"deployers": ["bob", "nobody"]}}
    answer = admin.patch("/api/v1/targets/us/", asked, content_type="application/json")
    assert (answer.status_code, answer.json()["detail"]) == (400, "'nobody' is no member of demo."), answer.content
    assert Target.objects.get(name="us").policy == policy
    # Who has left stays named as long as nobody takes the name away.
    demo = Target.objects.get(name="us").project
    demo.memberships.filter(user__username="bob").delete()
    assert admin.post("/p/demo/targets/us/", again | {"replicas": "21"}).status_code == 302


REFUSED_POLICIES: list[tuple[dict[str, Any], str]] = [
    ({"deployers": "named"}, "people"),
    ({"deployers": "named", "people": "bob, nobody"}, "people"),
    ({"freezes": "fry 18:00 to mon 08:00"}, "freezes"),
    ({"freezes": "fri 18:00 to mon 08:00 localtime"}, "freezes"),
    ({"memory": "much"}, "memory"),
]


def test_the_table_of_targets_shows_the_worst_first_and_sorts(
    root: Principal, demo: Project, both: list[Target]
) -> None:
    us = both[1].cluster
    us.state = "Unreachable"
    us.save(update_fields=["state"])
    client = signed_in(root)

    def order(query: str) -> list[str]:
        return re.findall(r"<b>(eu|us)</b>", client.get(f"/p/demo/targets/{query}").content.decode())

    assert (order(""), order("?sort=name"), order("?sort=-name")) == (["us", "eu"], ["eu", "us"], ["us", "eu"])


def test_the_matrix_tells_what_serves_where_and_what_is_behind(
    app: Deployment, developer: Principal, demo: Project, root: Principal
) -> None:
    client = signed_in(developer)
    factories.cluster("asia")
    services.create_target(principal=root, project=demo, name="asia", cluster="asia")
    page = client.get("/p/demo/deployments/?view=matrix").content.decode()
    head = page.partition("</thead>")[0].rpartition("<thead>")[2]
    assert re.findall(r'class="cut">(\w+)<', head) == ["eu", "us"], "a target that no deployment has is no column"
    assert text_of(page, f"row-{app.pk}") == "app r1 everywhere revision 1 Healthy revision 1 Healthy"
    revise(developer, app, "2")
    page = client.get("/p/demo/deployments/?view=matrix").content.decode()
    assert text_of(page, f"row-{app.pk}").startswith("app 2 behind r2"), "what comes has not arrived"
    # All of the requests shall go to what comes, of which nothing is ready: what was before serves.
    Placement.objects.filter(deployment=app).update(coming=app.revisions.get(number=2), weight=100)
    page = client.get("/p/demo/deployments/?view=matrix").content.decode()
    told = re.findall(r'cut">revision (\d)</span><span class="sub">([^<]*)</span>', page)
    assert told == [("1", "r1 → r2")] * 2, "and no dot leads to nothing"
    seen = [{"revision": 2, "wanted": 1, "existing": 1, "ready": 1}]
    Placement.objects.filter(deployment=app, target__name="us").update(observed=seen)
    page = client.get("/p/demo/deployments/?view=matrix").content.decode()
    assert re.findall(r'cut">revision (\d)</span>', page) == ["1", "2"]
    arrive(app)
    place = Placement.objects.get(deployment=app, target__name="us")
    Placement.objects.filter(pk=place.pk).update(stable=app.revisions.get(number=1), health="Degraded")
    page = client.get("/p/demo/deployments/?view=matrix&q=app").content.decode()
    said = text_of(page, f"row-{app.pk}")
    assert said == "app 1 behind r2 revision 2 Healthy revision 1 behind r2 Degraded"
    assert f"/p/demo/deployments/app/#placement-{place.pk}" in page
    assert 'href="?q=app"' in page, "the way back keeps the filter"
    assert "Nothing matches" in client.get("/p/demo/deployments/?view=matrix&q=none").content.decode()


def test_a_rollout_that_is_held_before_its_first_replica_says_the_same_everywhere(
    developer: Principal, root: Principal, demo: Project, both: list[Target]
) -> None:
    allow(root, "eu", approval=True)
    app = services.create_deployment(
        principal=developer, project=demo, asked=services.NewDeployment(name="app", targets=["eu"], spec=SPEC)
    )
    arrive(app)
    client, row = signed_in(developer), f"row-{app.pk}"
    matrix = client.get("/p/demo/deployments/?view=matrix").content.decode()
    assert text_of(matrix, row) == "app 1 behind r1 revision 1 serves nobody yet Paused"
    assert MatrixRow(app, "", [], 0).stands == "r1", "one target is not everywhere"
    assert "not begun" in client.get("/p/demo/").content.decode()
    for page, said in {"": ("Paused", "not yet as wanted"), "app/": ("Paused", "Paused · 0 of 1 ready")}.items():
        shown = client.get(f"/p/demo/deployments/{page}").content.decode()
        assert all(f"</svg>{word}</span>" in shown for word in said), page


def test_a_rollout_that_was_taken_back_is_told_at_the_head_of_the_page(app: Deployment, developer: Principal) -> None:
    revise(developer, app, "2")
    services.abort(principal=developer, deployment=app)
    arrive(app)
    head = signed_in(developer).get("/p/demo/deployments/app/?part=verdict").content.decode()
    assert "Healthy" in head and "revision 2 taken back" in head


def test_a_target_is_added_and_taken_off_on_the_page(
    app: Deployment, developer: Principal, demo: Project, root: Principal
) -> None:
    client = signed_in(developer)
    assert "It is on every target" in client.get("/p/demo/deployments/app/targets/new").content.decode()
    factories.cluster("asia")
    services.create_target(principal=root, project=demo, name="asia", cluster="asia")
    assert client.post("/p/demo/deployments/app/targets/new", {"target": "asia", "replicas": "1"}).status_code == 302
    assert [place.target.name for place in reread(app).places] == ["eu", "us", "asia"]
    assert client.post("/p/demo/deployments/app/targets/asia/remove").status_code == 302
    page = client.get("/p/demo/deployments/app/").content.decode()
    leaving = Placement.objects.get(deployment=app, target__name="asia")
    assert "being taken off" in text_of(page, f"placement-{leaving.pk}")
    assert "/targets/asia/remove" not in page and "/targets/us/remove" in page
    viewer = signed_in(Principal(user=factories.member(demo, "eve", Role.VIEWER)))
    assert "/targets/us/remove" not in viewer.get("/p/demo/deployments/app/").content.decode()


def test_a_gateway_is_named_by_form_and_by_rest_and_stays_while_a_rollout_is_under_way(
    app: Deployment, root: Principal, demo: Project
) -> None:
    client, path = signed_in(root), "/p/demo/targets/us/"
    named = {"deployers": "developer", "gateway": "gateways/public/https", "hostname": "{{deployment}}.example.com"}
    assert client.post(path, named).status_code == 302
    us = Target.objects.get(name="us")
    gateway = {"name": "public", "namespace": "gateways", "section": "https", "hostname": "{{deployment}}.example.com"}
    assert us.gateway == gateway
    # The form shows what is stored, and sending that again changes nothing.
    shown = client.get(path).context["form"].initial
    assert {name: shown[name] for name in named} == named
    assert "Gateway gateways/public" in text_of(client.get("/p/demo/targets/").content.decode(), f"target-{us.pk}")
    for wrong, at in (
        ({"gateway": "public"}, "gateway"),
        ({"gateway": "a/B"}, "gateway"),
        ({"gateway": "a/b", "hostname": "models.example.com"}, "hostname"),
        ({"hostname": "{{deployment}}.example.com"}, "gateway"),
    ):
        refused = client.post(path, {"deployers": "developer", **wrong})
        assert (refused.status_code, list(refused.context["form"].errors)) == (400, [at])
    # REST changes what it names and nothing else.
    api, address = client, "/api/v1/targets/us"
    services.edit_target(principal=root, target=us, policy={"approval": True})
    tag = api.get(address).headers["ETag"]
    answer = api.patch(address, {"gateway": {"name": "g", "namespace": "n"}}, "application/json")
    assert (answer.status_code, answer.json()["gateway"], answer.json()["policy"]) == (
        200, {"name": "g", "namespace": "n"}, {"approval": True},
    )  # fmt: skip
    assert answer.headers["ETag"] != tag
    bad = api.patch(address, {"gateway": {"name": "g", "namespace": "n", "hostname": "x"}}, "application/json")
    assert (bad.status_code, bad.json()["field"]) == (400, "gateway.hostname")
    # Where the last check found no Gateway API, none can be named.
    us.cluster.check_report = {"engines": [{"name": "KEDA"}]}
    us.cluster.save(update_fields=["check_report"])
    lacks = api.patch(address, {"gateway": {"name": "g", "namespace": "other"}}, "application/json")
    assert (lacks.status_code, lacks.json()["field"]) == (400, "gateway.name")
    revise(root, app, "new")
    rolls = api.patch(address, {"gateway": {}}, "application/json")
    assert (rolls.status_code, "A rollout of app is under way on us." in rolls.json()["detail"]) == (409, True)


def test_a_shadow_goes_where_a_gateway_mirrors_and_nowhere_else_by_any_door(
    app: Deployment, root: Principal, demo: Project
) -> None:
    """The targets are eu and us; each door says what to do next."""
    client, page, api = signed_in(root), "/p/demo/deployments/app/", "/api/v1/deployments"
    says = "us names no Gateway, and it is a Gateway that mirrors requests to a shadow."
    gateway = {"name": "public", "namespace": "gateways"}
    eu, us = Target.objects.get(name="eu"), Target.objects.get(name="us")
    services.edit_target(principal=root, target=eu, gateway=gateway)
    new = {"project": "demo", "name": "other", "targets": ["us"], **SPEC, "strategy": {"kind": "shadow"}}
    for dry_run in ("false", "true"):
        refused = client.post(f"{api}?dry_run={dry_run}", new, "application/json").json()
        assert (refused["field"], refused["detail"]) == ("strategy.kind", says), refused
        assert refused["hint"] == "Let the target name one, or choose a canary or a blue-green."
    # Where nobody names targets, it is no choice.
    unnamed = {name: value for name, value in new.items() if name != "targets"}
    chosen = client.post(api, {**unnamed, "anywhere": {"targets": 2}}, "application/json").json()
    assert "us names no Gateway" in chosen["detail"], chosen
    for path in ("revisions", "preview"):
        changed = {"env": {"TAG": "x"}, "strategy": {"kind": "shadow"}}
        refused = client.post(f"{api}/app/{path}", changed, "application/json").json()
        assert says in refused["detail"], refused
    answer = client.post(f"{page}strategy", {"strategy": "waves: []\nkind: shadow"})
    assert (answer.status_code, f"Line 2: {says}" in answer.context["form"].errors["strategy"][0]) == (400, True)
    assert "us name no Gateway" not in answer.content.decode() and "us names no Gateway" in answer.content.decode()
    assert reread(app).strategy.get("kind") != "shadow"
    # A Gateway API of before 1.3 mirrors everything or nothing.
    services.edit_target(principal=root, target=us, gateway=gateway)
    us.cluster.check_report = {"engines": [{"name": "Gateway API", "version": "v1.2.1"}]}
    us.cluster.save(update_fields=["check_report"])
    old = client.post(f"{page}strategy", {"strategy": "kind: shadow\nsteps:\n  - mirror: 20"})
    assert "Line 2: us has the Gateway API v1.2.1" in old.context["form"].errors["strategy"][0]
    whole = client.post(f"{page}strategy", {"strategy": "kind: shadow\nsteps:\n  - mirror: 100"})
    assert (whole.status_code, reread(app).strategy["kind"]) == (302, "shadow")
    # From then on its targets keep a Gateway, and get no target without one.
    lost = client.patch("/api/v1/targets/us", {"gateway": {}}, "application/json").json()
    assert (lost["field"], "the shadow of app" in lost["detail"]) == ("gateway.name", True)
    form = client.post("/p/demo/targets/us/", {"deployers": "developer", "gateway": ""})
    assert list(form.context["form"].errors) == ["gateway"]
    factories.cluster("asia")
    services.create_target(principal=root, project=demo, name="asia", cluster="asia")
    more = client.post(f"{api}/app/targets", {"target": "asia"}, "application/json").json()
    assert "asia names no Gateway" in more["detail"], more
    # A policy knows the kind, and what it does not allow is refused.
    allow(root, strategies=["canary"])
    assert "shadow" in client.post(f"{api}/app/revisions", {"env": {"TAG": "x"}}, "application/json").json()["detail"]
    allow(root, strategies=["shadow"])
    assert client.post(f"{api}/app/revisions", {"env": {"TAG": "x"}}, "application/json").status_code == 201


def test_a_hostname_is_one_deployments_at_a_gateway(app: Deployment, root: Principal, demo: Project) -> None:
    """The route that came second would get no request, and nobody would hear of it."""
    client, api = signed_in(root), "/api/v1/deployments"
    gateway = {"name": "public", "namespace": "gateways", "hostname": "{{deployment}}.example.com"}
    eu, us = Target.objects.get(name="eu"), Target.objects.get(name="us")
    # Another cluster has another Gateway.
    for target in (eu, us):
        services.edit_target(principal=root, target=target, gateway=gateway)
    theirs = Project.objects.create(name="theirs")
    private = {**gateway, "name": "private"}
    for project, name, cluster, namespace, named in (
        (demo, "us-2", "us", "second", gateway),
        (theirs, "us-3", "us", "", gateway),
        (theirs, "away", "eu", "", private),
    ):
        services.create_target(
            principal=root, project=project, name=name, cluster=cluster, namespace=namespace, gateway=named
        )

    def asked(project: str, name: str, targets: list[str], query: str = "") -> Any:
        body = {"project": project, "name": name, "targets": targets, **SPEC}
        answer = client.post(f"{api}{query}", body, "application/json")
        return answer.json().get("detail", answer.status_code)

    older = "the hostname app.example.com at Gateway gateways/public: of two routes with one hostname only the older "
    older += "is asked."
    for query in ("", "?dry_run=true"):
        assert asked("theirs", "app", ["us-3"], query) == f"Another project's deployment has {older}"
    assert asked("theirs", "app", ["away"]) == 201
    assert asked("demo", "other", ["us", "us-2"]) == (
        f"us and us-2 would have {older}".replace("app.example.com", "other.example.com")
    )
    refused = client.post(f"{api}/app/targets?project=demo", {"target": "us-2"}, "application/json")
    assert (refused.status_code, refused.json()["field"]) == (409, "target")
    assert refused.json()["detail"] == f"us and us-2 would have {older}"
    sent = {"name": "other", "target": ["us", "us-2"], "image": "a/b:1", "cpu": "1", "memory": "64Mi", "replicas": "1"}
    form = client.post("/p/demo/deployments/new", sent)
    assert (form.status_code, list(form.context["form"].errors)) == (400, ["name"])
    # A target whose deployments have one, and that is to name the Gateway where others have it.
    arrive(Deployment.objects.get(project=theirs))
    changed = client.patch("/api/v1/targets/away?project=theirs", {"gateway": gateway}, "application/json").json()
    assert (changed["field"], changed["detail"]) == ("gateway.hostname", f"Another project's deployment has {older}")
    # What tells them apart is let through.
    apart = {**gateway, "hostname": "{{deployment}}.{{target}}.example.com"}
    services.edit_target(principal=root, target=Target.objects.get(name="us-2"), gateway=apart)
    assert client.post(f"{api}/app/targets?project=demo", {"target": "us-2"}, "application/json").status_code == 201
    services.edit_target(principal=root, target=us, policy={})
