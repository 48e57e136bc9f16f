"""Secrets never reach a log or an audit row."""

import logging
from typing import Any

import pytest

from apps.core.secrets.scrub import MASK, ScrubFilter, scrub, scrub_text


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


@pytest.mark.parametrize(
    "harmless",
    [
        {"credential_kind": "token", "credential_expires_at": "2027-01-01T00:00:00Z"},
        {"token_prefix": "flt_ab12", "tokens": 3, "max_tokens": 4096, "secret_ok": True},
        {"image_pull_secrets": ["registry"], "imagePullSecrets": [{"name": "registry"}]},
        {"valueFrom": {"secretKeyRef": {"name": "digits-model-access", "key": "token"}}},
        {"volumes": [{"secret": {"secretName": "data", "optional": True, "items": [{"path": "a"}]}}]},
        {"tokenizer": "gpt2", "private": False, "next_page_token": "MTA="},
        {"AWS_ACCESS_KEY_ID": "AKIA", "name": "digits", "value": "plain"},
    ],
)
def test_what_only_speaks_of_a_secret_stays(harmless: dict[str, Any]) -> None:
    assert scrub(harmless) == harmless


@pytest.mark.parametrize(
    "key",
    [
        *("password", "PGPASSWORD", "DB_PASSWORD_PROD", "secret", "client_secret", "AWS_SECRET_ACCESS_KEY", "apiKey"),
        *("api-key", "HF_TOKEN", "access_token", "accessToken", "GITHUBToken", "credentials", "Authorization"),
        *("kubeconfig", "client_key", "clientKey", "private_key", "privateKey", "apikey", "tokens", "secretkey"),
    ],
)
def test_secrets_are_known_however_their_key_is_written(key: str) -> None:
    assert scrub({key: "hush"}) == {key: MASK}
    assert scrub({key: ["hush"]}) == {key: [MASK]}
    assert scrub({key: {"name": "it", "data": "hush"}}) == {key: {"name": "it", "data": MASK}}
    assert scrub([{"name": key, "value": "hush"}]) == [{"name": key, "value": MASK}]


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
