"""Texts of others, as Postgres takes them."""

import json
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.text.jsontext import plain, storable


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\0b", "ab"),
        ("\0\0", ""),
        ("a\\u0000b", "a\\u0000b"),
        ("a\\\0b", "a\\b"),
        ("\\\\u0000", "\\\\u0000"),
        ("\ud800", "?"),
        ("😀 ok", "😀 ok"),
    ],
)
def test_only_what_postgres_can_not_hold_is_left_out(text: str, kept: str) -> None:
    assert json.loads(storable({"message": text})) == {"message": kept}
    assert plain(text, 50) == kept


@pytest.mark.django_db
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.recursive(st.text() | st.text(alphabet='\0\\u0"') | st.none(), lambda inner: st.lists(inner), max_leaves=5))
def test_postgres_takes_any_text_and_gives_it_back(value: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text, %s", [storable(value), plain(value, 20)])
        document, text = cursor.fetchone()
    assert json.loads(document) == json.loads(storable(value))
    assert text == plain(value, 20)


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0, "0"), ("  a ", "a"), ("abcdef", "abc…"), ("abcd", "abcd")])
def test_a_long_text_is_cut(value: object, text: str) -> None:
    assert plain(value, 4) == text
