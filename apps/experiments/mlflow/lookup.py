"""How MLflow's ids lead to rows: always through the door that checks project and role."""

from collections.abc import Sequence

from apps.core.access import get_scoped, require_role, visible_projects
from apps.core.database.prepared import FindOne
from apps.core.errors import Invalid, Missing
from apps.core.states import Role
from apps.core.text.numbers import BIGINT_DIGITS, whole
from apps.experiments import services
from apps.experiments.mlflow.wire import Ask, Call, MlflowError
from apps.experiments.models import Experiment, LoggedModel, Run
from apps.experiments.tracking.arguments import missing

# Where a client logs that never called `set_experiment`: id 0 is MLflow's default experiment.
DEFAULT_ID = "0"
# Experiments that one search may name.
MAX_SEARCHED = 1000

_run_by_uid = FindOne(Run, "uid", related=("experiment", "experiment__project"))


def experiment_of(call: Ask, at_least: Role = Role.VIEWER, *, name: str = "experiment_id") -> Experiment:
    """The experiment that `experiment_id` names, deleted ones included. Raises Missing."""
    text = call.text(name, required=at_least is Role.VIEWER) or DEFAULT_ID
    if text == DEFAULT_ID:
        return default_experiment(call, at_least)
    return experiment_by_pk(call, number_of(text), at_least)


def experiment_by_pk(call: Ask, pk: int, at_least: Role = Role.VIEWER) -> Experiment:
    """The experiment with this key, deleted ones included. Raises Missing."""
    try:
        return get_scoped(Experiment.objects.all(), call.principal, at_least, pk=pk)
    except Missing as error:
        raise Missing(f"No Experiment with id={pk} exists") from error


def experiment_pks(call: Ask, *, name: str = "experiment_ids") -> list[int]:
    """The keys of the experiments that a list of ids names, each once, for reading: one query, however many.

    Raises Missing for the first that is not in a project that the caller sees.
    """
    texts = list(dict.fromkeys(call.strings(name)))
    if len(texts) > MAX_SEARCHED:
        raise Invalid(f"At most {MAX_SEARCHED} experiments can be searched together.")
    default = [default_experiment(call, Role.VIEWER).pk] if DEFAULT_ID in texts else []
    asked = [number_of(text) for text in texts if text != DEFAULT_ID]
    # A caller who sees a project is a viewer of it at least.
    visible = Experiment.objects.filter(pk__in=asked, project__in=visible_projects(call.principal))
    seen = set(visible.values_list("pk", flat=True)) if asked else set()
    missing = [pk for pk in asked if pk not in seen]
    if missing:
        raise Missing(f"No Experiment with id={missing[0]} exists")
    return default + asked


def number_of(text: str) -> int:
    """The key in an experiment's id. Raises Invalid."""
    number = whole(text, BIGINT_DIGITS)
    if number is None:
        raise Invalid(f"Invalid experiment ID '{text[:100]}'. Experiment ID must be a valid integer.")
    return number


def default_experiment(call: Ask, at_least: Role = Role.VIEWER) -> Experiment:
    """The one of clients that never chose an experiment: there from a project's beginning, so far as they can tell."""
    return services.default_experiment(call.project(at_least))


def run_of(call: Ask, at_least: Role = Role.VIEWER) -> Run:
    """The run that `run_id`, or the older `run_uuid`, names; deleted ones included. Raises Missing."""
    uid = call.text("run_id") or call.text("run_uuid")
    if not uid:
        raise missing("run_id")
    return run_by_uid(call, uid, at_least)


def run_by_uid(call: Ask, uid: str, at_least: Role = Role.VIEWER) -> Run:
    """The run with this id, with experiment and project at hand: one query. Raises Missing."""
    run = _run_by_uid(uid) if len(uid) == 32 else None
    if run is None:
        raise Missing(f"Run with id={uid[:64]} not found")
    try:
        require_role(call.principal, run.experiment.project, at_least)
    except Missing as error:
        raise Missing(f"Run with id={uid[:64]} not found") from error
    return run


def readable_runs(call: Call, uids: Sequence[str]) -> list[int]:
    """The keys of those of the runs that the caller sees, in the order of their ids here, each once: one query."""
    rows = Run.objects.filter(uid__in=uids, experiment__project__in=visible_projects(call.principal))
    pks = dict(rows.values_list("uid", "pk"))
    return [pks[uid] for uid in dict.fromkeys(uids) if uid in pks]


def writable_run(call: Ask) -> Run:
    """The run that the call may change: the token's own where it is a run's token. Raises Missing or MlflowError."""
    run = run_of(call, Role.DEVELOPER)
    check_own(call, run)
    return run


def active_run(call: Ask) -> Run:
    """A writable run that is not deleted: only such a run takes values, as in MLflow."""
    run = writable_run(call)
    if run.deleted_at is not None:
        raise Invalid(f"The run {run.uid} must be in the 'active' state. Current state is deleted.")
    return run


def check_own(call: Ask, run: Run | None) -> None:
    """Raise MlflowError when a run's token reaches for another run, or for what belongs to no run."""
    if call.run_token and (run is None or run.uid != call.run_token):
        raise MlflowError("PERMISSION_DENIED", "A run's token may only write to its own run.")


def logged_model_of(call: Ask, model_id: str, at_least: Role = Role.VIEWER, *, deleted: bool = False) -> LoggedModel:
    """The logged model with this id. Raises Missing, or MlflowError for a run's token and another run's model."""
    model = LoggedModel.objects.select_related("experiment__project", "run").filter(uid=model_id).first()
    message = f"Logged model with ID '{model_id[:64]}' not found."
    if model is None or (model.deleted_at is not None and not deleted):
        raise Missing(message)
    try:
        require_role(call.principal, model.experiment.project, at_least)
    except Missing as error:
        raise Missing(message) from error
    if at_least is not Role.VIEWER:
        check_own(call, model.run)
    return model
