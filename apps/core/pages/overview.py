"""The content of the overview, gathered from the apps above: core knows the shapes, apps give the rows.

An app fills this in from its AppConfig.ready(): `overview.register(Section.ROOM, room_rows)`. A provider gets a
Scope and returns rows; its number of queries must not grow with them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from apps.core.access import Principal
from apps.core.models import Project
from apps.core.text.alike import NAMED, Member
from apps.core.text.wording import look_of, plural

T = TypeVar("T")


class Section(StrEnum):
    """The parts of the overview; the value says which row type its providers return."""

    TILES = "tiles"
    ATTENTION = "attention"
    ROLLOUTS = "rollouts"
    ROOM = "room"
    SERVING = "serving"
    RUNNING = "running"
    FAILURES = "failures"


@dataclass(frozen=True)
class Scope:
    """For whom and for which project."""

    principal: Principal
    project: Project
    # What several parts of the page show is read once for them all.
    _read: dict[Callable[[], Any], Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, read: Callable[[], T]) -> T:
        """What `read` gives, which is called for the first that asks; the same function stands for the same thing."""
        if read not in self._read:
            self._read[read] = read()
        value: T = self._read[read]
        return value


@dataclass(frozen=True)
class Capacity:
    """Used, requested and allocatable of one resource. `unit`: "cpu" (millicores), "bytes" or "" for figures."""

    used: float | None = None
    asked: float | None = None
    total: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Tile:
    """A figure: `value` `of`, then a note with a state, or a bar. `order` sorts the tiles of all apps."""

    label: str
    value: str
    of: str = ""
    state: str = ""
    note: str = ""
    capacity: Capacity | None = None
    url: str = ""
    order: int = 0


@dataclass(frozen=True)
class Attention:
    """Something that needs a person. `noun` and `count` say it in the headline: "1 cluster unreachable".

    An entry may stand for `count` things: the headline counts those, not entries.
    """

    state: str
    title: str
    why: str
    noun: str
    url: str = ""
    at: datetime | None = None
    count: int = 1
    quote: str = ""
    """What it said itself, the last line of its log for instance."""
    next_step: str = ""
    members: tuple[Member, ...] = ()
    """The first of those that the line is about; one thing needs none, unless it has a `cause`."""
    cause: str = ""
    """What it follows from (`cluster:3`): it is told with the entry that is about that, where there is one."""
    causes: frozenset[str] = frozenset()
    """What it is about, so that others follow from it."""
    follows: tuple[tuple[str, int], ...] = ()
    """The nouns of what follows from it, and how many of each."""

    @property
    def several(self) -> bool:
        """Whether there are members to be listed: what it is about, if that is one thing, is in the title."""
        return self.count > 1 or bool(self.follows)

    @property
    def whom(self) -> str:
        """The members in a word or two: "4 deployments unknown"; "Show all 3" where the title says what they are."""
        if not self.follows:
            return f"Show all {self.count}"
        own = ((self.noun, self.count),) if self.count > 1 else ()
        return ", ".join(_counted(noun, n) for noun, n in (*own, *self.follows))

    @property
    def unnamed(self) -> int:
        """How many members there are beyond those that are named."""
        own = self.count if self.count > 1 else 0
        return own + sum(n for _, n in self.follows) - len(self.members)


@dataclass(frozen=True)
class Replicas:
    """The replicas of a revision in percent of a scale: those that are ready, those that are not, and where the bar
    ends when all that are wanted are ready. `said` is the bar in words."""

    ready_share: float
    unready_share: float
    wanted_share: float
    said: str


@dataclass(frozen=True)
class RolloutRow:
    """A rollout under way, with the bar of its new replicas."""

    name: str
    sub: str
    state: str
    text: str
    replicas: Replicas
    why: str = ""
    url: str = ""
    at: datetime | None = None


@dataclass(frozen=True)
class RoomRow:
    """A cluster and the room on it; `unheard`: that is as last seen."""

    name: str
    state: str
    cpu: Capacity
    memory: Capacity
    gpu: Capacity
    sub: str = ""
    url: str = ""
    at: datetime | None = None
    unheard: bool = False


@dataclass(frozen=True)
class ServingRow:
    """A deployment with its replicas, each a square (name, state, url, detail, young, stale).

    `ready`: "2 of 2", and `apart` what of it is only as last seen; `unheard`: nothing is known now of any of them.
    """

    name: str
    sub: str
    state: str
    ready: str
    apart: str = ""
    replicas: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    unheard: bool = False


@dataclass(frozen=True)
class RunRow:
    """A run that is going on, with the curve of one metric."""

    name: str
    sub: str
    state: str
    metric: str = ""
    value: float | None = None
    points: list[float] = field(default_factory=list)
    url: str = ""
    started_at: datetime | None = None
    # The hint that says that its curve has grown.
    topic: str = ""
    # Why nobody knows now how it is.
    unheard: str = ""


Provider = Callable[[Scope], Iterable[Any]]
_providers: dict[Section, list[Provider]] = {section: [] for section in Section}
_probes: list[Callable[[Scope], bool]] = []
# Worst first: broken things stand above those that merely wait.
_TONES = ("bad", "warn", "idle", "go", "ok")


def register(section: Section, provider: Provider) -> None:
    """Let `provider` give rows to `section`. Registering it twice (a reload) changes nothing."""
    if provider not in _providers[section]:
        _providers[section].append(provider)


def probe(has_something: Callable[[Scope], bool]) -> None:
    """Let `has_something` say whether the project holds anything of an app's."""
    if has_something not in _probes:
        _probes.append(has_something)


def rows(section: Section, scope: Scope) -> list[Any]:
    """All rows of a section, in the order of the apps."""
    return [row for provider in _providers[section] for row in provider(scope)]


def attention(scope: Scope) -> list[Attention]:
    """The entries that need a person: the worst first, then the newest."""
    entries = folded(rows(Section.ATTENTION, scope))
    return sorted(entries, key=lambda a: (_TONES.index(look_of(a.state).tone), -(a.at.timestamp() if a.at else 0.0)))


def folded(entries: Iterable[Attention]) -> list[Attention]:
    """The same, where what only follows from another one is told with that, not beside it."""
    own: list[Attention] = []
    following: dict[str, list[Attention]] = {}
    entries = list(entries)
    told = frozenset[str]().union(*(entry.causes for entry in entries))
    for entry in entries:
        if entry.cause in told:
            following.setdefault(entry.cause, []).append(entry)
        else:
            own.append(entry)
    return [
        _with(entry, [each for cause in sorted(entry.causes) for each in following.get(cause, [])]) for entry in own
    ]


def _with(entry: Attention, following: Sequence[Attention]) -> Attention:
    """An entry together with what follows from it."""
    if not following:
        return entry
    nouns: dict[str, int] = {}
    members = _of_kind(entry)
    for each in following:
        nouns[each.noun] = nouns.get(each.noun, 0) + each.count
        members += _of_kind(each)
    return replace(entry, members=tuple(members[: 3 * NAMED]), follows=tuple(nouns.items()))


def _of_kind(entry: Attention) -> list[Member]:
    """Its members, each with what it is: "run"."""
    return [replace(member, kind=entry.noun.partition(" ")[0]) for member in entry.members]


def and_more(
    shown: list[Attention], *, of: int, noun: str, url: str, why: str = "The worst are shown."
) -> list[Attention]:
    """The shown entries of the `of` that need somebody, and after them one line that stands for the rest."""
    rest = of - sum(line.count for line in shown)
    if not shown or rest <= 0:
        return shown
    title = f"{rest} more {plural(noun, rest)}"
    # Without a time it stands below all that have one.
    return [*shown, Attention(shown[-1].state, title, why, noun, url, count=rest)]


def anything(scope: Scope) -> bool:
    """Whether there is anything in the project to judge."""
    return any(probe(scope) for probe in _probes)


@dataclass(frozen=True)
class Verdict:
    """The headline: a sentence about the state, what it counts, and its tone as a state word."""

    sentence: str
    detail: str
    state: str


_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


def verdict(needs: list[Attention], *, anything: bool) -> Verdict:
    """Say it in a sentence. `anything` is False while there is nothing in the project to judge."""
    if not needs:
        if not anything:
            return Verdict("Ready when you are", "nothing runs here yet", "Idle")
        return Verdict("All is well", "everything is as wanted", "Healthy")
    nouns: dict[str, int] = {}
    after: dict[str, dict[str, int]] = {}
    for need in needs:
        nouns[need.noun] = nouns.get(need.noun, 0) + need.count
        for noun, n in need.follows:
            follow = after.setdefault(need.noun, {})
            follow[noun] = follow.get(noun, 0) + n
    # What only follows from a thing needs nobody of its own: it stands behind that, and is not counted.
    said = [_counted(noun, n) + _so(after.get(noun)) for noun, n in nouns.items()]
    count = sum(nouns.values())
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    worst = min(needs, key=lambda a: _TONES.index(look_of(a.state).tone))
    sentence = f"{number} thing{'' if count == 1 else 's'} need{'s' if count == 1 else ''} you"
    return Verdict(sentence, " · ".join([*said, "everything else is as wanted"]), worst.state)


def _counted(noun: str, count: int) -> str:
    return f"{count} {plural(noun, count)}"


def _so(follow: Mapping[str, int] | None) -> str:
    return f" (and so {', '.join(_counted(noun, n) for noun, n in follow.items())})" if follow else ""
