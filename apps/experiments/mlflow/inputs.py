"""What runs were given: `runs/log-inputs` and `experiments/search-datasets` of MLflow's REST API."""

from typing import Any

from apps.core.errors import Invalid
from apps.experiments.mlflow.lookup import active_run, experiment_pks
from apps.experiments.mlflow.wire import Call
from apps.experiments.models import CONTEXT, DatasetInput
from apps.experiments.tracking import inputs, pulse

# mlflow/store/tracking: MAX_DATASET_SUMMARIES_RESULTS.
MOST_SUMMARIES = 1000
# mlflow/server/handlers.py: MAX_EXPERIMENT_IDS_PER_REQUEST.
MOST_SEARCHED = 20


def log(call: Call) -> dict[str, Any]:
    """Note what a run was given."""
    run = active_run(call)
    given = inputs.parse_datasets(call.objects("datasets"))
    inputs.store(run, given, [str(item.get("model_id") or "") for item in call.objects("models")])
    pulse.run_logged(run.pk, run.experiment_id, run.experiment.project_id)
    return {}


def search(call: Call) -> dict[str, Any]:
    """The datasets of some experiments, each once for what it was used for."""
    asked = len(call.strings("experiment_ids"))
    if not asked:
        raise Invalid("SearchDatasets request must specify at least one experiment_id.", field="experiment_ids")
    if asked > MOST_SEARCHED:
        raise Invalid(
            f"SearchDatasets request cannot specify more than {MOST_SEARCHED} experiment_ids. Received {asked} "
            "experiment_ids."
        )
    rows = DatasetInput.objects.filter(dataset__experiment__in=experiment_pks(call), run__deleted_at=None)
    columns = ("dataset__experiment", "dataset__name", "dataset__digest", f"tags__{CONTEXT}")
    summaries = rows.order_by(*columns).values_list(*columns).distinct()[:MOST_SUMMARIES]
    return {
        "dataset_summaries": [
            {"experiment_id": str(experiment), "name": name, "digest": digest, **({"context": said} if said else {})}
            for experiment, name, digest, said in summaries
        ]
    }
