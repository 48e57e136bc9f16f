"""Where the files of a model version come from."""

from dataclasses import dataclass

from apps.experiments.models import LoggedModel, Run


@dataclass(frozen=True)
class Origin:
    """The files of `logged`, else those of `run`, below `path`; where Flotilla keeps none, what is at `location`."""

    run: Run | None = None
    logged: LoggedModel | None = None
    path: str = ""
    location: str = ""
