"""Keeps secrets out of logs and audit rows."""

import itertools
import logging
import re
from typing import Any

MASK = "•••"
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORD = re.compile(
    r"password|passwd|private|((secret|token|credential|authorization|kubeconfig)s?|(api|client|secret|access)keys?)$"
)
_SECRET_PAIRS = frozenset({("client", "key"), ("api", "key"), ("access", "key")})
# The last word of a key says what its value is. These say something about a secret ("credential_kind"), and are none.
_ABOUT = frozenset(
    {
        *("at", "count", "ends", "expires", "expiry", "file", "id", "kind", "name", "names", "path", "policy"),
        *("prefix", "reason", "ref", "refs", "state", "status", "type", "uid"),
    }
)
# Names of Secrets that a pod refers to; and where the next page of a list begins.
_NO_SECRETS = frozenset({("pull", "secrets"), ("page", "token")})
_SECRET_TEXT = re.compile(
    r"(?i)(bearer\s+)[\w.~+/=-]{8,}|(flt_)[\w-]{8,}|(://[^:/\s]+:)[^@\s]+(?=@)"
    r"|(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?=-----END)"
)


def scrub_text(text: str) -> str:
    """Replace bearer tokens, our tokens, passwords in URLs and private keys by a mask."""
    return _SECRET_TEXT.sub(lambda match: next(group for group in match.groups() if group) + MASK, text)


def scrub(value: Any) -> Any:
    """The same value with every text under a key that names a secret, and every text that looks like one, masked."""
    if isinstance(value, dict):
        # A variable of a container: {"name": "HF_TOKEN", "value": …}.
        said = str(value.get("name", ""))
        return {key: _scrubbed(said if key == "value" and said else str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    return scrub_text(value) if isinstance(value, str) else value


def _scrubbed(key: str, item: Any) -> Any:
    return _masked(item) if _names_secret(key) else scrub(item)


def _names_secret(key: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(key)]
    pairs = set(itertools.pairwise(words))
    if not words or words[-1] in _ABOUT or tuple(words[-2:]) in _NO_SECRETS:
        return False
    return any(_SECRET_WORD.search(word) for word in words) or bool(pairs & _SECRET_PAIRS)


def _masked(item: Any) -> Any:
    """Mask a secret's value. In a mapping, keys that only describe it stay, such as a volume's {"secretName": …}."""
    if isinstance(item, dict):
        words = {key: _WORDS.findall(str(key)) for key in item}
        return {
            key: scrub(inner) if words[key] and words[key][-1].lower() in _ABOUT else _masked(inner)
            for key, inner in item.items()
        }
    if isinstance(item, (list, tuple)):
        return [_masked(inner) for inner in item]
    return MASK if isinstance(item, str) and item else item


class ScrubFilter(logging.Filter):
    """Masks secrets in a record's message, its arguments and its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always keep the record, without its secrets."""
        record.msg, record.args = scrub_text(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = scrub_text(record.exc_text)
        return True
