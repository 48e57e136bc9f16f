"""Fixtures that every test folder may use: a local cluster, and the whole of Flotilla as processes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import LiveStack, LocalCluster


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
