"""Every page and endpoint of clusters on a full fleet: time in the server and queries, for an administrator and a
member of one project.

50 clusters with 10 nodes and 200 pods each, and one with 500 nodes and 10,000 pods. The time is that of the whole
request through all middleware, without the network. `floor` is the page of settings, which asks nothing of clusters.
On a machine that does other things, too, the clock also counts waiting for a core; `work_ms` does not: it is the
processor time of Python and of its Postgres process together, and what the clock says on an idle machine.
"""

from collections.abc import Iterator
from datetime import timedelta

from benchmarks.clusters._servers import django_on_own_servers
from benchmarks.figures import Figure
from benchmarks.pagetime import page_time

PAGES = {
    "fleet": "/clusters/",
    "fleet, filtered and grouped": "/clusters/?label=provider=aws&sort=-gpu&group=region",
    "fleet, live part": "/clusters/?part=fleet",
    "fleet, live verdict": "/clusters/?part=verdict",
    "cluster": "/clusters/{small}/",
    "big cluster": "/clusters/big-eu/",
    "big cluster, live facts": "/clusters/big-eu/?part=facts",
    "big cluster, live whys": "/clusters/big-eu/?part=whys",
    "big cluster, live nodes": "/clusters/big-eu/?part=nodes",
    "big cluster, nodes by GPU": "/clusters/big-eu/?part=nodes&sort=-gpu&page=7",
    "big cluster, live pods": "/clusters/big-eu/?part=pods",
    "big cluster, pods by text": "/clusters/big-eu/?part=pods&pod=serve+vision",
    "big cluster, live events": "/clusters/big-eu/?part=events",
    "node": "/clusters/big-eu/nodes/big-eu-n007/",
    "pod": "/clusters/big-eu/pods/{namespace}/{pod}/",
    "pod without a node": "/clusters/{there}/pods/{namespace}/{waits}/",
    "events": "/clusters/big-eu/events/",
    "events, filtered": "/clusters/big-eu/events/?type=Warning&text=serve",
    "big cluster, namespaces": "/clusters/big-eu/namespaces/",
    "usage of the fleet": "/usage/",
    "check": "/clusters/big-eu/check/",
    "search": "/search?q=n007",
    "overview": "/p/recommender/",
    "REST clusters": "/api/v1/clusters",
    "REST cluster": "/api/v1/clusters/big-eu",
    "REST nodes": "/api/v1/clusters/big-eu/nodes",
    "REST pods": "/api/v1/clusters/big-eu/pods",
    "REST events": "/api/v1/clusters/big-eu/events",
}


def run() -> Iterator[Figure]:
    """Fill the tables, then measure every page as both; yields p95 with p50, queries and size beside it."""
    with django_on_own_servers():
        from django.core.management import call_command
        from django.db import connection

        from apps.clusters.models import Pod
        from apps.core.models import Membership, Project, User
        from apps.core.process import collector
        from benchmarks.clusters._rows import Fleet

        call_command("migrate", verbosity=0)
        fleet = Fleet()
        fleet.fill()
        # A pod that has waited longest is dearest to explain: every node of its cluster is looked at.
        waiting = Pod.objects.filter(cluster__name="big-eu", node_name="")
        assert waiting.update(created_at=fleet.now - timedelta(days=30)), "no pod of the big cluster waits"
        with connection.cursor() as cursor:
            # As autovacuum does on a system that has run for a minute.
            cursor.execute("VACUUM ANALYZE")
        member = User.objects.create(username="vera")
        Membership.objects.create(user=member, project=Project.objects.get(name="recommender"), role="viewer")
        pod = Pod.objects.filter(cluster__name="big-eu", project="recommender").earliest("id")
        waits = Pod.objects.filter(cluster__state="Healthy", project="recommender", node_name="").earliest("id")
        names = {"small": "aws-us-east-1-1a", "namespace": pod.namespace, "pod": pod.name}
        names |= {"there": waits.cluster.name, "waits": waits.name}
        collector.settle()  # as the web process does
        people = {"admin": User.objects.create_superuser("root"), "member": member}
        for who, user in people.items():
            for name, path in ({"floor": "/settings/"} | PAGES).items():
                yield page_time(f"{name} ({who})", path.format(**names), user)
