"""Pages, as a person uses them: what they say, who may, and fragments that are parts of the page."""

import html
import json
import re
import shlex
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.clusters.models import Cluster, KubeEvent
from apps.clusters.pages.optionfields import initial_of
from apps.clusters.podoptions.words import rows
from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.states import Health, Role
from apps.deployments import predict, services
from apps.deployments.models import Deployment, Heal, Placement, Target
from apps.deployments.pages.forms import DeployForm
from apps.deployments.pages.refusals import put_refusals
from apps.deployments.services import Rehearsal
from apps.deployments.specs import Probes
from apps.experiments.models import RegisteredModel
from tests import factories
from tests.clusters.podoptions.test_podoptions import EVERYTHING
from tests.deployments.conftest import DRIFT, SPEC
from tests.deployments.places import reread

pytestmark = pytest.mark.django_db
HOME = "/p/demo/deployments/"
PAGE = "/p/demo/deployments/digits/"


def browser(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


@pytest.fixture
def page(developer: Principal) -> Client:
    return browser(developer.user)


def words(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode().replace("<wbr>", "")))


def observed(digits: Deployment, cluster: Cluster) -> None:
    """As if revision 1 served with three replicas, one of them just killed, and revision 2 was coming."""
    ended = {"exitCode": 137, "reason": "Error", "finishedAt": timezone.now().isoformat()}
    waits = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {"containers": [{"name": "server", "restarts": 1, "state": waits, "last_state": {"terminated": ended}}]}
    for number, ready in (("1", True), ("1", True), ("1", False), ("2", True)):
        factories.pod(
            cluster, digits.project, deployment="digits", revision=number, ready=ready, restarts=0 if ready else 1,
            health=Health.HEALTHY if ready else Health.DEGRADED, reason="Running" if ready else "CrashLoopBackOff",
            message="" if ready else "Container server ended.", status={} if ready else status,
        )  # fmt: skip
    digits.rollouts.filter(state="Pending").update(state="Progressing", message="1 of 1 replica of revision 2 ready.")
    entries = [
        {"revision": 2, "wanted": 1, "existing": 1, "ready": 1},
        {"revision": 1, "wanted": 2, "existing": 3, "ready": 2},
    ]
    Deployment.objects.filter(pk=digits.pk).update(observed=entries, ready_replicas=3, health=Health.PROGRESSING)


def test_the_list_says_the_verdict_first(page: Client, digits: Deployment) -> None:
    text = words(page.get(HOME))
    assert "1 deployment" in text
    assert "digits:1" in text
    assert "0 of 3" in text
    assert "Nothing matches" in words(page.get(f"{HOME}?q=other"))
    assert "<html" not in page.get(f"{HOME}?part=rows").content.decode()


def test_how_many_an_autoscaler_wants_is_what_the_page_counts_by(page: Client, digits: Deployment) -> None:
    scaled = {"ready_replicas": 5, "scaled_to": 5, "scaled_by": "Autoscaler digits"}
    Deployment.objects.filter(pk=digits.pk).update(**scaled)
    assert "5 of 5" in words(page.get(HOME))
    text = words(page.get(PAGE))
    assert "5 of 5 ready" in text and "of 3 ready" not in text
    assert "Autoscaler digits wants 5" in text and "Autoscaler digits says how many while it is there" in text
    Deployment.objects.filter(pk=digits.pk).update(scaled_to=None, scaled_by="", ready_replicas=3)
    text = words(page.get(PAGE))
    assert "3 of 3 ready" in text and "Autoscaler" not in text


def command_body(page: Client) -> dict[str, Any]:
    """What the command of the empty list sends."""
    command = html.unescape(words(page.get(HOME)).partition("curl -X POST")[2])
    assert "/api/v1/deployments" in command
    body: dict[str, Any] = json.loads(re.findall(r"-d '(\{.*?\})'", command)[0])
    return body


def test_an_empty_list_shows_the_command_that_makes_the_first(page: Client, demo: Project) -> None:
    gaps = {"project": "demo", "name": "model", "target": "TARGET", "model": "MODEL", "version": "VERSION"}
    assert command_body(page) == {**gaps, "replicas": 3}, "nothing is named that the project doesn't have"


def test_the_command_of_an_empty_list_names_what_the_project_has(
    page: Client, target: Target, model: RegisteredModel
) -> None:
    has = {"project": "demo", "name": "digits", "target": "local-production", "model": "digits", "version": 2}
    assert command_body(page) == {**has, "replicas": 3}


def test_the_page_tells_the_rollout_the_replicas_and_why(
    page: Client, digits: Deployment, cluster: Cluster, developer: Principal
) -> None:
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    observed(digits, cluster)
    Heal.objects.create(
        placement=digits.places[0], wanted=3, lowest=2, dropped_at=timezone.now(), restored_at=timezone.now(),
        message="3 of 3 ready again after 2.1 s.", cause="digits-r1-a ended with exit 137 SIGKILL.",
    )  # fmt: skip
    answer = page.get(PAGE)
    text = words(answer)
    for said in (
        "Rollout to revision 2", "1 of 3 ready", "Retire revision 1", "1 of 1 replica of revision 2 ready.",
        "restarted 1×, exit 137 SIGKILL", "was killed by SIGKILL (exit code 137)", "3 of 3 ready again after 2.1 s.",
        "digits:1", "digits:2", "team/digits:1", "Roll back",
    ):  # fmt: skip
        assert said in text, said
    assert f'data-live="deployment:{digits.pk}"' in answer.content.decode()
    assert "style=" not in answer.content.decode().replace("data-style", "")
    for part in ("verdict", "summary", "replicas", "history"):
        fragment = page.get(f"{PAGE}?part={part}").content.decode()
        assert fragment.strip().startswith("<")
        assert f'id="{part}"' in fragment
        assert "<html" not in fragment


def test_replicas_that_a_quota_refuses_are_told(page: Client, digits: Deployment, cluster: Cluster) -> None:
    observed = [{"revision": 1, "wanted": 3, "existing": 1, "ready": 1}]
    Deployment.objects.filter(pk=digits.pk).update(observed=observed)
    now = timezone.now()
    KubeEvent.objects.create(
        cluster=cluster, uid="quota", namespace=digits.places[0].target.namespace, involved_kind="ReplicaSet",
        involved_name="digits-r1-7d9f8c6b5", type="Warning", reason="FailedCreate", first_at=now, last_at=now,
        message='Error creating: pods "digits-r1-x" is forbidden: exceeded quota: team, requested: pods=1, '
        "used: pods=20, limited: pods=20",
    )  # fmt: skip
    text = html.unescape(words(page.get(f"{PAGE}?part=replicas")))
    assert "Revision 1 lacks replicas" in text
    assert "a replica can't be made: quota team allows 20 pods, 20 are used, and it asks for 1." in text


def test_what_one_may_do(page: Client, digits: Deployment, developer: Principal) -> None:
    services.deploy_revision(principal=developer, deployment=digits, changes={"version": 2})
    page.post(f"{PAGE}scale", {"replicas": "5"})
    digits.refresh_from_db()
    assert digits.desired_replicas == 5
    page.post(f"{PAGE}rollback/1")
    digits.refresh_from_db()
    assert digits.last_revision == 3
    page.post(f"{PAGE}revise", {"model": "digits:2", "image": "other:1"})
    digits.refresh_from_db()
    assert digits.current is not None
    assert (digits.current.number, digits.current.spec["image"]) == (4, "other:1")
    page.post(f"{PAGE}delete")
    digits.refresh_from_db()
    assert digits.state == "Deleting"
    assert "Roll out a version" not in words(page.get(PAGE))


def test_an_edit_by_hand_is_shown_and_put_back_when_asked(page: Client, digits: Deployment) -> None:
    assert "Edited by hand" not in words(page.get(PAGE))
    refused = words(page.post(f"{PAGE}restore", follow=True))
    assert "Nothing of digits is known to differ" in refused
    Placement.objects.filter(deployment=digits).update(drift=DRIFT)
    Deployment.objects.filter(pk=digits.pk).update(drift=DRIFT)
    text = words(page.get(f"{PAGE}?part=summary"))
    assert "Edited by hand 2 fields differ" in text
    assert "spec.template.spec.containers[server].image Deployment digits-r1" in text
    assert "evil:1 kubectl-edit" in text
    assert "digits removed not known" in text
    assert "edited by hand" in words(page.get("/p/demo/deployments/"))
    page.post(f"{PAGE}restore")
    assert reread(digits).restore_asked
    assert "Being put back" in words(page.get(PAGE))


def test_the_current_revision_is_restarted_from_the_page(page: Client, digits: Deployment) -> None:
    for _ in range(2):
        assert page.post(f"{PAGE}restart", {"_form": "pressed-twice"}).status_code == 302
    digits.refresh_from_db()
    assert digits.current is not None
    assert (digits.current.number, digits.current.copied_from) == (2, 1)


def test_options_of_pods_by_the_forms_and_on_the_page(page: Client, target: Target, model: Any) -> None:
    asked = {
        "name": "digits", "target": "local-production", "replicas": "2", "image": "x", "cpu": "250m", "memory": "512Mi",
    }  # fmt: skip
    texts = initial_of(EVERYTHING)
    assert page.post(f"{HOME}new", asked | texts).status_code == 302
    digits = Deployment.objects.get()
    assert digits.current is not None and {key: digits.current.spec[key] for key in EVERYTHING} == EVERYTHING
    said = html.unescape(words(page.get(PAGE)))
    for row in rows(EVERYTHING):
        assert row.label in said and all(line in said for line in row.lines)

    page.post(f"{PAGE}revise", {"model": "", "image": "y"})  # the small form on the page
    digits.refresh_from_db()
    assert digits.current.spec["image"] == "y" and digits.current.spec["volumes"] == EVERYTHING["volumes"]

    form = page.get(f"{PAGE}revise").context["form"]
    shown = {name: form[name].value() for name in ("image", *texts)}
    assert shown == {"image": "y", **texts}
    wrong = page.post(f"{PAGE}revise", shown | {"model": "", "image": "z", "tolerations": "- effect: Never"})
    assert wrong.status_code == 400 and wrong.context["form"]["image"].value() == "z"
    assert "tolerations" in wrong.context["form"].errors
    page.post(f"{PAGE}revise", shown | {"model": "", "tolerations": "", "image_pull_policy": ""})
    digits.refresh_from_db()
    assert digits.current.number == 3
    assert set(EVERYTHING) - set(digits.current.spec) == {"tolerations", "image_pull_policy"}


def test_a_deployment_is_made_by_the_form_with_errors_at_their_fields(page: Client, target: Target, model: Any) -> None:
    form = page.get(f"{HOME}new?model=digits&version=2")
    assert "digits v2 @next" in words(form)
    only = r'<legend>Targets</legend><div class="options"><label for="id_target_0"><input[^>]* checked>'
    assert re.search(only, form.content.decode()), "the only target is chosen"
    asked = {
        "name": "digits", "target": "local-production", "model": "digits:2", "replicas": "2",
        "image": "team/digits:1", "command": "python serve.py", "cpu": "250m", "memory": "512Mi",
        "env": "THREADS=2",
    }  # fmt: skip
    nowhere = page.post(f"{HOME}new", {**asked, "target": []})
    assert (nowhere.status_code, "Choose a target at least." in words(nowhere)) == (400, True)
    wrong = page.post(f"{HOME}new", {**asked, "cpu": "much"})
    assert wrong.status_code == 400
    assert "&#x27;much&#x27; is not a quantity" in wrong.content.decode()
    assert page.post(f"{HOME}new", {**asked, "env": "nonsense"}).status_code == 400
    for field, value in (("model_format", "mlflow"), ("model_path", "models"), ("max_unavailable", "some")):
        wrong = page.post(f"{HOME}new", {**asked, field: value})
        assert (wrong.status_code, list(wrong.context["form"].errors)) == (400, [field])
        assert wrong.context["form"].advanced_open
    made = page.post(f"{HOME}new", {**asked, "model_path": "/models", "max_unavailable": "25%"})
    assert (made.status_code, made["Location"]) == (302, PAGE)
    digits = Deployment.objects.get()
    spec = digits.current.spec  # type: ignore[union-attr]
    assert (spec["port"], spec["probes"], digits.strategy.get("kind", "rolling")) == (
        8080,
        Probes().to_json(),
        "rolling",
    )
    assert (spec["model_path"], digits.disruption_budget) == ("/models", {"max_unavailable": "25%"})
    assert (spec["command"], spec["env"], spec["model"]["version"]) == (["python", "serve.py"], {"THREADS": "2"}, 2)


def test_the_form_says_how_it_rolls_out_and_where_it_is_probed(page: Client, target: Target) -> None:
    empty = page.get(f"{HOME}new").context["form"]
    assert (empty.rolls_open, empty.probes_open) == (False, False)
    assert (empty.rolls_said, empty.probes_said) == ("rolling, replica by replica", "/v2/health/ready on 8080")
    asked = {
        "name": "app", "target": "local-production", "image": "team/app:1", "replicas": "2", "cpu": "1",
        "memory": "1Gi",
    }  # fmt: skip
    for field, value, said in (
        ("port", "70000", "less than or equal to 65535"),
        ("ready_path", "ready", "probes.ready_path"),
        ("strategy", "steps:\n  - set_weight: 200", "Line 2: "),
        ("strategy", "kind: recreate", "Another kind is chosen above: canary."),
        ("strategy", "- canary", "Begin with "),
        ("strategy", "steps: [", "This is not valid YAML"),
    ):
        wrong = page.post(f"{HOME}new", {**asked, "kind": "canary", field: value})
        form = wrong.context["form"]
        assert (wrong.status_code, list(form.errors)) == (400, [field])
        assert said in str(form.errors) or field == "ready_path"
        assert form.rolls_open and (form.probes_open or field == "strategy"), "what is wrong is not folded away"
    more = {"port": "9000", "ready_path": "/ready", "live_path": "", "startup_seconds": "60"}
    steps = {"kind": "canary", "strategy": "steps:\n  - set_weight: 30\n  - pause: {}"}
    assert page.post(f"{HOME}new", {**asked, **more, **steps}).status_code == 302
    app = Deployment.objects.get()
    assert app.current is not None and app.current.spec["port"] == 9000
    assert app.current.spec["probes"] == {"ready_path": "/ready", "live_path": "", "startup_seconds": 60}
    assert (app.strategy["kind"], app.strategy["steps"][0]) == ("canary", {"set_weight": 30})

    revise = f"{HOME}app/revise"
    shown = {**page.get(revise).context["form"].initial, "image": "team/app:1"}
    page.post(revise, {**shown, "live_path": "/live"})
    app.refresh_from_db()
    assert (app.current.number, app.current.spec["port"]) == (2, 9000)  # type: ignore[union-attr]
    assert app.current.spec["probes"] == {"ready_path": "/ready", "live_path": "/live", "startup_seconds": 60}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ('pods "x" is forbidden: no PriorityClass with name high was found', "priority_class"),
        ("spec.template.spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value", "gpu"),
        ("spec.template.spec.containers[0].readinessProbe.httpGet.path: Required value", "ready_path"),
        ("spec.template.spec.tolerations[0].effect: Unsupported value", "tolerations"),
        ('pods "x" is forbidden: exceeded quota: small, requested: memory=1Gi', None),
        ("admission webhook denied the request", None),
    ],
)
def test_a_cluster_s_refusal_is_about_a_field_where_it_names_one(
    message: str, field: str | None, demo: Project
) -> None:
    form = DeployForm({"target": []}, project=demo)
    before = set(form.errors)
    said = (("eu", False), ("asked-nobody", None), ("us", False), ("fits", True))
    put_refusals(form, [Rehearsal(name, "c", [], accepted, message) for name, accepted in said])
    assert set(form.errors) - before == ({field} if field else set())
    assert not field or form.errors[field] == [f"eu, us: {message}"]


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("kind: canary\nsteps:\n  - set_weight: 20\n  - pause: {}\n  - set_weight: 0", "Line 5: strategy.steps[2]."),
        ("kind: canary\nstepz: []", "Line 2: strategy.stepz is nothing that Flotilla knows."),
        ("kind: canary\nsteps: [1", "This is not valid YAML (line 2)."),
        ("a: &a [1]\nb: *a", "This YAML is not read: it has an alias."),
        ("kind: canary\nkind: rolling", "stands twice in one object (line 2)"),
        ("- canary", "Begin with "),
    ],
)
def test_a_strategy_that_is_refused_is_shown_again_with_its_line(
    page: Client, digits: Deployment, said: str, trouble: str
) -> None:
    assert f"{PAGE}strategy" in page.get(PAGE).content.decode()
    answer = page.post(f"{PAGE}strategy", {"strategy": said})
    assert answer.status_code == 400
    assert trouble in words(answer)
    assert said in html.unescape(answer.content.decode()), "what was typed is kept"


def test_the_form_tells_at_once_all_that_is_wrong(page: Client, target: Target) -> None:
    wrong = {"name": "9-Digits", "image": "a b", "cpu": "lots", "memory": "some", "env": "PORT=1", "replicas": "-1"}
    answer = page.post("/p/demo/deployments/new", wrong)
    assert answer.status_code == 400
    assert set(answer.context["form"].errors) == {*wrong, "target"}, "before a target is chosen, too"


def test_the_form_for_a_revision_keeps_the_alias_unless_another_version_is_chosen(
    page: Client, digits: Deployment, developer: Principal
) -> None:
    services.deploy_revision(principal=developer, deployment=digits, changes={"alias": "next"})
    form = page.get(f"{PAGE}revise").context["form"]
    assert ("", "No registered model") not in form.fields["model"].choices, "it would change nothing"
    assert page.post(f"{PAGE}revise", {"model": "", "image": "other:1"}).status_code == 400
    page.post(f"{PAGE}revise", {"model": "digits:2", "image": "other:1", "node_selector": "pool=a"})
    digits.refresh_from_db()
    assert digits.current is not None and digits.current.spec["node_selector"] == {"pool": "a"}
    assert (digits.current.spec["model"]["version"], digits.alias) == (2, "next")
    page.post(f"{PAGE}revise", {"model": "digits:1", "image": "other:1"})
    digits.refresh_from_db()
    assert (digits.current.spec["model"]["version"], digits.alias) == (1, "")


def test_a_form_that_was_open_for_long_changes_what_its_person_changed_and_nothing_else(
    page: Client, digits: Deployment, developer: Principal
) -> None:
    first = {"node_selector": {"pool": "a"}, "volumes": EVERYTHING["volumes"]}
    services.deploy_revision(principal=developer, deployment=digits, changes=first)
    form = page.get(f"{PAGE}revise").context["form"]
    # As a browser sends it.
    shown = {name: str(form[name].value() or "").replace("\n", "\r\n") for name in form.fields}
    meanwhile = {"image": "newer:1", "version": 2, "tolerations": EVERYTHING["tolerations"], "node_selector": {}}
    services.deploy_revision(principal=developer, deployment=digits, changes=meanwhile)
    page.post(f"{PAGE}revise", shown | {"image_pull_policy": "Always"})
    digits.refresh_from_db()
    assert digits.current is not None
    spec = digits.current.spec
    assert (spec["image"], spec["model"]["version"], spec["image_pull_policy"]) == ("newer:1", 2, "Always")
    assert spec["tolerations"] == EVERYTHING["tolerations"] and "node_selector" not in spec
    assert spec["volumes"] == EVERYTHING["volumes"]


def test_the_form_offers_the_version_that_is_served_though_there_are_very_many_others(
    page: Client, digits: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.deployments.selectors.version_choices", lambda _: [("aaa:9", "aaa v9")])
    page.post(f"{PAGE}revise", {"model": "digits:1", "image": "other:1"})
    digits.refresh_from_db()
    assert digits.current is not None and digits.current.spec["image"] == "other:1"


def test_a_new_deployment_is_offered_how_the_model_was_served_before(
    page: Client, developer: Principal, demo: Project, target: Target, model: Any
) -> None:
    spec = {**SPEC, "command": ["sh", "-c", "exec python serve.py"], "env": {"THREADS": "2"}}
    services.create_deployment(
        principal=developer, project=demo, asked=services.NewDeployment(name="first", targets=[target.name], spec=spec)
    )
    form = page.get(f"{HOME}new?model=digits&version=2").context["form"]
    assert shlex.split(form["command"].value()) == spec["command"]
    assert form["env"].value() == "THREADS=2"


def test_a_deployment_that_kserve_runs_is_made_by_the_form(page: Client, target: Target, model: Any) -> None:
    asked = {"name": "digits", "target": "local-production", "model": "digits:2", "replicas": "1", "cpu": "1",
             "memory": "1Gi", "runtime": "kserve", "model_format": "sklearn", "max_unavailable": "1"}  # fmt: skip
    assert page.post(f"{HOME}new", asked).status_code == 302
    digits = Deployment.objects.get()
    assert digits.disruption_budget == {"max_unavailable": 1} and digits.current is not None
    assert digits.current.spec["runtime"]["kserve"]["serving_runtime"] == "kserve-sklearnserver"
    # The next one of the model is offered the same.
    form = page.get(f"{HOME}new?model=digits&version=2").context["form"]
    assert [form[name].value() for name in ("runtime", "model_format")] == ["kserve", "sklearn"]


def test_a_viewer_looks_and_a_stranger_finds_nothing(digits: Deployment, demo: Project) -> None:
    viewer = User.objects.create_user("viewer")
    Membership.objects.create(project=demo, user=viewer, role=Role.VIEWER)
    admin = Principal(user=User.objects.create_superuser("admin"))
    services.set_strategy(principal=admin, deployment=digits, strategy={"kind": "canary"})
    services.deploy_revision(principal=admin, deployment=digits, changes={"version": 2})
    seen = words(browser(viewer).get(PAGE))
    assert "Rollout to revision 2" in seen
    for said in ("Send a prediction", "Delete", "Abort", "canary strategy"):
        assert said not in seen
        assert said in words(browser(admin.user).get(PAGE))
    assert browser(viewer).get(f"{PAGE}revise").status_code == 403
    for path in ("scale", "delete", "revise", "predict", "rollback/1", "strategy", "rollout/abort"):
        assert browser(viewer).post(f"{PAGE}{path}", {"replicas": 1}).status_code == 403
        assert browser(User.objects.get_or_create(username="x")[0]).post(f"{PAGE}{path}").status_code == 404
        assert "/login/" in browser(None).post(f"{PAGE}{path}")["Location"]
    digits.refresh_from_db()
    assert (digits.state, digits.desired_replicas) == ("Active", 3)


def test_a_prediction_from_the_page(page: Client, digits: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in ("{", "[" * 100_000):
        assert "This is not JSON" in words(page.post(f"{PAGE}predict", {"body": body}))
    assert "list of inputs" in words(page.post(f"{PAGE}predict", {"body": "{}"}))
    answer = {"outputs": [{"name": "label", "data": [7]}]}
    made = predict.Prediction(answer, "digits-r1-a", 1, 4.2, 60.0, 2)
    monkeypatch.setattr(predict, "predict", lambda **_: made)
    text = words(page.post(f"{PAGE}predict", {"body": "{}"}))
    for said in ("label", "7", "4.2 ms", "after 2 attempts", "digits-r1-a"):
        assert said in text
    assert "general form" in words(page.get(f"{PAGE}example"))


@pytest.mark.parametrize(
    ("row", "says", "closed"),
    [
        ({"ready_replicas": 1}, "Asking the model for an example", False),
        ({"message": "0 of 3 ready. It crashes."}, "No replica is ready. 0 of 3 ready. It crashes.", True),
        ({"desired_replicas": 0}, "digits is scaled to zero: nothing answers until it is scaled up.", True),
    ],
)
def test_the_box_of_predictions_says_what_is_now(
    page: Client, digits: Deployment, row: dict[str, Any], says: str, closed: bool
) -> None:
    Deployment.objects.filter(pk=digits.pk).update(**row)
    whole, part = page.get(PAGE).content.decode(), page.get(f"{PAGE}?part=predict").content.decode()
    assert f'data-live="deployment:{digits.pk}"' in part
    assert says in part and says in whole
    assert len(re.findall(r"<button[^>]* disabled", part)) == (2 if closed else 0)
    # There is nothing to send until the model has said what it takes: htmx holds the button for so long.
    assert len(re.findall("<button[^>]* disabled data-disabled-by-htmx", whole)) == (0 if closed else 1)


def test_every_part_that_tells_of_the_deployment_is_live(page: Client, digits: Deployment) -> None:
    whole = page.get(PAGE).content.decode()
    live = re.findall(r'id="([a-z]+)" data-(?:live|poll)[^>]*hx-get="([^"]+)"', whole)
    parts = ["verdict", "actions", "summary", "replicas", "scaler", "requests", "predict", "change", "history"]
    assert [name for name, _ in live] == [*parts, "provenance"]
    for name, url in live:
        assert f'id="{name}"' in page.get(html.unescape(url)).content.decode()
    Deployment.objects.filter(pk=digits.pk).update(state="Deleting")
    for name in ("actions", "predict", "change"):
        assert "<button" not in page.get(f"{PAGE}?part={name}").content.decode()


def test_a_number_that_is_refused_is_shown_again_with_what_is_wrong_in_focus(page: Client, digits: Deployment) -> None:
    answer = page.post(f"{PAGE}scale", {"replicas": "-7"})
    text = answer.content.decode()
    field = re.search(r'<input[^>]*name="replicas"[^>]*>', text)
    assert answer.status_code == 400 and field is not None
    for said in ('value="-7"', 'aria-invalid="true"', "autofocus", 'aria-describedby="scale_replicas-errors"'):
        assert said in field[0]
    assert "is 0 at least." in text
    assert f'hx-get="{PAGE}?part=summary"' in text, "its live parts are those of the page"


def test_a_replica_has_a_page(page: Client, digits: Deployment, cluster: Cluster) -> None:
    observed(digits, cluster)
    pod = factories.Pod.objects.filter(ready=False).get()
    assert "restarted 1×, exit 137 SIGKILL" in words(page.get(f"{PAGE}replicas/{pod.name}/"))
    assert page.get(f"{PAGE}replicas/other/").status_code == 404


def test_targets_are_made_by_project_admins(page: Client, demo: Project, cluster: Cluster) -> None:
    admin = User.objects.create_user("admin")
    Membership.objects.create(project=demo, user=admin, role=Role.ADMIN)
    asked = {"name": "local-staging", "cluster": "local", "environment": "staging"}
    assert "No target yet" in words(page.get(f"{HOME}new"))
    assert page.post("/p/demo/targets/new", asked).status_code == 403
    assert browser(admin).post("/p/demo/targets/new", asked).status_code == 302
    assert "local-staging" in words(browser(admin).get("/p/demo/targets/"))
    assert browser(admin).post("/p/demo/targets/local-staging/delete").status_code == 302
    assert not Target.objects.exists()


def test_the_number_of_queries_does_not_grow_with_the_rows(
    page: Client, digits: Deployment, cluster: Cluster, developer: Principal
) -> None:
    observed(digits, cluster)
    parts = (PAGE, f"{PAGE}?part=summary")

    def queries_after(*versions: int) -> dict[str, int]:
        for version in versions:
            services.deploy_revision(principal=developer, deployment=digits, changes={"version": version})
        page.get(PAGE)
        counts = {}
        for part in parts:
            with CaptureQueriesContext(connection) as queries:
                page.get(part)
            counts[part] = len(queries)
        return counts

    few, many = queries_after(2), queries_after(1, 2, 1)
    assert all(many[part] <= few[part] for part in parts), f"{few} became {many}"
    assert many[PAGE] <= 33 and many[parts[1]] <= 12


def test_a_deployment_is_as_old_as_the_last_watch_of_a_cluster_that_refuses_the_credential(
    page: Client, digits: Deployment, cluster: Cluster
) -> None:
    observed(digits, cluster)
    watched = timezone.now() - timedelta(minutes=9)
    Deployment.objects.update(observed_at=watched - timedelta(minutes=1))
    refused = [{"type": "Authorized", "status": "False"}, {"type": "Synced", "status": "False"}]
    seen = {"last_seen_at": timezone.now(), "synced_at": watched}
    Cluster.objects.update(state="Degraded", conditions=refused, **seen)
    assert watched.isoformat()[:19] in page.get(PAGE).content.decode()
