"""The template tags of every page: status, icon, ages, bars, pods, empty states, formats. See docs/frontend.md."""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.conf import settings
from django.forms import RadioSelect
from django.http import HttpRequest
from django.template.context import Context
from django.utils import timezone
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString, mark_safe

from apps.core.access import principal_of
from apps.core.pages import nav
from apps.core.pages.addresses import own_address
from apps.core.pages.fielderrors import errors_of
from apps.core.pages.formtext import few_are_required
from apps.core.pages.icons import drawing
from apps.core.pages.ticking import ticking
from apps.core.text import markdown, shellwords, wording

register = template.Library()
THEMES = ("light", "dark")
# States and most reasons are this short.
WORD_LENGTH = 24


@register.simple_tag
def icon(name: str, css: str = "", label: str = "") -> SafeString:
    """A lucide icon, inline. Without `label` it is decoration and hidden from screen readers."""
    hidden: Any = format_html('role="img" aria-label="{}"', label) if label else mark_safe('aria-hidden="true"')
    return format_html(
        '<svg class="icon {}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round" {}>{}</svg>',
        css,
        hidden,
        mark_safe(drawing(name)),  # noqa: S308 - drawn by the package
    )


@register.simple_tag
@functools.cache
def status_sprite() -> SafeString:
    """The shapes of all states, once a page; `status` and `pods` refer to them, so a grid of thousands stays small."""
    symbols = "".join(
        f'<symbol id="s-{name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.6" '
        f'stroke-linecap="round" stroke-linejoin="round">{drawing(name)}</symbol>'
        for name in wording.STATUS_ICONS
    )
    return mark_safe(f'<svg hidden aria-hidden="true">{symbols}</svg>')  # noqa: S308 - drawn by the package


@register.simple_tag
def status(state: Any, text: str = "", pill: bool = False, css: str = "") -> SafeString:
    """A state as shape + word + colour. `text` replaces the word shown; the state still chooses the look."""
    word = str(state or "Unknown")
    seen, said = wording.look_of(word), wording.said_of(str(text or word))
    return format_html(
        '<span class="status {}{}{}"><svg aria-hidden="true"><use href="#s-{}"></use></svg>{}</span>',
        seen.tone,
        " pill" if pill else "",
        f" {css}" if css else "",
        seen.icon,
        # In an element of its own it can be cut: a reason may have a hundred letters.
        said if len(said) <= WORD_LENGTH else format_html("<span>{}</span>", said),
    )


@register.simple_tag
def shape(state: Any) -> SafeString:
    """Only the shape and colour of a state, for lists whose text says the word; screen readers hear the word."""
    word = str(state or "Unknown")
    seen = wording.look_of(word)
    return format_html(
        '<span class="status {}"><svg role="img" aria-label="{}"><use href="#s-{}"></use></svg></span>',
        seen.tone,
        word,
        seen.icon,
    )


@register.simple_tag
def age(when: datetime | None, stale: int = 60) -> SafeString:
    """The age of a live panel, "as of 3 s ago": amber once older than `stale` seconds. Ticks in the page."""
    return ticking(when, "age", "age", stale)


@register.simple_tag
def ago(when: datetime | None) -> SafeString:
    """A moment as "2 min ago"."""
    return ticking(when, "ago", "one")


@register.simple_tag
def since(when: datetime | None, stale: int = 0) -> SafeString:
    """A moment as a bare "2 min", for columns and the right edge of lists."""
    return ticking(when, "since", "one", stale)


@register.simple_tag
def left(until: datetime) -> SafeString:
    """How long until a moment, "12 s left". Ticks in the page."""
    return ticking(until, "left", "one")


@register.simple_tag
def elapsed(start: datetime | None, end: datetime | None = None) -> SafeString:
    """How long something took, or, without `end`, takes so far (then it ticks)."""
    if not start:
        return format_html('<span class="{}">–</span>', "faint")
    if not end:
        return ticking(start, "elapsed", "one")
    return format_html(
        '<span class="one" title="{} to {} UTC">{}</span>',
        f"{start:%F %T}",
        f"{end:%F %T}",
        wording.duration_text(end - start),
    )


@register.simple_tag
def bar(
    used: float | None = None,
    asked: float | None = None,
    total: float | None = None,
    label: str = "",
    unit: str = "",
    hot: float = 90.0,
) -> SafeString:
    """Used (solid) and requested (pale) of what there is. `unit`: "cpu" (millicores), "bytes" or "" for figures."""
    # A template gives "" for what is not there.
    used, asked, total = (value if isinstance(value, int | float) else None for value in (used, asked, total))
    used_share, asked_share = wording.percent(used, total), wording.percent(asked, total)
    name = f"{label}: " if label else ""
    if used_share is None and asked_share is None:
        return format_html('<svg class="bar none" role="img" aria-label="{}nothing to show"></svg>', name)
    parts = [f"used {wording.amount_text(used, unit)}" if used is not None else "use not measured"]
    if asked is not None:
        parts.append(f"requested {wording.amount_text(asked, unit)}")
    said = f"{name}{', '.join(parts)} of {wording.amount_text(total, unit)}"
    return format_html(
        '<svg class="bar{}" role="img" aria-label="{}"><title>{}</title>'
        '<rect class="asked" height="100%" rx="4" width="{}%"></rect>'
        '<rect class="used" height="100%" rx="4" width="{}%"></rect></svg>',
        " hot" if (used_share or 0.0) >= hot else "",
        said,
        said,
        round(asked_share or 0.0, 1),
        round(used_share or 0.0, 1),
    )


@register.simple_tag
def spark(values: Iterable[float], label: str = "", width: int = 96, height: int = 24) -> SafeString:
    """A small curve. Says its last value to screen readers."""
    numbers = [float(v) for v in values or []]
    points = wording.sparkline_points(numbers, width, height)
    if not points:
        return format_html('<span class="faint small">{}</span>', "no curve yet")
    last = points.rsplit(" ", 1)[-1].split(",")
    return format_html(
        '<svg class="spark" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" aria-label="{2} {3}">'
        '<polyline points="{4}"></polyline><circle cx="{5}" cy="{6}" r="2"></circle></svg>',
        width, height, label or "curve, now", wording.number_text(numbers[-1]), points, *last,
    )  # fmt: skip


@register.simple_tag
def pods(items: Iterable[Any], dense: bool = False, limit: int = 500, more_url: str = "") -> SafeString:
    """Squares, one a pod or replica: objects or dicts with `name`, `state`, and optionally `url`, `detail`, `young`,
    `stale`."""
    everything = list(items or [])
    squares = format_html_join("", "<li>{}</li>", ((_square(item),) for item in everything[:limit]))
    hidden = len(everything) - limit
    rest: Any = ""
    if hidden > 0:
        shell = (
            '<li><a class="more" href="{1}">{0} more</a></li>'
            if more_url
            else '<li><span class="more">{0} more</span></li>'
        )
        rest = format_html(shell, hidden, more_url)
    return format_html('<ul class="pods{}">{}{}</ul>', " dense" if dense else "", squares, rest)


def _square(item: Any) -> SafeString:
    get = item.get if isinstance(item, dict) else lambda key, default=None: getattr(item, key, default)
    seen = wording.look_of(str(get("state") or "Unknown"))
    said = f"{get('name')}: {get('state')}" + (f", {get('detail')}" if get("detail") else "")
    url = get("url")
    return format_html(
        '<{} class="{}{}" title="{}"{}><svg aria-hidden="true"><use href="#s-{}"></use></svg>'
        '<span class="sr-only">{}</span></{}>',
        "a" if url else "span",
        seen.tone,
        " stale" if get("stale") else " young" if get("young") else "",
        said,
        format_html(' href="{}"', url) if url else "",
        seen.icon,
        said,
        "a" if url else "span",
    )


@register.inclusion_tag("components/empty.html")
def empty(
    title: str,
    sentence: str = "",
    command: str = "",
    kind: str = "nothing",
    url: str = "",
    action: str = "",
    slim: bool = False,
    step: str = "",
) -> dict[str, Any]:
    """An empty state. `kind`: nothing (yet), filtered, forbidden, unreachable, well (nothing is wrong); `step`: what to
    do next."""
    icons = {"filtered": "search-x", "forbidden": "lock", "unreachable": "unplug", "well": "circle-check"}
    return {
        "title": title, "sentence": sentence, "command": command, "url": url, "action": action, "slim": slim,
        "step": step, "kind": kind, "icon": icons.get(kind, "package-open"),
    }  # fmt: skip


@register.inclusion_tag("components/code.html")
def code(text: str, wrap: bool = False, label: str = "Copy") -> dict[str, Any]:
    """Text in a fixed-width box with a copy button."""
    return {"text": text, "wrap": wrap, "label": label}


@register.inclusion_tag("components/field.html")
def field(bound: Any, help: str = "", label: str = "") -> dict[str, Any]:  # noqa: A002 - the word that forms use
    """A form field with its label, control, help and errors, tied together for screen readers."""
    widget = bound.field.widget
    # A group of choices, of which one holds or several, has no control of its own that a label could be for: its words
    # are the whole group's.
    group = isinstance(widget, RadioSelect)
    ids = [f"{bound.auto_id}-help"] if (help or bound.help_text) else []
    if bound.errors:
        widget.attrs |= {} if group else {"aria-invalid": "true", "autofocus": True}
        ids.append(f"{bound.auto_id}-errors")
    if ids and not group:
        widget.attrs["aria-describedby"] = " ".join(ids)
    return {
        "id": bound.auto_id,
        "group": group,
        "described_by": " ".join(ids),
        "field": bound,
        "errors": errors_of(bound),
        "help": help or bound.help_text,
        "label": label or bound.label,
        "check": not group and getattr(widget, "input_type", "") == "checkbox",
        "marked": bound.field.required == few_are_required(bound.form),
    }


@register.inclusion_tag("components/log.html")
def log_viewer(
    url: str,
    title: str = "Log",
    text: str = "",
    ended: bool = False,
    download: str = "",
    picks: Sequence[tuple[str, str, Sequence[tuple[str, str]]]] = (),
    tall: bool = False,
) -> dict[str, Any]:
    """A log that follows: `url` answers what comes after a line, as docs/frontend.md says; `text` is shown at once.

    `picks` are further choices: (name in the address, label, [(value, words)]).
    """
    known = {"url": url, "title": title, "text": text, "ended": ended, "download": download}
    return known | {"picks": picks, "tall": tall}


@register.inclusion_tag("components/chart.html")
def chart(name: str, figure: Any, label: str, size: str = "") -> dict[str, Any]:
    """A Plotly figure (an object of graph_objects, or its dict); chart.js draws and themes it. `size`: short, tall."""
    data = figure.to_plotly_json() if hasattr(figure, "to_plotly_json") else figure
    return {"name": name, "data": json_script(data, f"{name}-figure"), "label": label, "size": size}


@register.inclusion_tag("components/pagination.html", takes_context=True)
def pagination(context: Context, page: Any) -> dict[str, Any]:
    """Links to the pages before and after a django Page; keeps the filters in the address."""
    return {"page": page, "request": context.get("request")}


@register.simple_tag(takes_context=True)
def part_url(context: Context, part: str) -> str:
    """The address of one part of this page, with the filters that are in the address now."""
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    query["part"] = part
    return own_address(request, query)


@register.inclusion_tag("components/sort.html", takes_context=True)
def sort_th(context: Context, key: str, label: str, num: bool = False, css: str = "") -> dict[str, Any]:
    """A column head that sorts: the order lives in the address as `sort=key` or `sort=-key`."""
    request: HttpRequest = context["request"]
    now = request.GET.get("sort", "")
    direction = {key: "ascending", f"-{key}": "descending"}.get(now, "")
    query = request.GET.copy()
    query.pop("part", None)
    query.pop("page", None)
    query["sort"] = f"-{key}" if direction == "ascending" else key
    return {"label": label, "num": num, "css": css, "direction": direction, "url": f"?{query.urlencode()}"}


@register.inclusion_tag("components/nav.html", takes_context=True)
def navigation(context: Context) -> dict[str, Any]:
    """The entries of the rail for this page: those whose pages exist, with counts where an app gives them."""
    request: HttpRequest = context["request"]
    project = (context.get("shell") or {}).get("project")
    return nav.context(principal_of(request), project, nav.active_of(request))


@register.filter
def breakable(path: str) -> SafeString:
    """The path of a field, which may be broken before its dots and brackets rather than within a word."""
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in re.split(r"(?=[.\[])", path)))


@register.simple_tag
def go_to() -> tuple[nav.Item, ...]:
    """The places that "g" and a letter go to."""
    return nav.ITEMS


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """`data-theme` of <html>, from the cookie: rendered on the server, so that nothing flashes."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme", "") if request else ""
    return mark_safe(f' data-theme="{chosen}"') if chosen in THEMES else ""  # noqa: S308 - one of two words


@register.simple_tag
def now_iso() -> str:
    """The server's clock, so that ages in the page don't depend on the browser's."""
    return timezone.now().isoformat()


@register.simple_tag
def debug() -> bool:
    """Whether this is a development server."""
    return bool(settings.DEBUG)


def _figures(say: Callable[[Any], str]) -> Callable[[Any], str]:
    """A filter that never breaks a page: an empty value becomes a dash, and one that is no number is shown as it is."""

    def said(value: Any) -> str:
        if value is None or value == "":
            return "–"
        return say(value) if isinstance(value, int | float | timedelta) else str(value)

    return said


register.filter("bytes", _figures(wording.bytes_text))
register.filter("cpu", _figures(wording.cpu_text))
register.filter("figure", _figures(wording.number_text))
register.filter("duration", _figures(wording.duration_text))
register.filter("prose", lambda note: mark_safe(markdown.as_html(note)))  # noqa: S308 - made without HTML


@register.filter
def short(value: Any, length: int = 8) -> str:
    """The first characters of a long id or digest (after `sha256:`)."""
    text = str(value or "")
    head, _, tail = text.partition(":")
    return f"{head}:{tail[:length]}" if tail and head.startswith("sha") else text[:length]


@register.filter
def quoted(words: Any) -> str:
    """Words as one line that every shell reads as the same words."""
    return shellwords.join(map(str, words or ()))


@register.filter
def tone(state: Any) -> str:
    """The tone of a state: ok, go, warn, bad or idle."""
    return wording.look_of(str(state or "Unknown")).tone
