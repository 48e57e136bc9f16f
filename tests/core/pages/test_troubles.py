"""The same trouble is told once, wherever troubles are listed: with a count, a next step, and those that it befell."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.connect import checks
from apps.clusters.models import Cluster, Pod
from apps.core.models import Membership, Project, User
from apps.core.states import Role
from apps.deployments.models import Deployment, Placement
from apps.experiments.models import Experiment, Run
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return factories.busy_project(size=1)


@pytest.fixture
def client(project: Project) -> Client:
    person = User.objects.create_superuser("root")
    Membership.objects.create(project=project, user=person, role=Role.ADMIN)
    made = Client()
    made.force_login(person)
    return made


def lines(client: Client, address: str) -> list[str]:
    """The troubles on a page, each as its HTML."""
    page = client.get(address).content.decode()
    return re.findall(r'<div class="why".*?</div>(?=\s*(?:<div class="why"|<footer|</section))', page, re.DOTALL)


def named(line: str) -> int:
    """How many things a line names or counts in its list."""
    more = re.search(r"and (\d+) more</li>", line)
    return line.count("</a></li>") + (int(more[1]) if more else 0)


def deployments(project: Project, count: int, **fields: Any) -> None:
    like = project.deployments.earliest("id")
    for number in range(count):
        name = f"served-{number:02}"
        message = str(fields.get("message", "")).format(name=name)
        seen = {**fields, "message": message, "state": "Active"}
        made = Deployment.objects.create(project=project, name=name, current=like.current, **seen)
        Placement.objects.create(deployment=made, target=like.places[0].target, stable=like.current, **seen)


def runs(project: Project, count: int, **fields: Any) -> None:
    experiment = Experiment.objects.create(project=project, name="many")
    for _ in range(count):
        factories.run(experiment, kind="launched", **{"ended_at": None, **fields})
    Run.objects.filter(experiment=experiment).update(created_at=timezone.now() - timedelta(minutes=5))


@pytest.mark.parametrize("count", [2, 30])
def test_a_cluster_that_is_away_is_one_line_with_all_that_is_on_it(
    client: Client, project: Project, count: int
) -> None:
    home = Cluster.objects.get(targets__project=project)
    others = [factories.cluster(f"other-{number}", nodes=0) for number in range(2)]
    Cluster.objects.filter(pk__in=[home.pk, *(other.pk for other in others)]).update(
        state="Unreachable", reason="Timeout", message="The API server did not answer in time."
    )
    Pod.objects.all().delete()
    Run.objects.all().delete()
    for table in (Deployment, Placement):
        table.objects.update(health="Unknown", reason="Timeout", message="home: no answer.")
    deployments(project, count - 1, health="Unknown", reason="Timeout", message="home: no answer.")
    runs(project, count, state="Queued", cluster=home, reason="ClusterUnreachable", message="home: no answer.")
    [line] = lines(client, "/p/demo/?part=attention")
    assert "3 clusters can&#x27;t be reached" in line
    assert f"3 clusters unreachable, {count} runs waiting, {count} deployments unknown" in line
    assert named(line) == 3 + count + count and "What to do:" in line
    verdict = client.get("/p/demo/?part=verdict").content.decode()
    assert f"3 clusters unreachable (and so {count} runs waiting, {count} deployments unknown)" in verdict
    [line] = lines(client, "/clusters/?part=fleet")
    assert named(line) == 3 and "What to do:" in line


@pytest.mark.parametrize("count", [2, 30])
def test_what_is_the_same_trouble_of_several_is_one_line(client: Client, project: Project, count: int) -> None:
    sick = "1 of 3 ready. {name}-r1-abc-x: Back-off pulling image team/none:1."
    project.deployments.update(health="Healthy")
    deployments(project, count, health="Degraded", reason="ImagePullBackOff", message=sick)
    ended = timezone.now() - timedelta(hours=3)
    runs(project, count, state="Failed", reason="Lost", message="Its node is gone.", ended_at=ended)
    home = Cluster.objects.get(targets__project=project)
    Pod.objects.all().delete()
    for number in range(count):
        factories.pod(
            home, project, name=f"served-{number}", ready=False, health="Degraded", reason="Evicted",
            message="The node was low on memory.", phase="Running", node_name="",
        )  # fmt: skip
    # Of what failed long ago the newest are compared.
    old = min(count, 24)
    for address, noun, most in (
        ("/p/demo/?part=attention", f"{count} deployments are degraded", count),
        ("/p/demo/?part=failures", f"and {old - 1} more", old),
        ("/clusters/" + home.name + "/?part=whys", f"and {count - 1} more", count),
    ):
        [line] = [each for each in lines(client, address) if "more" in each or "are degraded" in each]
        assert noun in line, address
        assert named(line) == most, address


@pytest.mark.parametrize(
    ("count", "who", "times"),
    [(2, "one-0 and one-1", "twice. Remove one of"), (4, "one-0, one-1, one-2", "4 times. Remove all but one of")],
)
def test_one_cluster_under_several_names_is_one_line(client: Client, count: int, who: str, times: str) -> None:
    for number in range(count):
        row = factories.cluster(f"one-{number}", nodes=0)
        others = [f"one-{other}" for other in range(count) if other != number]
        told = {"kind": checks.TWICE, "title": "it is registered twice", "noun": "cluster registered twice"}
        told["message"] = f"It is the same cluster as {' and '.join(others)}."
        report = {"generation": row.generation, "findings": [told]}
        Cluster.objects.filter(pk=row.pk).update(identity="the-uid", check_report=report, checked_at=timezone.now())
    for address in ("/p/demo/?part=attention", "/clusters/?part=fleet"):
        [line] = [each for each in lines(client, address) if "one-0" in each]
        assert who in line and "are one cluster" in line and times in line, address
    assert "1 cluster registered twice" in client.get("/p/demo/?part=verdict").content.decode()
