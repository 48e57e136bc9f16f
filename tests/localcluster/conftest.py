"""Fixtures of the local cluster's tests."""

from collections.abc import Iterator

import pytest

from tests.localcluster.served import Served, serve


@pytest.fixture
def api() -> Iterator[Served]:
    """An empty cluster's API, of its own for each test."""
    with serve() as served:
        yield served
