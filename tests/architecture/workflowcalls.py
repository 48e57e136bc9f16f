"""The part of `calls` that is about pipelines."""

from tests.architecture.asks import Ask, get

PAGES = get(
    "/p/demo/pipelines/",
    "/p/demo/pipelines/?q=d",
    "/p/demo/pipelines/new",
    "/p/demo/pipelines/new?of=digits",
    "/p/demo/pipelines/digits/",
    "/p/demo/pipelines/digits/?version=1&again=1",
    "/p/demo/pipelines/digits/runs/1/",
    "/p/demo/pipelines/digits/runs/2/?step=train",
)
NEW_SCHEDULE = {
    "name": "weekly",
    "cron": "@weekly",
    "time_zone": "UTC",
    "overlap": "forbid",
    "missed": "once",
}
_RUN = "/p/demo/pipelines/digits/runs"
FORMS = [
    Ask("POST", "/p/demo/pipelines/new", {"yaml": "name: fresh\nsteps: [{name: a, run: {image: busybox}}]"}, form=True),
    Ask("POST", "/p/demo/pipelines/digits/start", {"version": "1", "param_rate": "0.5"}, form=True),
    Ask("POST", f"{_RUN}/2/cancel", {}, form=True),
    Ask("POST", f"{_RUN}/1/retry", {}, form=True),
    Ask("POST", f"{_RUN}/2/steps/go/approve", {"comment": "Fine."}, form=True),
    Ask("POST", f"{_RUN}/2/steps/go/reject", {"comment": "No."}, form=True),
    Ask("POST", "/p/demo/pipelines/digits/webhooks", {"name": "other"}, form=True),
    Ask("POST", "/p/demo/pipelines/digits/webhooks/push/delete", {}, form=True),
    Ask("POST", "/p/demo/pipelines/digits/schedules", NEW_SCHEDULE, form=True),
    Ask("POST", "/p/demo/pipelines/digits/schedules/nightly/pause", {}, form=True),
    Ask("POST", "/p/demo/pipelines/digits/schedules/nightly/delete", {}, form=True),
]
BUNDLE = "kind: Pipeline\nname: fresh\nsteps: [{name: a, run: {image: busybox}}]"
REST = [
    *get(
        "/api/v1/pipelines/",
        "/api/v1/pipelines/digits/",
        "/api/v1/pipelines/digits/versions/",
        "/api/v1/pipelines/digits/runs/",
        "/api/v1/pipelines/digits/runs/2/",
        "/api/v1/pipelines/digits/webhooks/",
        "/api/v1/pipelines/digits/deliveries/",
        "/api/v1/pipelines/digits/schedules/",
    ),
    Ask("POST", "/api/v1/pipelines/", {"yaml": "name: fresh\nsteps: [{name: a, run: {image: busybox}}]"}),
    Ask("POST", "/api/v1/apply/?project=demo", {"bundle": "one", "yaml": BUNDLE}),
    Ask("POST", "/api/v1/pipelines/digits/runs/", {"params": {"rate": 0.5}}),
    Ask("POST", "/api/v1/pipelines/digits/runs/1/retry/"),
    Ask("POST", "/api/v1/pipelines/digits/runs/2/cancel/"),
    Ask("POST", "/api/v1/pipelines/digits/runs/2/steps/go/approve/", {"comment": "Fine."}),
    Ask("POST", "/api/v1/pipelines/digits/runs/2/steps/go/reject/", {"comment": "No."}),
    Ask("POST", "/api/v1/pipelines/digits/webhooks/", {"name": "other"}),
    Ask("DELETE", "/api/v1/pipelines/digits/webhooks/push/"),
    Ask("POST", "/api/v1/pipelines/digits/schedules/", NEW_SCHEDULE),
    Ask("PATCH", "/api/v1/pipelines/digits/schedules/nightly/", {"paused": True}),
    Ask("DELETE", "/api/v1/pipelines/digits/schedules/nightly/"),
]
