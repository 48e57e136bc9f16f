"""Notes of people, which are Markdown, as HTML that can do nothing: raw HTML is shown as it was typed, and no link
leads to a script. Pure."""

import functools

from markdown_it import MarkdownIt

LONGEST = 20_000


@functools.cache
def _parser() -> MarkdownIt:
    # `html` off: tags come out as text. Pictures would be fetched from elsewhere, which the pages' policy forbids.
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def as_html(text: str) -> str:
    """The HTML of a note; of a very long one the beginning."""
    html: str = _parser().render(text[:LONGEST])
    # What was typed has no tags left: these are the parser's own.
    return html.replace("<a ", '<a class="link" rel="noopener nofollow" ')
