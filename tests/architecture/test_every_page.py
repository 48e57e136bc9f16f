"""No page lists everything: of a thousand rows it shows some, and says how many there are or how to come to them."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.models import Cluster, Node
from apps.core.models import ApiToken, AuditEntry, Membership, Project
from apps.core.states import Role
from apps.deployments.models import Approval, Deployment, MetricsSource, Placement, Revision, Target
from apps.experiments.models import Experiment, ModelVersion, RegisteredModel, Run
from tests.architecture import world
from tests.architecture.calls import PAGES

pytestmark = pytest.mark.django_db
MANY = 130
MOST = 100
# Kubernetes says how many pods a node has, and a page of it shows them all.
BOUNDED_ELSEWHERE = re.compile(r"^/clusters/[^/]+/nodes/")


def fill(made: world.World) -> None:
    """Many of all that pages list, beside what there is."""
    project, person = made.project, made.person
    names = [f"many-{number:03}" for number in range(MANY)]
    home = Cluster.objects.get(name="demo-cluster")
    source = MetricsSource.objects.get()
    version, served = ModelVersion.objects.earliest("id"), project.deployments.get(name="digits")
    place = served.places[0]
    shared = {"project": project}
    Experiment.objects.bulk_create(Experiment(**shared, name=name) for name in names)
    Run.objects.bulk_create(
        Run(experiment=made.first.experiment, state="Failed", name=name, ended_at=timezone.now()) for name in names
    )
    RegisteredModel.objects.bulk_create(RegisteredModel(**shared, name=name) for name in names)
    ModelVersion.objects.bulk_create(
        ModelVersion(model=version.model, version=1000 + number, run=made.first, artifact_path="model")
        for number in range(MANY)
    )
    targets = Target.objects.bulk_create(
        Target(**shared, name=name, cluster=home, namespace=name, environment="test") for name in names
    )
    rollout = Approval.objects.get().rollout
    Approval.objects.bulk_create(Approval(rollout=rollout, target=target) for target in targets)
    MetricsSource.objects.bulk_create(MetricsSource(**shared, name=name, address=source.address) for name in names)
    more = Deployment.objects.bulk_create(Deployment(**shared, name=name, current=served.current) for name in names)
    Placement.objects.bulk_create(Placement(deployment=each, target=place.target) for each in more)
    Revision.objects.bulk_create(
        Revision(deployment=served, number=1000 + number, digest=f"{number}", spec=served.current.spec)
        for number in range(MANY)
    )
    Node.objects.bulk_create(
        Node(cluster=home, uid=name, name=name, ready=True, observed_at=timezone.now()) for name in names
    )
    others = Project.objects.bulk_create(Project(name=name) for name in names)
    Membership.objects.bulk_create(Membership(project=other, user=person, role=Role.ADMIN) for other in others)
    ApiToken.objects.bulk_create(ApiToken(user=person, name=name, digest=name, prefix=name[:8]) for name in names)
    AuditEntry.objects.bulk_create(
        AuditEntry(actor="ada", **shared, action="target.create", object_type="target", object_name=name)
        for name in names
    )


def rows_of(html: str) -> int:
    """The rows of the longest table of a page, or its cards, if there are more."""
    tables = [part.count("<tr") for part in re.findall(r"<tbody.*?</tbody>", html, re.DOTALL)]
    return max([*tables, html.count('<section class="card')])


def test_no_page_lists_everything() -> None:
    made = world.small()
    fill(made)
    client = Client()
    client.force_login(made.person)
    lengths = {}
    for path in (made.fill(ask.path) for ask in PAGES if "?" not in ask.path or "view=" in ask.path):
        if not BOUNDED_ELSEWHERE.match(path):
            answer = client.get(path)
            assert answer.status_code in (200, 302), path
            lengths[path] = rows_of(answer.content.decode())
    assert {path: rows for path, rows in lengths.items() if rows > MOST} == {}
    assert max(lengths.values()) > 40, "there is something to list"
    approvals = client.get("/p/demo/approvals/").content.decode()
    assert f"<h1>{MANY + 1} approvals wait for you</h1>" in approvals and "81 more wait" in approvals
    for path in ("/p/demo/targets/", "/settings/"):
        assert 'rel="next"' in client.get(path).content.decode(), path
    one = client.get("/p/demo/targets/?q=many-077").content.decode()
    assert one.count("many-077</b>") == 2 and "many-078</b>" not in one
