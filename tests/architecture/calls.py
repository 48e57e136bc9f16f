"""What `test_query_counts` measures: every page, every endpoint of REST and of MLflow, with a request that succeeds.

`{…}` stands for a row of `world.World`. `many` is the same request with many things in it.
"""

from collections.abc import Callable
from typing import Any

from apps.experiments.models import Trace
from tests.architecture import workflowcalls
from tests.architecture.asks import Ask, Body, get
from tests.architecture.world import World

MLFLOW = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
OVER_A_SOCKET = "asks a cluster, so that its time is another's"


PAGES = (
    get(
        "/p/demo/",
        "/activity/",
        "/settings/",
        "/settings/password/",
        "/_rail",
        "/clusters/",
        "/clusters/?group=region&sort=-gpu",
        "/clusters/demo-cluster/",
        "/clusters/demo-cluster/?part=whys",
        "/clusters/demo-cluster/?part=conditions",
        "/clusters/demo-cluster/check/",
        "/clusters/demo-cluster/?sort=-cpu&pod=demo",
        "/clusters/demo-cluster/nodes/demo-cluster-node-1/",
        "/clusters/demo-cluster/events/",
        "/clusters/demo-cluster/pods/flotilla-demo/{pod}/",
        "/clusters/demo-cluster/pods/flotilla-demo/{pod}/usage/",
        "/clusters/demo-cluster/usage/",
        "/clusters/demo-cluster/usage/?span=24h",
        "/clusters/demo-cluster/usage/?span=30d",
        "/clusters/demo-cluster/nodes/demo-cluster-node-1/usage/",
        "/clusters/demo-cluster/namespaces/",
        "/usage/",
        "/usage/?by=deployment",
        "/usage/?by=experiment",
        "/_mlflow/experiments/{experiment}/runs/{run}",
        "/p/demo/bin/",
        "/p/demo/bin/?kind=run",
        "/p/demo/experiments/",
        "/p/demo/experiments/?q=d",
        "/p/demo/experiments/digits/",
        "/p/demo/experiments/digits/?sort=-metrics.loss&filter=metrics.loss<2",
        "/p/demo/experiments/digits/?col=params.alpha&pin=tags.team&state=Deleted",
        *(
            f"/p/demo/runs/compare?run={{run}}&run={{pending}}&chart={chart}"
            for chart in ("curves", "parallel", "scatter")
        ),
        "/p/demo/runs/table.csv?experiment=digits&sort=-metrics.loss",
        "/p/demo/runs/new",
        "/p/demo/runs/new?again={pending}",
        "/p/demo/runs/new/place?cpu=1&memory=1Gi&cluster_selector=provider=local",
        "/p/demo/runs/{run}/",
        "/p/demo/runs/{pending}/",
        "/p/demo/runs/{run}/edit",
        "/p/demo/runs/edit?run={run}",
        "/p/demo/experiments/digits/edit",
        *(f"/p/demo/runs/{{run}}/{tab}/" for tab in ("charts", "system", "artifacts", "lineage")),
        *(f"/p/demo/runs/{{pending}}/{tab}/" for tab in ("logs", "pods")),
        "/p/demo/runs/{run}/artifacts/note.txt",
        "/p/demo/runs/{run}/models/{logged}/model/MLmodel",
        "/p/demo/traces/of/digits/",
        "/p/demo/traces/of/digits/?state=OK&filter=span.name LIKE 's%25'",
        "/p/demo/traces/{trace}/",
        "/p/demo/models/",
        "/p/demo/models/?q=d",
        "/p/demo/models/digits/",
        "/p/demo/deployments/",
        "/p/demo/deployments/?q=d&health=Healthy",
        "/p/demo/deployments/?q=d&rollout=UnderWay&cluster=home&environment=production&strategy=canary",
        "/p/demo/deployments/?view=matrix",
        "/p/demo/deployments/new",
        "/p/demo/deployments/new/place?where=*&targets=1&cpu=1&memory=1Gi&replicas=1",
        "/p/demo/deployments/digits/resources",
        "/p/demo/deployments/digits/revisions/2/",
        "/p/demo/deployments/digits/",
        "/p/demo/deployments/digits/replicas/{replica}/",
        "/p/demo/deployments/digits/targets/new",
        "/p/demo/deployments/digits/targets/place?target=*&replicas=1",
        "/p/demo/approvals/",
        "/p/demo/deployments/digits/spread",
        "/p/demo/deployments/digits/follow",
        "/p/demo/deployments/digits/budget",
        "/p/demo/deployments/digits/logs",
        "/p/demo/deployments/digits/schedule",
        "/p/demo/targets/",
        "/p/demo/targets/?sort=-deployments",
        "/p/demo/targets/new",
        "/p/demo/metrics-sources/new",
        "/p/demo/targets/spare/",
        "/search?q=digits",
    )
    + workflowcalls.PAGES
)


_DESCRIBED = {"name": "other", "note": "*New*", "tags": "team=vision"}
_MANY_TAGS = "\n".join(f"t{number}=1" for number in range(100))


def _act(action: str) -> Ask:
    """What is done to runs that are chosen: to some of the world, and then to all that there are."""
    body = {"action": action, "experiment": "digits", "key": "team", "value": "vision"}

    def everything(world: World) -> Body:
        return {**body, "run": list(world.project.experiments.get(name="digits").runs.values_list("uid", flat=True))}

    chosen = {**body, "run": ["{run}", "{pending}", "{binned}"]}
    return Ask("POST", f"/p/demo/runs/act?{action}", chosen, everything, form=True)


LAUNCH = {
    "experiment": "digits",
    "image": "busybox",
    "way": "line",
    "cluster": "demo-cluster",
    "cpu": "1",
    "memory": "1Gi",
}
FORMS = [
    Ask(
        "POST",
        "/p/demo/runs/new",
        LAUNCH,
        form=True,
    ),
    Ask("POST", "/p/demo/runs/new/manifest", LAUNCH, form=True),
    Ask("POST", "/p/demo/runs/{pending}/cancel", {}, form=True),
    Ask("POST", "/p/demo/runs/{run}/edit", _DESCRIBED, lambda _: _DESCRIBED | {"tags": _MANY_TAGS}, form=True),
    Ask("POST", "/p/demo/experiments/digits/edit", _DESCRIBED, lambda _: _DESCRIBED | {"tags": _MANY_TAGS}, form=True),
    *(_act(action) for action in ("delete", "restore", "cancel", "tag")),
    Ask("POST", "/p/demo/bin/{run}/put", {}, form=True),
    Ask("POST", "/p/demo/bin/{binned}/restore", {}, form=True),
    Ask("POST", "/p/demo/bin/{binned}/delete", {}, form=True),
    Ask("POST", "/p/demo/bin/empty", {}, form=True),
    Ask("POST", "/p/demo/bin/days", {"days": "14"}, form=True),
    Ask(
        "POST",
        "/p/demo/runs/new?again={pending}",
        LAUNCH,
        form=True,
    ),
    Ask("POST", "/p/demo/runs/{run}/register", {"model": "digits", "artifact_path": "model"}, form=True),
    Ask("POST", "/p/demo/models/digits/aliases", {"alias": "best", "version": "1"}, form=True),
    Ask("POST", "/p/demo/models/digits/aliases/champion/delete", {}, form=True),
    Ask(
        "POST", "/p/demo/targets/new", {"name": "there", "cluster": "demo-cluster", "environment": "staging"}, form=True
    ),
    Ask(
        "POST",
        "/p/demo/targets/spare/",
        {"deployers": "admin", "approval": "on", "freezes": "fri 18:00 to mon 08:00", "replicas": "20"},
        form=True,
    ),
    Ask("POST", "/p/demo/targets/unused/delete", {}, form=True),
    Ask("POST", "/p/demo/metrics-sources/new", {"name": "other", "address": "http://prometheus:9090"}, form=True),
    Ask("POST", "/p/demo/metrics-sources/prometheus/delete", {}, form=True),
    Ask("POST", "/p/demo/approvals/{approval}/approve", {"comment": "Fine."}, form=True),
    Ask("POST", "/p/demo/approvals/{approval}/reject", {"comment": "No."}, form=True),
    Ask("POST", "/p/demo/deployments/digits/revise", {"image": "other:1", "model": "digits:1"}, form=True),
    Ask(
        "POST",
        "/p/demo/deployments/digits/edit",
        {"of": "1", "spec": "image: other:1\nmodel: digits\nversion: 1"},
        form=True,
    ),
    Ask("POST", "/p/demo/deployments/digits/rollback/2", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits/scale", {"replicas": "4"}, form=True),
    Ask("POST", "/p/demo/deployments/digits/budget", {"how": "max_unavailable", "amount": "1"}, form=True),
    Ask("POST", "/p/demo/deployments/digits/schedule", {"schedule": "20:00 to 06:00 = 1"}, form=True),
    Ask("POST", "/p/demo/deployments/digits/autoscaling", {"min": "1", "max": "4"}, form=True),
    Ask("POST", "/p/demo/deployments/digits/autoscaling/off", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits/spread", {"how": "all", "replicas": "4"}, form=True),
    Ask("POST", "/p/demo/deployments/digits/follow", {"alias": "champion"}, form=True),
    Ask("POST", "/p/demo/deployments/digits/strategy", {"strategy": "kind: canary"}, form=True),
    Ask("POST", "/p/demo/deployments/canary/rollout/promote", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits/targets/new", {"target": "spare", "replicas": "1"}, form=True),
    Ask("POST", "/p/demo/deployments/digits-1/targets/spare/remove", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits/requests/1/forget", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits/restart", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits-1/restore", {}, form=True),
    Ask("POST", "/p/demo/deployments/digits/delete", {}, form=True),
    Ask("POST", "/settings/", {"name": "mine", "role": "developer", "project": "", "days": "30"}, form=True),
    Ask("POST", "/settings/tokens/{token}/revoke/", {}, form=True),
    Ask("POST", "/clusters/demo-cluster/check/again/", {}, form=True, platform=True),
    Ask("POST", "/clusters/demo-cluster/check/reach/", {}, form=True, platform=True),
    *workflowcalls.FORMS,
]


def _wish(number: int) -> Body:
    return {
        "experiment": f"new-{number}",
        "image": "busybox",
        "cluster": "demo-cluster",
        "params": {f"p{more}": "1" for more in range(number % 5)},
    }


_NIGHT = {"from": "20:00", "until": "06:00", "replicas": 0}
_SPEC = {"image": "team/digits:1", "command": ["python", "serve.py"]}
REST = [
    *get(
        "/api/v1/projects/",
        "/api/v1/projects/demo/",
        "/api/v1/tokens/",
        "/api/v1/clusters/",
        "/api/v1/clusters/demo-cluster/",
        "/api/v1/clusters/demo-cluster/check/",
        "/api/v1/clusters/demo-cluster/nodes/",
        "/api/v1/clusters/demo-cluster/pods/",
        "/api/v1/clusters/demo-cluster/events/",
        "/api/v1/usage/",
        "/api/v1/experiments/",
        "/api/v1/experiments/digits/",
        "/api/v1/runs/",
        "/api/v1/runs/?filter=metrics.loss<2&experiment=digits",
        "/api/v1/runs/{run}/",
        "/api/v1/runs/{run}/metrics/",
        "/api/v1/runs/{run}/logs/",
        "/api/v1/bin/",
        "/api/v1/bin/policy/",
        "/api/v1/models/",
        "/api/v1/models/digits/",
        "/api/v1/models/digits/versions/",
        "/api/v1/models/digits/versions/1/",
        "/api/v1/models/digits/versions/1/files/",
        "/api/v1/targets/",
        "/api/v1/targets/demo-cluster-production/",
        "/api/v1/metrics-sources/",
        "/api/v1/metrics-sources/prometheus/",
        "/api/v1/approvals/",
        "/api/v1/approvals/?state=Waiting&project=demo",
        "/api/v1/approvals/{approval}/",
        "/api/v1/deployments/",
        "/api/v1/deployments/digits/",
        "/api/v1/deployments/digits/replicas/",
        "/api/v1/deployments/digits/revisions/",
        "/api/v1/deployments/digits/revisions/2/changes/",
        "/api/v1/deployments/digits/rollouts/",
        "/api/v1/deployments/digits/heals/",
        "/api/v1/deployments/canary/analyses/",
        "/api/v1/deployments/digits/recordings/",
        "/api/v1/deployments/digits/kept-logs/",
    ),
    Ask("GET", "/api/v1/clusters/demo-cluster/account/", platform=True),
    Ask("GET", "/api/v1/clusters/demo-cluster/reach/", platform=True),
    Ask("POST", "/api/v1/clusters/demo-cluster/reach/", {}, platform=True),
    Ask("POST", "/api/v1/projects/", {"name": "another"}, platform=True),
    Ask("POST", "/api/v1/tokens/", {"name": "ci", "project": "demo", "personal": False}),
    Ask("DELETE", "/api/v1/tokens/{token}/"),
    Ask("PATCH", "/api/v1/clusters/demo-cluster/", {"labels": {"region": "there"}}, platform=True),
    Ask("DELETE", "/api/v1/clusters/empty-cluster/", {"confirm": "empty-cluster"}, platform=True),
    Ask("POST", "/api/v1/experiments/", {"name": "fresh"}),
    Ask("PATCH", "/api/v1/experiments/digits/", {"name": "numbers"}),
    Ask("DELETE", "/api/v1/experiments/idle/"),
    Ask("POST", "/api/v1/runs/", {"runs": [_wish(1)]}, lambda _: {"runs": [_wish(number) for number in range(100)]}),
    Ask("POST", "/api/v1/runs/?dry_run=true", {"runs": [_wish(1)]}, lambda _: {"runs": [_wish(n) for n in range(100)]}),
    Ask("POST", "/api/v1/runs/{pending}/cancel/"),
    Ask("POST", "/api/v1/runs/{pending}/rerun/"),
    Ask("DELETE", "/api/v1/runs/{run}/"),
    Ask("POST", "/api/v1/bin/{binned}/restore/"),
    Ask("DELETE", "/api/v1/bin/{binned}/"),
    Ask("POST", "/api/v1/bin/empty/", {}),
    Ask("PUT", "/api/v1/bin/policy/", {"days": 14}),
    Ask("POST", "/api/v1/models/", {"name": "fresh"}),
    Ask("PATCH", "/api/v1/models/digits/", {"description": "Numbers.", "tags": {"a": "b"}}),
    Ask("DELETE", "/api/v1/models/free/"),
    Ask("POST", "/api/v1/models/digits/versions/", {"run_id": "{run}", "artifact_path": "model"}),
    Ask("PATCH", "/api/v1/models/digits/versions/1/", {"description": "The first."}),
    Ask("DELETE", "/api/v1/models/free/versions/1/"),
    Ask("POST", "/api/v1/models/digits/aliases/", {"alias": "best", "version": 1}),
    Ask("PUT", "/api/v1/models/digits/aliases/best/", {"version": 1}),
    Ask("DELETE", "/api/v1/models/digits/aliases/champion/"),
    Ask("POST", "/api/v1/targets/", {"name": "there", "cluster": "demo-cluster"}),
    Ask("PATCH", "/api/v1/targets/spare/", {"policy": {"approval": True, "quota": {"replicas": 20}}}),
    Ask("DELETE", "/api/v1/targets/unused/"),
    Ask("POST", "/api/v1/metrics-sources/", {"name": "other", "address": "http://prometheus:9090"}),
    Ask("DELETE", "/api/v1/metrics-sources/prometheus/"),
    Ask("POST", "/api/v1/approvals/{approval}/approve/", {"comment": "Fine."}),
    Ask("POST", "/api/v1/approvals/{approval}/reject/", {"comment": "No."}),
    Ask(
        "POST",
        "/api/v1/deployments/",
        {**_SPEC, "name": "fresh", "target": "demo-cluster-production", "model": "digits", "version": 1},
    ),
    Ask("POST", "/api/v1/deployments/?dry_run=true", {**_SPEC, "name": "fresh", "target": "demo-cluster-production"}),
    Ask("POST", "/api/v1/deployments/digits/revisions/", {"image": "other:1"}),
    Ask("POST", "/api/v1/deployments/digits/rollback/", {"revision": 2}),
    Ask("POST", "/api/v1/deployments/digits/scale/", {"replicas": 4}),
    Ask("PUT", "/api/v1/deployments/digits/disruption-budget/", {"max_unavailable": "1"}),
    Ask("DELETE", "/api/v1/deployments/digits/disruption-budget/"),
    Ask("PUT", "/api/v1/deployments/digits/schedule/", {"schedule": [_NIGHT]}),
    Ask("DELETE", "/api/v1/deployments/digits/schedule/"),
    Ask("PUT", "/api/v1/deployments/digits/spread/", {"replicas": 4}),
    Ask("DELETE", "/api/v1/deployments/digits/spread/"),
    Ask("POST", "/api/v1/deployments/digits/targets/", {"target": "spare"}),
    Ask("DELETE", "/api/v1/deployments/digits-1/targets/spare/"),
    Ask("PUT", "/api/v1/deployments/digits/autoscaling/", {"min": 2, "max": 8}),
    Ask("DELETE", "/api/v1/deployments/digits/autoscaling/"),
    Ask("DELETE", "/api/v1/deployments/digits/recordings/1/"),
    Ask("POST", "/api/v1/deployments/digits/restart/"),
    Ask("POST", "/api/v1/deployments/canary/pause/", {}),
    Ask("POST", "/api/v1/deployments/canary/resume/", {}),
    Ask("POST", "/api/v1/deployments/canary/promote/", {"full": True}),
    Ask("POST", "/api/v1/deployments/canary/abort/", {}),
    Ask("POST", "/api/v1/deployments/digits-1/restore/"),
    Ask("DELETE", "/api/v1/deployments/digits/"),
]


def _many(things: str, value: Callable[[int], Any], count: int, **more: Any) -> Callable[[World], Body]:
    return lambda world: {**world.fill(more), things: [value(number) for number in range(count)]}


def _pair(number: int) -> Body:
    return {"key": f"key-{number}", "value": str(number)}


def _metric(number: int) -> Body:
    return {"key": f"m{number % 50}", "value": number, "timestamp": number, "step": number}


def _of_model(number: int) -> Body:
    """`{logged}` has these metrics, each on a dataset of its own."""
    return {**_metric(number), "model_id": "{logged}", "dataset_name": f"d{number}", "dataset_digest": "1"}


def _dataset(number: int) -> dict[str, Any]:
    columns = {"name": f"d{number}", "digest": str(number), "source_type": "local", "source": "{}"}
    return {"dataset": columns, "tags": [{"key": "mlflow.data.context", "value": "training"}]}


def _outputs(world: World) -> Body:
    return {"run_id": world.run, "models": [{"model_id": uid, "step": 2} for uid in world.models]}


def _everywhere(world: World) -> Body:
    return {"experiment_ids": world.experiments}


TRACKING = [
    *get(
        "/api/3.0/mlflow/workspaces",
        "/api/3.0/mlflow/workspaces/demo",
        f"{MLFLOW}/experiments/get-by-name?experiment_name=digits",
        f"{MLFLOW}/experiments/get?experiment_id={{experiment}}",
        f"{MLFLOW}/experiments/search?max_results=100",
        f"{MLFLOW}/runs/get?run_id={{run}}",
        f"{MLFLOW}/metrics/get-history?run_id={{run}}&metric_key=loss&max_results=1000",
        f"{MLFLOW}/metrics/get-history-bulk?run_id={{run}}&metric_key=loss",
        f"{MLFLOW}/metrics/get-history-bulk-interval?run_ids={{run}}&metric_key=loss&max_results=20",
        f"{MLFLOW}/artifacts/list?run_id={{run}}",
        "/get-artifact?run_id={run}&path=note.txt",
        f"{FILES}?path={{experiment}}/{{run}}/artifacts",
        f"{FILES}/{{experiment}}/{{run}}/artifacts/note.txt",
    ),
    Ask("POST", f"{MLFLOW}/experiments/create", {"name": "fresh"}),
    Ask("POST", f"{MLFLOW}/experiments/update", {"experiment_id": "{experiment}", "new_name": "numbers"}),
    Ask("POST", f"{MLFLOW}/experiments/delete", {"experiment_id": "{idle}"}),
    Ask("POST", f"{MLFLOW}/experiments/restore", {"experiment_id": "{experiment}"}),
    Ask(
        "POST", f"{MLFLOW}/experiments/set-experiment-tag", {"experiment_id": "{experiment}", "key": "a", "value": "b"}
    ),
    Ask("POST", f"{MLFLOW}/experiments/delete-experiment-tag", {"experiment_id": "{experiment}", "key": "team"}),
    Ask("POST", f"{MLFLOW}/experiments/search", {"max_results": 100, "filter": "name LIKE 'd%'"}),
    Ask(
        "POST",
        f"{MLFLOW}/runs/create",
        {"experiment_id": "{experiment}", "tags": [_pair(1)]},
        _many("tags", _pair, 50, experiment_id="{experiment}"),
    ),
    Ask("POST", f"{MLFLOW}/runs/update", {"run_id": "{run}", "status": "FINISHED", "end_time": 5, "run_name": "other"}),
    Ask("POST", f"{MLFLOW}/runs/delete", {"run_id": "{run}"}),
    Ask("POST", f"{MLFLOW}/runs/restore", {"run_id": "{run}"}),
    Ask("POST", f"{MLFLOW}/runs/search", {"experiment_ids": ["{experiment}"]}, _everywhere),
    Ask(
        "POST",
        f"{MLFLOW}/runs/search?ordered",
        {"experiment_ids": ["{experiment}"], "filter": "params.alpha != 'x'", "order_by": ["metrics.loss"]},
    ),
    Ask("POST", f"{MLFLOW}/runs/log-metric", {"run_id": "{run}", **_metric(1)}),
    Ask(
        "POST",
        f"{MLFLOW}/runs/log-batch?of a model",
        {"run_id": "{run}", "metrics": [_of_model(1)]},
        lambda world: world.fill({"run_id": "{run}", "metrics": [_of_model(number) for number in range(1000)]}),
    ),
    Ask("POST", f"{MLFLOW}/runs/log-parameter", {"run_id": "{run}", "key": "p", "value": "1"}),
    Ask("POST", f"{MLFLOW}/runs/set-tag", {"run_id": "{run}", "key": "t", "value": "1"}),
    Ask("POST", f"{MLFLOW}/runs/delete-tag", {"run_id": "{run}", "key": "team"}),
    Ask(
        "POST",
        f"{MLFLOW}/runs/log-batch",
        {"run_id": "{run}", "metrics": [_metric(1)]},
        _many("metrics", _metric, 1000, run_id="{run}"),
    ),
    Ask(
        "POST",
        f"{MLFLOW}/runs/log-batch?params",
        {"run_id": "{run}", "params": [_pair(1)], "tags": [_pair(1)]},
        _many("params", _pair, 100, run_id="{run}", tags=[_pair(n) for n in range(100)]),
    ),
    Ask(
        "POST", f"{MLFLOW}/runs/outputs", {"run_id": "{run}", "models": [{"model_id": "{logged}", "step": 1}]}, _outputs
    ),
    Ask(
        "POST",
        f"{MLFLOW}/runs/log-inputs",
        {"run_id": "{run}", "datasets": [_dataset(1)], "models": [{"model_id": "{logged}"}]},
        _many("datasets", _dataset, 100, run_id="{run}"),
    ),
    Ask("POST", f"{MLFLOW}/experiments/search-datasets", {"experiment_ids": ["{experiment}"]}),
    Ask("POST", f"{MLFLOW}/upload-artifact?run_uuid={{run}}&path=new.txt", {"some": "bytes"}),
    Ask("PUT", f"{FILES}/{{experiment}}/{{run}}/artifacts/new.txt", {"some": "bytes"}),
    Ask("DELETE", f"{FILES}/{{experiment}}/{{run}}/artifacts/notes"),
]
V3 = "/api/3.0/mlflow"


def _spans(number: int) -> Body:
    """A request by OpenTelemetry's protocol: two spans in each of so many traces."""
    times = {"startTimeUnixNano": "1796062832698356346", "endTimeUnixNano": "1796062832804100720"}
    usage = {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "5"}}
    spans = [
        {"traceId": f"{trace + 1:032x}", "spanId": f"{trace + 1:016x}", "name": "ask", "attributes": [usage], **times}
        for trace in range(number)
    ]
    spans += [{**span, "spanId": f"f{span['spanId'][1:]}", "parentSpanId": span["spanId"]} for span in spans]
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


def _every_trace(world: World) -> Body:
    return {"trace_ids": list(Trace.objects.values_list("uid", flat=True))}


def _place() -> Body:
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "{experiment}"}}


_TRACE_INFO = {
    "trace_id": "tr-new", "trace_location": _place(), "request_time": "2026-11-30T12:00:00.5Z",
    "execution_duration": "1.5s", "state": "OK", "client_request_id": "r", "request_preview": "a",
    "response_preview": "b", "tags": {"t": "1"}, "trace_metadata": {"mlflow.sourceRun": "{run}"},
}  # fmt: skip
TRACES = [
    *get(
        f"{V3}/traces/{{trace}}",
        f"{V3}/traces/get?trace_id={{trace}}&allow_partial=true",
        f"{V3}/traces/batchGet?trace_ids={{trace}}",
        f"{FILES}/{{experiment}}/traces/{{trace}}/artifacts/traces.json",
    ),
    Ask("POST", f"{V3}/traces/batchGetInfos", {"trace_ids": ["{trace}"]}, _every_trace),
    Ask("POST", f"{V3}/traces", {"trace": {"trace_info": _TRACE_INFO}}),
    Ask(
        "POST",
        f"{V3}/traces/search",
        {"locations": [_place()], "filter": "run_id = '{run}' AND tags.team = 'x' AND span.name LIKE '%s%'",
         "order_by": ["name DESC"], "max_results": 100},
    ),
    Ask("POST", f"{V3}/traces/search?all", {"locations": [_place()]}),
    Ask("POST", "/v1/traces?experiment_id={experiment}", _spans(1), lambda world: _spans(100)),
    Ask("POST", f"{MLFLOW}/traces/delete-traces", {"experiment_id": "{experiment}", "request_ids": ["{trace}"]}),
    Ask("POST", f"{V3}/traces/delete-traces", {"experiment_id": "{experiment}", "max_timestamp_millis": 2**50}),
    *(
        ask
        for version in (MLFLOW, V3)
        for ask in (
            Ask("POST", f"{version}/traces/link-to-run", {"trace_ids": ["{trace}"], "run_id": "{run}"}),
            Ask(
                "POST",
                f"{version}/traces/link-prompts",
                {"trace_id": "{trace}", "prompt_versions": [{"name": "p", "version": "1"}]},
            ),
            Ask("PATCH", f"{version}/traces/{{trace}}/tags", {"key": "k", "value": "v"}),
            Ask("DELETE", f"{version}/traces/{{trace}}/tags", {"key": "team"}),
        )
    ),
    Ask("PUT", f"{FILES}/{{experiment}}/traces/{{trace}}/artifacts/traces.json", {"spans": []}),
]  # fmt: skip
LOGGED = [
    *get(
        f"{MLFLOW}/logged-models/{{logged}}",
        f"{MLFLOW}/logged-models/{{logged}}/artifacts/directories",
        f"{MLFLOW}/logged-models/{{logged}}/artifacts/files?artifact_file_path=model/MLmodel",
    ),
    Ask(
        "POST",
        f"{MLFLOW}/logged-models",
        {"experiment_id": "{experiment}", "source_run_id": "{run}", "name": "m", "params": [_pair(1)]},
        _many("params", _pair, 100, experiment_id="{experiment}", source_run_id="{run}", name="m"),
    ),
    Ask("POST", f"{MLFLOW}/logged-models/search", {"experiment_ids": ["{experiment}"]}, _everywhere),
    Ask(
        "POST",
        f"{MLFLOW}/logged-models/search?measured",
        {
            "experiment_ids": ["{experiment}"],
            "filter": "metrics.m1 >= 0",
            "datasets": [{"dataset_name": "given-0"}],
            "order_by": [{"field_name": "metrics.m1"}],
        },
    ),
    Ask("PATCH", f"{MLFLOW}/logged-models/{{logged}}", {"status": "LOGGED_MODEL_READY"}),
    Ask("DELETE", f"{MLFLOW}/logged-models/{{logged}}"),
    Ask("POST", f"{MLFLOW}/logged-models/{{logged}}/params", {"params": [_pair(1)]}, _many("params", _pair, 100)),
    Ask("PATCH", f"{MLFLOW}/logged-models/{{logged}}/tags", {"tags": [_pair(1)]}, _many("tags", _pair, 100)),
    Ask("DELETE", f"{MLFLOW}/logged-models/{{logged}}/tags/team"),
]
REGISTRY = [
    *get(
        "/model-versions/get-artifact?name=digits&version=1&path=MLmodel",
        f"{MLFLOW}/registered-models/get?name=digits",
        f"{MLFLOW}/registered-models/search?max_results=100",
        f"{MLFLOW}/registered-models/get-latest-versions?name=digits",
        f"{MLFLOW}/registered-models/alias?name=digits&alias=champion",
        f"{MLFLOW}/model-versions/get?name=digits&version=1",
        f"{MLFLOW}/model-versions/search?max_results=1000",
        f"{MLFLOW}/model-versions/get-download-uri?name=digits&version=1",
    ),
    Ask("POST", f"{MLFLOW}/registered-models/get-latest-versions", {"name": "digits"}),
    Ask(
        "POST",
        f"{MLFLOW}/registered-models/create",
        {"name": "fresh", "tags": [_pair(1)]},
        _many("tags", _pair, 100, name="fresh"),
    ),
    Ask("POST", f"{MLFLOW}/registered-models/rename", {"name": "free", "new_name": "numbers"}),
    Ask("PATCH", f"{MLFLOW}/registered-models/update", {"name": "digits", "description": "Numbers."}),
    Ask("DELETE", f"{MLFLOW}/registered-models/delete", {"name": "free"}),
    Ask("POST", f"{MLFLOW}/registered-models/set-tag", {"name": "digits", "key": "a", "value": "b"}),
    Ask("DELETE", f"{MLFLOW}/registered-models/delete-tag", {"name": "digits", "key": "a"}),
    Ask("POST", f"{MLFLOW}/registered-models/alias", {"name": "digits", "alias": "best", "version": "1"}),
    Ask("DELETE", f"{MLFLOW}/registered-models/alias", {"name": "digits", "alias": "champion"}),
    Ask("POST", f"{MLFLOW}/model-versions/create", {"name": "digits", "source": "models:/{logged}", "run_id": "{run}"}),
    Ask("PATCH", f"{MLFLOW}/model-versions/update", {"name": "digits", "version": "1", "description": "The first."}),
    Ask("DELETE", f"{MLFLOW}/model-versions/delete", {"name": "free", "version": "1"}),
    Ask("POST", f"{MLFLOW}/model-versions/set-tag", {"name": "digits", "version": "1", "key": "a", "value": "b"}),
    Ask("DELETE", f"{MLFLOW}/model-versions/delete-tag", {"name": "digits", "version": "1", "key": "a"}),
    Ask("POST", f"{MLFLOW}/model-versions/transition-stage", {"name": "digits", "version": "1", "stage": "Staging"}),
]

# What is not measured, and why: by name of the page or by method and path of the endpoint.
NOT_MEASURED = {
    "healthz": "a probe",
    "readyz": "a probe",
    "core:login": "signs in",
    "core:logout": "signs out",
    "core:gallery": "for developers, without rows",
    "core:home": "goes on to the overview",
    "core:events": "a stream",
    "clusters:pod-log": OVER_A_SOCKET,
    "experiments:log": OVER_A_SOCKET,
    "deployments:predict": OVER_A_SOCKET,
    "deployments:example": OVER_A_SOCKET,
    "deployments:keep_request": OVER_A_SOCKET,
    "deployments:access": OVER_A_SOCKET,
    "deployments:live": OVER_A_SOCKET,
    "deployments:made": OVER_A_SOCKET,
    "deployments:log": OVER_A_SOCKET,
    "deployments:preview": OVER_A_SOCKET,
    "deployments:rehearse": OVER_A_SOCKET,
    "experiments:rehearse": OVER_A_SOCKET,
    "deployments:try_out": OVER_A_SOCKET,
    "deployments:replica_log": OVER_A_SOCKET,
    "deployments:requests": OVER_A_SOCKET,
    "POST /api/v1/clusters/": OVER_A_SOCKET,
    "POST /api/v1/clusters/{name}/test/": OVER_A_SOCKET,
    "POST /api/v1/deployments/{name}/predict/": OVER_A_SOCKET,
    "POST /api/v1/deployments/{name}/preview/": OVER_A_SOCKET,
    "POST /api/v1/deployments/{name}/recordings/": OVER_A_SOCKET,
    "GET /api/v1/deployments/{name}/requests/": OVER_A_SOCKET,
}
EVERYTHING = [*PAGES, *FORMS, *REST, *workflowcalls.REST, *TRACKING, *TRACES, *LOGGED, *REGISTRY]
