"""Encryption at rest of cluster credentials, with keys that are not in Postgres.

A column that holds such text is named `*_encrypted`: by that, `apps.core.secrets.rotation` finds all of them.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from apps.core.errors import Conflict


def _keys() -> list[Fernet]:
    if not settings.CREDENTIALS_KEYS:
        raise ImproperlyConfigured("FLOTILLA_CREDENTIALS_KEYS is not set: credentials can't be encrypted.")
    return [Fernet(key) for key in settings.CREDENTIALS_KEYS]


def encrypt(secret: bytes) -> str:
    """Encrypt with the newest key."""
    return _keys()[0].encrypt(secret).decode()


def decrypt(text: str) -> bytes:
    """Decrypt with any known key. Raises Conflict when none fits."""
    try:
        return MultiFernet(_keys()).decrypt(text.encode())
    except InvalidToken as error:
        raise Conflict(
            "The stored credential can't be decrypted with the keys in FLOTILLA_CREDENTIALS_KEYS.",
            hint="Add the key that it was encrypted with, or register the credential again.",
        ) from error


def is_newest(text: str) -> bool:
    """Whether the text is encrypted with the newest key."""
    try:
        _keys()[0].decrypt(text.encode())
    except InvalidToken:
        return False
    return True


def rotate(text: str) -> str:
    """The same secret under the newest key. Raises Conflict when no known key fits."""
    return encrypt(decrypt(text))
