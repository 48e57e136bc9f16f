"""Where a run may go when it names no cluster, and where it was placed and why. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from apps.clusters.fit import Judged, Prefer, Ranking, parse_selector
from apps.core.errors import Invalid

# So many of the clusters that were not chosen are kept, and told.
MAX_OTHERS = 20


@dataclass(frozen=True)
class Anywhere:
    """Any cluster with these labels; `prefer` decides among those that fit."""

    labels: Mapping[str, str] = field(default_factory=dict)
    prefer: Prefer = Prefer.PRICE

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {"selector": dict(self.labels), "prefer": self.prefer.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Anywhere":
        """What `to_json` wrote."""
        return cls(dict(data.get("selector") or {}), Prefer(data.get("prefer") or Prefer.PRICE))


def parse_anywhere(data: Mapping[str, Any]) -> Anywhere | None:
    """What `cluster_selector` and `prefer` ask for; None where neither is there. Raises Invalid naming the field."""
    named = {name: data.get(name) for name in ("cluster_selector", "prefer") if data.get(name)}
    if not named:
        return None
    if data.get("cluster"):
        raise Invalid(
            "cluster names the one cluster, and leaves nothing to choose.",
            field=next(iter(named)),
            hint="Leave out the one or the other.",
        )
    prefer = named.get("prefer", Prefer.PRICE)
    if prefer not in tuple(Prefer):
        raise Invalid(f"prefer is one of: {', '.join(Prefer)}.", field="prefer")
    return Anywhere(parse_selector(named.get("cluster_selector")), Prefer(prefer))


@dataclass(frozen=True)
class Other:
    """A cluster that was not chosen."""

    cluster: str
    why: str


@dataclass(frozen=True)
class Placing:
    """The choice for one attempt. `cluster` is empty while none has room, `since` when that began. `hopeless`: no
    cluster whose nodes are known could ever hold it."""

    attempt: int
    cluster: str = ""
    why: str = ""
    others: tuple[Other, ...] = ()
    since: datetime | None = None
    hopeless: bool = False

    @property
    def lack(self) -> str:
        """What is said where it has no cluster."""
        if self.hopeless and self.others:
            return "No cluster that is known could ever hold it"
        return "No cluster has room now"

    @property
    def sentence(self) -> str:
        """ "On eu: it fits, …; others: us: …", or what each cluster lacks."""
        others = "; ".join(f"{each.cluster}: {each.why}" for each in self.others[:5])
        if not self.cluster:
            return f"{self.lack}. {others}" if others else "No cluster is there that it could go to."
        return f"On {self.cluster}: {self.why}." + (f" Others: {others}" if others else "")

    def to_json(self) -> dict[str, Any]:
        """The form that is stored."""
        return {
            "attempt": self.attempt,
            "cluster": self.cluster,
            "why": self.why,
            "others": [{"cluster": each.cluster, "why": each.why} for each in self.others],
            "since": self.since.isoformat() if self.since else None,
            "hopeless": self.hopeless,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Placing | None":
        """What `to_json` wrote; None where nothing was chosen yet."""
        if not data:
            return None
        others = tuple(Other(each["cluster"], each["why"]) for each in data["others"])
        since = datetime.fromisoformat(data["since"]) if data["since"] else None
        hopeless = bool(data.get("hopeless"))
        return cls(int(data["attempt"]), str(data["cluster"]), str(data["why"]), others, since, hopeless)


def placing_of(attempt: int, ranking: Ranking, since: datetime | None) -> Placing:
    """What a ranking chooses for an attempt. `since` is when it began to wait for room, where it did."""
    chosen = ranking.chosen
    others = tuple(Other(each.name, each.why) for each in ranking.others[:MAX_OTHERS])
    if chosen is None:
        return Placing(attempt, others=others, since=since, hopeless=ranking.hopeless)
    return Placing(attempt, chosen.name, chosen.why, others)


def never(judged: Ranking) -> str:
    """Why no cluster could ever hold what is asked, in a sentence; "" where one could."""
    if judged.ever:
        return ""
    named: list[Judged] = list(judged.judged[:5])
    said = "; ".join(f"{each.name}: {each.why}" for each in named)
    return f"No cluster could ever hold this. {said}." if said else "No cluster is registered."
