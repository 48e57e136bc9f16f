"""A program of MLflow's users: it does everything with the stock client, and tells what it reads back.

Sent to Flotilla and to MLflow's own server it tells the same: `test_beside_stock.py` compares the two. What differs by
nature (ids, times, where files lie) is left out, or told by a name.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.experiments.stock_traces import traces

ODD_NAMES = (
    "a b.txt", "50%.txt", "a%20b.txt", "ü.txt", "a+b&c=d.txt", "with:colon.txt", "deep/er/x.txt", "~tilde.txt",
    "images/dog%step%0%timestamp%1796054639954%x.txt",
)  # fmt: skip


class Program:
    """Everything, a part after the other; each tells what it read as plain values."""

    def __init__(self, address: str) -> None:
        import mlflow

        mlflow.set_tracking_uri(address)
        self.mlflow = mlflow
        self.api = mlflow.MlflowClient()
        self._known: dict[str, str] = {}

    def all(self) -> dict[str, Any]:
        """What every part tells, by its name."""
        parts: list[Callable[[], Any]] = [
            self.experiments, self.runs, self.run_searches, self.histories, self.given, self.artifacts, self.logged,
            self.logged_searches, self.registry, self.registry_searches, self.prompts, self.traces, self.refused,
            self.bin,
        ]  # fmt: skip
        return {part.__name__: json.loads(self._plain(part())) for part in parts}

    def _plain(self, told: Any) -> str:
        text = json.dumps(told, sort_keys=True)
        for uid, name in self._known.items():
            text = text.replace(uid, name)
        return text

    def _call(self, uid: str, name: str) -> str:
        """From now on this id is told as the name."""
        self._known[uid] = name
        return uid

    def _experiment(self, name: str, **more: Any) -> str:
        return str(self.api.create_experiment(name, **more))

    def _run(self, experiment: str, name: str, **more: Any) -> str:
        return self._call(self.api.create_run(experiment, run_name=name, **more).info.run_id, f"<{name}>")

    def _file(self, text: str = "hello") -> str:
        path = Path(tempfile.mkdtemp()) / "note.txt"
        path.write_text(text)
        return str(path)

    def experiments(self) -> Any:
        """Made, renamed, tagged, searched, deleted and restored."""
        api, view = self.api, self.mlflow.entities.ViewType
        first = self._experiment("first", tags={"team": "vision", "odd key": "ü 'x' \"y\""})
        second = self._experiment("Second")
        api.rename_experiment(second, "second")
        api.set_experiment_tag(second, "team", "speech")
        api.set_experiment_tag(second, "gone", "soon")
        api.delete_experiment_tag(second, "gone")

        def names(**query: Any) -> list[str]:
            return [each.name for each in api.search_experiments(**query)]

        told = {
            "first": api.get_experiment(first).tags,
            "second": [api.get_experiment(second).name, api.get_experiment_by_name("second").tags],
            "old name": api.get_experiment_by_name("Second") is None,
            "all": names(),
            "filters": {
                text: names(filter_string=text, order_by=["name"])
                for text in (
                    "name = 'first'",
                    "name != 'first'",
                    "name LIKE '%s%'",
                    "name ILIKE 'S%'",
                    "tags.team = 'vision'",
                    "tags.team != 'vision'",
                    "tags.team LIKE 's%'",
                    "tags.`odd key` ILIKE '%X%'",
                    "tags.team IS NULL",
                    "tags.team IS NOT NULL",
                    "name = 'first' AND tags.team = 'speech'",
                    "creation_time > 0",
                    "last_update_time >= 0",
                )
            },
            "orders": [names(order_by=[order]) for order in ("name", "name DESC", "creation_time ASC")],
            "a page": [each.name for each in api.search_experiments(max_results=2, order_by=["name"])],
        }
        page = api.search_experiments(max_results=2, order_by=["name"])
        told["the next"] = [
            each.name for each in api.search_experiments(max_results=2, order_by=["name"], page_token=page.token)
        ]
        api.delete_experiment(second)
        told["deleted"] = [
            api.get_experiment(second).lifecycle_stage,
            names(view_type=view.DELETED_ONLY),
            names(),
            names(view_type=view.ALL),
        ]
        api.restore_experiment(second)
        told["restored"] = [api.get_experiment(second).lifecycle_stage, names()]
        return told

    def _told_run(self, uid: str) -> dict[str, Any]:
        run = self.api.get_run(uid)
        tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.source")}
        tags.pop("mlflow.user", None)
        return {
            "name": run.info.run_name,
            "status": run.info.status,
            "stage": run.info.lifecycle_stage,
            "ended": run.info.end_time is not None,
            "params": run.data.params,
            "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
            "tags": tags,
        }

    def runs(self) -> Any:
        """Logged to in every way, nested, renamed, ended, opened again, deleted and restored."""
        api, mlflow = self.api, self.mlflow
        entities = mlflow.entities
        experiment = mlflow.set_experiment("runs")
        told: dict[str, Any] = {}
        with mlflow.start_run(run_name="parent", tags={"team": "vision"}, description="What for.") as parent:
            self._call(parent.info.run_id, "<parent>")
            mlflow.log_params({"alpha": 0.1, "layers": [1, 2], "empty": "", "long": "x" * 7000})
            mlflow.log_metrics({"loss": 1, "nan": math.nan, "up": math.inf, "down": -math.inf}, step=3)
            mlflow.set_tags({"a.b/c": "d", "number": 5})
            with mlflow.start_run(run_name="child", nested=True) as child:
                self._call(child.info.run_id, "<child>")
                mlflow.log_metric("loss", 0.5)
        uid = self._run(experiment.experiment_id, "plain", start_time=1000)
        api.log_batch(
            uid,
            metrics=[entities.Metric("m", value, 10 + step, step) for step, value in enumerate((3.0, 1.0, 2.0))],
            params=[entities.Param("p", "1")],
            tags=[entities.RunTag("t", "1")],
        )
        api.log_metric(uid, "m", 9.0, timestamp=1, step=1)
        api.set_tag(uid, "gone", "soon")
        api.delete_tag(uid, "gone")
        api.update_run(uid, name="other")
        told["open"] = self._told_run(uid)
        api.set_terminated(uid, "FAILED", end_time=2000)
        info = api.get_run(uid).info
        told["ended"] = [info.status, info.start_time, info.end_time]
        api.update_run(uid, status="RUNNING")
        told["again"] = api.get_run(uid).info.status
        api.delete_run(uid)
        told["deleted"] = self._told_run(uid)["stage"]
        api.restore_run(uid)
        told["restored"] = self._told_run(uid)["stage"]
        told["parent"], told["child"] = self._told_run(parent.info.run_id), self._told_run(child.info.run_id)
        told["long"] = len(told["parent"]["params"].pop("long"))
        return told

    def run_searches(self) -> Any:
        """Filters, orders and pages of runs."""
        api = self.api
        experiment = self._experiment("searches")
        for number in range(6):
            uid = self._run(experiment, f"r{number}", start_time=1000 + number, tags={"parity": str(number % 2)})
            if number != 5:
                api.log_metric(uid, "loss", math.nan if number == 4 else number / 2)
                api.log_param(uid, "depth", str(number))
                api.log_metric(uid, "odd name", number)
            api.set_terminated(uid, "FINISHED" if number % 2 else "FAILED", end_time=5000 - number)
        other = self._experiment("searches too")
        self._run(other, "elsewhere", start_time=1)

        def names(filter_string: str = "", order_by: Any = None, **more: Any) -> list[str]:
            found = api.search_runs([experiment], filter_string=filter_string, order_by=order_by, **more)
            return [run.info.run_name for run in found]

        filters = (
            "metrics.loss < 1.5", "metrics.loss >= 0.5 AND metrics.loss != 1", "metrics.`odd name` = 2",
            "params.depth = '3'",
            "params.depth != '3'", "params.depth LIKE '%1%'",
            "tags.parity = '0'", "tags.\"parity\" ILIKE '1'", "tags.none IS NULL", "params.depth IS NULL",
            "attributes.status = 'FAILED'", "status != 'FAILED' and run_name LIKE 'r%'", "run_name = 'r5'",
            "start_time > 1002", "end_time <= 4999 AND start_time >= 1000", "attributes.start_time != 1001",
        )  # fmt: skip
        orders = (
            ["metrics.loss"], ["metrics.loss DESC"], ["params.depth DESC"], ["tags.parity", "start_time DESC"],
            ["attributes.start_time ASC"], ["end_time"], ["status", "run_name DESC"], ["metrics.`odd name` DESC"],
        )  # fmt: skip
        pages, token = [], None
        while True:
            page = api.search_runs([experiment], order_by=["metrics.loss"], max_results=4, page_token=token)
            pages.append([run.info.run_name for run in page])
            token = page.token
            if not token:
                break
        return {
            "filters": {text: names(text) for text in filters},
            "orders": {" ".join(order): names(order_by=order) for order in orders},
            "pages": pages,
            "both": [run.info.run_name for run in api.search_runs([experiment, other], order_by=["start_time"])],
        }

    def histories(self) -> Any:
        """Every point of a metric, in their order."""
        uid = self._run(self._experiment("histories"), "points")
        for step, at, value in (
            (2, 10, 1.0),
            (1, 20, 2.0),
            (1, 20, 3.0),
            (1, 5, math.nan),
            (2, 10, 1.0),
            (-3, 10, 0.0),
        ):
            self.api.log_metric(uid, "m", value, timestamp=at, step=step)
        points = self.api.get_metric_history(uid, "m")
        return {
            "points": sorted([point.timestamp, point.step, repr(point.value)] for point in points),
            "latest": self.api.get_run(uid).data.metrics,
            "none": self.api.get_metric_history(uid, "other"),
        }

    def given(self) -> Any:
        """Datasets that runs were given."""
        import pandas

        mlflow = self.mlflow
        experiment = mlflow.set_experiment("given")
        frame = pandas.DataFrame({"x": [1, 2], "y": [0, 1]})
        data = mlflow.data.from_pandas(frame, name="digits", targets="y", source="s3://bucket/digits.csv")
        with mlflow.start_run(run_name="trained") as run:
            part = mlflow.data.from_pandas(frame[:1], name="part", source="s3://b/p")
            mlflow.log_inputs([part, data], ["testing", "training"], [None, {"split": "even"}])
        given = self.api.get_run(run.info.run_id).inputs.dataset_inputs
        return {
            "inputs": [
                [each.dataset.name, each.dataset.digest, each.dataset.source_type, each.dataset.source,
                 each.dataset.schema, each.dataset.profile, sorted((tag.key, tag.value) for tag in each.tags)]
                for each in given
            ],
            "found": {
                text: len(self.api.search_runs([experiment.experiment_id], text))
                for text in ("dataset.name = 'digits'", "dataset.name LIKE '%t'", "dataset.context = 'training'",
                             f"dataset.digest = '{data.digest}' AND dataset.name = 'digits'", "dataset.name = 'x'")
            },
        }  # fmt: skip

    def artifacts(self) -> Any:
        """Files up, listed and down again, with names that are hard to send."""
        api, mlflow = self.api, self.mlflow
        uid = self._run(self._experiment("artifacts"), "files")
        for name in ODD_NAMES:
            api.log_text(uid, f"This is {name}.", name)
        api.log_dict(uid, {"b": [1, 2]}, "data/x.json")
        api.log_artifact(uid, self._file(), "data")
        api.log_artifacts(uid, str(Path(self._file()).parent), "folder")

        def listed(path: str | None = None) -> list[Any]:
            return [[each.path, each.is_dir, each.file_size] for each in api.list_artifacts(uid, path)]

        root = api.get_run(uid).info.artifact_uri
        return {
            "listed": {
                path or "": listed(path) for path in (None, "data", "deep", "deep/er", "data/note.txt", "nothing")
            },
            "read": {name: mlflow.artifacts.load_text(f"{root}/{name}") for name in ODD_NAMES if "%" not in name},
            "down": {name: Path(api.download_artifacts(uid, name)).read_text() for name in ODD_NAMES},
            "all": sorted(
                str(path.relative_to(top)) for top in [Path(api.download_artifacts(uid, ""))] for path in top.rglob("*")
            ),
            "one": mlflow.artifacts.load_dict(f"runs:/{uid}/data/x.json"),
        }

    def _told_model(self, model: Any) -> dict[str, Any]:
        return {
            "name": model.name,
            "type": model.model_type,
            "status": str(model.status),
            "params": model.params,
            "tags": {key: said for key, said in model.tags.items() if not key.startswith("mlflow.")},
            "source": model.source_run_id,
            "metrics": sorted(
                [each.key, each.value, each.step, each.dataset_name or "", each.run_id] for each in model.metrics or []
            ),
        }  # fmt: skip

    def logged(self) -> Any:
        """A logged model from its beginning to its end, with metrics on datasets."""
        api, mlflow = self.api, self.mlflow
        experiment = mlflow.set_experiment("logged")
        told: dict[str, Any] = {}
        with mlflow.start_run(run_name="maker") as run:
            self._call(run.info.run_id, "<maker>")
            model = mlflow.initialize_logged_model(
                name="net", params={"depth": "3"}, tags={"a": "b"}, model_type="agent"
            )
            self._call(model.model_id, "<net>")
            told["made"] = self._told_model(model)
            mlflow.log_model_params({"width": "5"}, model_id=model.model_id)
            mlflow.set_logged_model_tags(model.model_id, {"c": "d", "a": "e"})
            mlflow.delete_logged_model_tag(model.model_id, "c")
            mlflow.log_metric("acc", 0.5, step=1, model_id=model.model_id)
            mlflow.finalize_logged_model(model.model_id, "READY")
        api.log_model_artifact(model.model_id, self._file())
        told["files"] = [[each.path, each.file_size] for each in api.list_logged_model_artifacts(model.model_id)]
        told["whole"] = self._told_model(mlflow.get_logged_model(model.model_id))
        other = self._run(experiment.experiment_id, "judge")
        api.log_metric(other, "acc", 0.7, model_id=model.model_id, dataset_name="d", dataset_digest="1")
        api.log_outputs(other, [mlflow.entities.LoggedModelOutput(model.model_id, step=4)])
        told["judged"] = self._told_model(mlflow.get_logged_model(model.model_id))
        told["outputs"] = [[each.model_id, each.step] for each in api.get_run(other).outputs.model_outputs]
        gone = mlflow.create_external_model(name="gone")
        api.delete_logged_model(gone.model_id)
        told["left"] = [each.name for each in api.search_logged_models([experiment.experiment_id])]
        return told

    def logged_searches(self) -> Any:
        """Filters, orders and pages of logged models."""
        api, mlflow = self.api, self.mlflow
        experiment = self._experiment("logged searches")
        uid = self._run(experiment, "measures")
        for number, name in enumerate("abcd"):
            model = api.create_logged_model(
                experiment, name=name, params={"n": str(number)}, tags={"t": name}, model_type="x"
            )
            if name != "d":
                on = {"dataset_name": "even" if number % 2 == 0 else "odd", "dataset_digest": "1"}
                api.log_metric(uid, "loss", number / 2, step=1, model_id=model.model_id, **on)

        def names(**query: Any) -> list[str]:
            return [each.name for each in api.search_logged_models([experiment], **query)]

        # Without a digest MLflow's own server finds none.
        even = [{"dataset_name": "even", "dataset_digest": "1"}]
        order = {"field_name": "metrics.loss", "ascending": True}
        page = api.search_logged_models([experiment], max_results=3)
        return {
            "filters": {
                text: sorted(names(filter_string=text))
                for text in ("name = 'a'", "name LIKE '%b%'", "metrics.loss > 0", "metrics.loss <= 0.5",
                             "params.n = '2'", "tags.t != 'a'", "model_type = 'x' AND params.n = '3'",
                             "source_run_id = 'none'",
                             "creation_timestamp > 0", "status = 'PENDING'")
            },
            "datasets": sorted(names(datasets=even)),
            "both": sorted(names(datasets=even, filter_string="metrics.loss > 0.1")),
            "orders": [
                names(order_by=[order]), names(order_by=[{**order, "ascending": False}]),
                names(order_by=[{**order, "dataset_name": "odd"}, {"field_name": "name", "ascending": True}]),
                names(order_by=[{"field_name": "name", "ascending": False}]),
            ],
            "pages": [
                [each.name for each in page],
                [each.name for each in api.search_logged_models([experiment], max_results=3, page_token=page.token)],
            ],
            "frame": sorted(mlflow.search_logged_models([experiment])["name"]),
        }  # fmt: skip

    def _told_version(self, version: Any) -> list[Any]:
        return [
            version.name, version.version, version.current_stage, version.description or "",
            sorted(version.tags.items()), sorted(version.aliases), version.status, version.run_id or "",
        ]  # fmt: skip

    def registry(self) -> Any:
        """Models and versions, their tags, aliases, stages and copies."""
        api = self.api
        uid = self._run(self._experiment("registry"), "source")
        api.log_artifact(uid, self._file(), "model")
        source = f"{api.get_run(uid).info.artifact_uri}/model"
        told: dict[str, Any] = {"made": api.create_registered_model("net", {"a": "b"}, "A net.").tags}
        for number in range(3):
            made = api.create_model_version("net", source, uid, tags={"n": str(number)}, description=f"No. {number}")
            told[f"version {number}"] = self._told_version(made)
        api.update_registered_model("net", description="Another.")
        api.set_registered_model_tag("net", "c", "d")
        api.delete_registered_model_tag("net", "a")
        api.set_registered_model_alias("net", "champion", "2")
        api.set_registered_model_alias("net", "gone", "1")
        api.delete_registered_model_alias("net", "gone")
        api.update_model_version("net", "1", "The first.")
        api.set_model_version_tag("net", "1", "k", "v")
        api.delete_model_version_tag("net", "1", "n")
        api.transition_model_version_stage("net", "1", "Staging")
        api.transition_model_version_stage("net", "2", "Production")
        api.transition_model_version_stage("net", "3", "Production", archive_existing_versions=True)
        model = api.get_registered_model("net")
        told["model"] = [
            model.description, sorted(model.tags.items()), sorted(model.aliases.items()),
            sorted([each.version, each.current_stage] for each in model.latest_versions),
        ]  # fmt: skip
        told["versions"] = [self._told_version(api.get_model_version("net", str(number))) for number in (1, 2, 3)]
        told["alias"] = self._told_version(api.get_model_version_by_alias("net", "champion"))
        told["latest"] = sorted(each.version for each in api.get_latest_versions("net", ["Production", "Staging"]))
        told["file"] = (Path(self.mlflow.artifacts.download_artifacts("models:/net@champion")) / "note.txt").read_text()
        copy = api.copy_model_version("models:/net/2", "copied")
        told["copy"] = [copy.name, copy.version, copy.source]
        told["elsewhere"] = api.get_model_version_download_uri(
            "copied", api.create_model_version("copied", "s3://bucket/model").version
        )
        api.delete_model_version("net", "3")
        told["next"] = api.create_model_version("net", source, uid).version
        api.rename_registered_model("net", "renamed")
        told["renamed"] = [api.get_model_version_by_alias("renamed", "champion").name]
        api.delete_registered_model("renamed")
        told["left"] = [each.name for each in api.search_registered_models()]
        return told

    def registry_searches(self) -> Any:
        """Filters, orders and pages of models and versions."""
        api = self.api
        uid = self._run(self._experiment("registry searches"), "origin")
        for number, name in enumerate(("alpha", "beta", "Gamma")):
            api.create_registered_model(name, {"even": str(number % 2 == 0)})
            for _ in range(number + 1):
                api.create_model_version(name, "s3://bucket/" + name, uid if number else None, tags={"of": name})

        def models(text: str = "", **more: Any) -> list[str]:
            return [each.name for each in api.search_registered_models(text, **more)]

        def versions(text: str = "", **more: Any) -> list[list[str]]:
            return [[each.name, each.version] for each in api.search_model_versions(text, **more)]

        page = api.search_registered_models(max_results=2)
        return {
            "models": {text: models(text) for text in (
                "name = 'alpha'", "name LIKE '%a'", "name ILIKE 'g%'", "tag.even = 'True'", "tags.even != 'True'",
            )},
            "orders": [models(order_by=["name DESC"]), models(order_by=["last_updated_timestamp ASC", "name"])],
            "versions": {text: sorted(versions(text)) for text in (
                "name = 'beta'", f"run_id = '{uid}'", "source_path = 's3://bucket/Gamma'", "tags.of != 'alpha'",
                "name LIKE '%a' AND version_number > 1", "version_number = 1",
            )},
            "ordered": versions("name = 'Gamma'", order_by=["version_number DESC"]),
            "pages": [[each.name for each in page],
                      [each.name for each in api.search_registered_models(max_results=2, page_token=page.token)]],
        }  # fmt: skip

    def prompts(self) -> Any:
        """The prompt registry."""
        genai = self.mlflow.genai
        first = genai.register_prompt("greet", "Hello {{name}}!", commit_message="First.", tags={"lang": "en"})
        chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "{{question}}"}]
        genai.register_prompt("chat", chat)
        second = genai.register_prompt("greet", "Good day, {{ name }}.")
        genai.set_prompt_alias("greet", alias="best", version=1)
        genai.set_prompt_tag("greet", "team", "nlp")
        genai.set_prompt_version_tag("greet", 2, "checked", "yes")
        told: dict[str, Any] = {
            "versions": [first.version, second.version],
            "first": [genai.load_prompt("prompts:/greet/1").template, genai.load_prompt("greet", version=1).tags],
            "best": genai.load_prompt("prompts:/greet@best").format(name="Ada"),
            "latest": genai.load_prompt("prompts:/greet@latest").version,
            "chat": genai.load_prompt("chat", version=1).template,
            "message": genai.load_prompt("greet", version=1).commit_message,
            "tags": {key: said for key, said in genai.get_prompt_tags("greet").items() if key[0] != "_"},
            "second": genai.load_prompt("greet", version=2).tags,
            "none": genai.load_prompt("nothing", version=1, allow_missing=True),
            "found": sorted(each.name for each in genai.search_prompts()),
            "by name": [each.name for each in genai.search_prompts(filter_string="name = 'chat'")],
            "by tag": [each.name for each in genai.search_prompts(filter_string="tags.team = 'nlp'")],
            "no models": [each.name for each in self.api.search_registered_models("name = 'greet'")],
            "no version": self._refusal(lambda: self.api.get_prompt_version("greet", 3)),
        }
        genai.delete_prompt_version_tag("greet", 2, "checked")
        genai.delete_prompt_alias("greet", alias="best")
        told["no alias"] = self._refusal(lambda: genai.load_prompt("prompts:/greet@best"))
        told["name taken"] = self._refusal(lambda: self.api.create_registered_model("greet"))
        self.api.delete_prompt_version("greet", "1")
        told["gone"] = genai.load_prompt("greet", version=1, allow_missing=True)
        return told

    def _refusal(self, ask: Callable[[], Any]) -> Any:
        """The code of the refusal, or what is told instead."""
        try:
            return ["done", repr(ask())[:200]]
        except self.mlflow.exceptions.MlflowException as error:
            return error.error_code

    def traces(self) -> Any:
        """Requests that are traced."""
        return traces(self)

    def refused(self) -> Any:
        """What can't be done, by the code that programs look at."""
        return {str(number): self._refusal(ask) for number, ask in enumerate(self._refusals())}

    def _refusals(self) -> Iterator[Callable[[], Any]]:
        api = self.api
        experiment = self._experiment("refusals")
        uid = self._run(experiment, "victim")
        api.log_param(uid, "p", "1")
        yield lambda: api.create_experiment("refusals")
        yield lambda: api.create_experiment("")
        yield lambda: api.get_experiment("123456789")
        yield lambda: api.get_experiment("x")
        yield lambda: api.rename_experiment(experiment, "first")
        yield lambda: api.get_run("0" * 32)
        yield lambda: api.create_run("123456789")
        yield lambda: api.log_param(uid, "p", "2")
        yield lambda: api.log_metric(uid, "a\nb", 1)
        yield lambda: api.log_metric(uid, "../a", 1)
        yield lambda: api.log_metric(uid, "x" * 300, 1)
        yield lambda: api.log_metric(uid, "m", 1, timestamp=-1)
        yield lambda: api.set_tag(uid, "", "v")
        yield lambda: api.delete_tag(uid, "none")
        yield lambda: api.search_runs([experiment], "loss <")
        yield lambda: api.search_runs([experiment], "metrics.m = 'x'")
        yield lambda: api.search_runs([experiment], "params.p = 1")
        yield lambda: api.search_runs([experiment], "nothing = 'x'")
        yield lambda: api.search_runs([experiment], "metrics.m > 1 OR metrics.m < 0")
        yield lambda: api.search_runs([experiment], order_by=["metrics.m SIDEWAYS"])
        yield lambda: api.search_experiments(filter_string="nothing = 'x'")
        yield lambda: api.search_registered_models("nothing = 'x'")
        yield lambda: api.search_model_versions("version_number = 'x'")
        yield lambda: api.get_registered_model("nothing")
        yield lambda: api.create_registered_model("")
        yield lambda: api.create_registered_model("alpha")
        yield lambda: api.get_model_version("alpha", "99")
        yield lambda: api.get_model_version_by_alias("alpha", "none")
        yield lambda: api.create_model_version("nothing", "s3://b/x")
        yield lambda: api.set_registered_model_alias("alpha", "v1", "1")
        yield lambda: api.set_registered_model_alias("alpha", "latest", "1")
        yield lambda: api.set_registered_model_alias("alpha", "best", "99")
        yield lambda: api.rename_registered_model("alpha", "beta")
        yield lambda: api.transition_model_version_stage("alpha", "1", "Nowhere")
        yield lambda: api.delete_registered_model("nothing")
        yield lambda: api.get_logged_model("m-" + "0" * 32)
        yield lambda: api.search_logged_models([experiment], "foo.bar = 'x'")
        yield lambda: api.download_artifacts(uid, "nothing.txt")
        api.delete_run(uid)
        yield lambda: api.log_metric(uid, "m", 1)
        yield lambda: api.set_terminated(uid)

    def bin(self) -> Any:
        """What was deleted can be looked for, and comes back with all that it had."""
        api, view = self.api, self.mlflow.entities.ViewType
        experiment = self._experiment("bin")
        kept, gone = (self._run(experiment, name) for name in ("kept", "gone"))
        api.log_text(gone, "hello", "a.txt")
        api.log_metric(gone, "m", 1)
        api.delete_run(gone)

        def names(of: Any) -> list[str]:
            return sorted(run.info.run_name for run in api.search_runs([experiment], run_view_type=of))

        told = {"views": [names(of) for of in (view.ACTIVE_ONLY, view.DELETED_ONLY, view.ALL)]}
        told["file"] = [[each.path for each in api.list_artifacts(gone)]]
        api.restore_run(gone)
        told["back"] = [names(view.ACTIVE_ONLY), [Path(api.download_artifacts(gone, "a.txt")).read_text()]]
        api.delete_experiment(experiment)
        told["experiment"] = [[api.get_run(kept).info.lifecycle_stage], names(view.ALL)]
        told["to it"] = [self._refusal(lambda: api.create_run(experiment))]
        api.restore_experiment(experiment)
        told["again"] = [names(view.ACTIVE_ONLY)]
        return told
