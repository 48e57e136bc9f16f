"""Importing scikit-learn at the cost of scikit-learn alone."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_pandas() -> Iterator[None]:
    """Within it, pandas seems not to be installed.

    scikit-learn imports pandas where it finds it, as in an image that also trains: 1.3 s and 35 MB, which a server
    of arrays has no use for. Afterwards pandas is merely not imported yet, which scikit-learn asks later on.
    """
    if "pandas" in sys.modules:
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pandas"]
