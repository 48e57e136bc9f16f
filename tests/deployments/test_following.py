"""Deployments that follow an alias: the decision, every door that moves one, and what becomes of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.core.access import Principal
from apps.core.errors import Invalid, NotAllowed
from apps.core.models import AuditEntry, Membership, Project, Transition
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.core.work import DONE, Retry
from apps.core.work.models import Work
from apps.deployments import selectors, services
from apps.deployments.models import Approval, Deployment, Follow, Revision, Rollout, Target
from apps.deployments.reconcile.following import follow
from apps.deployments.rollout.following import Course, Standing, sentence
from apps.deployments.rollout.strategy import Strategy
from apps.deployments.services import following
from apps.deployments.services.common import resolve
from apps.experiments import services as registry
from apps.experiments.models import ModelVersion, RegisteredModel
from tests import factories
from tests.deployments.conftest import SPEC, client_of
from tests.deployments.places import arrive, reread

MLFLOW = "/api/2.0/mlflow/registered-models/alias"
ALIAS = {"name": "digits", "alias": "champion"}


# What is known, what version is wanted, whether something is to be rolled out, how it stands.
COURSES = [
    (Course(7), 7, False, Standing.FOLLOWING),
    (Course(7, moves=1), 6, True, Standing.DUE),
    # By hand it came there before the alias did: the round finds nothing to do, and says so.
    (Course(7, moves=1), 7, True, Standing.DUE),
    (Course(7, moves=1, refusal="No."), 6, True, Standing.REFUSED),
    (Course(7, moves=3, done=3), 7, False, Standing.FOLLOWING),
    (Course(7, moves=3, done=3), 6, False, Standing.LEFT),
    (Course(7, moves=3, done=3), None, False, Standing.LEFT),
    (Course(None, moves=4, done=3), 6, False, Standing.GONE),
    (Course(None, moves=4, done=4), 6, False, Standing.GONE),
]


@pytest.mark.parametrize(("course", "wanted", "due", "standing"), COURSES)
def test_what_is_due_and_how_it_stands(course: Course, wanted: int | None, due: bool, standing: Standing) -> None:
    assert (course.is_due, course.standing(wanted)) == (due, standing)
    said = sentence(course, "champion", wanted, "bob")
    assert bool(said) is (standing is not Standing.FOLLOWING)
    assert standing is not Standing.REFUSED or ("bob moved champion to version 7" in said and "“No.”" in said)


@given(st.lists(st.tuples(st.sampled_from(["move", "gone", "choose", "round", "refused"]), st.integers(1, 3))))
def test_the_last_word_holds_whatever_came_before(events: list[tuple[str, int]]) -> None:
    """A person's choice holds until the alias moves; a move holds until a person chooses; rounds repeat nothing."""
    course, wanted, promised, rollouts = Course(1), 1, 1, 0
    for what, version in events:
        if what == "move":
            course, promised = course.moved(version), version
        elif what == "gone":
            course, promised = course.moved(None), wanted
        elif what == "choose":
            course, wanted, promised = course.settled(), version, version
        elif what == "refused":
            course = course.refused("No.") if course.is_due else course
        elif course.is_due:
            rollouts += course.version != wanted
            wanted, course = course.version or wanted, course.settled()
    for _ in range(2):  # Asked for twice.
        if course.is_due:
            wanted, course = course.version or wanted, course.settled()
    assert wanted == promised and not course.is_due
    assert rollouts <= sum(what == "move" for what, _ in events)


@pytest.fixture
def app(developer: Principal, demo: Project, target: Target, model: RegisteredModel) -> Deployment:
    """Version 1 serves, to which champion points, and which is followed."""
    spec = {key: value for key, value in SPEC.items() if key != "version"} | {"alias": "champion", "follow": True}
    made = services.create_deployment(
        principal=developer,
        project=demo,
        asked=services.NewDeployment(name="digits", targets=[target.name], replicas=1, spec=spec),
    )
    arrive(made)
    Work.objects.all().delete()
    return made


def move(by: Principal, version: int, alias: str = "champion") -> None:
    registry.set_alias(principal=by, version=ModelVersion.objects.get(version=version), alias=alias)


def served(app: Deployment) -> list[int]:
    """The model versions of its revisions, the first one first."""
    rows = Revision.objects.filter(deployment=app).order_by("number")
    return [spec["model"]["version"] for spec in rows.values_list("spec", flat=True)]


def asked_for(app: Deployment) -> bool:
    return Work.objects.filter(kind="follow", object_id=app.pk).exists()


def stands(app: Deployment) -> Standing:
    row = Follow.objects.get(deployment=app)
    current = reread(app).current
    assert current is not None
    return row.course.standing(current.spec["model"]["version"])


def overview(client: Client) -> str:
    return client.get("/p/demo/").content.decode().replace("&#x27;", "'")


def sent(client: Client, method: str, path: str, body: Any = None, *, form: bool = False) -> int:
    if form:
        return int(client.post(path, body or {}).status_code)
    answer = getattr(client, method)(path, json.dumps(body or {}), content_type="application/json")
    return int(answer.status_code)


MOVES: list[tuple[str, str, Any]] = [
    ("form", "/p/demo/models/digits/aliases", {"alias": "champion", "version": "2"}),
    ("post", "/api/v1/models/digits/aliases", {"alias": "champion", "version": 2}),
    ("put", "/api/v1/models/digits/aliases/champion", {"version": 2}),
    ("post", MLFLOW, ALIAS | {"version": "2"}),
]
GOES: list[tuple[str, str, Any]] = [
    ("form", "/p/demo/models/digits/aliases/champion/delete", {}),
    ("delete", "/api/v1/models/digits/aliases/champion", {}),
    ("delete", MLFLOW, ALIAS),
    ("delete", "/api/v1/models/digits/versions/1?force=true", {}),
    ("delete", "/api/v1/models/digits?force=true", {}),
]


def through(door: tuple[str, str, Any], person: Principal) -> None:
    how, path, body = door
    if how == "form":
        browser = Client()
        assert person.user is not None
        browser.force_login(person.user)
        assert sent(browser, "post", path, body, form=True) == 302
    else:
        assert sent(client_of(person.user), how, path, body) in (200, 201, 204)


@pytest.mark.django_db
@pytest.mark.parametrize("door", MOVES, ids=lambda door: f"{door[0]} {door[1]}")
def test_whatever_moves_the_alias_starts_a_rollout_in_the_name_of_who_moved_it(
    app: Deployment, demo: Project, door: tuple[str, str, Any]
) -> None:
    bob = Principal(user=factories.member(demo, "bob"))
    through(door, bob)
    assert asked_for(app) and stands(app) is Standing.DUE and served(app) == [1]
    assert follow(app.pk) == DONE and follow(app.pk) == DONE, "asked for twice, it is one revision"
    assert served(app) == [1, 2] and stands(app) is Standing.FOLLOWING
    rollout = Rollout.objects.latest("pk")
    assert rollout.requester == bob.user
    [said] = Transition.objects.filter(object_type="deployments.rollout", object_id=rollout.pk, from_state="")
    assert said.message == "champion moved to version 2." and said.actor.startswith("bob")
    assert (reread(app).alias, selectors.left_behind()) == ("champion", [])


@pytest.mark.django_db
@pytest.mark.parametrize("door", GOES, ids=lambda door: f"{door[0]} {door[1]}")
def test_an_alias_that_goes_leaves_what_serves(
    app: Deployment, developer: Principal, model: RegisteredModel, door: tuple[str, str, Any]
) -> None:
    through(door, developer)
    assert stands(app) is Standing.GONE and follow(app.pk) == DONE and served(app) == [1]
    if RegisteredModel.objects.exists():
        move(developer, 2)
        assert follow(app.pk) == DONE and served(app) == [1, 2]
        return
    # Another model of the same name is another model.
    other = RegisteredModel.objects.create(project=model.project, name="digits")
    factories.version(other, factories.run(model.project.experiments.get()))
    move(developer, 1)
    assert not asked_for(app) and stands(app) is Standing.GONE


@pytest.mark.django_db
def test_the_last_of_several_moves_counts_and_the_same_version_again_is_none(
    app: Deployment, developer: Principal, model: RegisteredModel
) -> None:
    move(developer, 1)
    move(developer, 1, alias="other")
    assert not asked_for(app) and stands(app) is Standing.FOLLOWING
    factories.version(model, factories.run(model.project.experiments.get()))
    for version in (2, 3):
        move(developer, version)
    assert follow(app.pk) == DONE and served(app) == [1, 3]
    # Where it was before anybody went after it.
    for version in (2, 3):
        move(developer, version)
    assert follow(app.pk) == DONE and served(app) == [1, 3] and stands(app) is Standing.FOLLOWING
    move(developer, 2)
    assert follow(app.pk) == DONE
    first, second = Rollout.objects.filter(to_revision__number__in=[2, 3]).order_by("pk")
    assert (first.state, second.state) == ("Superseded", "Pending")
    assert [pk for pk, _ in selectors.left_behind()] == []


CHOICES: dict[str, Callable[[Principal, Deployment], Any]] = {
    "rollback": lambda who, app: services.rollback(principal=who, deployment=app),
    "abort": lambda who, app: services.abort(principal=who, deployment=app),
    "version": lambda who, app: services.deploy_revision(principal=who, deployment=app, changes={"version": 1}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("choice", CHOICES)
def test_what_a_person_chooses_stays_until_the_alias_moves_again(
    app: Deployment, developer: Principal, model: RegisteredModel, choice: str
) -> None:
    move(developer, 2)
    follow(app.pk)
    if choice != "abort":
        arrive(app)
    CHOICES[choice](developer, app)
    arrive(app)
    assert follow(app.pk) == DONE and stands(app) is Standing.LEFT
    now = reread(app).current
    assert now is not None and now.spec["model"]["version"] == 1
    move(developer, 1)
    move(developer, 2)
    assert follow(app.pk) == DONE
    now = reread(app).current
    assert now is not None and now.spec["model"]["version"] == 2


@pytest.mark.django_db
def test_a_choice_after_a_move_that_nobody_has_gone_after_yet_holds_and_other_settings_are_none(
    app: Deployment, developer: Principal
) -> None:
    move(developer, 2)
    services.deploy_revision(principal=developer, deployment=app, changes={"env": {"A": "1"}})
    assert stands(app) is Standing.DUE
    services.deploy_revision(principal=developer, deployment=app, changes={"version": 1})
    assert follow(app.pk) == DONE and served(app) == [1, 1] and stands(app) is Standing.LEFT


def only_admins(app: Deployment, root: Principal, **_: Any) -> Callable[[], object]:
    target = Target.objects.select_related("project").get()
    services.edit_target(principal=root, target=target, policy={"deployers": "admin"})

    def mend() -> None:
        Work.objects.all().delete()
        services.edit_target(principal=root, target=target, policy={})
        assert asked_for(app), "who was refused looks again at once"

    return mend


def a_viewer(app: Deployment, mover: Principal, **_: Any) -> Callable[[], object]:
    Membership.objects.filter(user=mover.user).update(role=Role.VIEWER)
    return lambda: Membership.objects.filter(user=mover.user).update(role=Role.DEVELOPER)


def a_disabled_account(app: Deployment, mover: Principal, **_: Any) -> Callable[[], object]:
    assert mover.user is not None
    type(mover.user).objects.filter(pk=mover.user.pk).update(is_active=False)
    return lambda: type(mover.user).objects.filter(pk=mover.user.pk).update(is_active=True)  # type: ignore[union-attr]


def an_account_that_is_gone(app: Deployment, mover: Principal, **_: Any) -> Callable[[], object]:
    Follow.objects.update(mover=None)
    return lambda: Follow.objects.update(mover=mover.user)


def another_flavour(app: Deployment, settings: Any, **_: Any) -> Callable[[], object]:
    image = Revision.objects.get(number=1).spec["image"]
    settings.MODEL_SERVER_IMAGE = image
    return lambda: setattr(settings, "MODEL_SERVER_IMAGE", "flotilla/modelserver:9")


REFUSALS = [
    (only_admins, "You may not deploy to local-production."),
    (a_viewer, "Your role in demo is viewer"),
    (a_disabled_account, "That account is disabled."),
    (an_account_that_is_gone, "is gone."),
    (another_flavour, "Flotilla's own server serves models of sklearn"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("refuse", "says"), REFUSALS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_refusal_is_told_with_what_to_do_and_tried_again(
    app: Deployment, demo: Project, root: Principal, client: Client, settings: Any, refuse: Any, says: str
) -> None:
    bob = Principal(user=factories.member(demo, "bob"))
    move(bob, 2)
    mend = refuse(app=app, root=root, mover=bob, settings=settings)
    assert isinstance(follow(app.pk), Retry) and isinstance(follow(app.pk), Retry)
    assert served(app) == [1] and stands(app) is Standing.REFUSED and Rollout.objects.count() == 1
    assert root.user is not None
    client.force_login(root.user)
    html = client.get("/p/demo/deployments/digits/").content.decode().replace("&#x27;", "'")
    assert "follows champion (now version 2)" in html and "bob moved champion to version 2" in html and says in html
    told = client_of(root.user).get("/api/v1/deployments/digits").json()["follows"]
    assert (told["state"], told["version"], told["moved_by"]) == ("Refused", 2, "bob") and says in told["message"]
    assert selectors.left_behind() == [(app.pk, None)]
    assert "digits could not follow champion to version 2" in (start := overview(client)) and says in start
    mend()
    assert follow(app.pk) == DONE and served(app) == [1, 2] and stands(app) is Standing.FOLLOWING
    assert "could not follow" not in overview(client)


@pytest.mark.django_db
def test_a_token_that_moved_it_gives_no_more_rights_than_it_has(
    app: Deployment, demo: Project, root: Principal, developer: Principal
) -> None:
    token, text = issue_token(name="ci", project=demo, role=Role.DEVELOPER)
    client = Client(headers={"Authorization": f"Bearer {text}"})
    assert sent(client, "put", "/api/v1/models/digits/aliases/champion", {"version": 2}) == 200
    mend = only_admins(app, root)
    assert isinstance(follow(app.pk), Retry)
    mend()
    type(token).objects.update(revoked_at="2026-11-01T00:00Z")
    assert isinstance(follow(app.pk), Retry)
    assert "was revoked, or has expired" in Follow.objects.get().refusal
    type(token).objects.update(revoked_at=None)
    assert follow(app.pk) == DONE
    assert Revision.objects.get(number=2).created_by == f"project demo (token {token.prefix})"


@pytest.mark.django_db
def test_who_moved_the_alias_can_not_approve_it(
    app: Deployment, demo: Project, root: Principal, developer: Principal
) -> None:
    target = Target.objects.select_related("project").get()
    services.edit_target(principal=root, target=target, policy={"approval": True})
    bob = Principal(user=factories.member(demo, "bob"))
    move(bob, 2)
    assert follow(app.pk) == DONE
    row = Approval.objects.select_related("rollout__deployment__project", "target").get()
    with pytest.raises(NotAllowed, match="You asked for this rollout yourself"):
        services.approve(principal=bob, approval=row)
    services.approve(principal=developer, approval=row)
    assert served(app) == [1, 2]


class Killed(BaseException):
    """The process is gone: nothing catches it."""


def dying(work: Callable[[], object], at: int) -> bool:
    """Do it, and die at its statement number `at`; returns whether there was one."""
    count = 0

    def execute(inner: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal count
        # A round's first statement begins a savepoint here, and a transaction there.
        count += "SAVEPOINT" not in sql
        if count == at and "SAVEPOINT" not in sql:
            raise Killed
        return inner(sql, params, many, context)

    try:
        with connection.execute_wrapper(execute):
            work()
    except Killed:
        return True
    return False


@pytest.mark.django_db
def test_dying_at_any_statement_changes_nothing_in_the_end(app: Deployment, developer: Principal) -> None:
    at = 1
    while dying(lambda: move(developer, 2), at):
        assert not asked_for(app) and stands(app) is Standing.FOLLOWING
        at += 1
    assert at > 5 and asked_for(app) and stands(app) is Standing.DUE
    at = 1
    while dying(lambda: follow(app.pk), at):
        assert served(app) == [1] and stands(app) is Standing.DUE
        at += 1
    assert at > 20 and served(app) == [1, 2] and Rollout.objects.count() == 2


@pytest.mark.django_db
def test_it_is_turned_on_and_off_and_on_again(app: Deployment, developer: Principal) -> None:
    def ask(**body: Any) -> Any:
        return client_of(developer.user).post(
            "/api/v1/deployments/digits/revisions", json.dumps(body), content_type="application/json"
        )

    def told() -> Any:
        return client_of(developer.user).get("/api/v1/deployments/digits").json()["follows"]

    assert (told()["alias"], told()["version"], told()["state"]) == ("champion", 1, "Following")
    generation = reread(app).generation
    assert ask(follow=False).status_code == 200 and told() is None
    assert reread(app).generation > generation
    move(developer, 2)
    assert not asked_for(app)
    assert ask(alias="next", follow=True).status_code == 201
    assert (told()["alias"], told()["version"]) == ("next", 2) and served(app) == [1, 2]
    entries = AuditEntry.objects.filter(action="deployment.follow").order_by("pk").values_list("before", "after")
    changes = [(before["follow"], after["follow"]) for before, after in entries]
    assert changes == [("", "champion"), ("champion", ""), ("", "next")]
    # After a choice of one's own, which took the rollout back, to the alias again.
    ask(version=1)
    assert told()["state"] == "Left" and "It stays until next moves again." in told()["message"]
    assert ask(follow=True).status_code == 201 and told()["state"] == "Following" and served(app) == [1, 2, 2]
    # What serves no model of it any more has nothing to follow.
    other = RegisteredModel.objects.create(project=app.project, name="other")
    factories.version(other, factories.run(app.project.experiments.get()))
    assert ask(model="other", version=1).status_code == 201 and told() is None
    refused = ask(model="other", version=1, follow=True)
    assert refused.status_code == 400 and refused.json()["field"] == "follow"


WRONG = [
    ({"image": "x:1", "follow": True}, "Which alias shall it follow?"),
    ({**SPEC, "follow": True}, "A version never moves"),
    ({"image": "x:1", "alias": "champion", "follow": True}, "An alias is a model's"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("spec", "says"), WRONG)
def test_only_an_alias_can_be_followed(
    developer: Principal, demo: Project, target: Target, model: RegisteredModel, spec: Any, says: str
) -> None:
    with pytest.raises(Invalid, match=says):
        services.create_deployment(
            principal=developer, project=demo, asked=services.NewDeployment(name="x", targets=[target.name], spec=spec)
        )


@pytest.mark.django_db
def test_a_move_between_the_wish_and_the_first_revision_is_gone_after(app: Deployment, developer: Principal) -> None:
    wish = resolve(app.project, {**app.current.spec, "model": "digits", "alias": "champion"}, Strategy())  # type: ignore[union-attr]
    following.stop(app, developer)
    move(developer, 2)
    assert not asked_for(app)
    held = Deployment.objects.select_related("project").get(pk=app.pk)
    following.start(held, wish, developer)
    assert asked_for(app) and follow(app.pk) == DONE and served(app) == [1, 2]


@pytest.mark.django_db
def test_the_forms_offer_aliases(
    client: Client, app: Deployment, developer: Principal, demo: Project, target: Target
) -> None:
    assert developer.user is not None
    client.force_login(developer.user)
    page = client.get("/p/demo/deployments/new").content.decode()
    assert "digits @champion, now v1" in page and 'name="follow"' in page
    asked = {"name": "second", "target": target.name, "replicas": "1", "cpu": "1", "memory": "1Gi", "image": "x:1"}
    refused = client.post("/p/demo/deployments/new", asked | {"model": "digits:1", "follow": "on"})
    assert refused.status_code == 400 and "A version never moves." in refused.content.decode()
    assert client.post("/p/demo/deployments/new", asked | {"model": "digits:@next", "follow": "on"}).status_code == 302
    made = Deployment.objects.get(name="second")
    assert (made.alias, made.following and made.following.alias, served(made)) == ("next", "next", [2])
    form = "/p/demo/deployments/second/follow"
    assert "next, now version 2" in client.get(form).content.decode()
    assert client.post(form, {"alias": "champion"}).status_code == 302 and served(made) == [2, 1]
    assert "follows champion (now version 1)" in client.get("/p/demo/deployments/second/").content.decode()
    assert client.post(form, {"alias": ""}).status_code == 302
    assert not Follow.objects.filter(deployment=made).exists()
