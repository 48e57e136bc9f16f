"""Whatever happens to a deployment, in whatever order, it ends as it would have ended: one revision everywhere.

FLOTILLA_COURSES=100,50 tries fifty other courses.
"""

import os

import pytest

from apps.core.access import Principal
from apps.core.models import Project
from tests.deployments.rowfleet import RowFleet

pytestmark = pytest.mark.django_db
FIRST, COUNT = (int(part) for part in os.environ.get("FLOTILLA_COURSES", "3,3").split(","))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_any_course_of_events_ends(seed: int, monkeypatch: pytest.MonkeyPatch, root: Principal, demo: Project) -> None:
    fleet = RowFleet(seed, monkeypatch, root, demo)
    for _ in range(fleet.random.randint(20, 120)):
        if fleet.random.random() < 0.5:
            fleet.act()
        elif not fleet.work_off() and fleet.random.random() < 0.5:
            fleet.pass_time()
    fleet.settle()
    assert fleet.differs() == [], fleet.story
