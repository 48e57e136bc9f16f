"""Static files out of installed packages."""

from apps.core.pages.finders import PackageFinder


def test_collectstatic_may_leave_files_out():
    finder = PackageFinder()
    assert [name for name, _ in finder.list(None)] == ["plotly/plotly.min.js"]
    assert finder.list(["plotly/*"]) == []
