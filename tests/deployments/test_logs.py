"""The logs of all replicas together: merged by time, each line once, however replicas are heard and clusters fail."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from apps.clusters.models import Cluster
from apps.deployments import logs, selectors
from apps.deployments.logs.merge import Mark, Told, Voice, marked, marks_text, merged, parse_marks
from apps.deployments.models import Deployment, Placement, Target
from tests import factories
from tests.clusters.conftest import eventually
from tests.deployments.fleet import Fleet
from tests.deployments.places import reread

VOICES = [Voice(1, "r1-a"), Voice(2, "r1-b"), Voice(3, "r2-c")]
TIMES = st.integers(0, 40).map(lambda tenth: f"2026-11-30T10:00:0{tenth // 10}.{tenth % 10}Z".replace(".0Z", "Z"))


@given(st.lists(st.lists(st.tuples(TIMES, st.text("ab \t", max_size=5)), max_size=12), min_size=1, max_size=3))
def test_every_line_comes_once_in_the_order_of_time_and_of_its_replica(written: list[list[tuple[str, str]]]) -> None:
    told = [
        Told(voice, [f"{time} {text}" for time, text in sorted(rows)])
        for voice, rows in zip(VOICES, written, strict=False)
    ]
    lines = [line.split(" ", 3) for line in merged(told)]
    assert [time for time, *_ in lines] == sorted(time for time, *_ in lines)
    for voice, rows in zip(VOICES, written, strict=False):
        assert [text for _, _, label, text in lines if label == voice.label] == [text for _, text in sorted(rows)]


def test_lines_without_a_time_stay_with_the_one_before() -> None:
    one = Told(VOICES[0], ["2026-11-30T10:00:01.5Z Traceback", "  of it", "2026-11-30T10:00:03Z after"])
    other = Told(VOICES[1], ["2026-11-30T10:00:02Z between", "2026-11-30T10:00:00Z a clock set back"])
    assert merged([one, other]) == [
        "2026-11-30T10:00:01.500000000Z 1 r1-a Traceback",
        "2026-11-30T10:00:01.500000000Z 1 r1-a   of it",
        "2026-11-30T10:00:02.000000000Z 2 r1-b between",
        "2026-11-30T10:00:02.000000000Z 2 r1-b a clock set back",
        "2026-11-30T10:00:03.000000000Z 1 r1-a after",
    ]


@given(st.lists(TIMES, max_size=8), st.none() | st.builds(Mark, TIMES, st.integers(1, 3)))
def test_marks_survive_the_way_through_an_address(times: list[str], before: Mark | None) -> None:
    mark = marked([f"{time} x" for time in sorted(times)], before)
    assert mark is not None or not times
    known = {7: mark} if mark else {}
    assert parse_marks(marks_text(known)) == known


@pytest.mark.parametrize(
    "text", ["", "7", "7~x~1", "7~2026-11-30T10:00:00Z~x", "a~2026-11-30T10:00:00Z~1", "~~", "x" * 9000]
)
def test_a_mark_that_makes_no_sense_is_left_out(text: str) -> None:
    assert parse_marks(text) == {}


def test_lines_of_the_very_same_time_are_counted_on() -> None:
    time = "2026-11-30T10:00:00Z"
    mark = marked([f"{time} a", f"{time} b"], None)
    assert mark == Mark(time, 2)
    assert marked([f"{time} c"], mark) == Mark(time, 3)
    assert marked([], mark) == mark
    assert marked(["2026-11-30T10:00:01Z d"], mark) == Mark("2026-11-30T10:00:01Z", 1)


TALKS = """
import time
for number in range(5):
    print("line", number, flush=True)
    time.sleep(0.05)
print("x" * 30, flush=True)
time.sleep(600)
"""


@pytest.fixture
def hole() -> Iterator[tuple[int, list[int]]]:
    """A port that takes connections and never says a word, and how many it has taken."""
    taken: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))
    kept = []

    def take() -> None:
        with suppress(OSError):
            while True:
                kept.append(server.accept()[0])
                taken.append(1)

    threading.Thread(target=take, daemon=True).start()
    yield server.getsockname()[1], taken
    server.close()
    for one in kept:
        one.close()


def dead(fleet: Fleet, app: Deployment, port: int, pods: int) -> Cluster:
    """A cluster that is silent, of which nobody knows yet, with replicas of the deployment."""
    made = factories.cluster("gone", nodes=0)
    columns = ("ca", "credential_encrypted", "credential_kind")
    same = {name: getattr(fleet.cluster, name) for name in columns}
    Cluster.objects.filter(pk=made.pk).update(server=f"https://127.0.0.1:{port}", **same)
    made.refresh_from_db()
    target = Target.objects.create(project=fleet.project, name="gone", cluster=made, namespace=fleet.namespace)
    Placement.objects.create(deployment=app, target=target, state="Active")
    for number in range(pods):
        status = {"containers": [{"name": "server"}]}
        factories.pod(made, fleet.project, deployment="app", revision="1", name=f"app-r1-x-g{number}", status=status)
    return made


@pytest.mark.django_db
@pytest.mark.real_process
def test_a_dead_cluster_costs_one_timeout_and_the_lines_of_the_others_come(
    fleet: Fleet, hole: tuple[int, list[int]], client: Client
) -> None:
    app = fleet.deploy(replicas=3, command=["python", "-c", TALKS], probes={"ready_path": "", "live_path": ""})
    fleet.until_healthy(app)
    apart = {pod.name: pod for pod in selectors.pods_of(app)}
    assert len(apart) == 3

    def all_ended() -> bool:
        """Each replica writes at its own pace and ends with a line of x."""
        return sum(line.endswith("x") for line in logs.read(app, logs.Wish()).lines) == len(apart)

    eventually(all_ended, "all is written")
    first = logs.read(app, logs.Wish())
    assert len(first.lines) == 3 * 6 and first.note == "" and not first.more
    assert first.lines == sorted(first.lines, key=lambda line: line.partition(" ")[0])
    labels = {line.split(" ", 3)[2] for line in first.lines}
    assert labels == {f"r1-{name.rpartition('-')[2]}" for name in apart}
    # Nothing comes twice; the newest are of all of them together.
    again = logs.read(app, logs.Wish(marks=first.marks))
    assert (list(again.lines), again.marks) == ([], first.marks)
    port, taken = hole
    dead(fleet, app, port, pods=3)
    reread(app)
    began = time.monotonic()
    both = logs.read(app, logs.Wish())
    assert time.monotonic() - began < logs.DEADLINE_SECONDS + 2
    assert [line.split(" ", 3)[3] for line in both.lines] == [line.split(" ", 3)[3] for line in first.lines]
    assert all(line.split(" ", 3)[2].startswith("local/") for line in both.lines)
    assert both.note.startswith("Cluster gone g") and ";" not in both.note and len(taken) <= 2, both.note
    # Known to be away it costs nothing.
    Cluster.objects.filter(name="gone").update(state="Unreachable", message="No answer.")
    began = time.monotonic()
    silent = logs.read(app, logs.Wish())
    assert silent.note.startswith("Cluster gone has ") and silent.note.endswith(": No answer"), silent.note
    assert "no copy" in silent.kept
    assert time.monotonic() - began < 2
    assert fleet.root.user is not None
    client.force_login(fleet.root.user)
    url = f"/p/{fleet.project.name}/deployments/app/log"
    answer = client.get(url, {"cluster": "local", "lines": "200"})
    assert answer["X-Log-Voices"] == "1" and len(parse_marks(answer["X-Log-Marks"])) == 3
    assert len(answer.content.splitlines()) == 18 and "X-Log-Note" not in answer
    on = client.get(url, {"cluster": "local", "marks": answer["X-Log-Marks"]})
    assert on.content == b""
    saved = client.get(url, {"download": "1", "cluster": "local"})
    assert 'filename="app.log"' in saved["Content-Disposition"] and b"Z local/r1-" in saved.content.splitlines()[0]
    page = client.get(f"/p/{fleet.project.name}/deployments/app/logs").content.decode()
    assert all(label in page for label in (f"local/{label}" for label in labels)) and "All clusters" in page


@pytest.mark.django_db
def test_of_very_many_those_that_are_not_ready_are_read_and_the_rest_is_told(
    digits: Deployment, cluster: Cluster
) -> None:
    for number in range(logs.MOST_REPLICAS + 6):
        factories.pod(cluster, digits.project, deployment="digits", revision=str(1 + number % 2), ready=number > 4)
    found = logs.chosen(digits)
    assert (len(found.pods), found.left_out) == (logs.MOST_REPLICAS, 6)
    assert sum(not pod.ready for pod in found.pods) == 5
    assert [pod.revision for pod in found.pods] == sorted((pod.revision for pod in found.pods), reverse=True)
    assert (len(logs.chosen(digits, revision="2").pods), logs.chosen(digits, cluster="nowhere").pods) == (15, [])
