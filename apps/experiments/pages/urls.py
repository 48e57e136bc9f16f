"""URLs of experiments, runs and models. An experiment's name may hold slashes, so its pattern comes last."""

from django.urls import URLPattern, URLResolver, path, register_converter

from apps.core.pages.addresses import NamePath
from apps.experiments.pages import (
    bin_views,
    describe_views,
    launch_views,
    mlflow_links,
    model_views,
    table_views,
    trace_views,
    views,
)
from apps.experiments.pages.panels import OVERVIEW, TABS

app_name = "experiments"
register_converter(NamePath, "name")
urlpatterns: list[URLPattern | URLResolver] = [
    path("_mlflow/<path:path>", mlflow_links.mlflow_link, name="mlflow"),
    path("p/<slug:project>/experiments/", views.listing, name="list"),
    path("p/<slug:project>/bin/", bin_views.bin_page, name="bin"),
    path("p/<slug:project>/bin/empty", bin_views.empty, name="empty_bin"),
    path("p/<slug:project>/bin/days", bin_views.days, name="bin_days"),
    path("p/<slug:project>/bin/<str:ident>/put", bin_views.put_into, name="put_into_bin"),
    path("p/<slug:project>/bin/<str:ident>/restore", bin_views.restore, name="restore"),
    path("p/<slug:project>/bin/<str:ident>/delete", bin_views.delete, name="delete_for_good"),
    path("p/<slug:project>/runs/new", launch_views.launch, name="launch"),
    path("p/<slug:project>/runs/new/place", launch_views.place, name="place"),
    path("p/<slug:project>/runs/new/preview", launch_views.rehearse, name="rehearse"),
    path("p/<slug:project>/runs/new/manifest", launch_views.manifest, name="manifest"),
    path("p/<slug:project>/runs/edit", describe_views.edit_chosen, name="edit_chosen"),
    path("p/<slug:project>/runs/<str:uid>/edit", describe_views.edit_run, name="edit_run"),
    path("p/<slug:project>/runs/act", table_views.act, name="act"),
    path("p/<slug:project>/runs/compare", table_views.compare, name="compare"),
    path("p/<slug:project>/runs/table.csv", table_views.table_file, name="table_file"),
    path("p/<slug:project>/runs/<str:uid>/", views.run_page, name="run"),
    *(
        path(f"p/<slug:project>/runs/<str:uid>/{tab}/", views.run_page, {"tab": tab}, name=f"run_{tab}")
        for tab in TABS
        if tab != OVERVIEW
    ),
    path("p/<slug:project>/runs/<str:uid>/log", views.log, name="log"),
    path("p/<slug:project>/runs/<str:uid>/artifacts/<path:path>", views.artifact, name="artifact"),
    path("p/<slug:project>/runs/<str:uid>/models/<str:model>/<path:path>", views.model_artifact, name="model_artifact"),
    path("p/<slug:project>/runs/<str:uid>/cancel", views.cancel, name="cancel"),
    path("p/<slug:project>/runs/<str:uid>/register", views.register, name="register"),
    path("p/<slug:project>/models/", model_views.models, name="models"),
    path("p/<slug:project>/models/<str:name>/", model_views.model, name="model"),
    path("p/<slug:project>/models/<str:name>/aliases", model_views.set_alias, name="set_alias"),
    path(
        "p/<slug:project>/models/<str:name>/aliases/<str:alias>/delete", model_views.delete_alias, name="delete_alias"
    ),
    path("p/<slug:project>/traces/of/<name:name>/", trace_views.listing, name="traces"),
    path("p/<slug:project>/traces/<str:uid>/", trace_views.trace, name="trace"),
    path("p/<slug:project>/experiments/<name:name>/edit", describe_views.edit_experiment, name="edit_experiment"),
    path("p/<slug:project>/experiments/<name:name>/", table_views.detail, name="detail"),
]
