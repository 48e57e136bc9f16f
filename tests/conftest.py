"""Fixtures that every test folder may use: a local cluster, and the whole of Flotilla as processes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, expect, sync_playwright

from scripts.browser import find
from tests import emptying, template
from tests.stack import LiveStack, LocalCluster

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Milliseconds. A page is awaited for as long as a busy machine may need, not for as long as it should take.
expect.set_options(timeout=45_000)

emptying.install()

# Neither does any example of a property have a time: on a busy machine each of them is slow now and then.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A hash is strong by the half second that it takes: no test of this process is about that, and many keep passwords.
PBKDF2PasswordHasher.iterations = 1000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for a file. The set-up (`make test`) has made sure that there is one.

    Not for the session: while Playwright runs, its event loop does, and no other test could run one of its own.
    """
    path = find()
    if path is None:
        pytest.fail("No Chromium was found. Run: python scripts/browser.py", pytrace=False)
    # Playwright's synchronous API runs an event loop, in which Django would refuse to use the ORM.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """One of several processes copies a database that is migrated already: `migrate` finds nothing to do in it."""
    django_settings.DATABASES["default"]["TEST"]["TEMPLATE"] = template.awaited()


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[LocalCluster]:
    """A local cluster with the example images, one for the session: kubeconfig, address, token and CA."""
    with LocalCluster.running("--autoscaler-seconds", "1") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def live_stack() -> Iterator[LiveStack]:
    """All of Flotilla as `make up` starts it, one for the session, with servers and a cluster of its own."""
    directory = Path(tempfile.mkdtemp(prefix="flotilla-stack-"))
    stack = LiveStack.start(directory)
    yield stack
    stack.stop()
    shutil.rmtree(directory, ignore_errors=True)
