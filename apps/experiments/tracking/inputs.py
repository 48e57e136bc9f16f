"""What clients say that runs were given: checked, and written so that saying it twice changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from apps.core.errors import Invalid
from apps.experiments.models import Dataset, DatasetInput, LoggedModel, ModelInput, Run
from apps.experiments.tracking.arguments import missing
from apps.experiments.tracking.ingest import check_text

# mlflow/utils/validation.py.
MAX_DATASETS = 1000
_LIMITS = {"name": 500, "digest": 36, "source_type": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
_NEEDED = ("name", "digest", "source_type", "source")
_TAG_KEY, _TAG_VALUE = 255, 500


@dataclass(frozen=True)
class Given:
    """A dataset as a client describes it, and the tags of its use."""

    columns: Mapping[str, str]
    tags: Mapping[str, str]

    @property
    def key(self) -> tuple[str, str]:
        """Name and digest, by which an experiment knows it."""
        return self.columns["name"], self.columns["digest"]


def parse_datasets(said: Sequence[Mapping[str, Any]]) -> list[Given]:
    """The `datasets` of `runs/log-inputs`. Raises Invalid."""
    if len(said) > MAX_DATASETS:
        raise Invalid(f"A request can contain at most {MAX_DATASETS} datasets. Got {len(said)} datasets.")
    return [_given(item, f"datasets[{number}]") for number, item in enumerate(said)]


def _given(item: Mapping[str, Any], place: str) -> Given:
    dataset = item.get("dataset")
    if not isinstance(dataset, dict):
        raise missing(f"{place}.dataset")
    for name in _NEEDED:
        if not dataset.get(name):
            raise Invalid(f"Dataset {name} cannot be None", field=f"{place}.dataset.{name}")
    columns = {
        name: check_text(dataset.get(name) or "", limit, f"{place}.dataset.{name}") for name, limit in _LIMITS.items()
    }
    tags = item.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, dict) and tag.get("key") for tag in tags):
        raise Invalid("InputTag key cannot be None", field=f"{place}.tags")
    return Given(
        columns,
        {
            check_text(tag["key"], _TAG_KEY, f"{place}.tags.key"): check_text(
                tag.get("value") or "", _TAG_VALUE, f"{place}.tags.value"
            )
            for tag in tags
        },
    )


def store(run: Run, given: Sequence[Given], models: Sequence[str]) -> None:
    """Note what a run was given. A dataset that the experiment knows stays as it was first described, and so do the
    tags of its use by the run. Raises Invalid for a model that is none of the project's."""
    by_key: dict[tuple[str, str], Given] = {}
    for each in given:
        by_key.setdefault(each.key, each)
    with transaction.atomic():
        rows = [Dataset(experiment_id=run.experiment_id, **by_key[key].columns) for key in sorted(by_key)]
        Dataset.objects.bulk_create(rows, ignore_conflicts=True)
        names, digests = {name for name, _ in by_key}, {digest for _, digest in by_key}
        there = Dataset.objects.filter(experiment=run.experiment_id, name__in=names, digest__in=digests)
        known = {(row.name, row.digest): row.pk for row in there.only("name", "digest")}
        DatasetInput.objects.bulk_create(
            [DatasetInput(run=run, dataset_id=known[key], tags=dict(each.tags)) for key, each in by_key.items()],
            ignore_conflicts=True,
        )
        uids = list(dict.fromkeys(models))
        pks = dict(
            LoggedModel.objects.filter(uid__in=uids, experiment__project=run.experiment.project_id).values_list(
                "uid", "pk"
            )
        )
        if unknown := [uid for uid in uids if uid not in pks]:
            raise Invalid(f"Logged model with ID '{unknown[0][:64]}' not found.", field="models")
        ModelInput.objects.bulk_create([ModelInput(run=run, model_id=pks[uid]) for uid in uids], ignore_conflicts=True)
