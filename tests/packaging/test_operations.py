"""docs/operations.md keeps up with the settings."""

import inspect
import re
from pathlib import Path

from apps.clusters.watcher.database import Database
from apps.core.work import worker
from apps.core.work.kinds import Lane
from controlplane.embedded import fleet, postgres

ROOT = Path(__file__).resolve().parents[2]


def documented() -> set[str]:
    page = (ROOT / "docs" / "operations.md").read_text()
    return set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.M))


def read_by_the_code() -> set[str]:
    settings = (ROOT / "controlplane" / "settings.py").read_text()
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', settings))
    assert {"FLOTILLA_SECRET_KEY", "DATABASE_URL"} <= read
    return read


def test_every_setting_is_documented_and_nothing_else_is():
    assert documented() - {"FLOTILLA_HEARTBEAT_FILE", "FORWARDED_ALLOW_IPS"} == read_by_the_code()


def test_a_worker_takes_the_connections_that_operations_tells_and_one_machine_has_room_for_all_processes():
    crews = [worker.Crew(lane) for lane in Lane]  # never started
    of_a_worker = sum(len(crew._threads) for crew in crews)
    page = (ROOT / "docs" / "operations.md").read_text()
    assert f"A worker takes up to {of_a_worker} connections" in page
    read = (ROOT / "controlplane" / "settings.py").read_text()
    pool = int(re.search(r'"FLOTILLA_DB_POOL_SIZE", (\d+)', read)[1])
    # Two pools of threads, and one that renews leases.
    of_a_watcher = 2 * inspect.signature(Database).parameters["threads"].default + 1
    # Postgres's own default, which compose leaves as it is, less three that it keeps for its superuser, and fifteen for
    # migrations, back-ups and people.
    room = inspect.signature(postgres.command).parameters["connections"].default - 3 - 15
    assert fleet.WEB_PROCESSES * pool + of_a_worker + of_a_watcher <= room
