"""The pages of pipelines, as people use them."""

import html
import re
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.models import Membership, User
from apps.core.states import Role
from apps.workflows import services
from apps.workflows.models import PipelineRun, Step, Webhook
from tests import factories
from tests.experiments.test_whys import launched
from tests.workflows.courses import end, rounds, started, step
from tests.workflows.pipelines import DIGITS

HOME = "/p/demo/pipelines"
ASK = """
name: ask
steps:
  - {name: go, approve: {message: Go on}}
  - {name: then, needs: go, run: {image: busybox}}
"""


@pytest.fixture
def browser(ada: Principal) -> Client:
    client = Client()
    client.force_login(ada.user)
    return client


def words(answer: Any) -> str:
    """What a page says, without its marks."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.content.decode())))


def test_the_first_pipeline_is_written_started_and_seen(browser, project, cluster):
    assert "Write the first pipeline" in words(browser.get(f"{HOME}/"))
    assert "${{ steps.train.runs }}" in words(browser.get(f"{HOME}/new"))
    made = browser.post(f"{HOME}/new", {"yaml": DIGITS})
    assert made.headers["Location"] == f"{HOME}/digits/"
    page = browser.get(f"{HOME}/digits/")
    assert "It has not run yet" in words(page) and 'name="param_epochs" value="5"' in page.content.decode()
    begun = browser.post(f"{HOME}/digits/start", {"version": "1", "param_epochs": "3", "param_sizes": "[8, 16]"})
    assert begun.headers["Location"] == f"{HOME}/digits/runs/1/"
    run = PipelineRun.objects.get()
    # What has nothing to show yet must be there all the same, to hear of what comes.
    assert re.search(
        r'id="timeline" hidden data-live="pipeline-run:', browser.get(f"{HOME}/digits/runs/1/").content.decode()
    )
    rounds(run)
    assert re.search(r'id="timeline" data-live=', browser.get(f"{HOME}/digits/runs/1/").content.decode())
    assert run.params == {"epochs": 3, "sizes": [8, 16], "least": 0.8}
    rounds(run)
    end(step(run, "prepare"), rows=1300)
    rounds(run)
    shown = browser.get(f"{HOME}/digits/runs/1/?step=train")
    text = words(shown)
    assert "1 of 7 steps ended" in text and "train[1]" in text and "run · 0 of 2" in text
    assert f'href="/p/demo/runs/{step(run, "train").run.uid}/"' in shown.content.decode()
    assert "rows 1300" in words(browser.get(f"{HOME}/digits/runs/1/?step=prepare"))
    assert "Begins after train." in words(browser.get(f"{HOME}/digits/runs/1/?step=evaluate"))
    assert "#1 Running" in browser.get(f"{HOME}/").content.decode()


def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(browser, project, cluster):
    refused = browser.post(f"{HOME}/new", {"yaml": DIGITS.replace("needs: train", "needs: brain")})
    assert refused.status_code == 400
    assert "Line 20, steps.2.needs: Step evaluate needs brain, which is no other step." in words(refused)
    assert "needs: brain" in words(refused)
    browser.post(f"{HOME}/new", {"yaml": DIGITS})
    wrong = browser.post(f"{HOME}/digits/start", {"version": "1", "param_epochs": "many", "param_sizes": "[]"})
    assert wrong.status_code == 400 and "params.epochs is a whole number." in words(wrong)
    assert 'value="many"' in wrong.content.decode()
    assert not PipelineRun.objects.exists()


def test_a_step_whose_run_no_node_takes_says_what_the_runs_page_says(browser, ada, project, cluster):
    row = step(rounds(started(ada, project, "name: big\nsteps: [{name: train, run: {image: busybox}}]")), "train")
    raw = "0/1 nodes are available: 1 Insufficient cpu."
    run = launched(row.run.experiment, cluster, reason="Unschedulable", message=raw)
    Step.objects.filter(pk=row.pk).update(run=run)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": raw}
    of_run = {"run": str(run.pk), "namespace": run.namespace, "owner_name": f"run-{run.pk}-1"}
    waits = {"phase": "Pending", "ready": False, "health": "Progressing", "node_name": "", "requests_cpu_m": 900_000}
    factories.pod(cluster, project, **of_run, **waits, status={"conditions": [condition]})
    said = browser.get(f"/api/v1/runs/{run.uid}/").json()["message"]
    assert "no node has 900 CPU" in said
    assert said in words(browser.get(f"{HOME}/big/runs/1/?step=train"))


def test_a_step_that_waits_is_approved_on_its_page(browser, ada, project, cluster):
    run = rounds(started(ada, project, ASK))
    page = browser.get(f"{HOME}/ask/runs/1/")
    assert "Go on" in words(page) and "Approve" in words(page)
    assert browser.post(f"{HOME}/ask/runs/1/steps/go/approve", {"comment": "Yes."}).status_code == 302
    rounds(run)
    assert step(run, "then").state == "Running"
    assert browser.post(f"{HOME}/ask/runs/1/cancel").status_code == 302
    assert rounds(run).state == "Canceling"


def test_a_run_that_failed_is_retried_and_run_again_with_its_parameters(browser, ada, project, cluster):
    run = rounds(started(ada, project, epochs=9))
    end(step(run, "prepare"), "Failed")
    rounds(run)
    page = browser.get(f"{HOME}/digits/runs/1/")
    assert "Retry from what failed" in words(page)
    again = re.search(r'href="([^"]+again=1)#start"', page.content.decode())[1]
    assert 'name="param_epochs" value="9"' in browser.get(html.unescape(again)).content.decode()
    assert browser.post(f"{HOME}/digits/runs/1/retry").headers["Location"] == f"{HOME}/digits/runs/2/"


def test_a_secret_is_shown_once(browser, ada, project):
    services.create_version(principal=ada, project=project, source=ASK)
    made = browser.post(f"{HOME}/ask/webhooks", {"name": "push"})
    secret = re.search(r"fls_[\w-]+", made.content.decode())[0]
    assert made.headers["Cache-Control"] == "no-store"
    page = browser.get(f"{HOME}/ask/")
    assert secret not in page.content.decode() and Webhook.objects.get().key in page.content.decode()
    taken = browser.post(f"{HOME}/ask/webhooks", {"name": "push"})
    assert taken.status_code == 400 and "has a webhook 'push' already" in words(taken)
    assert browser.post(f"{HOME}/ask/webhooks/push/delete").status_code == 302
    assert not Webhook.objects.exists()


def test_a_viewer_sees_all_and_is_offered_nothing(ada, project, cluster):
    run = rounds(started(ada, project, ASK))
    services.create_webhook(principal=ada, pipeline=run.pipeline, name="push")
    viewer = User.objects.create_user("vic")
    Membership.objects.create(project=project, user=viewer, role=Role.VIEWER)
    client = Client()
    client.force_login(viewer)
    pages = "".join(client.get(f"{HOME}/{path}").content.decode() for path in ("", "ask/", "ask/runs/1/"))
    assert "Go on" in pages
    assert Webhook.objects.get().key not in pages
    for form in ("Approve", "Cancel it", "Run it", "New pipeline", "Make a webhook"):
        assert form not in pages


def test_a_schedule_tells_its_next_times_in_its_own_zone(browser, ada, project, cluster):
    browser.post(f"{HOME}/new", {"yaml": DIGITS})
    asked = {"name": "daily", "cron": "30 3 * * *", "time_zone": "Asia/Tokyo", "overlap": "forbid", "missed": "once"}
    assert browser.post(f"{HOME}/digits/schedules", asked).status_code == 302
    assert len(re.findall(r", 03:30", words(browser.get(f"{HOME}/digits/")))) == 5
