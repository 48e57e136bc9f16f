"""Ports, keys, logs, restarts: the parts of `controlplane.embedded` that need no server."""

import json
import socket
import stat
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from controlplane.embedded import bootstrap, keys, logfiles, ports, postgres, statics
from controlplane.embedded.datadir import DataDir
from controlplane.embedded.errors import EmbeddedError, RefusedError
from controlplane.embedded.files import private_directory, write_private
from controlplane.embedded.supervisor import how_it_ended, restart_delay
from localcluster.config import ClusterConfig
from localcluster.pki import ensure_credentials, write_kubeconfig


def test_ports_are_below_those_of_outgoing_sockets() -> None:
    free = {ports.free_port() for _ in range(50)}
    assert all(ports.LOWEST <= port < ports.HIGHEST < 32_768 for port in free)


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert not ports.is_free(listener.getsockname()[1])


def test_a_port_is_kept_while_it_is_free_and_replaced_once_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = ports.PortBook(path).take("postgres")
    assert ports.PortBook(path).take("postgres") == first
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", first))
        listener.listen()
        second = ports.PortBook(path).take("postgres")
    assert second != first
    assert json.loads(path.read_text()) == {"postgres": second}


def test_two_servers_never_get_one_port(tmp_path: Path) -> None:
    book = ports.PortBook(tmp_path / "ports.json")
    assert len({book.take(f"server-{number}") for number in range(20)}) == 20


def test_keys_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = keys.load_or_make(path)
    assert keys.load_or_make(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.load_or_make(tmp_path / "other.json").admin_password != first.admin_password


@pytest.mark.parametrize("kept", ["", "x", "[1]", '{"postgres": 70000}', '{"postgres": true}', '{"postgres": "21000"}'])
def test_ports_that_cannot_be_read_are_chosen_anew(tmp_path: Path, kept: str) -> None:
    (tmp_path / "ports.json").write_text(kept)
    assert ports.LOWEST <= ports.PortBook(tmp_path / "ports.json").take("postgres") < ports.HIGHEST


def test_keys_without_which_the_data_is_lost_are_never_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    with pytest.raises(RefusedError, match=r"is missing\. Without it nothing .* can be opened: put it back"):
        keys.load_or_make(path, used=True)
    assert not path.exists()
    made = asdict(keys.load_or_make(path))
    path.write_text(json.dumps(made | {"of_tomorrow": "x"}))
    assert asdict(keys.load_or_make(path, used=True)) == made
    for broken, says in (
        ("{", "can't be read"),
        ("[]", "can't be read"),
        ('{"secret_key": "s"}', "has no credentials"),
    ):
        path.write_text(broken)
        with pytest.raises(RefusedError, match=says):
            keys.load_or_make(path)
        assert path.read_text() == broken


def test_a_database_of_another_postgres_is_told_before_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(RefusedError, match=r"is Postgres 9's, and this Flotilla brings Postgres \d\d"):
        postgres.initialise(tmp_path, "password")


@pytest.mark.django_db
def test_a_database_of_a_newer_flotilla_is_told_and_left_alone(tmp_path: Path) -> None:
    MigrationRecorder(connection).record_applied("clusters", "9999_of_tomorrow")
    with pytest.raises(EmbeddedError, match=r"another Flotilla's.* does not know clusters\.9999_of_tomorrow"):
        bootstrap.migrate(DataDir(tmp_path))


def test_a_local_cluster_that_only_listens_is_not_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = ClusterConfig(data_dir=tmp_path, port=listener.getsockname()[1])
        write_kubeconfig(config.kubeconfig, config.url, ensure_credentials(tmp_path, config.host))
        threading.Thread(target=lambda: listener.accept()[0].close()).start()
        assert not bootstrap._is_ready(config.kubeconfig.read_text())


def test_a_private_file_replaces_an_open_one_and_a_forgotten_half(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text("old")
    path.chmod(0o644)
    (tmp_path / "credentials.json.new").write_text("half")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["credentials.json"]


def test_a_private_directory_is_closed_even_where_it_was_open(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    assert stat.S_IMODE(private_directory(path).stat().st_mode) == 0o700


def test_a_log_that_grew_is_moved_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2000)
        assert logfiles.bound(tmp_path, max_bytes=1000) == ["web.log"]
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "web.log.1").stat().st_size == 2000
    assert logfiles.bound(tmp_path, max_bytes=1000) == []


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    assert logfiles.tail(log) == "(no log)"
    log.write_text("\n".join(f"line {number}" for number in range(5000)))
    assert logfiles.tail(log, 2) == "line 4998\nline 4999"


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 0.0), (2, 0.5), (3, 1.0), (5, 4.0), (20, 30.0)])
def test_who_dies_is_started_at_once_then_with_growing_delays(deaths: int, seconds: float) -> None:
    assert restart_delay(deaths) == seconds


def test_static_files_are_collected_again_when_one_of_ours_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "a.css").write_text("a {}")
    monkeypatch.setattr(statics, "SOURCES", (str(ours),))
    data = DataDir(tmp_path)
    assert not statics.are_collected(data)
    statics.note_collected(data)
    assert statics.are_collected(data)
    (ours / "a.css").write_text("a { color: red }")
    assert not statics.are_collected(data)


def test_an_end_is_told_in_words() -> None:
    assert how_it_ended(-9) == "was ended by SIGKILL"
    assert how_it_ended(3) == "ended with exit code 3"
