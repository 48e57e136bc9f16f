"""What the overview's tile says of a project's replicas."""

import pytest

from apps.core.access import Principal
from apps.core.models import User
from apps.core.overview import Scope
from apps.core.states import Health
from apps.deployments.models import Deployment
from apps.deployments.overview import tiles
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("health", "ready", "state", "note"),
    [
        (Health.HEALTHY, 3, "Healthy", "1 deployment as wanted"),
        (Health.PROGRESSING, 2, "Progressing", "1 not ready"),
        (Health.DEGRADED, 2, "Degraded", "1 not ready"),
        (Health.UNKNOWN, 3, "Unknown", "3 on a cluster that can't be asked"),
    ],
)
def test_the_tile_of_replicas_claims_no_more_than_is_known(health: Health, ready: int, state: str, note: str) -> None:
    project = factories.busy_project(size=1)
    Deployment.objects.update(health=health, ready_replicas=ready)
    [tile] = tiles(Scope(Principal(user=User.objects.create_superuser("root")), project))
    assert (tile.value, tile.state, tile.note) == (str(ready), state, note)
