"""Clusters as they are judged: out of the rows that the watcher keeps."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.clusters.fit import Ask, Wish, rank
from apps.clusters.models import Cluster
from apps.clusters.quantities.sizes import Size
from apps.clusters.selectors import candidates, prices
from apps.clusters.usage.models import UsagePrice
from tests import factories

pytestmark = pytest.mark.django_db
ASK = Ask(Size(1000, factories.GIB, 1))


def judged(ask: Ask = ASK, **asked: Any) -> dict[str, str]:
    return {each.name: each.why for each in rank(Wish(ask), candidates(**asked), prices()).judged}


def test_rows_become_candidates() -> None:
    eu = factories.cluster("eu")
    factories.pod(eu, None, requests_gpu=1, requests_gpus={"nvidia.com/gpu": 1})
    factories.cluster("us", enabled=False)
    since = timezone.now() - timedelta(minutes=30)
    gone = {"type": "Reachable", "status": "False", "last_transition_time": since.isoformat()}
    factories.cluster("far", state="Unreachable", conditions=[gone])
    factories.cluster("new", nodes=0, state="Pending")
    refused = [{"type": "Authorized", "status": "False"}]
    factories.cluster("shut", state="Degraded", conditions=refused)
    barred = [{"resource": "jobs", "missing": ["create"]}]
    factories.cluster("barred", check_report={"generation": 1, "permissions": barred})
    assert judged() == {
        "eu": "fits: 1 of 3 nodes has 1 CPU, 1 GiB and 1 GPU free, the only one that does",
        "us": "disabled",
        "far": f"unreachable since {since:%H:%M} UTC",
        "new": "its nodes are not known yet",
        "shut": "it refuses Flotilla's credential",
        "barred": "Flotilla may create no jobs there",
    }
    assert judged(creates="deployments")["barred"].startswith("fits")
    # Two are about to start: one that is observed, one that is not yet. What found no room takes none.
    starting = {"node_name": "", "phase": "Pending", "requests_gpus": {"nvidia.com/gpu": 1}}
    factories.pod(eu, None, **starting, reason="Unschedulable")
    assert judged()["eu"].startswith("fits")
    factories.pod(eu, None, **starting)
    assert judged()["eu"] == "not enough GPU: 0 free, 1 wanted beside what is about to start there"
    Cluster.objects.filter(name="eu").update(labels={"autoscaling": "true"})
    assert judged()["eu"] == "fits: nodes are made there as they are needed, the only one that does"


def test_what_is_promised_counts_and_prices_are_read() -> None:
    eu = factories.cluster("eu", nodes=1)
    UsagePrice.objects.create(name="all", cpu_core_hour=Decimal("0.5"), currency="EUR")
    plain = Ask(Size(3000, factories.GIB))
    assert judged(plain)["eu"].endswith("the only one that does, 1.50 EUR an hour")
    said = judged(plain, promised={eu.pk: [plain]}, pks=[eu.pk])
    assert said == {"eu": "not enough CPU: 1 free, 3 wanted beside what is about to start there"}


def test_the_number_of_queries_does_not_grow() -> None:
    counts = []
    for number in range(3):
        factories.cluster(f"c{number}")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            candidates()
        counts.append(len(queries))
    assert counts == [4, 4, 4]
