"""Commands that the pages of experiments offer where there is nothing yet. Names may hold quotes and braces."""

import json
import shlex

from django.conf import settings

from apps.core.models import Project
from apps.core.pages.commands import posting
from apps.experiments.models import Experiment

_TRACKING = """export MLFLOW_TRACKING_URI={url}
export MLFLOW_WORKSPACE={project} MLFLOW_TRACKING_TOKEN=…
python -c {code}"""
_LAUNCH = """{{"project": {project}, "experiment": {experiment},
       "image": "flotilla-examples/digits:1",
       "command": ["python", "train.py"], "args": ["--alpha", "0.001"]}}"""
_REGISTER = '{{"project": {project}, "run_id": "…"}}'
_LOG = """import mlflow; mlflow.set_experiment("first")
mlflow.log_metric("loss", 0.5)"""
_TRACE = """import mlflow; mlflow.set_experiment({experiment})
answer = mlflow.trace(lambda question: "Because.", name="answer")
answer("Why?")"""


def launching(experiment: Experiment) -> str:
    """Launch a run in the experiment by REST."""
    names = {"project": _text(experiment.project.name), "experiment": _text(experiment.name)}
    return posting("runs", _LAUNCH.format(**names))


def registering(project: Project) -> str:
    """Register a version of a model by REST."""
    return posting("models/digits/versions", _REGISTER.format(project=_text(project.name)))


def logging(project: Project) -> str:
    """Log a metric with the stock MLflow client."""
    return _tracking(project, _LOG)


def tracing(experiment: Experiment) -> str:
    """Send a trace to the experiment with the stock MLflow client."""
    return _tracking(experiment.project, _TRACE.format(experiment=_text(experiment.name)))


def _tracking(project: Project, code: str) -> str:
    return _TRACKING.format(url=settings.PUBLIC_URL, project=project.name, code=shlex.quote(code))


def _text(name: str) -> str:
    """A name as JSON and as Python read it."""
    return json.dumps(name, ensure_ascii=False)
