"""The answer to "why?": one sentence, what it rests on, and what to do next. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True)
class Evidence:
    """One thing that the sentence rests on: who says it, what, when."""

    source: str
    text: str
    at: datetime | None = None


@dataclass(frozen=True)
class Why:
    """Why something waits or is unwell.

    `state` is the word that gives the look (Kubernetes' reason where there is one). `title`, `url` and `at` are for
    lists, where each sentence belongs to an object with a name; `components/why.html` draws both forms.
    """

    state: str
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    next_step: str = ""
    title: str = ""
    url: str = ""
    at: datetime | None = None

    @property
    def why(self) -> str:
        """The sentence, where a title stands above it."""
        return self.sentence if self.title else ""

    def named(self, title: str, url: str = "") -> "Why":
        """The same for a list: `title` says whose it is."""
        return replace(self, title=title, url=url)


def said(text: str, limit: int = 240) -> str:
    """A message as one line that is not too long for a sentence."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def stop(text: str) -> str:
    """The text with a full stop at its end, unless it has one."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
