"""From code and data by way of the run to models and what serves them: five steps, each with links."""

from dataclasses import dataclass, field

from django.db.models import Prefetch
from django.urls import reverse

from apps.experiments import selectors
from apps.experiments.models import LoggedModel, ModelAlias, ModelInput, ModelVersion, Run
from apps.experiments.registry.served import Serving, serving
from apps.experiments.tracking.tags import COMMIT_TAG, REPOSITORY_TAG, SOURCE_TAG

MOST = 20


@dataclass(frozen=True)
class Node:
    """One thing; `state` is a word that gives its look, where it has one."""

    label: str
    note: str = ""
    url: str = ""
    state: str = ""
    is_code: bool = False


@dataclass(frozen=True)
class Step:
    """The things of one step; `otherwise` says what it means that there is none."""

    title: str
    icon: str
    otherwise: str
    nodes: list[Node] = field(default_factory=list)


def lineage_of(run: Run) -> list[Step]:
    """The steps that lead to the run and on from it."""
    project = run.experiment.project.name
    versions = _versions(run)
    logged = list(run.logged_models.filter(deleted_at=None).order_by("-id")[:MOST])
    servings = serving([version.pk for version in versions])
    return [
        Step("Code", "file-code", "No client has said what code it is.", _code(run)),
        Step("Data", "database", "It logged no dataset: mlflow.log_input(…) does.", _data(run, project)),
        Step("Run", "play", "", [Node(str(run), run.experiment.name, "", run.state), *_relatives(run, project)]),
        Step("Models", "package", "It logged and registered no model.", _models(logged, versions, project)),
        Step("Deployments", "rocket", "Nothing serves a model of it now.", _served(versions, servings)),
    ]


def _versions(run: Run) -> list[ModelVersion]:
    rows = run.model_versions.select_related("model").prefetch_related(
        Prefetch("aliases", ModelAlias.objects.order_by("name"))
    )
    return list(rows.order_by("-id")[:MOST])


def _code(run: Run) -> list[Node]:
    tags = dict(run.tags.filter(key__in=(SOURCE_TAG, REPOSITORY_TAG, COMMIT_TAG)).values_list("key", "value"))
    asked = run.spec.get("git") or {}
    repository, commit = tags.get(REPOSITORY_TAG) or asked.get("url", ""), tags.get(COMMIT_TAG) or asked.get("ref", "")
    nodes = []
    if repository or commit:
        url = repository if repository.startswith("https://") else ""
        nodes.append(Node(repository or "a repository", commit and f"commit {commit}", url, is_code=True))
    if tags.get(SOURCE_TAG):
        nodes.append(Node(tags[SOURCE_TAG], "the program", is_code=True))
    if run.spec.get("image"):
        nodes.append(Node(run.spec["image"], "the image", is_code=True))
    return nodes


def _data(run: Run, project: str) -> list[Node]:
    given = run.dataset_inputs.select_related("dataset").defer("dataset__schema", "dataset__profile")[:MOST]
    nodes = [
        Node(each.dataset.name, " · ".join(filter(None, (each.context, f"digest {each.dataset.digest}"))))
        for each in given
    ]
    models = ModelInput.objects.filter(run=run).select_related("model__run")[:MOST]
    for each in models:
        made_by = each.model.run
        url = _run_url(project, made_by) if made_by is not None else ""
        nodes.append(Node(each.model.name, f"a model of {made_by}" if made_by is not None else "a model", url))
    return nodes


def _relatives(run: Run, project: str) -> list[Node]:
    compare = reverse("experiments:compare", args=[project])
    first = run.rerun_of if run.rerun_of is not None and run.rerun_of.deleted_at is None else None
    others = [*([first] if first is not None else []), *selectors.runs(rerun_of=run).order_by("-id")[:MOST]]
    return [
        Node(
            f"Compare with {other}",
            "which it repeats" if other is first else "which repeats it",
            f"{compare}?run={other.uid}&run={run.uid}",
        )
        for other in others
    ]


def _models(logged: list[LoggedModel], versions: list[ModelVersion], project: str) -> list[Node]:
    nodes = [
        Node(
            f"{version.model.name} v{version.version}",
            " ".join(f"@{alias.name}" for alias in version.aliases.all()) or "a model version",
            reverse("experiments:model", args=[project, version.model.name]),
        )
        for version in versions
    ]
    return nodes + [Node(model.name, f"logged as {model.uid}") for model in logged]


def _served(versions: list[ModelVersion], servings: dict[int, list[Serving]]) -> list[Node]:
    return [
        Node(each.name, f"{version.model.name} v{version.version}: {each.note}", each.url, each.state)
        for version in versions
        for each in servings.get(version.pk, [])
    ]


def _run_url(project: str, run: Run) -> str:
    return reverse("experiments:run", args=[project, run.uid])
