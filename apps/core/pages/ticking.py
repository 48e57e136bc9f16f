"""Times that tick in the page: the words that they begin with."""

from datetime import datetime

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.text import wording

# ui.js says the same words while the page ticks.
_SAID = {
    "age": ("as of now", "as of {} ago"),
    "ago": ("just now", "{} ago"),
    "since": ("0 s", "{}"),
}


def ticking(when: datetime | None, kind: str, css: str, stale: int = 0) -> SafeString:
    """A moment as a <time> of one `kind` (age, ago, since, elapsed, left); amber once older than `stale` seconds."""
    if not when:  # None, or "" where the template's variable is not there
        return format_html('<span class="{}">never</span>', css)
    now = timezone.now()
    seconds = (now - when).total_seconds()
    if kind == "left":
        words = f"{wording.duration_text(max(0, int(-seconds)))} left"
    elif kind == "elapsed":
        words = wording.duration_text(max(0, int(seconds)))
    else:
        fresh, old = _SAID[kind]
        words = fresh if seconds < 2 else old.format(wording.age_text(when, now))
    return format_html(
        '<time class="{}{}" datetime="{}" title="{}" data-tick="{}"{}>{}</time>',
        css,
        " old" if stale and seconds > stale else "",
        when.isoformat(),
        f"{when:%Y-%m-%d %H:%M:%S} UTC",
        kind,
        format_html(' data-stale="{}"', stale) if stale else "",
        words,
    )
