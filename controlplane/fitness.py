"""No process of production starts with settings that are not fit for it.

`manage.py` runs the system checks before its commands. Uvicorn and Celery run none, so web and worker call this.
"""

from typing import Any


def refuse_unfit_settings(**_: Any) -> None:
    """Exit with code 1 and the sentences of the failed checks."""
    from controlplane.checks import check_addresses, check_artifacts, check_secrets

    problems = [*check_secrets(), *check_addresses(), *check_artifacts()]
    serious = [message for message in problems if message.is_serious()]
    if serious:
        # Not ImproperlyConfigured: Celery swallows any Exception that a signal's receiver raises.
        raise SystemExit("\n".join(f"{message.id}: {message.msg} {message.hint or ''}".rstrip() for message in serious))
