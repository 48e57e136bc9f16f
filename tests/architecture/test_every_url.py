"""No URL of the project is one that no test asks with success: what nobody asks may be an error of ours for years."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import resolve, reverse

from controlplane.embedded.fleet import BASE_DIR
from controlplane.statics import symbols_of_the_panel
from tests.architecture.calls import EVERYTHING
from tests.architecture.urls import every_url
from tests.architecture.world import World, small

pytestmark = pytest.mark.django_db

# Asked here, by a platform administrator.
SIMPLE = (
    "/", "/healthz", "/readyz", "/health", "/version", "/login/", "/_gallery", "/api/3.0/mlflow/server-info",
    "/api/schema/", "/api/docs/", "/api/docs/try/", "/admin/", "/admin/search/?s=demo", "/admin/jsi18n/",
    "/admin/password_change/",
    "/admin/password_change/done/", "/admin/core/", "/admin/core/user/{person}/password/",
)  # fmt: skip
# Asked over a socket, or by a browser: where, by the name of the URL.
ELSEWHERE = {
    "clusters:pod-log": "tests/clusters/test_pod_logs.py",
    "cluster-test": "tests/clusters/test_api.py",
    "experiments:rehearse": "tests/experiments/test_launch_form.py",
    "experiments:log": "tests/experiments/test_attempt_pages.py",
    "deployments:predict": "tests/e2e/test_voyage.py",
    "deployments:access": "tests/deployments/test_access.py",
    "deployments:log": "tests/deployments/test_logs.py",
    "deployments:live": "tests/deployments/test_resources.py",
    "deployments:made": "tests/deployments/test_made.py",
    "deployments:keep_request": "tests/deployments/test_recordings.py",
    "deployments:example": "tests/deployments/test_pages.py",
    "deployments:replica_log": "tests/e2e/test_voyage.py",
    "deployments:preview": "tests/deployments/test_edit.py",
    "deployments:rehearse": "tests/deployments/test_rollouts.py",
    "deployments:try_out": "tests/deployments/test_rollouts.py",
    "deployment-preview": "tests/deployments/test_edit.py",
    "deployment-predict": "tests/deployments/test_predict.py",
    "deployments:requests": "tests/deployments/scrape/test_requests.py",
    "deployment-requests": "tests/deployments/scrape/test_requests.py",
    "core:events": "tests/core/hints/test_stream.py",
    "hook": "tests/workflows/test_api.py",
    "core:logout": "tests/frontend/test_browser.py",
    "admin:clusters_cluster_test_connection": "tests/clusters/test_admin.py",
}
# There is nothing to succeed: they refuse, send on, or are Django's own and reached by no link of ours.
NOTHING = {
    r"^(?:ajax-)?api/[234]\.0/mlflow(?:-artifacts)?/", r"^(?:ajax-api|v1|gateway|graphql)(?:/|$)",
    r"^api/3\.0/(?:jobs|genai)(?:/|$)",
    "admin/login/", "admin/logout/", "admin/autocomplete/", "admin/(?P<url>.*)$",
    "admin/r/<path:content_type_id>/<path:object_id>/",
}  # fmt: skip
# The name of a symbol in the panel.
_SYMBOL = re.compile(r"material-symbols-outlined[^>]*>\s*(\w+)\s*<")
ACTS = ("changelist", "add", "change", "history", "delete")


def where(path: str) -> tuple[str, str]:
    """The view that answers an address: by its name, or where it has none by its route."""
    match = resolve(path)
    return match.view_name, match.route.replace("/?", "/").replace("^", "")


def test_every_url_is_asked_with_success_by_some_test() -> None:
    world = small()
    asked = {where(world.fill(ask.path).partition("?")[0]) for ask in EVERYTHING}
    asked |= {where(world.fill(path).partition("?")[0].replace("{person}", "1")) for path in SIMPLE}
    missing = []
    for url in every_url("demo"):
        name, route = where(url.path)
        panel = url.path.startswith("/admin/") and name.rpartition("_")[2] in ACTS
        # `/admin/core/user/3/` goes on to its `change/`.
        onward = url.path.startswith("/admin/") and url.route.endswith("<path:object_id>/")
        if (name, route) in asked or panel or onward or url.route in NOTHING or name in ELSEWHERE:
            continue
        missing.append(f"{name} {url.route}")
    assert missing == [], "no test asks these with success: see tests/architecture/calls.py"
    gone = [path for path in ELSEWHERE.values() if not (BASE_DIR / path).exists()]
    assert not gone, "what asks them is no longer there"


def addresses(model: type[Model], page: ModelAdmin, root: Any) -> Iterator[tuple[str, bool]]:
    """The addresses of a table in the panel, and whether the panel lets its administrator in."""
    request = RequestFactory().get("/")
    request.user = root
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    yield reverse(f"{name}_changelist"), True
    yield reverse(f"{name}_add"), page.has_add_permission(request)
    row = model._default_manager.first()
    if row is not None:
        yield reverse(f"{name}_change", args=[row.pk]), True
        yield reverse(f"{name}_history", args=[row.pk]), True
        yield reverse(f"{name}_delete", args=[row.pk]), page.has_delete_permission(request, row)


def test_simple_pages_and_the_whole_panel_answer() -> None:
    world: World = small()
    client = Client()
    client.force_login(world.root)
    drawn: set[str] = set()
    for path in SIMPLE:
        reply = client.get(path.replace("{person}", str(world.person.pk)))
        assert reply.status_code in (200, 302), (path, reply.status_code)
    for model, page in admin.site._registry.items():
        for address, allowed in addresses(model, page, world.root):
            reply = client.get(address)
            assert reply.status_code == (200 if allowed else 403), address
            drawn |= set(_SYMBOL.findall(reply.content.decode()))
    # Before what is wrong with a field, and on a choice that is taken: the styles draw these.
    drawn |= {"warning", "check_small", "expand_more"}
    assert len(drawn) > 13 and drawn <= symbols_of_the_panel(), "the font of symbols that is served draws all of them"
