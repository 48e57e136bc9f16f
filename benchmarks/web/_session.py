"""A browser's session: `python -m benchmarks.web._session NAME FILE` signs a person in; the file gets the session's
key."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def opened(person: Any) -> str:
    """Sign a person in, where Django is set up: the key of the session."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.save()
    key: str = session.session_key
    return key


def main(name: str, target: Path) -> None:
    """Sign the person of this name in, and write the file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from apps.core.models import User

    target.write_text(opened(User.objects.get(username=name)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
