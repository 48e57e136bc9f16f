"""No page or endpoint makes a number of queries that grows with its rows.

The counts are recorded in `query_counts.json`, so that a change of them is seen in review. After a wanted change:
`RECORD_QUERY_COUNTS=1 pytest tests/architecture/test_query_counts.py`.
"""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.clusters.models import Cluster, Pod
from apps.clusters.usage import partitions, rollup
from apps.core.models import Project
from apps.experiments.models import Experiment, Run
from tests import factories
from tests.clusters import usage_history

pytestmark = pytest.mark.django_db

RECORD = Path(__file__).with_name("query_counts.json")
PAGES = [
    "/p/demo/",
    "/activity/",
    "/clusters/",
    "/clusters/?group=region&sort=-gpu",
    "/clusters/demo-cluster/",
    "/clusters/demo-cluster/check/",
    "/clusters/demo-cluster/?sort=-cpu&pod=demo",
    "/clusters/demo-cluster/nodes/demo-cluster-node-1/",
    "/clusters/demo-cluster/events/",
    "/clusters/demo-cluster/pods/flotilla-demo/{pod}/",
    "/clusters/demo-cluster/usage/",
    "/clusters/demo-cluster/usage/?span=24h",
    "/clusters/demo-cluster/usage/?span=30d",
    "/clusters/demo-cluster/nodes/demo-cluster-node-1/usage/",
    "/clusters/demo-cluster/namespaces/",
    "/usage/",
    "/usage/?by=deployment",
    "/usage/?by=experiment",
    "/p/demo/experiments/",
    "/p/demo/experiments/digits/",
    "/p/demo/runs/{run}/",
    "/p/demo/models/",
    "/p/demo/models/digits/",
    "/p/demo/deployments/",
    "/p/demo/deployments/digits/",
    "/p/demo/targets/",
    "/search?q=digits",
    "/api/v1/projects",
    "/api/v1/clusters",
    "/api/v1/clusters/demo-cluster",
    "/api/v1/clusters/demo-cluster/nodes",
    "/api/v1/clusters/demo-cluster/pods",
    "/api/v1/clusters/demo-cluster/events",
    "/api/v1/usage",
    "/api/v1/experiments",
    "/api/v1/runs",
    "/api/v1/runs/{run}",
    "/api/v1/runs/{run}/metrics",
    "/api/v1/models",
    "/api/v1/models/digits",
    "/api/v1/models/digits/versions",
    "/api/v1/targets",
    "/api/v1/deployments",
    "/api/v1/deployments/digits",
    "/api/v1/deployments/digits/replicas",
    "/api/v1/deployments/digits/revisions",
    "/api/v1/deployments/digits/rollouts",
]


def counted(client: Client, path: str) -> int:
    client.get(path)  # what is cached by the first request is not what the page costs
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(path)
    assert answer.status_code == 200, f"{path} answered {answer.status_code}"
    return len(queries)


def grow(project: Project) -> None:
    """Several times more of everything that the pages list."""
    home = project.deployments.get(name="digits").target.cluster
    experiment = Experiment.objects.get(project=project, name="digits")
    model = project.registered_models.get(name="digits")
    for number in range(6):
        source = factories.run(experiment)
        made = factories.version(model, source, alias=f"alias-{number}")
        factories.run(experiment, state="Failed")
        factories.deployment(project, home, f"more-{number}", made)
        sick = factories.pod(home, project, deployment="digits", revision="1", ready=False, health="Degraded")
        factories.warning(home, sick)
        factories.run(Experiment.objects.create(project=project, name=f"more-{number}"))
        factories.cluster(f"more-{number}", state="Unreachable")
        factories.pod(home, project, run=str(source.pk), namespace=f"more-{number}")
    sample(home)


def sample(cluster: Cluster) -> None:
    """Some minutes of usage history, in the time of its project."""
    now = partitions.clock()
    Project.objects.update(created_at=now - timedelta(days=1))
    for minutes in (14, 13, 3, 2):
        usage_history.sample_now(cluster, now - timedelta(minutes=minutes))
    rollup.run(now)


def test_queries_do_not_grow_with_rows() -> None:
    project = factories.busy_project(size=2)
    client = Client()
    client.force_login(factories.member(project))
    first = Run.objects.filter(experiment__name="digits").earliest("id")
    run, home = first.uid, project.deployments.get(name="digits").target.cluster
    factories.pod(home, project, run=str(first.pk))
    pod = Pod.objects.filter(deployment="digits", health="Degraded").earliest("id").name
    sample(home)
    before = {path: counted(client, path.format(run=run, pod=pod)) for path in PAGES}
    grow(project)
    after = {path: counted(client, path.format(run=run, pod=pod)) for path in PAGES}
    growing = {path: (before[path], after[path]) for path in PAGES if after[path] > before[path]}
    assert not growing, f"queries before and after: {growing}"
    if os.environ.get("RECORD_QUERY_COUNTS"):
        RECORD.write_text(json.dumps(after, indent=2) + "\n")
    recorded = json.loads(RECORD.read_text())
    more = {path: f"{recorded.get(path)} → {count}" for path, count in after.items() if count > recorded.get(path, 0)}
    assert not more, f"more queries than recorded: {more}"
