"""The lines of the table of targets, and the words in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.clusters.quantities.sizes import GPU
from apps.clusters.quantities.words import bare
from apps.core.models import Project
from apps.core.text.wording import look_of
from apps.deployments import selectors
from apps.deployments.models import Target
from apps.deployments.rollout.freezes import frozen_until
from apps.deployments.rollout.gateway import parse_gateway
from apps.deployments.rollout.policy import Load, Policy, parse_policy
from apps.deployments.rollout.windows import until_text

_TONES = ("bad", "warn", "idle", "go", "ok")
_UNITS = {"cpu": "CPU", "memory": "memory", "gpu": "GPU", "replicas": "replicas"}


@dataclass(frozen=True)
class TargetRow:
    """A target, what it allows, and what its deployments ask for together."""

    target: Target
    policy: Policy
    load: Load
    until: datetime | None

    @property
    def gateway(self) -> str:
        """The Gateway by which requests come there; "" where there is none."""
        named = parse_gateway(self.target.gateway)
        return named.label if named else ""

    @property
    def frozen(self) -> str:
        """Until when it is frozen now; "" where it is not."""
        return until_text(self.until) if self.until else ""

    @property
    def rules(self) -> list[str]:
        """What it asks for, a phrase each."""
        policy, rules = self.policy, []
        if policy.people:
            rules.append(f"only {', '.join(policy.people[:3])}{' and others' if len(policy.people) > 3 else ''}")
        elif policy.deployers == "admin":
            rules.append("admins only")
        if policy.approval:
            rules.append("approval")
        if policy.strategies:
            rules.append(" or ".join(policy.strategies))
        if policy.freezes:
            rules.append("1 freeze window" if len(policy.freezes) == 1 else f"{len(policy.freezes)} freeze windows")
        return rules

    @property
    def quota(self) -> list[str]:
        """ "12 of 20 replicas": what is asked for of each limit."""
        used = dict(zip(("replicas", "cpu", "memory", "gpu"), self.load.parts, strict=True))
        return [
            f"{bare(GPU if name == 'gpu' else name, used[name])} of {bare(GPU if name == 'gpu' else name, most)} "
            f"{_UNITS[name]}"
            for name, most in self.policy.quota.limits.items()
        ]


def target_rows(project: Project, now: datetime) -> list[TargetRow]:
    """All targets of a project: two queries."""
    targets = list(selectors.targets(project=project))
    loads = selectors.loads_of([target for target in targets if target.policy.get("quota")])
    rows = []
    for target in targets:
        policy = parse_policy(target.policy)
        until = frozen_until(policy.freezes, now)
        rows.append(TargetRow(target, policy, loads.get(target.pk, Load()), until))
    return rows


# What the table can be sorted by.
SORTS: Mapping[str, Callable[[TargetRow], Any]] = {
    "name": lambda row: row.target.name,
    "cluster": lambda row: row.target.cluster.name,
    "environment": lambda row: row.target.environment,
    "deployments": lambda row: row.target.deployment_count,  # type: ignore[attr-defined] # annotated
}


def sorted_rows(rows: list[TargetRow], by: str) -> list[TargetRow]:
    """By a column of the table (`-name`: the other way round); those whose cluster is worst first, unless told."""
    rows = sorted(rows, key=SORTS["name"])
    if by.removeprefix("-") in SORTS:
        return sorted(rows, key=SORTS[by.removeprefix("-")], reverse=by.startswith("-"))
    return sorted(rows, key=lambda row: _TONES.index(look_of(row.target.cluster.state).tone))
