"""Secrets never reach a log or an audit row."""

import logging

import pytest

from apps.core.scrub import MASK, ScrubFilter, scrub, scrub_text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer eyJhbGciOi.J9x-y_z", "eyJhbGciOi"),
        ("token flt_abcdefghijklmnop is new", "abcdefghijklmnop"),
        ("postgres://flotilla:hunter22@db:5432/x", "hunter22"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
    ],
)
def test_secret_texts_are_masked(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in scrub_text(text)
    assert MASK in scrub_text(text)


def test_values_under_secret_names_are_masked_at_any_depth() -> None:
    before = {"name": "a", "auth": {"client-key": "k", "token": ""}, "list": [{"password": "p"}]}
    assert scrub(before) == {"name": "a", "auth": {"client-key": MASK, "token": ""}, "list": [{"password": MASK}]}


def test_log_records_and_tracebacks_are_scrubbed() -> None:
    try:
        raise ValueError("Bearer abcdefghijkl failed")
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "sent %s", ("flt_abcdefghijkl",), None)
        record.exc_info = (type(error), error, error.__traceback__)
    assert ScrubFilter().filter(record)
    line = logging.Formatter().format(record)
    assert "abcdefghijkl" not in line
    assert "ValueError" in line
