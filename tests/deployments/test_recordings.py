"""Requests that are kept of a deployment: how many, whose, and what of them."""

from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.errors import Conflict, Invalid
from apps.core.models import AuditEntry, Membership, Project, User
from apps.core.states import Role
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Recording
from apps.deployments.predict import Prediction, keeping
from apps.deployments.predict.keeping import keep
from apps.deployments.services.recordings import MAX_RECORDINGS, body_to_record
from tests.deployments.conftest import client_of
from tests.deployments.test_pages import browser, words

pytestmark = pytest.mark.django_db

PATH = "/api/v1/deployments/digits/recordings"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a model was asked, which answers everything."""
    seen: list[Any] = []

    def predict(*, principal: Principal, deployment: Deployment, body: Any) -> Prediction:
        seen.append(body)
        return Prediction({"outputs": [{"name": "label", "data": [7]}]}, "digits-r1-abcde", 1, 3.0, 3.0, 1)

    monkeypatch.setattr(keeping, "predict", predict)
    return seen


def request_of(value: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP64", "data": [value]}]}


def test_a_kept_request_is_its_inputs_alone_whatever_they_hold(
    asked: list[Any], developer: Principal, digits: Deployment
) -> None:
    body = request_of("\x00 \ud83d\ude80".encode("utf-16", "surrogatepass").decode("utf-16")) | {
        "id": "42", "authorization": "Bearer s3cret", "parameters": {"top": 1},
    }  # fmt: skip
    first = keep(principal=developer, deployment=digits, body=body, name=" a rocket ")
    again = keep(principal=developer, deployment=digits, body=body | {"id": "43"}, name="other")
    assert (first.new, again.new, again.recording, len(asked)) == (True, False, first.recording, 2)
    kept = Recording.objects.get()
    assert (kept.name, kept.inputs, kept.revision, kept.created_by) == ("a rocket", "x 1×64 FP64", 1, "dev")
    assert kept.body == body_to_record(body) and "s3cret" not in kept.body and '"id"' not in kept.body
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.after) == (
        "deployment.record",
        {"request": 1, "name": "a rocket", "inputs": "x 1×64 FP64"},
    )


def test_as_many_are_kept_as_an_analysis_may_send(asked: list[Any], developer: Principal, digits: Deployment) -> None:
    for number in range(MAX_RECORDINGS):
        keep(principal=developer, deployment=digits, body=request_of(number))
    del asked[:]
    with pytest.raises(Conflict, match="has 20 recorded requests"):
        keep(principal=developer, deployment=digits, body=request_of("more"))
    for body, name in ((request_of("x" * 131_073), ""), (request_of(1), 61 * "n"), (request_of(1), "a\nb")):
        with pytest.raises(Invalid):
            keep(principal=developer, deployment=digits, body=body, name=name)
    assert asked == [], "no model is asked for nothing"
    assert not keep(principal=developer, deployment=digits, body=request_of(0)).new, "what is kept has its room"
    services.forget_request(principal=developer, deployment=digits, number=3)
    assert keep(principal=developer, deployment=digits, body=request_of("more")).recording.number == 21
    assert [each.number for each in selectors.recordings_of(digits)] == [1, 2, *range(4, 22)]


def test_what_was_asked_is_shown_to_developers_alone(
    asked: list[Any], demo: Project, developer: Principal, digits: Deployment, api: Client
) -> None:
    viewer = User.objects.create_user("viewer")
    Membership.objects.create(project=demo, user=viewer, role=Role.VIEWER)
    made = api.post(PATH, {"request": request_of(5), "name": "a five"}, content_type="application/json")
    assert (made.status_code, made.json()["request"]) == (201, request_of(5))
    reads, page = client_of(viewer), "/p/demo/deployments/digits/"
    refused = [
        reads.get(PATH),
        reads.post(PATH, {"request": request_of(6)}, content_type="application/json"),
        reads.delete(f"{PATH}/1"),
        browser(viewer).post(f"{page}requests/keep", {"body": "{}"}),
        browser(viewer).post(f"{page}requests/1/forget"),
    ]
    assert [each.status_code for each in refused] == [403] * 5
    assert "a five" not in words(browser(viewer).get(page))
    assert len(asked) == 1
    seen = words(browser(developer.user).get(page))
    assert "1 recorded request" in seen and "a five x 1×64 FP64 revision 1" in seen
    assert api.delete(f"{PATH}/1").status_code == 204
    assert api.delete(f"{PATH}/1").status_code == 404
    assert api.get(PATH).json()["results"] == []


def test_the_console_keeps_what_it_was_answered(asked: list[Any], developer: Principal, digits: Deployment) -> None:
    page = browser(developer.user)
    path = "/p/demo/deployments/digits/requests/"
    assert "This is not JSON" in words(page.post(f"{path}keep", {"body": "{"}))
    body = {"body": '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}', "name": ""}
    assert "Kept as request 1 ." in words(page.post(f"{path}keep", body))
    assert "kept already, as request 1 ." in words(page.post(f"{path}keep", body))
    assert page.post(f"{path}1/forget").status_code == 302
    assert page.post(f"{path}1/forget").status_code == 404
