"""Launches at the same time into experiments that none of them has found."""

import threading

import pytest
from django.db import connection, transaction

from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import Experiment, Run
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def test_who_comes_second_launches_into_the_experiment_that_the_first_has_made(
    principal: Principal, project: Project
) -> None:
    factories.cluster("home", nodes=0)
    made, end = threading.Event(), threading.Event()

    def first() -> None:
        with transaction.atomic():
            launch("new", "shared")
            made.set()
            end.wait(10)
        connection.close()

    def launch(*names: str) -> None:
        wishes = [{"experiment": name, "image": "busybox", "command": ["true"]} for name in names]
        services.launch_runs(principal=principal, project=project, wishes=wishes)

    thread = threading.Thread(target=first)
    thread.start()
    assert made.wait(10)
    # The second does not see what is not committed, and waits where both make the same.
    threading.Timer(0.3, end.set).start()
    launch("shared", "other")
    thread.join(10)
    assert set(Experiment.objects.values_list("name", flat=True)) == {"new", "shared", "other"}
    assert Run.objects.filter(experiment__name="shared").count() == 2
