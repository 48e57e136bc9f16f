"""A browser's session for the person of `_fill`: `python -m benchmarks.tracking._session FILE`, which gets its key."""

import os
import sys
from importlib import import_module
from pathlib import Path


def main(target: Path) -> None:
    """Sign the person in, and write the file."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from apps.core.models import User

    person = User.objects.get(username="vera")
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.save()
    target.write_text(session.session_key)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
