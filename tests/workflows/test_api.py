"""Pipelines by REST, and by signed messages."""

import json
import time
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.models import AuditEntry, Membership, Project
from apps.core.secrets.tokens import issue_token
from apps.workflows.models import Delivery, PipelineRun, Webhook
from apps.workflows.services.webhooks import MAX_BODY, signature
from tests.workflows.courses import end, rounds, step
from tests.workflows.pipelines import DIGITS, digits

ONE = "name: one\nparams: {n: 1}\nsteps:\n  - {name: only, run: {image: busybox, args: ['${{ params.n }}']}}\n"


@pytest.fixture
def api(ada: Principal) -> Client:
    return Client(headers={"Authorization": f"Bearer {issue_token(name='test', user=ada.user)[1]}"})


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(f"/api/v1/{path}", body or {}, content_type="application/json")


def test_a_pipeline_is_made_as_yaml_or_as_an_object_and_started_and_followed(api, project, cluster):
    made = post(api, "pipelines/", {"yaml": DIGITS})
    assert (made.status_code, made.json()["number"], made.json()["yaml"]) == (201, 1, DIGITS)
    assert post(api, "pipelines/", {"pipeline": digits()}).status_code == 200
    begun = post(api, "pipelines/digits/runs/", {"params": {"epochs": 3, "sizes": [8]}})
    assert begun.status_code == 201
    assert begun.json()["params"] == {"epochs": 3, "sizes": [8], "least": 0.8}
    run = rounds(PipelineRun.objects.get())
    uid = end(step(run, "prepare"), rows=1300).uid
    rounds(run)
    shown = api.get("/api/v1/pipelines/digits/runs/1/").json()
    assert (shown["state"], shown["step_count"], shown["ended_count"]) == ("Running", 6, 1)
    first, second = shown["steps"][:2]
    assert (first["run"], first["outputs"]["rows"], first["state"]) == (uid, 1300, "Succeeded")
    assert (second["name"], second["item"], second["value"], second["state"]) == ("train", 0, 8, "Running")
    assert post(api, "pipelines/digits/runs/1/cancel/").json()["state"] == "Canceling"
    assert api.get("/api/v1/pipelines/").json()["results"][0]["last_runs"] == [{"number": 1, "state": "Canceling"}]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("pipelines/", {"yaml": "name: [x"}, 400, "not valid YAML (line 1)"),
        (
            "pipelines/",
            {"yaml": ONE.replace("image", "imag")},
            400,
            "Line 4, steps.0.run.imag: There is no 'imag'",
        ),
        ("pipelines/", {"pipeline": {"name": "x"}}, 400, "steps is a list"),
        ("pipelines/", {}, 400, "Give either"),
        ("pipelines/one/runs/", {"params": {"n": "two"}}, 400, "params.n is a whole number."),
        ("pipelines/one/runs/", {"params": {"m": 1}}, 400, "no parameter 'm'"),
        ("pipelines/one/runs/", {"version": 9}, 404, "no version 9"),
        ("pipelines/two/runs/", {}, 404, "no pipeline 'two'"),
        ("pipelines/one/runs/7/cancel/", {}, 404, "no run #7"),
        ("pipelines/one/runs/1/retry/", {}, 409, "nothing to retry"),
        ("pipelines/one/runs/1/steps/only/approve/", {}, 404, "no step 'only'"),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(api, project, path, body, status, said):
    post(api, "pipelines/", {"yaml": ONE})
    post(api, "pipelines/one/runs/")
    answer = post(api, path, body)
    assert answer.status_code == status
    assert said in json.dumps(answer.json(), ensure_ascii=False)


class Sender:
    """A program that has the secret of a webhook."""

    def __init__(self, api: Client) -> None:
        post(api, "pipelines/", {"yaml": ONE})
        self.made = post(api, "pipelines/one/webhooks/", {"name": "push"}).json()
        self.secret = self.made["secret"].encode()
        self.path = f"/api/hooks/{Webhook.objects.get().key}"

    def send(self, body: bytes = b"", *, at: str = "", by: bytes = b"", **headers: str) -> Any:
        stamp = at or str(int(time.time()))
        signed = f"sha256={signature(by or self.secret, stamp, body)}"
        sent = {"X-Flotilla-Timestamp": stamp, "X-Flotilla-Signature": signed, **headers}
        return Client().post(self.path, body, content_type="application/json", headers=sent)


@pytest.fixture
def sender(api: Client, project: Project) -> Sender:
    return Sender(api)


def test_a_signed_message_starts_the_pipeline_once_however_often_it_comes(api, sender, cluster):
    stamp, body = str(int(time.time())), b'{"params": {"n": 5}, "ref": "refs/heads/main"}'
    first, second = sender.send(body, at=stamp), sender.send(body, at=stamp)
    assert (first.status_code, first.json()) == (201, {"pipeline": "one", "run": 1})
    assert (second.status_code, second.json()) == (200, first.json())
    run = PipelineRun.objects.get()
    assert (run.params, run.webhook.name, run.created_by.split()[0]) == ({"n": 5}, "push", "ada")
    assert step(rounds(run), "only").run.spec["args"] == ["5"]
    assert sender.made["url"].endswith(sender.path)
    listed = api.get("/api/v1/pipelines/one/webhooks/").json()["results"]
    assert listed == [{key: value for key, value in sender.made.items() if key != "secret"}]
    told = api.get("/api/v1/pipelines/one/deliveries/").json()["results"]
    assert [(each["run"], each["refusal"]) for each in told] == [(1, "")]
    everything = (
        json.dumps([entry.after for entry in AuditEntry.objects.all()]) + Webhook.objects.get().secret_encrypted
    )
    assert sender.made["secret"] not in everything


def test_nothing_is_started_without_the_secret_or_late_or_by_too_long_a_message(sender):
    now = int(time.time())
    answers = [
        sender.send(by=b"guessed"),
        # Allowed are five minutes, of which a busy machine takes some seconds.
        sender.send(at=str(now - 301)),
        sender.send(at=str(now + 420)),
        *(sender.send(at=time) for time in ("yesterday", f"-{now}", f"{now}.0", "9" * 5000)),
        sender.send(b"x" * (MAX_BODY + 1)),
        sender.send(**{"X-Flotilla-Signature": ""}),
        sender.send(**{"X-Flotilla-Signature": "sha256=ö"}),
        # The time is signed, too: an old message can't be made young.
        sender.send(**{"X-Flotilla-Timestamp": str(now + 1)}),
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    sender.path = "/api/hooks/" + "0" * 32
    unknown = sender.send()
    assert (unknown.status_code, unknown.json()) == (401, answers[0].json())
    assert not PipelineRun.objects.exists() and not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[1]", "an object"),
        (b"{", "no JSON"),
        (b'{"params": {"n": "x"}}', "whole number"),
        (b"[" * 9000, "no JSON"),
        (b'{"params": {"n": "\\u0000"}}', "whole number"),
    ],
)
def test_a_signed_message_that_the_pipeline_does_not_take_is_answered_and_noted(api, sender, body, said):
    stamp = str(int(time.time()))
    answers = [sender.send(body, at=stamp), sender.send(body, at=stamp)]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert said in answers[1].json()["detail"]
    assert said in Delivery.objects.get().refusal


def test_a_webhook_does_no_more_than_its_maker_may(api, sender, ada, project):
    Membership.objects.filter(user=ada.user).delete()
    assert sender.send().status_code == 400
    assert not PipelineRun.objects.exists()


def test_a_webhook_that_is_removed_starts_nothing(api, sender):
    assert api.delete("/api/v1/pipelines/one/webhooks/push/").status_code == 204
    assert sender.send().status_code == 401


def test_a_step_is_approved_by_rest(api, project, cluster):
    post(api, "pipelines/", {"yaml": "name: ask\nsteps:\n  - {name: go, approve: {message: Go}}\n"})
    post(api, "pipelines/ask/runs/")
    run = rounds(PipelineRun.objects.get())
    answer = post(api, "pipelines/ask/runs/1/steps/go/approve/", {"comment": "Yes."})
    assert answer.json()["steps"][0]["outputs"]["comment"] == "Yes."
    assert rounds(run).state == "Succeeded"
    assert post(api, "pipelines/ask/runs/1/steps/go/reject/").status_code == 409
