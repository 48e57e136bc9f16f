"""The REST base, through the doors that programs use: tokens, problems, idempotency, default deny."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.test import Client
from rest_framework import serializers

from apps.core.api.problems import exception_handler
from apps.core.api.serializers import Strict
from apps.core.models import ApiToken, AuditEntry, Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from controlplane.health import verdict

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root", password="a long enough one")


@pytest.fixture
def api(root: User) -> Client:
    _, text = issue_token(name="root", user=root, role=Role.ADMIN)
    return Client(headers={"Authorization": f"Bearer {text}"})


def post(client: Client, path: str, body: dict[str, Any], **headers: str) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json", headers=headers)


def test_without_a_token_the_answer_is_401_and_a_problem() -> None:
    answer = Client().get("/api/v1/projects")
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["status"] == 401


@pytest.mark.parametrize(
    "header", ["Bearer nothing", "Bearer", "Basic cm9vdDpyb290", "bearer flt_" + "x" * 43, "Token x"]
)
def test_a_wrong_authorization_is_never_anonymous(header: str) -> None:
    assert Client(headers={"Authorization": header}).get("/api/v1/projects").status_code == 401


def test_a_run_token_does_not_open_the_api(root: User) -> None:
    project = Project.objects.create(name="demo")
    _, text = issue_token(name="run", project=project, run_uid="0" * 32)
    assert Client(headers={"Authorization": f"Bearer {text}"}).get("/api/v1/projects").status_code == 401


def test_a_session_needs_the_csrf_token_to_write(root: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(root)
    assert browser.get("/api/v1/projects").status_code == 200
    assert post(browser, "/api/v1/projects", {"name": "x"}).status_code == 403
    assert not Project.objects.exists()


def test_projects_with_and_without_the_slash(api: Client) -> None:
    assert post(api, "/api/v1/projects", {"name": "demo"}).status_code == 201
    for path in ("/api/v1/projects", "/api/v1/projects/"):
        assert [project["name"] for project in api.get(path).json()["results"]] == ["demo"]
    assert api.get("/api/v1/projects/demo").json()["name"] == "demo"
    assert AuditEntry.objects.get().action == "project.create"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"name": ""}, 400, "name is empty: give it a value."),
        ({}, 400, "name is missing: add it"),
        ({"name": "Not A Name"}, 400, "lower-case"),
        ({"name": "x" * 41}, 400, "40"),
        ({"name": "demo"}, 409, "already"),
    ],
)
def test_wrong_input_gets_a_clear_problem(api: Client, body: dict[str, Any], status: int, says: str) -> None:
    Project.objects.create(name="demo")
    answer = post(api, "/api/v1/projects", body)
    assert answer.status_code == status
    assert says in answer.json()["detail"]
    assert Project.objects.count() == 1


@pytest.mark.parametrize("body", ["{", "[" * 200_000, '{"a":' * 200_000, "\ud83d".encode("utf-8", "surrogatepass")])
def test_broken_json_is_a_problem(api: Client, body: str | bytes) -> None:
    answer = api.post("/api/v1/projects", body, content_type="application/json")
    assert answer.status_code == 400
    assert "JSON" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "title"),
    [
        ("patch", "", {"content_type": "application/json"}, 405, "Method not allowed"),
        ("post", "", {"content_type": "text/csv"}, 415, "Unsupported media type"),
        ("post", "demo/", {"content_type": "application/json"}, 405, "Method not allowed"),
    ],
)
def test_the_title_of_a_problem_has_no_place_that_was_left_open(
    api: Client, method: str, path: str, headers: dict[str, str], status: int, title: str
) -> None:
    problem = getattr(api, method)(f"/api/v1/projects/{path}", "{}", **headers).json()
    assert (problem["status"], problem["title"]) == (status, title)
    assert "{" not in problem["detail"]


def test_a_member_may_not_make_projects() -> None:
    person = User.objects.create_user("ada")
    Membership.objects.create(project=Project.objects.create(name="mine"), user=person, role=Role.ADMIN)
    _, text = issue_token(name="t", user=person, role=Role.ADMIN)
    answer = post(Client(headers={"Authorization": f"Bearer {text}"}), "/api/v1/projects", {"name": "x"})
    assert answer.status_code == 403


def test_a_repeated_post_acts_once(api: Client) -> None:
    first = post(api, "/api/v1/projects", {"name": "demo"}, **{"Idempotency-Key": "k1"})
    again = post(api, "/api/v1/projects", {"name": "demo"}, **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    other = post(api, "/api/v1/projects", {"name": "other"}, **{"Idempotency-Key": "k1"})
    assert other.status_code == 400, "a key belongs to one request"
    assert Project.objects.count() == 1


def test_keys_of_different_callers_do_not_meet(api: Client) -> None:
    other = User.objects.create_superuser("second", password="a long enough one")
    _, text = issue_token(name="t", user=other, role=Role.ADMIN)
    post(api, "/api/v1/projects", {"name": "demo"}, **{"Idempotency-Key": "k1"})
    client = Client(headers={"Authorization": f"Bearer {text}"})
    answer = post(client, "/api/v1/projects", {"name": "second"}, **{"Idempotency-Key": "k1"})
    assert answer.status_code == 201


def test_a_token_is_shown_once_even_when_the_post_is_repeated(api: Client) -> None:
    first = post(api, "/api/v1/tokens", {"name": "ci"}, **{"Idempotency-Key": "k"})
    again = post(api, "/api/v1/tokens", {"name": "ci"}, **{"Idempotency-Key": "k"})
    assert first.json()["token"].startswith("flt_")
    assert again.json()["token"] != first.json()["token"]
    listed = json.dumps(api.get("/api/v1/tokens").json())
    assert first.json()["token"] not in listed


def test_a_revoked_token_stops_at_once(api: Client) -> None:
    made = post(api, "/api/v1/tokens", {"name": "ci"}).json()
    client = Client(headers={"Authorization": f"Bearer {made['token']}"})
    assert client.get("/api/v1/projects").status_code == 200
    assert api.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    assert client.get("/api/v1/projects").status_code == 401


def test_a_token_grants_no_more_than_its_maker_has() -> None:
    person = User.objects.create_user("ada")
    Membership.objects.create(project=Project.objects.create(name="mine"), user=person, role=Role.VIEWER)
    _, text = issue_token(name="t", user=person, role=Role.VIEWER)
    client = Client(headers={"Authorization": f"Bearer {text}"})
    for asked in ({"project": "mine", "role": "admin"}, {"role": "developer"}):
        more = post(client, "/api/v1/tokens", {"name": "more", **asked})
        assert (more.status_code, more.json()["field"]) == (403, "role")
    for asked in ({"project": "mine", "role": "viewer"}, {"project": "mine"}, {}):
        assert post(client, "/api/v1/tokens", {"name": "as much", **asked}).json()["role"] == "viewer"
    refused = post(client, "/api/v1/tokens", {"name": "more", "project": "mine", "personal": False})
    assert refused.status_code == 403
    assert not ApiToken.objects.filter(user=None).exists()


def test_health_endpoints_need_no_login() -> None:
    assert Client().get("/healthz").json()["status"] == "ok"
    ready = Client().get("/readyz")
    well = dict.fromkeys(("postgres", "redis", "migrations", "artifacts"), "ok")
    assert (ready.status_code, ready.json()["checks"]) == (200, well)


def test_whether_a_process_lives_is_no_question_to_postgres(
    root: User, django_assert_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    browser = Client()
    browser.force_login(root)
    with django_assert_num_queries(0):
        assert browser.get("/healthz").status_code == 200


def test_ready_is_honest_about_redis_and_serves_without_it(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded"), "without it requests are served, too"
    assert "Redis can't be reached" in answer.json()["checks"]["redis"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [("", "ok"), ("redis", "degraded"), ("postgres", "unavailable"), ("migrations redis", "unavailable")],
)
def test_redis_alone_can_be_done_without(wrong: str, status: str) -> None:
    names = ("postgres", "redis", "migrations")
    assert verdict({name: "gone" if name in wrong.split() else "ok" for name in names}) == status


@pytest.mark.parametrize(("role", "roles"), [(Role.VIEWER, ["viewer"]), (Role.DEVELOPER, ["viewer", "developer"])])
def test_the_form_for_tokens_offers_no_higher_role(role: Role, roles: list[str]) -> None:
    person = User.objects.create_user("ada")
    Membership.objects.create(project=Project.objects.create(name="mine"), user=person, role=role)
    client = Client()
    client.force_login(person)
    shown = client.get("/settings/").content.decode()
    assert all(f'name="{field}"' in shown for field in ("name", "project", "role", "days", "read_only"))
    assert [each.value for each in Role if f'<option value="{each}"' in shown] == roles
    more = client.post("/settings/", {"name": "more", "role": "admin", "days": "30"})
    assert more.status_code == 400 and not ApiToken.objects.exists()
    made = client.post("/settings/", {"name": "as much", "role": role, "days": "30"})
    assert "flt_" in made.content.decode() and ApiToken.objects.get().role == role


class _Step(serializers.Serializer[Any]):
    weight = serializers.IntegerField(max_value=100, min_value=0)


class _Asked(Strict):
    """A field of each kind that requests have."""

    name = serializers.CharField(max_length=3)
    on = serializers.BooleanField(required=False)
    share = serializers.FloatField(required=False)
    when = serializers.ChoiceField(["now"], required=False)
    steps = _Step(many=True, required=False)
    names = serializers.ListField(child=serializers.CharField(), allow_empty=False, required=False)
    env = serializers.DictField(child=serializers.CharField(), required=False)
    one = _Step(required=False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "name is missing: add it to the request."),
        ({"name": None}, "name may not be null: give it a value, or leave it out."),
        ({"name": ""}, "name is empty: give it a value."),
        ({"name": []}, "name has to be text."),
        ({"name": "abcd"}, "name may have at most 3 characters."),
        ({"name": "a", "on": "maybe"}, "on has to be true or false."),
        ({"name": "a", "share": "much"}, "share has to be a number."),
        ({"name": "a", "when": "then"}, 'when can\'t be "then": the reference of the API lists what it can.'),
        ({"name": "a", "steps": {}}, "steps has to be a list, and is of the type dict."),
        ({"name": "a", "steps": [{"weight": 1}, {"weight": "x"}]}, "steps[1].weight has to be a whole number."),
        ({"name": "a", "steps": [{"weight": 101}]}, "steps[0].weight may be at most 100."),
        ({"name": "a", "names": []}, "names is an empty list: name at least one, or leave it out."),
        ({"name": "a", "names": ["b", {}]}, "names[1] has to be text."),
        ({"name": "a", "env": "A=1"}, "env has to be an object, and is of the type str."),
        ({"name": "a", "env": {"A": None}}, "env.A may not be null: give it a value, or leave it out."),
        ({"name": "a", "one": {}}, "one.weight is missing: add it to the request."),
        ({"name": "a", "one": 3}, "one has to be an object with fields, and is of the type int."),
        ({"name": "a", "nmae": 3}, "nmae: There is no such field."),
    ],
)
def test_what_is_wrong_with_a_field_is_said_with_its_place_and_what_would_be_right(
    body: dict[str, Any], says: str
) -> None:
    with pytest.raises(serializers.ValidationError) as refused:
        _Asked.read(body)
    answer = exception_handler(refused.value, {})
    assert answer is not None and answer.data["detail"] == says
