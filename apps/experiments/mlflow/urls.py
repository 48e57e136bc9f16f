"""URLs of the MLflow REST API, a row for each endpoint: the method, who may, and what answers."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path

from apps.experiments.mlflow import (
    artifacts,
    experiments,
    inputs,
    logged_models,
    metrics,
    otlp,
    registry,
    runs,
    server,
    traces,
    workspaces,
)
from apps.experiments.mlflow.direct import answer_asgi, is_direct, view
from apps.experiments.mlflow.wire import Access, Handler, endpoint, not_here

READ, RUN, WRITE = Access.READ, Access.RUN, Access.WRITE
Row = Mapping[str, tuple[Access, Handler]]

_EXPERIMENTS: dict[str, Row] = {
    "search-datasets": {"POST": (READ, inputs.search)},
    "get-by-name": {"GET": (READ, experiments.get_by_name)},
    "get": {"GET": (READ, experiments.get)},
    "create": {"POST": (WRITE, experiments.create)},
    "update": {"POST": (WRITE, experiments.update)},
    "delete": {"POST": (WRITE, experiments.delete)},
    "restore": {"POST": (WRITE, experiments.restore)},
    "set-experiment-tag": {"POST": (WRITE, experiments.set_tag)},
    "delete-experiment-tag": {"POST": (WRITE, experiments.delete_tag)},
    "search": {"GET": (READ, experiments.search), "POST": (READ, experiments.search)},
}
_RUNS: dict[str, Row] = {
    "log-inputs": {"POST": (RUN, inputs.log)},
    "create": {"POST": (WRITE, runs.create)},
    "get": {"GET": (READ, runs.get)},
    "update": {"POST": (RUN, runs.update)},
    "delete": {"POST": (WRITE, runs.delete)},
    "restore": {"POST": (WRITE, runs.restore)},
    "search": {"POST": (READ, runs.search)},
    "log-batch": {"POST": (RUN, runs.log_batch)},
    "log-metric": {"POST": (RUN, runs.log_metric)},
    "log-parameter": {"POST": (RUN, runs.log_param)},
    "set-tag": {"POST": (RUN, runs.set_tag)},
    "delete-tag": {"POST": (RUN, runs.delete_tag)},
    "outputs": {"POST": (RUN, runs.outputs)},
}
_LOGGED: dict[str, Row] = {
    "": {"POST": (RUN, logged_models.create)},
    "/search": {"POST": (READ, logged_models.search)},
    "/<str:model_id>": {
        "GET": (READ, logged_models.get),
        "PATCH": (RUN, logged_models.finalize),
        "DELETE": (RUN, logged_models.delete),
    },
    "/<str:model_id>/params": {"POST": (RUN, logged_models.log_params)},
    "/<str:model_id>/tags": {"PATCH": (RUN, logged_models.set_tags)},
    "/<str:model_id>/tags/<path:key>": {"DELETE": (RUN, logged_models.delete_tag)},
    "/<str:model_id>/artifacts/directories": {"GET": (READ, logged_models.list_artifacts)},
    "/<str:model_id>/artifacts/files": {"GET": (READ, logged_models.get_artifact)},
}
_MODELS: dict[str, Row] = {
    # With a run's token `registry.create_model` and `create_version` only add, and only what that run logged.
    "create": {"POST": (RUN, registry.create_model)},
    "get": {"GET": (READ, registry.get_model)},
    "rename": {"POST": (WRITE, registry.rename_model)},
    "update": {"PATCH": (WRITE, registry.update_model)},
    "delete": {"DELETE": (WRITE, registry.delete_model)},
    "search": {"GET": (READ, registry.search_models)},
    "get-latest-versions": {"GET": (READ, registry.latest_versions), "POST": (READ, registry.latest_versions)},
    "set-tag": {"POST": (WRITE, registry.set_model_tag)},
    "delete-tag": {"DELETE": (WRITE, registry.delete_model_tag)},
    "alias": {
        "GET": (READ, registry.get_by_alias),
        "POST": (WRITE, registry.set_alias),
        "DELETE": (WRITE, registry.delete_alias),
    },
}
_VERSIONS: dict[str, Row] = {
    "create": {"POST": (RUN, registry.create_version)},
    "get": {"GET": (READ, registry.get_version)},
    "update": {"PATCH": (WRITE, registry.update_version)},
    "delete": {"DELETE": (WRITE, registry.delete_version)},
    "search": {"GET": (READ, registry.search_versions)},
    "get-download-uri": {"GET": (READ, registry.download_uri)},
    "set-tag": {"POST": (WRITE, registry.set_version_tag)},
    "delete-tag": {"DELETE": (WRITE, registry.delete_version_tag)},
    "transition-stage": {"POST": (WRITE, registry.transition_stage)},
}
_TRACES: dict[str, Row] = {
    "": {"POST": (RUN, traces.start)},
    "/search": {"POST": (READ, traces.search)},
    "/get": {"GET": (READ, traces.get)},
    "/batchGet": {"GET": (READ, traces.batch_get)},
    "/batchGetInfos": {"POST": (READ, traces.batch_get_infos)},
    "/<str:trace_id>": {"GET": (READ, traces.info)},
}
# Clients ask for these under the older version's address, too, and for some under that alone.
_TRACES_ANYWHERE: dict[str, Row] = {
    "/delete-traces": {"POST": (WRITE, traces.delete)},
    "/link-to-run": {"POST": (RUN, traces.link_to_run)},
    "/link-prompts": {"POST": (RUN, traces.link_prompts)},
    "/<str:trace_id>/tags": {"PATCH": (RUN, traces.set_tag), "DELETE": (RUN, traces.delete_tag)},
}
_ELSEWHERE: Row = dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), (READ, workspaces.elsewhere))
_WORKSPACES: dict[str, Row] = {
    "": {"GET": (READ, workspaces.listing), **_ELSEWHERE},
    "/<str:name>": {"GET": (READ, workspaces.get), **_ELSEWHERE},
}
_NOT_HERE: Row = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), (READ, not_here))


def _routes(prefix: str, rows: Mapping[str, Row]) -> list[URLPattern]:
    return [path(f"{prefix}{tail}", _view(row)) for tail, row in rows.items()]


def _view(row: Row) -> Callable[..., HttpResponseBase]:
    return (view if any(is_direct(handler) for _, handler in row.values()) else endpoint)(**row)


def short() -> dict[tuple[str, str], Callable[[Mapping[str, Any], bytes], tuple[int, dict[str, str], bytes] | None]]:
    """What the web process answers without Django, by method and path."""
    return {
        (method, f"{prefix}/runs/{tail}"): functools.partial(answer_asgi, handler, access)
        for tail, row in _RUNS.items()
        for method, (access, handler) in row.items()
        if is_direct(handler)
        for prefix in ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
    }


_API: list[URLPattern] = [
    *_routes("runs/", _RUNS),
    *_routes("experiments/", _EXPERIMENTS),
    path("metrics/get-history", endpoint(GET=(READ, metrics.history))),
    path("metrics/get-history-bulk", endpoint(GET=(READ, metrics.history_of_runs))),
    path("metrics/get-history-bulk-interval", endpoint(GET=(READ, metrics.sampled_history))),
    path("artifacts/list", endpoint(GET=(READ, runs.list_artifacts))),
    path("upload-artifact", endpoint(POST=(RUN, runs.upload_artifact))),
    *_routes("logged-models", _LOGGED),
    *_routes("traces", _TRACES_ANYWHERE),
    *_routes("registered-models/", _MODELS),
    *_routes("model-versions/", _VERSIONS),
]
_API_3: list[URLPattern] = [
    *_routes("workspaces", _WORKSPACES),
    *_routes("traces", _TRACES_ANYWHERE),
    *_routes("traces", _TRACES),
]
_FILES: list[URLPattern] = [
    path("artifacts", endpoint(GET=(READ, artifacts.listing))),
    path(
        "artifacts/<path:path>",
        endpoint(GET=(READ, artifacts.download), PUT=(RUN, artifacts.upload), DELETE=(RUN, artifacts.delete)),
    ),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("health", server.health),
    path("version", server.version),
    path("api/3.0/mlflow/server-info", server.server_info),
    # What MLflow's own page asks, and with it some clients, is the same elsewhere.
    re_path(r"^(?:ajax-)?api/2\.0/mlflow/", include(_API)),
    re_path(r"^(?:ajax-)?api/2\.0/mlflow-artifacts/", include(_FILES)),
    re_path(r"^(?:ajax-)?api/3\.0/mlflow/", include(_API_3)),
    path("v1/traces", endpoint(POST=(RUN, otlp.export))),
    path("get-artifact", endpoint(GET=(READ, runs.get_artifact))),
    # Some clients ask with a slash too many.
    re_path(r"^/?model-versions/get-artifact$", endpoint(GET=(READ, registry.get_artifact))),
    # Everything else under MLflow's prefixes needs a token too, and says that it is not here.
    re_path(r"^(?:ajax-)?api/[234]\.0/mlflow(?:-artifacts)?/", endpoint(**_NOT_HERE)),
    # What its server has beside them: jobs, evaluations, the gateway.
    re_path(r"^(?:ajax-api|v1|gateway|graphql)(?:/|$)", endpoint(**_NOT_HERE)),
    re_path(r"^api/3\.0/(?:jobs|genai)(?:/|$)", endpoint(**_NOT_HERE)),
]
