"""What the other server has, list by list, in an order in which nothing is missed while others add to it."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Missing
from apps.experiments.services.importing.server import AJAX, Coming, Refused, Server, pages

Row = dict[str, Any]
PAGE, POINTS = 200, 25_000
# Servers leave prompts out of a list unless they are asked for.
PROMPT_TAG = "mlflow.prompt.is_prompt"
PROMPTS = f"tags.`{PROMPT_TAG}` = 'true'"


def pairs(said: Any) -> dict[str, str]:
    """A list of keys and values, as servers write it, as a dict."""
    return {str(item["key"]): str(item.get("value") or "") for item in said or []}


@dataclass(frozen=True)
class Source:
    """The lists of a server."""

    server: Server

    @property
    def name(self) -> str:
        """The name by which the mapping knows the source."""
        return self.server.name

    def experiments(self) -> list[Row]:
        """All that are active, the oldest first."""
        ask = functools.partial(self.server.post, "experiments/search")
        found = [row for page in pages(ask, "experiments", max_results=PAGE, view_type="ACTIVE_ONLY") for row in page]
        return sorted(found, key=lambda row: int(row["experiment_id"]))

    def deleted_experiments(self) -> int:
        """How many are in the server's bin."""
        ask = functools.partial(self.server.post, "experiments/search")
        return sum(map(len, pages(ask, "experiments", max_results=PAGE, view_type="DELETED_ONLY")))

    def runs(self, experiment: str, view: str = "ACTIVE_ONLY") -> Iterator[list[Row]]:
        """Pages of an experiment's runs, the oldest first: what is added meanwhile comes last."""
        ask = functools.partial(self.server.post, "runs/search")
        return pages(
            ask,
            "runs",
            experiment_ids=[experiment],
            run_view_type=view,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
        )

    def points(self, run: str, key: str) -> Iterator[list[Row]]:
        """Every point of a metric, in pages."""
        ask = functools.partial(self.server.get, "metrics/get-history")
        return pages(ask, "metrics", run_id=run, run_uuid=run, metric_key=key, max_results=POINTS)

    def files_of_run(self, run: str, folder: str = "") -> Iterator[Row]:
        """The files of a run, in all folders."""
        ask = functools.partial(self.server.get, "artifacts/list", run_id=run, run_uuid=run)
        return self._files(lambda path, token: ask(path=path, page_token=token), folder)

    def files_of_model(self, model: str, folder: str = "") -> Iterator[Row]:
        """The files of a logged model, in all folders."""
        ask = functools.partial(self.server.get, f"logged-models/{model}/artifacts/directories")
        return self._files(lambda path, token: ask(artifact_directory_path=path, page_token=token), folder)

    def _files(self, ask: Any, folder: str) -> Iterator[Row]:
        for page in pages(lambda page_token: ask(folder, page_token), "files"):
            for entry in page:
                if entry.get("is_dir"):
                    yield from self._files(ask, entry["path"])
                else:
                    yield entry

    def open_of_run(self, run: str, path: str) -> Coming:
        """A file of a run."""
        return self.server.file("/get-artifact", path=path, run_id=run, run_uuid=run)

    def open_of_model(self, model: str, path: str) -> Coming:
        """A file of a logged model."""
        return self.server.file(f"{AJAX}/logged-models/{model}/artifacts/files", artifact_file_path=path)

    def logged_models(self, experiment: str) -> Iterator[list[Row]]:
        """Pages of an experiment's logged models; none on servers before 3.0."""
        ask = functools.partial(self.server.post, "logged-models/search")
        order = [{"field_name": "creation_timestamp", "ascending": True}]
        try:
            yield from pages(ask, "models", experiment_ids=[experiment], max_results=50, order_by=order)
        except (Missing, Refused):
            return

    def models(self) -> list[Row]:
        """All registered models, prompts included."""
        return list(self._named("registered-models/search", "registered_models", ("",)).values())

    def versions(self, name: str) -> list[Row]:
        """All versions of a registered model, the first one first."""
        quoted = f"name='{name}'" if "'" not in name else f'name="{name}"'
        found = self._named("model-versions/search", "model_versions", (quoted,), by="version")
        return sorted(found.values(), key=lambda row: int(row["version"]))

    def _named(self, path: str, name: str, filters: tuple[str, ...], by: str = "name") -> dict[str, Row]:
        found: dict[str, Row] = {}
        for text in ("", PROMPTS):
            said = " AND ".join(part for part in (*filters, text) if part)
            for page in pages(functools.partial(self.server.get, path), name, filter=said, max_results=PAGE):
                found |= {str(row[by]): row for row in page}
        return found
