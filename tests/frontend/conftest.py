"""A real browser against a real ASGI server on the tests' database: the test client's server would swallow streams."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from apps.core.models import Membership, Project, User
from apps.core.states import Role
from controlplane.embedded import ports
from controlplane.embedded.fleet import BASE_DIR
from controlplane.embedded.waiting import wait_for
from tests import factories


@pytest.fixture(scope="session")
def web(django_db_setup: None) -> Iterator[str]:
    """The web process on the tests' database; its address."""
    port = ports.free_port()
    database = settings.DATABASES["default"]["NAME"]
    base = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
    environment = os.environ | {"DATABASE_URL": f"{base}/{database}", "FLOTILLA_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    command = [sys.executable, "-m", "uvicorn", "controlplane.asgi:application", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "warning", "--timeout-graceful-shutdown", "1"], cwd=BASE_DIR, env=environment
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{address}/login/"), "the web process to answer", timeout=100)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return bool(urlopen(url, timeout=2).status == 200)
    except (URLError, OSError):
        return False


@pytest.fixture
def project(transactional_db: None) -> Project:
    """A busy project, committed, so that the web process sees it."""
    return factories.busy_project(size=2)


@pytest.fixture
def person(project: Project) -> User:
    """A platform administrator and member, without a password: sessions are made by the test."""
    user = User.objects.create_superuser("root")
    Membership.objects.create(project=project, user=user, role=Role.ADMIN)
    return user


Opener = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, web: str, person: User) -> Iterator[Opener]:
    """Open a path as `person`. The console must stay free of errors, unless the test expects some."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def opener(
        path: str, *, expect_errors: bool = False, before: Callable[[Page], Any] | None = None, **options: Any
    ) -> Page:
        client = Client()
        client.force_login(person)
        options.setdefault("viewport", {"width": 1440, "height": 900})
        context = browser.new_context(base_url=web, **options)
        contexts.append(context)
        context.set_default_timeout(60_000)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": web}])
        page = context.new_page()
        if not expect_errors:
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
        if before is not None:
            before(page)
        page.goto(path)
        return page

    yield opener
    for context in contexts:
        context.close()
    assert not errors, f"the browser's console says: {errors}"
