"""URLs of pipelines."""

from django.urls import path

from apps.workflows.pages import schedule_views, views

app_name = "workflows"
urlpatterns = [
    path("p/<slug:project>/pipelines/", views.listing, name="list"),
    path("p/<slug:project>/pipelines/new", views.create, name="create"),
    path("p/<slug:project>/pipelines/<slug:name>/", views.detail, name="detail"),
    path("p/<slug:project>/pipelines/<slug:name>/start", views.start, name="start"),
    path("p/<slug:project>/pipelines/<slug:name>/schedules", schedule_views.create, name="create_schedule"),
    path(
        "p/<slug:project>/pipelines/<slug:name>/schedules/<slug:schedule>/<slug:word>",
        schedule_views.act,
        name="schedule",
    ),
    path("p/<slug:project>/pipelines/<slug:name>/webhooks", views.create_webhook, name="create_webhook"),
    path(
        "p/<slug:project>/pipelines/<slug:name>/webhooks/<slug:webhook>/delete",
        views.delete_webhook,
        name="delete_webhook",
    ),
    path("p/<slug:project>/pipelines/<slug:name>/runs/<int:number>/", views.run_page, name="run"),
    path("p/<slug:project>/pipelines/<slug:name>/runs/<int:number>/cancel", views.cancel, name="cancel"),
    path("p/<slug:project>/pipelines/<slug:name>/runs/<int:number>/retry", views.retry, name="retry"),
    path(
        "p/<slug:project>/pipelines/<slug:name>/runs/<int:number>/steps/<slug:step>/<slug:word>",
        views.decide,
        name="decide",
    ),
]
