"""The answer to "why?": one sentence, what it rests on, and what to do next. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from apps.core.text.alike import NAMED, Member, grouped

# Control characters, and marks that turn the direction of what follows: nothing that a message needs.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


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
    members: tuple[Member, ...] = ()
    count: int = 1
    """The first of those that it is said of, where it is said of several, and how many they are."""
    last_words: str = ""
    """The last line that a container said which ended, for whoever quotes the sentence when the pod is gone."""

    @property
    def quoted(self) -> str:
        """The sentence with the last words, for records that outlive the evidence."""
        return f"{self.sentence} Its last words: “{self.last_words}”" if self.last_words else self.sentence

    @property
    def several(self) -> bool:
        """Whether it is said of several."""
        return self.count > 1

    @property
    def whom(self) -> str:
        """The heading of the members."""
        return f"Show all {self.count}"

    @property
    def unnamed(self) -> int:
        """How many members there are beyond those that are named."""
        return self.count - len(self.members)

    @property
    def why(self) -> str:
        """The sentence, where a title stands above it."""
        return self.sentence if self.title else ""

    def tidy(self) -> "Why":
        """The same with a sentence of about four lines at most, however long the names and messages in it are."""
        return replace(self, state=said(self.state, 60), sentence=said(self.sentence, 600))

    def named(self, title: str, url: str = "") -> "Why":
        """The same for a list, where `title` names the object."""
        return replace(self, title=title, url=url)


def together(whys: Iterable[Why]) -> list[Why]:
    """The same, where several with a title say one thing, as one line: the first, and how many more."""
    return [_one_of(group) for group in grouped(whys, _what_it_says)]


def _what_it_says(why: Why) -> tuple[str, ...]:
    """State, sentence and next step without the name of what they are about."""
    name = why.title.partition(" ")[0]
    texts = (why.state, why.sentence, why.next_step)
    return tuple(text.replace(name, "") for text in texts) if name else texts


def _one_of(group: list[Why]) -> Why:
    first, more = group[0], len(group) - 1
    if not more:
        return first
    members = tuple(Member(why.title, why.url) for why in group[:NAMED])
    return replace(first, title=f"{first.title} and {more} more", members=members, count=len(group))


def said(text: str, limit: int = 240) -> str:
    """A message as one line that is not too long for a sentence, without what can't be seen."""
    # Only so much is looked at: a message may have any length.
    line = " ".join(_UNSEEN.sub("", _COLOURS.sub("", text[: limit * 8])).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def stop(text: str) -> str:
    """The text with a full stop at its end, unless it has one."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
