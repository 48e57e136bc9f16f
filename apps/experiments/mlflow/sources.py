"""The files that a model version is made of: those at a URI of Flotilla's own, or those that are kept elsewhere.

No foreign URI is opened on the server, now or later: it is kept for clients, and they open it.
"""

import re
from urllib.parse import unquote, urlsplit

from apps.core.errors import Invalid, Missing
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import selectors
from apps.experiments.files import artifacts
from apps.experiments.mlflow.lookup import logged_model_of, run_by_uid
from apps.experiments.mlflow.wire import Call
from apps.experiments.models import LoggedModel, ModelVersion, Run
from apps.experiments.registry.origin import Origin

_OURS = re.compile(
    r"models:/(?P<model>m-[0-9a-f]{32})(?P<model_path>/.*)?"
    r"|runs:/(?P<run>[0-9a-f]{32})/(?P<run_path>.+)"
    r"|mlflow-artifacts:/+\d+/models/(?P<store_model>m-[0-9a-f]{32})/artifacts/?(?P<store_model_path>.*)"
    r"|mlflow-artifacts:/+\d+/(?P<store_run>[0-9a-f]{32})/artifacts/?(?P<store_run_path>.*)"
)
_REGISTERED = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<number>[^/@]+)|@(?P<alias>[^/@]+))")
_DECODINGS = 10


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


def check_foreign(source: str) -> None:
    """A URI of another store, with no way out of its folder. Raises Invalid.

    As stock does it (`_validate_source_run` and `_validate_non_local_source_contains_relative_paths` of
    mlflow/server/handlers.py): whoever loads the version later opens the URI, on a machine with files of its own.
    """
    plain = source
    for _ in range(_DECODINGS):
        before, plain = plain, unquote(plain)
        if before == plain:
            break
    if _leaves_its_folder(plain) or not plain.isprintable() or before != plain:
        raise Invalid(
            f"Invalid model version source: '{source[:200]}'. If supplying a source as an http, https, local file "
            "path, ftp, objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path "
            "references present.",
            hint="Register what was logged here (models:/m-…, runs:/<run>/<path>, models:/<name>/<version>), or name "
            "the URI of a store, such as s3://bucket/path. A path of one machine is none.",
            field="source",
        )


def _leaves_its_folder(uri: str) -> bool:
    """Whether it has a step upwards, or names no store at all."""
    try:
        parts = urlsplit(uri)
    except ValueError:  # half a pair of brackets, for instance
        return True
    steps = re.split(r"[/\\]", f"{parts.netloc}/{parts.path}/{parts.query}/{parts.fragment}")
    return parts.scheme in ("", "file") or ".." in steps
