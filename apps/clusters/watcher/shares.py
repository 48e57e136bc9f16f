"""How many clusters each watcher should hold. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A live watcher: the most clusters that it takes (0: any number), and since when it lives, in seconds."""

    holder: str
    limit: int = 0
    age: float = 0.0


def shares(clusters: int, members: Sequence[Member]) -> dict[str, int]:
    """The clusters dealt out evenly, one after another, to those whose limit allows more; the first get the rest.

    In the order of `members`, so that one that joins (the last) moves nobody else's share by more than it must.
    """
    dealt = {member.holder: 0 for member in members}
    left = clusters
    while left > 0:
        open_ = [member for member in members if not member.limit or dealt[member.holder] < member.limit]
        if not open_:
            break
        each = max(1, left // len(open_))
        for member in open_[:left]:
            room = member.limit - dealt[member.holder] if member.limit else each
            more = min(each, room, left)
            dealt[member.holder] += more
            left -= more
    return dealt


def to_hand_over(held: int, clusters: int, members: Sequence[Member], holder: str, settled: float, lot: int) -> int:
    """How many of its clusters a watcher should give up now: at most `lot`, and none to one that has only just come.

    A watcher that dies again at once, over and over, must not make the others drop and take clusters each time.
    """
    lasting = [member for member in members if member.holder == holder or member.age >= settled]
    return max(0, min(lot, held - shares(clusters, lasting).get(holder, clusters)))
