"""HTML URLs of clusters."""

from django.urls import path

from apps.clusters import pod_views, views

app_name = "clusters"
urlpatterns = [
    path("clusters/", views.cluster_list, name="list"),
    path("clusters/<str:name>/", views.cluster_detail, name="detail"),
    path("clusters/<str:name>/test/", views.test_connection, name="test"),
    path("clusters/<str:name>/pods/<str:namespace>/<str:pod>/", pod_views.pod_detail, name="pod"),
    path("clusters/<str:name>/pods/<str:namespace>/<str:pod>/log/", pod_views.pod_log, name="pod-log"),
]
