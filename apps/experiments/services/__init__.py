"""Every write of experiments: one transaction with its audit row and what it asks for."""

from apps.experiments.services.bins import delete_for_good, empty_bin, restore, set_bin_days
from apps.experiments.services.experiments import (
    create_experiment,
    default_experiment,
    delete_experiment,
    delete_experiment_tag,
    rename_experiment,
    restore_experiment,
    set_experiment_tag,
)
from apps.experiments.services.launching import (
    cancel_run,
    launch_run,
    launch_runs,
    preview_runs,
    rerun,
)
from apps.experiments.services.logged import (
    change_logged_model,
    create_logged_model,
    delete_logged_model,
    finish_logged_model,
    note_model_steps,
    restore_logged_model,
)
from apps.experiments.services.notes import describe_experiment, describe_run
from apps.experiments.services.registry import (
    create_model,
    create_version,
    delete_alias,
    delete_model,
    delete_version,
    register_version,
    set_alias,
    set_stage,
    update_model,
    update_version,
)
from apps.experiments.services.rehearsing import Rehearsal, manifest_of, rehearse_run
from apps.experiments.services.together import cancel_runs, delete_runs, restore_runs, tag_runs
from apps.experiments.services.traces import delete_traces
from apps.experiments.services.tracking import create_external_run, delete_run, restore_run, update_run

__all__ = [
    "Rehearsal",
    "cancel_run",
    "cancel_runs",
    "change_logged_model",
    "create_experiment",
    "create_external_run",
    "create_logged_model",
    "create_model",
    "create_version",
    "default_experiment",
    "delete_alias",
    "delete_experiment",
    "delete_experiment_tag",
    "delete_for_good",
    "delete_logged_model",
    "delete_model",
    "delete_run",
    "delete_runs",
    "delete_traces",
    "delete_version",
    "describe_experiment",
    "describe_run",
    "empty_bin",
    "finish_logged_model",
    "launch_run",
    "launch_runs",
    "manifest_of",
    "note_model_steps",
    "preview_runs",
    "register_version",
    "rehearse_run",
    "rename_experiment",
    "rerun",
    "restore",
    "restore_experiment",
    "restore_logged_model",
    "restore_run",
    "restore_runs",
    "set_alias",
    "set_bin_days",
    "set_experiment_tag",
    "set_stage",
    "tag_runs",
    "update_model",
    "update_run",
    "update_version",
]
