"""Pods as squares: colour, shape and a title each. Thousands of them are drawn, so they are put together by hand."""

from collections.abc import Iterable
from dataclasses import dataclass

# Django's own asks of each text whether it is a translation, which takes longer than to escape it.
from html import escape
from urllib.parse import quote

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from apps.core.text import wording

ANONYMOUS = "a pod of another project"


@dataclass(frozen=True)
class Square:
    """One pod. Without a name it is of a project that the viewer can't see: only its state and node are told."""

    pk: int
    state: str
    node: str = ""
    name: str = ""
    namespace: str = ""
    project: str = ""
    detail: str = ""


def word(reason: str, health: str) -> str:
    """The one word for a pod: Kubernetes's reason where it has a look of its own, else the health."""
    if reason == "Running":
        return "Ready"
    return reason if wording.look_of(reason) is not wording.DIM else health


def draw(squares: Iterable[Square], cluster: str) -> SafeString:
    """The items of `<ul class="pods">`. squares.js fades those whose `data-words` lack what is typed."""
    # One look-up for all: the router is slow beside everything else here.
    link = escape(reverse("clusters:pod", args=[cluster, "NAMESPACE", "POD"]))
    before, after = link.split("NAMESPACE/POD")
    return mark_safe("".join(_draw(square, before, after) for square in squares))  # noqa: S308 - all parts are escaped


def _draw(square: Square, before: str, after: str) -> str:
    look = wording.look_of(square.state)
    detail = f", {square.detail}" if square.detail else ""
    shape = f'<svg aria-hidden="true"><use href="#s-{look.icon}"></use></svg>'
    words = " ".join(filter(None, (square.name, square.namespace, square.project, square.node, square.state)))
    item = f'<li id="pod-{square.pk}" data-words="{escape(words.lower())}">'
    if not square.name:
        title = escape(f"{ANONYMOUS}: {square.state}")
        return f'{item}<span class="{look.tone}" role="img" aria-label="{title}" title="{title}">{shape}</span></li>'
    title = escape(f"{square.namespace}/{square.name}: {square.state}{detail}")
    to = f"{before}{quote(square.namespace, safe='')}/{quote(square.name, safe='')}{after}"
    return f'{item}<a class="{look.tone}" href="{to}" title="{title}">{shape}</a></li>'
