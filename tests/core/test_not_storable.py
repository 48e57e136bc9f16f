"""What JSON can say and Postgres can't hold, a NUL or half of a surrogate pair, is wrong input at every door: 400.

A 500 would say that it is our fault, and a stock MLflow client would try it again for minutes.
"""

import json
from typing import Any

import pytest
from django.test import Client

from apps.core.access import Principal
from apps.core.models import Membership, Project, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments import services
from tests import factories

# Where Postgres refuses, the transaction is broken: each request has its own.
pytestmark = pytest.mark.django_db(transaction=True)
BAD = ("half \ud83d", "other half \ude00", "a\0b")
MLFLOW = "/api/2.0/mlflow/"


@pytest.fixture
def client() -> Client:
    user, project = User.objects.create_user("ada"), Project.objects.create(name="demo")
    Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    factories.cluster("local")
    experiment = services.create_experiment(principal=Principal(user=user), project=project, name="digits")
    made = services.create_external_run(principal=Principal(user=user), experiment=experiment, name="one")
    client = Client(headers={"Authorization": f"Bearer {issue_token(name='t', user=user, role=Role.ADMIN)[1]}"})
    client.about = {"run_id": made.uid, "experiment_id": str(experiment.pk)}  # type: ignore[attr-defined]
    return client


def mlflow(bad: str, about: dict[str, str]) -> dict[str, dict[str, Any]]:
    run = {"run_id": about["run_id"]}
    pair = [{"key": "k", "value": bad}]
    return {
        "experiments/create": {"name": bad},
        "experiments/set-experiment-tag": {"experiment_id": about["experiment_id"], "key": "k", "value": bad},
        "runs/create": {"experiment_id": about["experiment_id"], "run_name": bad},
        "runs/update": {**run, "run_name": bad},
        "runs/search": {"experiment_ids": [about["experiment_id"]], "filter": f"params.a = '{bad}'"},
        "runs/log-parameter": {**run, "key": "k", "value": bad},
        "runs/log-metric": {**run, "key": bad, "value": 1.0, "timestamp": 1},
        "runs/set-tag": {**run, "key": bad, "value": "v"},
        "runs/log-batch": {**run, "params": pair},
        "logged-models": {"experiment_id": about["experiment_id"], "name": "m", "params": pair},
        "registered-models/create": {"name": "digits", "tags": pair},
    }


def rest(bad: str) -> dict[str, dict[str, Any]]:
    run = {"project": "demo", "experiment": "digits", "image": "busybox"}
    return {
        "tokens": {"name": bad},
        "experiments": {"project": "demo", "name": bad},
        "runs": {**run, "params": {bad: "1"}},
        "runs?": {**run, "params": {"a": bad}},
        "runs?dry_run=false": {**run, "env": {"A": bad}},
        "models": {"project": "demo", "name": "digits", "description": bad},
        "projects": {"name": "demo", bad: 1},
        "deployments": {"project": "demo", "name": "app", "target": "eu", "strategy": {"kind": bad}},
    }


@pytest.mark.parametrize("bad", BAD)
def test_what_can_not_be_stored_is_refused(client: Client, bad: str) -> None:
    about: dict[str, str] = client.about  # type: ignore[attr-defined]
    asked = {f"{MLFLOW}{path}": body for path, body in mlflow(bad, about).items()}
    asked |= {f"/api/v1/{path}": body for path, body in rest(bad).items()}
    for path, body in asked.items():
        answer = client.post(path, json.dumps(body), content_type="application/json")
        said = (path, answer.status_code, answer.content[:200])
        assert answer.status_code == 400, said
    good = client.post(
        f"{MLFLOW}runs/log-parameter",
        json.dumps({"run_id": about["run_id"], "key": "k", "value": "\U0001f600"}),
        content_type="application/json",
    )
    assert good.status_code == 200, "a whole pair, escaped, is a letter as any other"
