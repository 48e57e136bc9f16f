"""MLflow's searches: a filter and an order in its language → rows, and pages of them by keyset.

`runs` searches runs by what they logged, `traces` traces by their spans, too; `tables` the smaller things, which keep
their tags in a column of their own; `conditions` says what a comparison means for a column.
"""

from apps.experiments.search.runs import RunSearch
from apps.experiments.search.tables import IS_PROMPT, experiments, logged_models, models, versions
from apps.experiments.search.traces import traces

__all__ = ["IS_PROMPT", "RunSearch", "experiments", "logged_models", "models", "traces", "versions"]
