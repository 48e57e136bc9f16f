"""Fixtures that every test folder may use: a local cluster, and the whole of Flotilla as processes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from scripts.browser import find
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, one for the session. The set-up (`make test`) has made sure that there is one."""
    path = find()
    if path is None:
        pytest.fail("No Chromium was found. Run: python scripts/browser.py", pytrace=False)
    # Playwright's synchronous API runs an event loop, in which Django would refuse to use the ORM.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[LocalCluster]:
    """A local cluster with the example images, one for the session: kubeconfig, address, token and CA."""
    directory = Path(tempfile.mkdtemp(prefix="flotilla-cluster-"))
    cluster = LocalCluster.start(directory)
    yield cluster
    cluster.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def live_stack() -> Iterator[LiveStack]:
    """All of Flotilla as `make up` starts it, one for the session, with servers and a cluster of its own."""
    directory = Path(tempfile.mkdtemp(prefix="flotilla-stack-"))
    stack = LiveStack.start(directory)
    yield stack
    stack.stop()
    shutil.rmtree(directory, ignore_errors=True)
