"""Tags for the templates of the admin panel, besides unfold's own."""

import re
from typing import Any

from django import template
from django.db.models import Model
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

register = template.Library()
# Of unfold's markup, which has no block around them: the main landmark, names that tell scrollable parts apart, and a
# header of a column that has none; and its words where a list is empty.
_MENDED = (
    (re.compile(r'<div id="main"'), '<div id="main" role="main"'),
    (re.compile(r'(id="nav-sidebar-apps")'), r'\1 data-simplebar-aria-label="Pages"'),
    (re.compile(r' data-simplebar-direction="rtl"'), r' data-simplebar-aria-label="Filters"\g<0>'),
    (re.compile(r"<th\b([^>]*)>\s*</th>"), r"<td\1></td>"),
    (re.compile(r"No results found"), "Nothing here"),
    (re.compile(r"This page yielded into no results\.[^<]*"), "There is none yet, or none that matches."),
)
# Symbols that are pressed, and are no buttons in unfold's markup: no key reaches them.
_PRESSED = re.compile(
    r'<span (class="material-symbols-outlined[^>]* x-on:click="[^"]*")>\s*(dock_to_right|close)\s*</span>'
)
# Where one begins to type: an attribute says so, and a script of Django's, which takes the first field.
_BEGINS = re.compile(
    r'(<(?:input|select|textarea)\b[^>]*?) autofocus\b(?:="[^"]*")?|(<script\b[^>]*?) data-model-name="[^"]*"'
)
# Also after unfold's script has shown the form: what is hidden when the page comes can't be in focus.
_FOCUS = 'autofocus x-init="$nextTick(() => $el.focus())"'
_NOTE, _INVALID = '<p class="errornote', ' aria-invalid="true"'
_SAYS = {"dock_to_right": "Show or hide the pages", "close": "Hide the pages"}


@register.filter
def accessible(page: str) -> SafeString:
    """A rendered page of unfold with the landmarks and names that it lacks."""
    for pattern, replacement in _MENDED:
        page = pattern.sub(replacement, page)
    page = _in_focus(_PRESSED.sub(_button, page))
    return mark_safe(page)  # noqa: S308 - a page that is rendered and escaped already


def _in_focus(page: str) -> str:
    """The page. If it has a form that was refused, the first wrong field is in focus, or else the note above it."""
    for mark, focused in (
        (_INVALID, f"{_INVALID} {_FOCUS}"),
        (_NOTE, _NOTE.replace("<p", f'<p tabindex="-1" {_FOCUS}')),
    ):
        if mark in page:
            return _BEGINS.sub(r"\1\2", page).replace(mark, focused, 1)
    return page


def _button(pressed: re.Match[str]) -> str:
    attributes, symbol = pressed.groups()
    return f'<button type="button" aria-label="{_SAYS[symbol]}" {attributes}>{symbol}</button>'


@register.filter
def crumb(title: Any) -> str:
    """A part of the breadcrumb: kinds begin with a capital, the name of a thing is as it was given."""
    return str(title) if isinstance(title, Model) else str(capfirst(title))
