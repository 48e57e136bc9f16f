"""A list of what an experiment has, narrowed by what the address says."""

from django.http import QueryDict

from apps.experiments.models import Experiment


class Narrowed:
    """The filter and the state that an address names. `error` says what is wrong with the filter, once it is used."""

    def __init__(self, experiment: Experiment, query: QueryDict) -> None:
        self._experiment = experiment
        self._query = query
        self.error = ""

    @property
    def filter(self) -> str:
        """What the rows are filtered by."""
        return self._query.get("filter", "")

    @property
    def state(self) -> str:
        """The state that they are in; "" for any."""
        return self._query.get("state", "")

    @property
    def filtered(self) -> bool:
        """Whether the address narrows the list."""
        return bool(self.filter or self.state)
