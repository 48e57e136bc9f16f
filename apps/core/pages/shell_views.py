"""Pages of the shell: the overview, search, one's own profile and API tokens, the API to read, and the gallery."""

from datetime import timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from drf_spectacular.generators import SchemaGenerator

from apps.core import selectors, services
from apps.core.access import project_or_404
from apps.core.api.reference import Reference, reference_of
from apps.core.errors import FlotillaError, Missing
from apps.core.models import Project
from apps.core.pages import asked, nav
from apps.core.pages import gallery as samples
from apps.core.pages import overview as gathered
from apps.core.pages import search as finder
from apps.core.pages.base import PageRequest, page, render_page
from apps.core.pages.forms import OwnPasswordForm, TokenForm

# Tokens of a page, and projects beside them.
PER_PAGE = 50


@page
def overview(request: PageRequest, project: Project) -> HttpResponse:
    """Is anything wrong, and what runs where. A part costs the queries of that part alone."""
    scope = gathered.Scope(request.principal, project)
    part = request.GET.get("part", "")
    context: dict[str, Any] = {"project": project, "now": timezone.now()}
    if part in ("", "verdict", "attention"):
        needs = gathered.attention(scope)
        anything = bool(needs) or gathered.anything(scope)
        context |= {"needs": needs, "verdict": gathered.verdict(needs, anything=anything)}
    for section in gathered.Section:
        if section is not gathered.Section.ATTENTION and part in ("", section):
            context[section.value] = gathered.rows(section, scope)
    context.get("tiles", []).sort(key=lambda tile: tile.order)
    return render_page(request, "core/overview.html", context)


@page(part_of="core:home")
def rail(request: PageRequest) -> HttpResponse:
    """The entries of the rail afresh, for a page that stays open: `at` is the lit one."""
    name = request.GET.get("project", "")
    project = project_or_404(request.principal, name) if name else None
    context = nav.context(request.principal, project, request.GET.get("at", ""))
    response = render(request, "components/nav.html", context)
    response["Cache-Control"] = "no-store"
    return response


@page(takes={"q": asked.TEXT})
def search(request: PageRequest) -> HttpResponse:
    """Everything by name: a page, and with `?part=hits` the list below the search box."""
    query = request.GET.get("q", "")[:100]
    per_kind = finder.PER_KIND if request.GET.get("part") else finder.PER_KIND_ON_PAGE
    hits = finder.find(request.principal, query, per_kind=per_kind)
    context = {
        "q": query,
        "hits": hits,
        "more": finder.is_full(hits, per_kind),
        "short": len(query.strip()) < finder.MIN_LENGTH,
    }
    return render_page(request, "core/search.html", context)


@page(takes={"page": asked.PAGE})
def profile(request: PageRequest) -> HttpResponse:
    """The page of one's own account: name, memberships and API tokens."""
    offered: dict[str, Any] = {
        "projects": selectors.projects(request.principal),
        "most": services.most_of(request.principal),
    }
    form = TokenForm(request.POST or None, **offered)
    secret = ""
    if request.method == "POST" and form.is_valid():
        try:
            secret = _made(request, form)
        except FlotillaError as error:
            form.add_error(error.field if error.field in form.fields else None, error.sentence)
        else:
            form = TokenForm(**offered)
    memberships = list(selectors.memberships_of(request.principal))
    context = {
        "form": form,
        # Shown in this one answer and kept nowhere.
        "secret": secret,
        "tokens": asked.page_of(request, selectors.tokens_of(request.principal), PER_PAGE),
        "memberships": memberships[:PER_PAGE],
        "hidden_projects": max(0, len(memberships) - PER_PAGE),
        "mlflow_lines": f"export MLFLOW_TRACKING_URI={settings.PUBLIC_URL}\nexport MLFLOW_TRACKING_TOKEN=flt_…",
        "curl_line": f"curl -H 'Authorization: Bearer flt_…' {settings.PUBLIC_URL}/api/v1/runs",
        "now": timezone.now(),
    }
    response = render_page(request, "core/settings.html", context, status=400 if form.errors else 200)
    response["Cache-Control"] = "no-store"
    return response


def _made(request: PageRequest, form: TokenForm) -> str:
    """Make the token that the form asks for; its text."""
    days = form.cleaned_data["days"]
    _, secret = services.create_token(
        principal=request.principal,
        name=form.cleaned_data["name"],
        project=form.cleaned_data["project"],
        role=form.cleaned_data["role"],
        read_only=form.cleaned_data["read_only"],
        expires_at=timezone.now() + timedelta(days=int(days)) if days else None,
    )
    return secret


@page
@sensitive_post_parameters()
def password(request: PageRequest) -> HttpResponse:
    """Change my own password."""
    user = request.principal.user
    assert user is not None  # noqa: S101 - a page is asked for by a person
    form = OwnPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        chosen = form.cleaned_data["new_password1"]
        update_session_auth_hash(
            request, services.set_password(principal=request.principal, user=user, password=chosen)
        )
        messages.success(request, "Your password is changed.")
        return redirect("core:settings")
    return render_page(request, "core/password.html", {"form": form}, status=400 if form.errors else 200)


@page
@require_POST
def revoke(request: PageRequest, pk: int) -> HttpResponse:
    """Revoke one of my tokens."""
    token = services.revoke_token(principal=request.principal, pk=pk)
    messages.success(request, f"Token {token.name} is revoked.")
    return redirect("core:settings")


@page
def reference(request: PageRequest) -> HttpResponse:
    """The REST API, to read. What tries it loads twice as much as all else here, and has an address of its own."""
    return render_page(request, "core/reference.html", {"api": _reference(), "server": settings.PUBLIC_URL})


@cache
def _reference() -> Reference:
    """Made once in a process: half a second."""
    document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return reference_of(document, settings.PUBLIC_URL)


@page
def gallery(request: PageRequest) -> HttpResponse:
    """Every component in each of its states."""
    if not (settings.DEBUG or _is_staff(request)):
        raise Missing("There is nothing here that you can see.")
    return render_page(request, "core/gallery.html", samples.context())


def _is_staff(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_staff", False))
