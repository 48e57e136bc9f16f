"""Rotation of the credentials' key: complete, repeatable, beside writers, and killed half way."""

import os
import re
import subprocess
import sys
import threading
import time
from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import TextField

from apps.clusters.models import Cluster
from apps.core.secrets import crypto, rotation
from tests.factories import cluster

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def five(db: None, settings: Any) -> list[Cluster]:
    """Clusters whose credentials have the old key, while the new one is in front already."""
    settings.CREDENTIALS_KEYS = [OLD]
    made = [cluster(f"c{number}", nodes=0) for number in range(5)]
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    return made


def run(**options: Any) -> str:
    out = StringIO()
    call_command("rotate_credentials_key", stdout=out, **options)
    return out.getvalue()


def under(key: str) -> int:
    stored = Cluster.objects.values_list("credential_encrypted", flat=True)
    return sum(_opens(key, text) for text in stored)


def _opens(key: str, text: str) -> bool:
    try:
        return bool(Fernet(key).decrypt(text.encode()))
    except InvalidToken:
        return False


def test_every_encrypted_column_is_known() -> None:
    texts = [
        (model, column.name)
        for model in apps.get_models()
        for column in model._meta.concrete_fields
        if isinstance(column, TextField) and re.search("encrypt|credential_", column.name)
    ]
    assert (Cluster, "credential_encrypted") in rotation.columns()
    assert set(texts) <= set(rotation.columns())


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_everything_gets_the_newest_key_and_nothing_else_changes(
    five: list[Cluster], settings: Any, batch: int
) -> None:
    before = list(Cluster.objects.order_by("pk").values("generation", "updated_at", "server"))
    said = run(batch=batch)
    assert "5 re-encrypted" in said and "The 1 older key may be dropped" in said
    assert under(NEW) == 5 and under(OLD) == 0
    assert list(Cluster.objects.order_by("pk").values("generation", "updated_at", "server")) == before
    settings.CREDENTIALS_KEYS = [NEW]
    assert crypto.decrypt(Cluster.objects.all()[0].credential_encrypted) == b'{"token": "t"}'
    assert "0 re-encrypted, 5 with the newest key" in run(), "a repetition does nothing"


def test_a_dry_run_counts_and_changes_nothing(five: list[Cluster]) -> None:
    assert "5 to re-encrypt, 0 with the newest key" in run(dry_run=True)
    assert under(OLD) == 5


def test_what_no_key_decrypts_is_named_and_the_rest_is_rotated(five: list[Cluster]) -> None:
    lost = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    Cluster.objects.filter(name="c2").update(credential_encrypted=lost)
    out = StringIO()
    with pytest.raises(CommandError, match="Keep the old keys"):
        call_command("rotate_credentials_key", stdout=out)
    assert "1 that no key decrypts" in out.getvalue() and "c2" in out.getvalue()
    assert under(NEW) == 4


def test_what_is_removed_while_it_is_looked_at_stops_nothing(
    five: list[Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = Fernet(Fernet.generate_key()).encrypt(b"{}").decode()
    Cluster.objects.filter(name="c2").update(credential_encrypted=lost)
    rotate = crypto.rotate

    def removed(text: str) -> str:
        Cluster.objects.filter(credential_encrypted=lost).delete()
        return rotate(text)

    monkeypatch.setattr(crypto, "rotate", removed)
    assert "may be dropped" in run()
    assert under(NEW) == 4


@pytest.mark.django_db(transaction=True)
def test_a_credential_that_is_given_anew_meanwhile_wins(five: list[Cluster], settings: Any) -> None:
    """The writer's row is written but not committed while the rotation wants to write it, too."""
    waiting, rotated = threading.Event(), threading.Event()

    def rotate() -> None:
        waiting.wait(10)
        run(batch=1)
        rotated.set()
        connection.close()

    thread = threading.Thread(target=rotate)
    thread.start()
    with transaction.atomic():
        Cluster.objects.filter(name="c1").update(credential_encrypted=crypto.encrypt(b'{"token": "given anew"}'))
        waiting.set()
        wait_until_blocked()
    thread.join(30)
    assert rotated.is_set() and under(NEW) == 5
    assert crypto.decrypt(Cluster.objects.get(name="c1").credential_encrypted) == b'{"token": "given anew"}'


@pytest.mark.django_db(transaction=True)
def test_a_killed_rotation_leaves_every_row_readable_and_the_next_one_ends_it(five: list[Cluster]) -> None:
    """The process hangs at the third row, which is locked here, and is killed there."""
    settings_dict = connection.settings_dict
    url = (
        f"postgres://{settings_dict['USER']}:{settings_dict['PASSWORD']}@{settings_dict['HOST']}:"
        f"{settings_dict['PORT']}/{settings_dict['NAME']}"
    )
    environment = os.environ | {"DATABASE_URL": url, "FLOTILLA_CREDENTIALS_KEYS": f"{NEW},{OLD}"}
    with transaction.atomic():
        Cluster.objects.select_for_update().get(name="c2")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "rotate_credentials_key", "--batch", "2"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            wait_until_blocked()
        finally:
            process.kill()
            _, errors = process.communicate(timeout=30)
        assert process.returncode == -9, errors.decode()
        assert (under(NEW), under(OLD)) == (2, 3)
    # Postgres may still carry out the killed process's last statement now that the row is free: either is well.
    assert all(crypto.decrypt(each.credential_encrypted) for each in Cluster.objects.all())
    assert "may be dropped" in run()
    assert under(NEW) == 5


def wait_until_blocked(seconds: float = 60.0) -> None:
    """Until another session waits for a lock that this one holds."""
    end = time.monotonic() + seconds
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return
            time.sleep(0.02)
    raise AssertionError("nobody waits for the lock")
