"""An import from its beginning to its report: experiment by experiment, then the registry, then everything again to
hold it against the source."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction

from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.errors import Conflict
from apps.core.models import Project
from apps.core.states import Role
from apps.experiments import services
from apps.experiments.models import Experiment, Imported
from apps.experiments.services.experiments import DEFAULT_NAME
from apps.experiments.services.importing import logged, registry, runs
from apps.experiments.services.importing.mapping import EXPERIMENT, Known
from apps.experiments.services.importing.progress import Progress
from apps.experiments.services.importing.reading import Row, Source, pairs
from apps.experiments.services.importing.reporting import Report, compared
from apps.experiments.services.importing.runs import Bringing

Say = Callable[[str], None]


def plan(source: Source, say: Say) -> None:
    """Say what there is to bring, and bring nothing."""
    total = models = 0
    for each in source.experiments():
        number = sum(map(len, source.runs(each["experiment_id"])))
        logged_models = sum(map(len, source.logged_models(each["experiment_id"])))
        say(f"experiment {each['name']!r}: {number:,} runs, {logged_models:,} logged models")
        total += number
    for model in source.models():
        say(f"model {model['name']!r}: {len(source.versions(model['name'])):,} versions")
        models += 1
    say(f"Together {total:,} runs and {models:,} registered models. Nothing was brought.")


def bring(source: Source, project: Project, principal: Principal, *, threads: int, say: Say) -> Report:
    """Bring everything that is not here yet, then compare. Needs the admin role: ids and times are the source's.

    Raises Conflict while another import into the project is under way; NotAnswered where the source does not answer
    any more: what was brought by then stays, and the next import goes on with the rest.
    """
    require_role(principal, project, Role.ADMIN)
    known = Known(project, source.name)
    with _alone(project):
        to = Bringing(source, known, principal, Progress(say))
        listed = source.experiments()
        here = [(said, _experiment(to, said)) for said in listed]
        for number, (said, experiment) in enumerate(here, start=1):
            to.progress.at(f"experiment {number} of {len(here)}: {said['name']!r}")
            for page in source.runs(said["experiment_id"]):
                _each(functools.partial(runs.bring, to, experiment), page, threads)
            for page in source.logged_models(said["experiment_id"]):
                _each(functools.partial(logged.bring, to, experiment), page, threads)
        to.progress.at("registered models")
        models = [(said, source.versions(said["name"])) for said in source.models()]
        # Versions may be copies of other models' versions.
        for said, versions in sorted(models, key=lambda each: any(registry.is_copy(v) for v in each[1])):
            registry.bring(to, said, versions)
        to.progress.at("Reading all of it again, here and there")
        report = compared(to, here, models)
        say(to.progress.sentence())
        return report


class _alone:  # noqa: N801 - read as a word
    """Held while an import into a project is under way; freed by itself when the process is killed."""

    def __init__(self, project: Project) -> None:
        self._name = f"import into {project.pk}"

    def __enter__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [self._name])
            if not cursor.fetchone()[0]:
                raise Conflict("Another import into this project is under way.", hint="Let it end, or stop it.")

    def __exit__(self, *args: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [self._name])


def _each(bring_one: Callable[[Row], None], page: list[Row], threads: int) -> None:
    """Several at once: the source answers one thing at a time slowly, and several as quickly."""
    if threads == 1:
        for said in page:
            bring_one(said)
        return

    def on_a_thread(said: Row) -> None:
        try:
            bring_one(said)
        finally:
            connection.close()

    with ThreadPoolExecutor(threads, "import") as pool:
        for _ in pool.map(on_a_thread, page):
            pass


@transaction.atomic
def _experiment(to: Bringing, said: Row) -> Experiment:
    """The experiment of that name, made where there is none; its tags come where it has none of that key."""
    project, name, source_id = to.known.project, str(said["name"]), str(said["experiment_id"])
    row = to.known.find(EXPERIMENT, source_id)
    found = Experiment.objects.filter(project=project, pk=int(row.target)).first() if row else None
    if found is None and name == DEFAULT_NAME:
        found = services.default_experiment(project)
    found = found or Experiment.objects.filter(project=project, name=name).first()
    tags = pairs(said.get("tags"))
    if found is None:
        found = services.create_experiment(principal=to.principal, project=project, name=name, tags=tags)
        to.progress.add(experiments=1)
    elif found.deleted_at is not None:
        raise Conflict(
            f"The experiment {found.name!r} of {project.name} is in the bin.", hint="Restore it, or delete it for good."
        )
    else:
        Experiment.objects.filter(pk=found.pk).update(tags={**tags, **found.tags})
    if row is None:
        row = to.known.note(EXPERIMENT, source_id, str(found.pk))
    if row.target != str(found.pk):
        Imported.objects.filter(pk=row.pk).update(target=str(found.pk))
    after = {"source": to.known.source, "experiment": source_id}
    audit.record(principal=to.principal, action="experiment.import", obj=found, project=project, after=after)
    return found
