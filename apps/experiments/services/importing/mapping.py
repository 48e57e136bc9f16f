"""Which id an object of the source has here. It is chosen once, by a row, before the object is made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.models import Project
from apps.experiments.models import Imported, LoggedModel, Run, new_model_uid, new_uid

EXPERIMENT, RUN, LOGGED, MODEL, VERSION = "experiment", "run", "logged-model", "model", "version"


@dataclass(frozen=True)
class Known:
    """The objects of one source in one project."""

    project: Project
    source: str

    def find(self, kind: str, source_id: str) -> Imported | None:
        """The row of an object that was chosen an id for."""
        found: Imported | None = self._rows(kind).filter(source_id=source_id).first()
        return found

    def run(self, source_id: str) -> Imported:
        """The row of a run: its id stays, where no other run has it."""
        return self._chosen(RUN, source_id, lambda: _free(Run, source_id) or new_uid())

    def logged_model(self, source_id: str) -> Imported:
        """The row of a logged model, likewise."""
        return self._chosen(LOGGED, source_id, lambda: _free(LoggedModel, source_id) or new_model_uid())

    def note(self, kind: str, source_id: str, target: str) -> Imported:
        """The row of anything else, which is known here as `target`."""
        return self._chosen(kind, source_id, lambda: target)

    def _rows(self, kind: str) -> Any:
        return Imported.objects.filter(project=self.project, source=self.source, kind=kind)

    def _chosen(self, kind: str, source_id: str, choose: Any) -> Imported:
        row = self.find(kind, source_id)
        if row is None:
            row, _ = Imported.objects.get_or_create(
                project=self.project,
                source=self.source,
                kind=kind,
                source_id=source_id,
                defaults={"target": choose()},
            )
        return row

    def rows(self, kind: str, source_ids: list[str]) -> dict[str, Imported]:
        """The rows of those that have one, by their ids there."""
        return {row.source_id: row for row in self._rows(kind).filter(source_id__in=source_ids)}


def _free(model: Any, uid: str) -> str:
    """The id where it may be used here, else ""."""
    taken = model.objects.filter(uid=uid).exists() or Imported.objects.filter(target=uid).exists()
    return "" if taken or len(uid) > 40 or (model is Run and not _is_run_id(uid)) else uid


def _is_run_id(uid: str) -> bool:
    return len(uid) == 32 and all(letter in "0123456789abcdef" for letter in uid)


def keep(row: Imported) -> None:
    """Write down what is known of an object by now."""
    row.save(update_fields=["mark", "points", "files", "file_bytes", "notes"])


def mark_of(said: Mapping[str, Any]) -> str:
    """A digest of what the source says of an object, whatever the order in which it says it."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
