"""System checks: problems of the settings, each in a sentence that says what to do."""

import ipaddress
from collections.abc import Iterable
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Critical, Error, register
from django.core.exceptions import ImproperlyConfigured

from apps.core.errors import Invalid
from apps.core.limits import Rate
from apps.core.text.publicurl import is_loopback, problem_of, shown
from apps.experiments.files import standing
from apps.experiments.files.stores.places import place_of


@register()
def check_secrets(**_: Any) -> Iterable[CheckMessage]:
    """Refuse a default or short secret in production, and unusable credential keys anywhere."""
    problems: list[CheckMessage] = []
    if settings.PRODUCTION and settings.SECRET_KEY == settings.INSECURE_SECRET_KEY:
        problems.append(
            Critical(
                "FLOTILLA_SECRET_KEY is not set.",
                hint="Set it to 50 random characters: python -c 'import secrets; print(secrets.token_urlsafe(50))'",
                id="flotilla.C001",
            )
        )
    elif settings.PRODUCTION and len(settings.SECRET_KEY) < 32:
        problems.append(Critical("FLOTILLA_SECRET_KEY is shorter than 32 characters.", id="flotilla.C002"))
    keys = settings.CREDENTIALS_KEYS
    if not keys and settings.PRODUCTION:
        problems.append(
            Critical(
                "FLOTILLA_CREDENTIALS_KEYS is not set, so cluster credentials can't be encrypted.",
                hint="Make one: python manage.py shell -c "
                "'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'",
                id="flotilla.C003",
            )
        )
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            problems.append(
                Critical(f"Key {position} of FLOTILLA_CREDENTIALS_KEYS is not a Fernet key.", id="flotilla.C004")
            )
    return problems


@register()
def check_bin(**_: Any) -> Iterable[CheckMessage]:
    """Say which days of the bin make no sense."""
    if settings.BIN_MAX_DAYS < 1 or settings.BIN_DAYS < 1:
        return [Error("FLOTILLA_BIN_DAYS and FLOTILLA_BIN_MAX_DAYS are 1 or more.", id="flotilla.E011")]
    return []


@register()
def check_artifacts(**_: Any) -> Iterable[CheckMessage]:
    """Say what is wrong with the settings of a bucket. Asks nobody."""
    problems: list[CheckMessage] = []
    for network in settings.ARTIFACTS_ALLOWED_NETWORKS:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            problems.append(Error("FLOTILLA_ARTIFACTS_ALLOWED_NETWORKS has what is no network.", id="flotilla.E013"))
    if settings.ARTIFACTS_URL:
        try:
            place_of(settings.ARTIFACTS_URL, settings.ARTIFACTS_ENDPOINT, settings.ARTIFACTS_REGION)
        except Invalid as error:
            problems.append(Error(error.message, hint=error.hint, id="flotilla.E012"))
    return problems


@register("artifacts", deploy=True)
def check_artifact_store(**_: Any) -> Iterable[CheckMessage]:
    """Ask the store of artifacts: `check --deploy --tag artifacts`. One that is away keeps no process from starting."""
    problem = "" if any(check_artifacts()) else standing.problem_now()
    return [checks.Warning(problem, id="flotilla.W003")] if problem else []


@register()
def check_rates(**_: Any) -> Iterable[CheckMessage]:
    """Say which rate limit can't be read."""
    problems: list[CheckMessage] = []
    for name in ("API_RATE", "MLFLOW_RATE"):
        try:
            Rate.parse(getattr(settings, name))
        except ImproperlyConfigured as error:
            problems.append(Error(f"FLOTILLA_{name}: {error}", id="flotilla.E010"))
    return problems


@register()
def check_addresses(**_: Any) -> Iterable[CheckMessage]:
    """Say which host names are missing and where cookies would travel in the clear."""
    problems: list[CheckMessage] = []
    if settings.PRODUCTION and not settings.ALLOWED_HOSTS:
        problems.append(
            Error(
                "FLOTILLA_ALLOWED_HOSTS is not set, so every request would be refused.",
                hint="Set it to the host names that people use, separated by commas.",
                id="flotilla.E001",
            )
        )
    if settings.PRODUCTION and "*" in settings.ALLOWED_HOSTS:
        problems.append(Error("FLOTILLA_ALLOWED_HOSTS must not be '*' in production.", id="flotilla.E002"))
    problem = problem_of(settings.PUBLIC_URL)
    if problem:
        problems.append(
            Error(
                f"FLOTILLA_PUBLIC_URL={shown(settings.PUBLIC_URL)} {problem}.",
                hint="Set it to the address that people and pods use, such as https://flotilla.example.com.",
                id="flotilla.E004",
            )
        )
    elif settings.PRODUCTION and is_loopback(settings.PUBLIC_URL):
        problems.append(
            checks.Warning(
                f"FLOTILLA_PUBLIC_URL={settings.PUBLIC_URL} is this machine's own: no pod elsewhere can log to it.",
                hint="Set it to the address that people and pods use, such as https://flotilla.example.com.",
                id="flotilla.W002",
            )
        )
    if settings.PRODUCTION and settings.DEBUG:
        problems.append(Error("FLOTILLA_DEBUG must be off in production.", id="flotilla.E003"))
    if settings.PRODUCTION and not settings.SECURE_COOKIES:
        problems.append(
            checks.Warning(
                "FLOTILLA_PUBLIC_URL is not https, so session cookies travel in the clear.",
                hint="Serve Flotilla behind TLS and set FLOTILLA_PUBLIC_URL=https://…",
                id="flotilla.W001",
            )
        )
    return problems
