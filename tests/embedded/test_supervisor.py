"""The supervisor with small children: who dies is started again, who is left behind is found."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.embedded.datadir import DataDir
from controlplane.embedded.errors import EmbeddedError
from controlplane.embedded.processes import Command, spawn, start_mark
from controlplane.embedded.progress import Progress
from controlplane.embedded.stopping import stop
from controlplane.embedded.strays import end_strays
from controlplane.embedded.supervisor import Supervisor
from controlplane.embedded.waiting import wait_for

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


def python(name: str, code: str) -> Command:
    return Command(name=name, argv=(sys.executable, "-c", code))


def exists(pid: int) -> bool:
    return start_mark(pid) is not None


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    data = DataDir(tmp_path / "data")
    data.prepare()
    made = Supervisor(data, Progress())
    yield made
    made.stop_all(last=(), grace_s=0.1)


def wait_until(supervisor: Supervisor, condition: Callable[[], bool], what: str) -> None:
    supervisor.wait(condition, what, timeout=10)


def test_a_killed_child_is_started_again_and_one_line_says_so(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.start(python("web", SLEEP))
    first = supervisor.pid("web")
    os.kill(first, signal.SIGKILL)
    wait_until(supervisor, lambda: supervisor.pid("web") != first, "web to be started again")
    assert exists(supervisor.pid("web"))
    assert capsys.readouterr().out.count("web was ended by SIGKILL and is started again") == 1


def test_a_child_that_never_comes_up_ends_the_start_with_its_log(supervisor: Supervisor) -> None:
    supervisor.start(python("web", "raise SystemExit('no such setting')"))
    with pytest.raises(EmbeddedError, match=r"web does not start: it ended with exit code 1\.\nno such setting"):
        wait_until(supervisor, lambda: False, "nothing")


def test_a_child_that_does_not_last_is_left_alone_when_it_ends(supervisor: Supervisor) -> None:
    supervisor.start(python("bootstrap", "raise SystemExit(3)"), lasting=False)
    wait_until(supervisor, lambda: supervisor.exit_code("bootstrap") == 3, "the end")


def test_a_time_out_says_what_was_waited_for(supervisor: Supervisor) -> None:
    with pytest.raises(EmbeddedError, match="Waited 0 s for a miracle"):
        supervisor.wait(lambda: False, "a miracle", timeout=0.05)


def test_a_long_wait_says_where_it_is(supervisor: Supervisor, capsys: pytest.CaptureFixture[str]) -> None:
    supervisor.start(
        python("bootstrap", "print('Applying 0017', flush=True); import time; time.sleep(600)"), lasting=False
    )
    told: list[str] = []

    def is_told() -> bool:
        told.append(capsys.readouterr().out)
        return "Applying 0017" in "".join(told)

    supervisor.wait(is_told, "migrations", timeout=30, log="bootstrap", tell_every=0.05)
    assert re.search(r"… waiting for migrations, \d+ s\. Applying 0017\n", "".join(told))


def test_who_ignores_sigterm_is_killed_and_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = python("stubborn", STUBBORN)
    child = spawn(command, log)
    wait_for(lambda: "up" in log.read_text(), "the child")
    assert stop([(command, child)], grace_s=0.2) == ["stubborn"]
    assert not exists(child.pid)


def test_a_child_s_own_children_end_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    command = python("parent", code)
    child = spawn(command, log)
    wait_for(lambda: log.read_text().strip().isdecimal(), "the grandchild")
    grandchild = int(log.read_text())
    assert exists(grandchild)
    stop([(command, child)], grace_s=1.0)
    assert not exists(child.pid)
    wait_for(lambda: not exists(grandchild), "the grandchild to be gone")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child's life to its parent's")
def test_a_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from controlplane.embedded.processes import Command, spawn;"
        f"print(spawn(Command('child', ('sleep', '600')), Path({str(tmp_path / 'log')!r})).pid, flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert exists(pid)
        parent.kill()
    wait_for(lambda: not exists(pid), "the child to be gone")


def test_a_stray_of_an_earlier_start_is_ended_and_named(tmp_path: Path) -> None:
    stray = spawn(python("watcher", STUBBORN), tmp_path / "log", pid_file=tmp_path / "watcher.pid")
    wait_for(lambda: "up" in (tmp_path / "log").read_text(), "the stray")
    assert end_strays(tmp_path) == ["watcher"]
    assert stray.wait(timeout=10) < 0
    assert not list(tmp_path.glob("*.pid"))


def test_a_process_that_only_has_the_number_of_a_stray_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as other:
        (tmp_path / "web.pid").write_text(f'{{"pid": {other.pid}, "mark": "another boot:1"}}')
        (tmp_path / "watcher.pid").write_text("half")
        assert end_strays(tmp_path) == []
        time.sleep(0.05)
        assert other.poll() is None
        other.kill()
