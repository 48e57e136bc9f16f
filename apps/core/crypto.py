"""Encryption at rest of cluster credentials, with keys that are not in Postgres."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from apps.core.errors import Conflict


def _fernet() -> MultiFernet:
    if not settings.CREDENTIALS_KEYS:
        raise ImproperlyConfigured("FLOTILLA_CREDENTIALS_KEYS is not set: credentials can't be encrypted.")
    return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])


def encrypt(secret: bytes) -> str:
    """Encrypt with the newest key."""
    return _fernet().encrypt(secret).decode()


def decrypt(text: str) -> bytes:
    """Decrypt with any known key. Raises Conflict when none fits."""
    try:
        return _fernet().decrypt(text.encode())
    except InvalidToken as error:
        raise Conflict(
            "The stored credential can't be decrypted with the keys in FLOTILLA_CREDENTIALS_KEYS.",
            hint="Add the key that it was encrypted with, or register the credential again.",
        ) from error


def rotate(text: str) -> str:
    """The same secret under the newest key."""
    return _fernet().rotate(text.encode()).decode()
