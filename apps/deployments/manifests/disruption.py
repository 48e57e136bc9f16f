"""How many replicas may be away at once while nodes are drained: the wish, and its PodDisruptionBudget. Pure.

The budget is the deployment's, no revision's: changing it restarts nothing, and in a rollout it counts the replicas of
both revisions together. https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.errors import Invalid
from apps.core.text.numbers import whole
from apps.deployments.manifests import Identity, asked_of
from apps.deployments.specs import MAX_REPLICAS, an_object, digest_of, refuse_unknown

API_VERSION, KIND = "policy/v1", "PodDisruptionBudget"
NAME = "disruption_budget"
_PERCENT = re.compile(r"(?:\d{1,2}|100)%\Z")
_HINT = 'Give {"max_unavailable": 1}, say, or a share such as "25%".'


@dataclass(frozen=True)
class Budget:
    """A number of replicas, or a share such as "25%": `max_unavailable` of them, or all but `min_available`."""

    max_unavailable: int | str | None = None
    min_available: int | str | None = None

    def to_json(self) -> dict[str, int | str]:
        """The form that is stored and shown."""
        said = {"max_unavailable": self.max_unavailable, "min_available": self.min_available}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def words(self) -> str:
        """ "1 away at most"."""
        if self.max_unavailable is not None:
            return f"{self.max_unavailable} away at most"
        return f"{self.min_available} there at least"


def parse_budget(value: Any) -> Budget:
    """A budget out of what somebody asked for. Raises Invalid naming the field."""
    said = an_object(value, NAME)
    refuse_unknown(said, NAME, ("max_unavailable", "min_available"))
    given = {name: _amount(amount, f"{NAME}.{name}") for name, amount in said.items() if amount not in (None, "")}
    if len(given) != 1:
        raise Invalid("A budget says max_unavailable, or min_available.", field=f"{NAME}.max_unavailable", hint=_HINT)
    return Budget(**given)


def stored_budget(value: Mapping[str, Any] | None) -> Budget | None:
    """The same out of a row, or out of a wish that may ask for none."""
    return parse_budget(value) if value else None


def budget_of(identity: Identity, budget: Budget) -> tuple[dict[str, Any], str]:
    """The object for all replicas of a deployment on a target, and the digest of what was asked.

    Replicas that are not ready may always be evicted: a broken one shall not hold up the drain of its node.
    """
    amounts = {"maxUnavailable": budget.max_unavailable, "minAvailable": budget.min_available}
    labels = identity.labels()
    rendered = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": identity.deployment, "namespace": identity.namespace, "labels": labels},
        "spec": {
            **{name: amount for name, amount in amounts.items() if amount is not None},
            "selector": {"matchLabels": {key: labels[key] for key in sorted(labels) if not key.endswith("/name")}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
    return rendered, asked_of(identity, 0, digest_of(budget.to_json()))


def _amount(value: Any, field: str) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_REPLICAS:
        return value
    if isinstance(value, str) and (number := whole(value)) is not None:
        return _amount(number, field)
    if isinstance(value, str) and _PERCENT.match(value):
        return value
    said = f"{field.rpartition('.')[2]} is a number of replicas from 0 to {MAX_REPLICAS}, or a share up to 100%."
    raise Invalid(said, field=field, hint='For example 1, or "25%".')
