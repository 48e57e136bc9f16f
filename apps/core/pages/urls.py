"""HTML URLs of core: signing in, the overview, activity, and the hint stream."""

from django.urls import path

from apps.core.hints.stream_view import events
from apps.core.pages import shell_views, views

app_name = "core"
urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", views.Logout.as_view(), name="logout"),
    path("events", events, name="events"),
    path("search", shell_views.search, name="search"),
    path("settings/", shell_views.profile, name="settings"),
    path("settings/password/", shell_views.password, name="password"),
    path("settings/tokens/<int:pk>/revoke/", shell_views.revoke, name="token-revoke"),
    path("_rail", shell_views.rail, name="rail"),
    path("_gallery", shell_views.gallery, name="gallery"),
    path("activity/", views.activity, name="activity"),
    path("p/<slug:project>/", shell_views.overview, name="overview"),
]
