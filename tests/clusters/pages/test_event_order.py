"""In which order events stand, wherever they are told."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from apps.clusters.models import KubeEvent
from apps.clusters.observed import rows
from tests import factories
from tests.clusters import fakeapi

pytestmark = pytest.mark.django_db
SECOND = {"lastTimestamp": "2026-11-23T13:00:07Z", "firstTimestamp": "2026-11-23T13:00:07Z"}
PRECISE = {"eventTime": "2026-11-23T13:00:07.412Z", "firstTimestamp": None, "lastTimestamp": None}


def test_events_of_one_second_stand_in_the_order_in_which_they_were_written(admin_client: Client) -> None:
    """The scheduler tells fractions of a second, a kubelet whole ones, and one that is repeated keeps its row."""
    cluster = factories.cluster("gke-eu")
    pod = factories.pod(cluster, None, namespace="team", name="p")
    about = {"metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}}
    # As a list gives them: by their names.
    for reason, version, at in (
        ("BackOff", "1007", SECOND | {"firstTimestamp": "2026-11-23T12:00:00Z"}),
        ("Created", "1005", SECOND),
        ("Probed", "1", SECOND | {"lastTimestamp": "2026-11-23T13:00:08Z"}),
        ("Pulled", "1004", SECOND),
        ("Pulling", "998", SECOND),
        ("Scheduled", "997", PRECISE),
        ("Started", "1006", SECOND),
    ):
        event = fakeapi.event(reason.lower(), about=about) | {"reason": reason} | at
        event["metadata"] |= {"uid": reason, "resourceVersion": version}
        KubeEvent.objects.create(cluster=cluster, **rows.event_row(event, datetime.now(UTC)))
    order = ["Probed", "BackOff", "Started", "Created", "Pulled", "Pulling", "Scheduled"]
    told, address = [], "/api/v1/clusters/gke-eu/events?limit=3"
    while address:
        page = admin_client.get(address).json()
        told += [event["reason"] for event in page["results"]]
        address = page["next"]
    assert told == order
    for path, start in (("events/", "<tbody>"), ("pods/team/p/", 'id="events"')):
        shown = (
            admin_client.get(f"/clusters/gke-eu/{path}").content.decode().partition(start)[2].partition("</section>")[0]
        )
        assert re.findall(rf">\s*({'|'.join(order)})[ <]", shown) == order, path
