"""Keeps secrets out of logs and audit rows."""

import logging
import re
from typing import Any

MASK = "•••"
_SECRET_KEYS = re.compile(
    r"(?i)(password|secret|token|credential|authorization|kubeconfig|client-key|api[-_]?key|private)"
)
_SECRET_TEXT = re.compile(
    r"(?i)(bearer\s+)[\w.~+/=-]{8,}|(flt_)[\w-]{8,}|(://[^:/\s]+:)[^@\s]+(?=@)"
    r"|(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?=-----END)"
)


def scrub_text(text: str) -> str:
    """Replace bearer tokens, our tokens, passwords in URLs and private keys by a mask."""
    return _SECRET_TEXT.sub(lambda match: next(group for group in match.groups() if group) + MASK, text)


def scrub(value: Any) -> Any:
    """The same value with everything under a secret-sounding key, and every secret text, masked."""
    if isinstance(value, dict):
        return {key: MASK if _SECRET_KEYS.search(str(key)) and item else scrub(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    return scrub_text(value) if isinstance(value, str) else value


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
