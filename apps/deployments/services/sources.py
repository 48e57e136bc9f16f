"""Writes of metrics sources: where analyses may ask for numbers."""

import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.clusters.connect.addresses import refusal
from apps.core import audit
from apps.core.access import Principal, require_role
from apps.core.database.rows import held
from apps.core.errors import Conflict, Invalid
from apps.core.hints import hint
from apps.core.models import Project
from apps.core.secrets import crypto
from apps.core.states import Role
from apps.core.text.names import check_name
from apps.deployments import selectors
from apps.deployments.models import MetricsSource
from apps.deployments.rollout.strategy import Strategy

MAX_TOKEN, MAX_ADDRESS = 16 * 1024, 500


def create_source(
    *, principal: Principal, project: Project, name: str, address: str, token: str = "", ca: str = ""
) -> MetricsSource:
    """Name a Prometheus that the project's analyses may ask. Needs the admin role. Raises Invalid or Conflict.

    Nothing of it is ever changed: with another address the token would go to another server.
    """
    require_role(principal, project, Role.ADMIN)
    check_name(name, "name")
    url, token = _address(address), token.strip()
    if token and not url.startswith("https://"):
        raise Invalid("A token is sent by https alone.", field="token", hint="Give an https address, or no token.")
    if (
        len(token) > MAX_TOKEN
        or not token.isascii()
        or any(not letter.isprintable() or letter == " " for letter in token)
    ):
        raise Invalid("This is no bearer token: it has spaces or letters that no header takes.", field="token")
    _check_ca(ca)
    try:
        with transaction.atomic():
            source = MetricsSource.objects.create(
                project=project,
                name=name,
                address=url,
                ca=ca.strip(),
                token_encrypted=crypto.encrypt(token.encode()) if token else "",
                created_by=principal.label,
            )
            after = {"address": url, "has_token": bool(token)}
            audit.record(principal=principal, action="source.create", obj=source, project=project, after=after)
            hint("deployments", project.pk)
    except IntegrityError as error:
        raise Conflict(f"There is a metrics source {name!r} already.", field="name") from error
    return source


def delete_source(*, principal: Principal, source: MetricsSource) -> None:
    """Forget a source. Needs the admin role. Raises Conflict while a strategy or a rollout under way names it."""
    require_role(principal, source.project, Role.ADMIN)
    with transaction.atomic():
        source = held(source, "project")
        used = selectors.users_of_source(source)
        if used:
            raise Conflict(
                f"Metrics source {source.name} is asked by the analyses of {', '.join(used)}.",
                hint="Change their strategies first; a rollout that is under way ends first.",
            )
        audit.record(principal=principal, action="source.delete", obj=source, project=source.project)
        hint("deployments", source.project_id)
        source.delete()


def check_sources(strategy: Strategy, project: Project) -> None:
    """The analyses of a strategy name sources that the project has. Raises Invalid."""
    named: dict[str, str] = {}
    for place, asked in strategy.all_analyses:
        if "source" in asked:
            named.setdefault(str(asked["source"]), place)
    if not named:
        return
    there = set(selectors.sources(project=project, name__in=named).values_list("name", flat=True))
    for name in [name for name in named if name not in there][:1]:
        raise Invalid(
            f"{project.name} has no metrics source {name!r}.",
            field=f"{named[name]}.source",
            hint="A project admin makes it beside the targets.",
        )


def _address(text: str) -> str:
    """The address as it is stored. What its name resolves to is checked at each call, when it is known."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _no_address() from error
    odd = parts.username is not None or parts.password is not None or parts.query or parts.fragment
    printable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not host or port == 0 or odd or not printable or len(url) > MAX_ADDRESS:
        raise _no_address()
    if any(part in (".", "..") for part in parts.path.split("/")):
        raise _no_address()
    if reason := _refused(host, settings.CLUSTER_ALLOWED_NETWORKS):
        raise Invalid(f"The address is refused: {reason}.", field="address")
    return url


def _refused(host: str, allowed: Sequence[str]) -> str:
    """Why a host that is written as a number is refused; "" for a name, which is resolved later."""
    try:
        return refusal(host, allowed)
    except ValueError:
        return ""


def _no_address() -> Invalid:
    hint = "Write https://prometheus.example:9090, with a path only where it is served below one."
    return Invalid("This is no address of a Prometheus.", field="address", hint=hint)


def _check_ca(ca: str) -> None:
    if not ca.strip():
        return
    try:
        ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise Invalid("These are no certificates in PEM.", field="ca") from error
