"""A loss of replicas is one heal, however its news come, and also where it was over before anybody looked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apps.deployments import selectors
from apps.deployments.health.rollcall import PodSeen
from apps.deployments.models import Deployment, Heal
from apps.deployments.rollout.decisions import Decision
from apps.deployments.services.observing import Round, record_round
from apps.deployments.specs import ObservedRevision
from apps.deployments.states import RolloutState
from tests.deployments.places import arrive, place_of

pytestmark = pytest.mark.django_db

SEEN_AT = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
WELL = PodSeen("digits-r1-a", 1, 0, False, created_at=SEEN_AT, ready_since=SEEN_AT)
AWAY = replace(WELL, ready_since=None, said="exit 137 SIGKILL", at=SEEN_AT + timedelta(minutes=1))
BACK = replace(AWAY, restarts=1, ready_since=AWAY.at)
OTHER = replace(WELL, name="digits-r1-c", created_at=AWAY.at, ready_since=SEEN_AT + timedelta(seconds=61))


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        # What is ready by the Deployment, and the pod beside one that is well, in round after round.
        ([(2, WELL), (2, BACK), (2, BACK)], "2 of 2 ready again within a second. digits-r1-a ended with exit 137"),
        ([(2, WELL), (1, AWAY), (2, BACK)], "2 of 2 ready again after"),
        # The Deployment says so before its pods do, and after them.
        ([(2, WELL), (1, WELL), (2, WELL), (2, BACK)], "2 of 2 ready again after"),
        ([(2, WELL), (2, AWAY), (2, BACK), (1, BACK), (2, BACK)], "2 of 2 ready again after"),
        ([(2, WELL), (2, replace(BACK, ready_since=None)), (2, BACK)], "2 of 2 ready again after"),
        ([(2, WELL), (2, OTHER), (2, OTHER)], "2 of 2 ready again within a second. digits-r1-a is gone."),
        ([(2, WELL), (2, replace(BACK, restarts=3))], "2 of 2 ready again within a second. digits-r1-a ended with exit"
         " 137 SIGKILL, and was restarted 3×."),
    ],
)  # fmt: skip
def test_a_loss_is_one_heal_whether_the_deployment_or_its_pods_tell_it_first_and_when_it_was_over_at_once(
    digits: Deployment, looks: list[tuple[int, PodSeen]], told: str
) -> None:
    arrive(digits)
    now = SEEN_AT + timedelta(minutes=1)
    for ready, pod in looks:
        now += timedelta(seconds=0.6)
        place = selectors.for_reconcile(place_of(digits).pk)
        assert place is not None
        seen = ObservedRevision(2, 2, ready, wish=1)
        decision = Decision({1: 2}, RolloutState.HEALTHY, "", "", 2, 0, False)
        pods = [replace(WELL, name="digits-r1-b"), pod]
        record_round(place, None, Round({1: seen}, decision, [], now, desired=2, pods=pods))
    heal = Heal.objects.get()
    assert f"{heal.message} {heal.cause}".startswith(told)
    assert heal.restored_at is not None and "digits-r1-a" in heal.cause
    assert (heal.span == "< 1 s") is told.startswith("2 of 2 ready again within")
    place = place_of(digits)
    assert set(place.roll_call["1"]["pods"]) == {"digits-r1-b", looks[-1][1].name}
