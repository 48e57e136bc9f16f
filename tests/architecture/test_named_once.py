"""What a cluster says, and what is said of a target, names it once at every door, however often it was passed on."""

import html
import re

import pytest
from django.test import Client
from django.utils import timezone

from apps.clusters.kube.errors import Unreachable
from apps.clusters.models import Cluster
from apps.clusters.services.connecting import refuse_disabled
from apps.clusters.services.following import follow_state, silence
from apps.core.access import Principal
from apps.core.errors import FlotillaError
from apps.core.models import Project, User
from apps.deployments import services
from apps.deployments.models import Deployment, Placement
from apps.deployments.services import observing, rollouts
from apps.deployments.services.common import locked
from apps.experiments.models import Experiment, Run
from apps.experiments.services.away import away
from tests import factories
from tests.deployments.places import arrive

pytestmark = pytest.mark.django_db
SPEC = {"image": "team/serve:1", "port": 8080}
TWICE = re.compile(r"\b([a-z0-9][-a-z0-9]*): (?:(?:The )?[Cc]luster )?\1\b(?!-)|\b([a-z0-9]+)-prod: \2: ")
DOORS = (
    "/p/demo/", "/p/demo/deployments/", "/p/demo/deployments/both/", "/p/demo/deployments/alone/", "/clusters/",
    "/p/demo/deployments/?view=matrix", "/p/demo/targets/", "/p/demo/runs/{uid}/", "/p/demo/experiments/tried/",
    "/clusters/home/", "/api/v1/deployments", "/api/v1/deployments/both", "/api/v1/deployments/alone",
    "/api/v1/runs/{uid}", "/api/v1/runs", "/api/v1/clusters/home/",
)  # fmt: skip


@pytest.fixture
def home(client: Client, admin_user: User) -> Cluster:
    client.force_login(admin_user)
    root, demo = Principal(user=admin_user), Project.objects.create(name="demo")
    home, off = factories.cluster("home"), factories.cluster("off")
    for name, cluster in (("home-prod", home), ("far", off)):
        services.create_target(principal=root, project=demo, name=name, cluster=cluster.name, environment="production")
    for name, targets in (("alone", ["home-prod"]), ("both", ["home-prod", "far"])):
        asked = services.NewDeployment(name=name, targets=targets, replicas=1, spec=SPEC)
        arrive(services.create_deployment(principal=root, project=demo, asked=asked))
    tried = Experiment.objects.create(project=demo, name="tried")
    factories.run(tried, kind="launched", state="Queued", cluster=home, namespace="flotilla-demo", spec=SPEC)
    return home


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("Unreachable", "The API server at https://127.0.0.1:6443 does not answer."),
        ("Disabled", "An administrator has disabled this cluster; nothing is watched."),
        # Of a round that found it disabled.
        ("round", ""),
    ],
)
def test_each_is_named_once_at_every_door(client: Client, home: Cluster, state: str, said: str) -> None:
    whole = {"reason": "Silent", "message": said, "state": "Disabled" if state == "round" else state}
    Cluster.objects.filter(pk=home.pk).update(**whole, enabled=state == "Unreachable", last_seen_at=timezone.now())
    home.refresh_from_db()
    follow_state(home)
    run = Run.objects.get()
    words = (home.reason, home.message)
    if state == "round":
        with pytest.raises(FlotillaError) as refused:
            refuse_disabled(home)
        said = refused.value.message
        words = silence(Unreachable(0, "Unavailable", said))
        for placement in Placement.objects.filter(target__cluster=home).select_related("target__cluster", "deployment"):
            observing.record_unreachable(placement, *words)
    reason, message = away(home, *words)
    Run.objects.filter(pk=run.pk).update(reason=reason, message=message)
    for pk in Deployment.objects.values_list("pk", flat=True):
        rollouts.go_on(locked(pk))
    told = {path: html.unescape(client.get(path.format(uid=run.uid)).content.decode()) for path in DOORS}
    for path, text in told.items():
        assert not (twice := TWICE.search(text)), (path, text[twice.start() - 60 : twice.end() + 60])
    for path in ("/api/v1/deployments/both", "/api/v1/deployments/alone", "/api/v1/runs/{uid}"):
        assert said in told[path], path
