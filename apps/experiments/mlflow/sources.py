"""The files that a model version is made of: those at a URI of Flotilla's own, or those that are kept elsewhere.

No foreign URI is opened on the server, now or later: it is kept for clients, and they open it.
"""

import re

from apps.core.errors import Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import selectors
from apps.experiments.files import artifacts
from apps.experiments.mlflow.lookup import logged_model_of, run_by_uid
from apps.experiments.mlflow.wire import Call
from apps.experiments.models import LoggedModel, ModelVersion, Run
from apps.experiments.registry.foreign import check_foreign
from apps.experiments.registry.origin import Origin

_OURS = re.compile(
    r"models:/(?P<model>m-[0-9a-f]{32})(?P<model_path>/.*)?"
    r"|runs:/(?P<run>[0-9a-f]{32})/(?P<run_path>.+)"
    r"|mlflow-artifacts:/+\d+/models/(?P<store_model>m-[0-9a-f]{32})/artifacts/?(?P<store_model_path>.*)"
    r"|mlflow-artifacts:/+\d+/(?P<store_run>[0-9a-f]{32})/artifacts/?(?P<store_run_path>.*)"
)
_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<number>[^/@]+)|@(?P<alias>[^/@]+))")


def origin_of(call: Call, project: Project, source: str) -> Origin:
    """The files that a source URI means. Raises Invalid, and Missing for what Flotilla keeps no such files of."""
    if match := _OURS.fullmatch(source):
        return _kept(call, project, match)
    if match := _REGISTERED.fullmatch(source):
        return _registered(selectors.model_version(project, match["name"], match["number"] or match["alias"]))
    check_foreign(source)
    return Origin(location=source)


def _kept(call: Call, project: Project, match: re.Match[str]) -> Origin:
    parts = match.groupdict(default="")
    tails = ("model_path", "run_path", "store_model_path", "store_run_path")
    path = artifacts.clean_path(next((parts[tail] for tail in tails if parts[tail]), ""), allow_root=True)
    model_id, run_id = parts["model"] or parts["store_model"], parts["run"] or parts["store_run"]
    logged: LoggedModel | None = None
    run: Run | None = None
    if model_id:
        logged = logged_model_of(call, model_id, Role.DEVELOPER)
        run = logged.run
    else:
        run = run_by_uid(call, run_id, Role.DEVELOPER)
        # MLflow 3 keeps what `log_model(name=…)` wrote apart from the run's own files.
        if not artifacts.list_folder(run, path):
            logged = selectors.logged_model_of(run, path)
            path = "" if logged else path
    owner = logged.experiment.project_id if logged else run.experiment.project_id if run else None
    if owner != project.pk:
        raise Missing("The source belongs to another project.")
    return Origin(run, logged, path)


def _registered(version: ModelVersion) -> Origin:
    return Origin(version.run, version.logged_model, version.artifact_path, version.location)
