"""The store: versions, history, and what a kill leaves."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from localcluster.errors import StatusError
from localcluster.store import Change, Store


def obj(name: str, namespace: str = "default", **data: str) -> dict:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def test_versions_grow_over_all_resources_and_restarts(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    first = store.put("pods", obj("a"))
    second = store.put("services", obj("a"))
    store.remove("pods", ("default", "a"))
    assert (first.version, second.version, store.version) == (1, 2, 3)
    store.close()
    again = Store(tmp_path / "state.sqlite")
    assert (again.version, again.count("pods"), again.count("services")) == (3, 0, 1)
    assert again.put("pods", obj("b")).version == 4
    again.close()


def test_scans_are_ordered_and_can_start_after_a_key() -> None:
    store = Store()
    for name, namespace in (("b", "x"), ("a", "y"), ("a", "x"), ("c", "x")):
        store.put("pods", obj(name, namespace))
    keys = [(each.obj["metadata"]["namespace"], each.obj["metadata"]["name"]) for each in store.scan("pods")]
    assert keys == [("x", "a"), ("x", "b"), ("x", "c"), ("y", "a")]
    assert [each.obj["metadata"]["name"] for each in store.scan("pods", "x", ("x", "a"))] == ["b", "c"]
    assert [each.obj["metadata"]["name"] for each in store.scan("pods", None, ("x", "b"))] == ["c", "a"]
    assert list(store.scan("pods", "nowhere")) == []


def test_history_reaches_back_as_far_as_the_ring() -> None:
    store = Store(ring=2)
    for name in "abcd":
        store.put("pods", obj(name))
    assert [change.stored.obj["metadata"]["name"] for change in store.since("pods", 2)] == ["c", "d"]
    assert store.since("pods", 4) == []
    with pytest.raises(StatusError) as too_old:
        store.since("pods", 1)
    assert too_old.value.code == 410


def test_history_does_not_outlive_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    store.put("pods", obj("a"))
    store.put("pods", obj("b"))
    store.close()
    again = Store(tmp_path / "state.sqlite")
    assert again.since("pods", 2) == []
    with pytest.raises(StatusError):
        again.since("pods", 1)
    again.close()


def test_listeners_hear_of_their_resources_until_they_stop() -> None:
    store = Store()
    heard: list[Change] = []
    stop = store.listen(["pods"], heard.append)
    store.put("pods", obj("a"))
    store.put("services", obj("a"))
    store.put("pods", obj("a", x="y"))
    store.remove("pods", ("default", "a"))
    stop()
    store.put("pods", obj("b"))
    assert [(change.type, change.version) for change in heard] == [("ADDED", 1), ("MODIFIED", 3), ("DELETED", 4)]
    assert heard[2].stored.obj["metadata"]["resourceVersion"] == "4"
    assert heard[2].old is not None


def test_a_kill_in_the_middle_of_writing_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """SQLite's write-ahead log: https://sqlite.org/wal.html"""
    path = tmp_path / "state.sqlite"
    program = f"""
        import sys
        from pathlib import Path
        from localcluster.store import Store
        store = Store(Path({str(path)!r}))
        number = 0
        while True:
            number += 1
            store.put("pods", {{"metadata": {{"name": f"p{{number % 50}}", "namespace": "default"}}}})
            print(store.version, flush=True)
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    answered = 0
    for line in writer.stdout:
        answered = int(line)
        if answered == 300:
            os.kill(writer.pid, signal.SIGKILL)
            break
    answered = max([answered, *(int(line) for line in writer.stdout if line.strip().isdigit())])
    writer.wait(10)
    store = Store(path)
    assert store.version >= answered
    assert store.count("pods") == 50
    store.close()


def test_a_listener_that_fails_keeps_the_news_from_nobody() -> None:
    store, heard = Store(), []

    def broken(change: Change) -> None:
        raise KeyError("spec")

    store.listen(("pods",), broken)
    store.listen(("pods",), lambda change: heard.append(change.version))
    store.put("pods", obj("a"))
    assert heard == [1]
