"""The content of the pages, computed when a template asks for it: a fragment pays only for its own queries."""

from apps.experiments.pages.panels.board import OVERVIEW, TABS, RunBoard, may_change
from apps.experiments.pages.panels.comparison import TAKES as COMPARISON_TAKES
from apps.experiments.pages.panels.comparison import Comparison
from apps.experiments.pages.panels.keys import prominence
from apps.experiments.pages.panels.table import DELETED, RunTable
from apps.experiments.pages.panels.table import TAKES as TABLE_TAKES
from apps.experiments.pages.panels.traces import STATES as TRACE_STATES
from apps.experiments.pages.panels.traces import TraceBoard, TraceList

__all__ = [
    "COMPARISON_TAKES", "DELETED", "OVERVIEW", "TABLE_TAKES", "TABS", "TRACE_STATES", "Comparison", "RunBoard",
    "RunTable", "TraceBoard", "TraceList", "may_change", "prominence",
]  # fmt: skip
