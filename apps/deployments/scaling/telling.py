"""What an autoscaler says of itself → one sentence for people: how many replicas it wants, and why. Pure.

It is read as the watcher stores it (`apps.clusters.observed.rows`): metrics with what is used and what is aimed at, and
the autoscaler's own conditions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from apps.core.text.wording import duration_text
from apps.deployments.scaling.policy import Autoscaling
from kubevalues import quantities

_NAMES = {"cpu": "CPU", "memory": "memory"}


@dataclass(frozen=True)
class Told:
    """The word for its look, how many replicas there are and how many it wants (None: not known), and why."""

    state: str
    current: int | None
    desired: int | None
    why: str
    # KEDA's conditions and how they stand, where KEDA scales it.
    conditions: tuple[tuple[str, str], ...] = ()

    @property
    def moves(self) -> bool:
        """Whether it wants another number than there is."""
        return self.current is not None and self.desired is not None and self.current != self.desired


def told(status: Mapping[str, Any] | None, policy: Autoscaling, *, has_metrics: bool, rolls: bool) -> Told:
    """What the autoscaler of a placement says; `status` is None where none is seen.

    `has_metrics`: the cluster has a metrics-server. `rolls`: a rollout is under way, in which it only adds.
    """
    if status is None:
        return Told("Progressing", None, None, "Its autoscaler is not seen on the cluster yet.")
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    current, desired = int(status.get("current") or 0), int(status.get("desired") or 0)
    able, active = conditions.get("AbleToScale") or {}, conditions.get("ScalingActive") or {}
    if able.get("status") == "False":
        return Told("Degraded", current, desired, f"It can't scale: {plain(able)}")
    if active.get("status") == "False" and active.get("reason") == "ScalingDisabled":
        return Told("Suspended", current, desired, "There is no replica to measure: it begins when there is one.")
    if active.get("status") == "False":
        return Told("Degraded", current, None, _without_metrics(active, policy, has_metrics=has_metrics))
    if not conditions:
        return Told("Progressing", current, None, "It has not looked at its metrics yet.")
    state, does = _doing(status, conditions, policy, current, desired, rolls=rolls)
    only = " It only adds while the rollout is under way." if rolls else ""
    return Told(state, current, desired, f"{_reading(status.get('metrics') or [])}{does}.{only}")


def _without_metrics(active: Mapping[str, Any], policy: Autoscaling, *, has_metrics: bool) -> str:
    """Why there are no figures, and what to do about it."""
    if "Pods" in str(active.get("reason")):
        return (
            f"No metrics: the cluster does not know {policy.requests_metric} of these replicas. See that it is "
            "collected and that the metrics adapter has a rule for it."
        )
    if not has_metrics:
        return "No metrics: the cluster has no metrics-server. Install one; nothing is scaled until then."
    return f"No metrics yet: {plain(active)} They come within a minute or so after a replica has started."


def _doing(
    status: Mapping[str, Any],
    conditions: Mapping[Any, Any],
    policy: Autoscaling,
    current: int,
    desired: int,
    *,
    rolls: bool,
) -> tuple[str, str]:
    limited = conditions.get("ScalingLimited") or {}
    if desired > current:
        return "Progressing", f"scaling up to {desired}"
    if desired < current:
        return "Progressing", f"scaling down to {desired}"
    reason = limited.get("reason") if limited.get("status") == "True" else ""
    if reason == "TooManyReplicas":
        return "Warning", f"at its maximum of {status.get('max')}, and more are wanted"
    is_stabilized = (conditions.get("AbleToScale") or {}).get("reason") == "ScaleDownStabilized"
    # Within a rollout its own bound is another one, since it takes nothing away.
    least = policy.bounds.least if rolls else status.get("min")
    if reason == "TooFewReplicas" or (is_stabilized and desired == least):
        # Fewer are enough, and never come.
        return "Healthy", f"at its minimum of {least}"
    if is_stabilized and rolls:
        return "Healthy", "fewer are enough"
    if is_stabilized:
        wait = duration_text(float(policy.scale_down_stabilization_seconds))
        return "Healthy", f"fewer are enough, and replicas go when that has lasted for {wait}"
    return "Healthy", f"{desired} {'is' if desired == 1 else 'are'} right"


def _reading(metrics: Sequence[Mapping[str, Any]]) -> str:
    """ "CPU 82 % of 70 %: ", of the metric that asks for most; "" where none is known."""
    known = [(_share(metric), metric) for metric in metrics if metric.get("current")]
    if not known:
        return ""
    _, metric = max(known, key=lambda each: each[0])
    name = _NAMES.get(str(metric["name"]), str(metric["name"]))
    return f"{name} {_figure(metric['current'])} of {_figure(metric['target'])}: "


def _share(metric: Mapping[str, Any]) -> Decimal:
    target = _number(metric.get("target"))
    return _number(metric.get("current")) / target if target else Decimal(0)


def _number(text: Any) -> Decimal:
    try:
        return quantities.parse(str(text or "0").rstrip("%"))
    except (ValueError, InvalidOperation):
        return Decimal(0)


def _figure(text: Any) -> str:
    """ "82 %", or "12.5" of "12500m"."""
    said = str(text)
    return f"{said[:-1]} %" if said.endswith("%") else f"{float(_number(said)):.4g}"


def plain(condition: Mapping[str, Any]) -> str:
    """The condition's message as a sentence, without the words that all of them begin with."""
    text = str(condition.get("message") or condition.get("reason") or "no reason is given").strip()
    text = text.removeprefix("the HPA was unable to compute the replica count: ")
    text = text.removeprefix("the HPA controller was unable to get the target's current scale: ")
    return text if text.endswith((".", "!", "?")) else f"{text}."
