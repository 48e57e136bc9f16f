"""URLs of deployments."""

from django.urls import path

from apps.deployments.pages import (
    approvals,
    edit,
    following,
    requests,
    resources,
    scaling,
    schedule,
    sources,
    spread,
    targets,
    views,
)

app_name = "deployments"
urlpatterns = [
    path("p/<slug:project>/targets/", targets.targets, name="targets"),
    path("p/<slug:project>/targets/new", targets.create_target, name="create_target"),
    path("p/<slug:project>/targets/<slug:name>/", targets.edit_target, name="edit_target"),
    path("p/<slug:project>/targets/<slug:name>/delete", targets.delete_target, name="delete_target"),
    path("p/<slug:project>/metrics-sources/new", sources.create, name="create_source"),
    path("p/<slug:project>/metrics-sources/<slug:name>/delete", sources.delete, name="delete_source"),
    path("p/<slug:project>/approvals/", approvals.approvals, name="approvals"),
    path("p/<slug:project>/approvals/<int:pk>/<slug:word>", approvals.decide, name="decide"),
    path("p/<slug:project>/deployments/", views.listing, name="list"),
    path("p/<slug:project>/deployments/new", views.create, name="create"),
    path("p/<slug:project>/deployments/<slug:name>/", views.detail, name="detail"),
    path("p/<slug:project>/deployments/<slug:name>/revise", views.revise, name="revise"),
    path("p/<slug:project>/deployments/<slug:name>/resources", resources.resources, name="resources"),
    path("p/<slug:project>/deployments/<slug:name>/edit", edit.edit, name="edit"),
    path("p/<slug:project>/deployments/<slug:name>/edit/preview", edit.edit, {"preview": True}, name="preview"),
    path("p/<slug:project>/deployments/<slug:name>/rollback/<int:revision>", views.rollback, name="rollback"),
    path("p/<slug:project>/deployments/<slug:name>/strategy", views.strategy, name="strategy"),
    path("p/<slug:project>/deployments/<slug:name>/follow", following.follow, name="follow"),
    path("p/<slug:project>/deployments/<slug:name>/rollout/<slug:word>", views.steer, name="steer"),
    path("p/<slug:project>/deployments/<slug:name>/autoscaling", scaling.autoscaling, name="autoscaling"),
    path("p/<slug:project>/deployments/<slug:name>/schedule", schedule.schedule, name="schedule"),
    path("p/<slug:project>/deployments/<slug:name>/autoscaling/off", scaling.stop_autoscaling, name="stop_autoscaling"),
    path("p/<slug:project>/deployments/<slug:name>/scale", views.scale, name="scale"),
    path("p/<slug:project>/deployments/<slug:name>/spread", spread.spread, name="spread"),
    path("p/<slug:project>/deployments/<slug:name>/targets/new", targets.add_target, name="add_target"),
    path(
        "p/<slug:project>/deployments/<slug:name>/targets/<slug:target>/remove",
        targets.remove_target,
        name="remove_target",
    ),
    path("p/<slug:project>/deployments/<slug:name>/restart", views.restart, name="restart"),
    path("p/<slug:project>/deployments/<slug:name>/restore", views.restore, name="restore"),
    path("p/<slug:project>/deployments/<slug:name>/delete", views.delete, name="delete"),
    path("p/<slug:project>/deployments/<slug:name>/predict", views.ask, name="predict"),
    path("p/<slug:project>/deployments/<slug:name>/example", views.example, name="example"),
    path("p/<slug:project>/deployments/<slug:name>/requests", requests.requests, name="requests"),
    path("p/<slug:project>/deployments/<slug:name>/replicas/<str:pod>/", views.replica, name="replica"),
    path("p/<slug:project>/deployments/<slug:name>/replicas/<str:pod>/log", views.replica_log, name="replica_log"),
]
