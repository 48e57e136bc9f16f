"""HTML URLs of clusters."""

from django.urls import path

from apps.clusters.pages import check_views, cluster_views, fleet_views, pod_views, usage_views

app_name = "clusters"
urlpatterns = [
    path("clusters/", fleet_views.cluster_list, name="list"),
    path("clusters/<str:name>/", cluster_views.cluster_detail, name="detail"),
    path("clusters/<str:name>/nodes/<str:node>/", cluster_views.node_detail, name="node"),
    path("clusters/<str:name>/events/", cluster_views.event_list, name="events"),
    path("clusters/<str:name>/check/", check_views.cluster_check, name="check"),
    path("clusters/<str:name>/check/again/", check_views.check_again, name="check-again"),
    path("clusters/<str:name>/check/reach/", check_views.reach_again, name="check-reach"),
    path("clusters/<str:name>/pods/<str:namespace>/<str:pod>/", pod_views.pod_detail, name="pod"),
    path("clusters/<str:name>/pods/<str:namespace>/<str:pod>/log/", pod_views.pod_log, name="pod-log"),
    path("usage/", usage_views.fleet_usage, name="fleet-usage"),
    path("clusters/<str:name>/usage/", usage_views.cluster_usage, name="usage"),
    path("clusters/<str:name>/namespaces/", usage_views.cluster_namespaces, name="namespaces"),
    path("clusters/<str:name>/nodes/<str:node>/usage/", usage_views.node_usage, name="node-usage"),
    path("clusters/<str:name>/pods/<str:namespace>/<str:pod>/usage/", usage_views.pod_usage, name="pod-usage"),
]
