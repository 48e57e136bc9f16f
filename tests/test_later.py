"""What is imported later is not imported by who only looks at it."""

import pytest

from tests.later import Later


@pytest.mark.parametrize("mark", ["__test__", "_mock_name", "__wrapped__"])
def test_a_look_for_marks_imports_nothing(mark: str) -> None:
    assert not hasattr(Later("there.is.none"), mark)


def test_the_first_use_imports_it() -> None:
    assert Later("os.path").sep == "/"
    with pytest.raises(ModuleNotFoundError):
        Later("there.is.none").anything  # noqa: B018 - it is the look that imports
