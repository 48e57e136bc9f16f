"""HorizontalPodAutoscaler: as many replicas as what the pods use asks for.

`autoscaling` computes the decision; this module is the shell that measures, scales and reports.
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubevalues import quantities
from localcluster import meta
from localcluster.controllers import pods
from localcluster.controllers.autoscaling import (
    History,
    NoMetricsError,
    Proposal,
    Rules,
    Sample,
    Target,
    Why,
    limit,
    propose,
    stabilise,
)
from localcluster.controllers.base import Controller, Key, Object
from localcluster.controllers.grouped import PodsByLabel
from localcluster.errors import StatusError
from localcluster.fit import container_requests
from localcluster.meta import key_of, parse_time
from localcluster.registry import Registry

if TYPE_CHECKING:
    from localcluster.kubelet.usage import ContainerUsage
    from localcluster.store import Change

COMPONENT = "horizontal-pod-autoscaler"
MANAGER = "kube-controller-manager"
#: --horizontal-pod-autoscaler-sync-period, -initial-readiness-delay and -cpu-initialization-period, in seconds.
PERIOD, READINESS_DELAY, CPU_INITIALIZATION = 15.0, 30.0, 300.0
_SCALABLE = {"Deployment": "deployments", "ReplicaSet": "replicasets"}

Usage = Callable[[], Mapping[tuple[str, str], Sequence["ContainerUsage"]]]


@dataclass(slots=True)
class _Round:
    """The outcome of one round."""

    current: int
    desired: int
    reason: str = ""
    conditions: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # type -> (status, reason, message)
    metrics: list[Object] | None = None

    def say(self, kind: str, *, true: bool, why: Why) -> None:
        self.conditions[kind] = ("True" if true else "False", *why)


class Autoscalers(Controller):
    """Scales the targets of HorizontalPodAutoscalers every `period` seconds."""

    name = COMPONENT
    resource = "horizontalpodautoscalers"

    def __init__(self, registry: Registry, by_label: PodsByLabel, usage: Usage, *, period: float = PERIOD) -> None:
        super().__init__(registry)
        self.period = period
        self._by_label = by_label
        self._usage = usage
        self._histories: dict[Key, History] = {}

    def _changed(self, change: Change) -> None:
        """A status is our own doing: it must not bring the next round forward."""
        obj, old = change.stored.obj, change.old
        if change.type == "DELETED":
            self._histories.pop(key_of(obj), None)
        elif old is None or old.obj["spec"] != obj["spec"]:
            self.enqueue(key_of(obj))

    def sync(self, key: Key) -> float | None:
        """One round."""
        namespace, name = key
        if not self.registry.exists(self.resource, name, namespace):
            return None
        scaler = self.registry.get(self.resource, name, namespace)
        reference = scaler["spec"]["scaleTargetRef"]
        try:
            plural = _SCALABLE.get(reference["kind"])
            if plural is None:
                raise StatusError(404, "NotFound", f'no matches for kind "{reference["kind"]}" that can be scaled')
            target = self.registry.get(plural, reference["name"], namespace)
        except StatusError as error:
            why = f"the HPA controller was unable to get the target's current scale: {error.message}"
            self.registry.record_event(scaler, "Warning", "FailedGetScale", error.message, COMPONENT)
            status = scaler.get("status") or {}
            failed = _Round(int(status.get("currentReplicas") or 0), int(status.get("desiredReplicas") or 0))
            failed.say("AbleToScale", true=False, why=("FailedGetScale", why))
            self._publish(scaler, failed)
            return self.period
        done = self._decide(scaler, target)
        if done.desired != done.current:
            self._scale(scaler, target, plural, done)
        self._publish(scaler, done)
        return self.period

    # -- deciding

    def _decide(self, scaler: Object, target: Object) -> _Round:
        current = int(target["spec"].get("replicas", 1))
        least, most = int(scaler["spec"].get("minReplicas") or 1), int(scaler["spec"]["maxReplicas"])
        done = _Round(current, current)
        if key_of(scaler) not in self._histories:
            # The replicas at the start, or after a restart, count as recommended: nothing goes down at once.
            self._histories[key_of(scaler)] = History([(time.time(), current)])
        why = "the HPA controller was able to get the target's current scale"
        done.say("AbleToScale", true=True, why=("SucceededGetScale", why))
        if current == 0:
            message = "scaling is disabled since the replica count of the target is zero"
            done.say("ScalingActive", true=False, why=("ScalingDisabled", message))
        elif current > most:
            done.desired, done.reason = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            done.desired, done.reason = least, "Current number of replicas below Spec.MinReplicas"
        else:
            self._follow_metrics(scaler, target, done, (least, most))
        return done

    def _follow_metrics(self, scaler: Object, target: Object, done: _Round, bounds: tuple[int, int]) -> None:
        now, rules = time.time(), Rules.of(scaler["spec"].get("behavior"))
        metrics = scaler["spec"]["metrics"]
        best: tuple[int, str] | None = None
        errors: list[tuple[str, str]] = []
        done.metrics = []
        for metric in metrics:
            try:
                proposal, shown = self._measure(metric, target, rules, now)
            except NoMetricsError as error:
                kind = str(metric["type"])
                errors.append((f"FailedGet{kind}Metric", str(error)))
                self.registry.record_event(scaler, "Warning", f"FailedGet{kind}Metric", str(error), COMPONENT)
                continue
            done.metrics.append(_shown(metric, proposal))
            if best is None or proposal.replicas > best[0]:
                best = (proposal.replicas, shown)
        if best is None or (errors and best[0] < done.current):
            reason, message = errors[0]
            explanation = f"the HPA was unable to compute the replica count: {message}"
            done.say("ScalingActive", true=False, why=(reason, explanation))
            first = f"invalid metrics ({len(errors)} invalid out of {len(metrics)}), first error is: {message}"
            self.registry.record_event(scaler, "Warning", "FailedComputeMetricsReplicas", first, COMPONENT)
            return
        proposed, shown = best
        explanation = f"the HPA was able to successfully calculate a replica count from {shown}"
        done.say("ScalingActive", true=True, why=("ValidMetricFound", explanation))
        history = self._histories[key_of(scaler)]
        history.forget(now - rules.longest)
        steady, why = stabilise(proposed, done.current, history, rules, now)
        done.say("AbleToScale", true=True, why=why)
        done.desired, limited = limit(steady, done.current, bounds, history, rules, now)
        within = ("DesiredWithinRange", "the desired count is within the acceptable range")
        done.say("ScalingLimited", true=limited is not None, why=limited or within)
        done.reason = f"{shown} above target" if done.desired > done.current else "All metrics below target"

    def _measure(self, metric: Object, target: Object, rules: Rules, now: float) -> tuple[Proposal, str]:
        """The proposal of a metric, and its name. Raises NoMetricsError."""
        kind = metric["type"]
        source = metric.get({"Resource": "resource", "ContainerResource": "containerResource"}.get(kind, ""))
        if source is None:
            raise NoMetricsError(f"unable to get metrics of type {kind}: this cluster has resource metrics alone")
        resource, stated = source["name"], source["target"]
        words = "container resource" if kind == "ContainerResource" else "resource"
        by_share = stated.get("averageUtilization") is not None
        goal = (
            Target(utilization=int(stated["averageUtilization"]))
            if by_share
            else Target(average=quantities.amount(resource, stated["averageValue"]))
        )
        selected = self._by_label.select(target["metadata"]["namespace"], target["spec"]["selector"])
        current = int(target["spec"].get("replicas", 1))
        try:
            taken = samples(selected, self._usage(), resource, source.get("container"), now, by_share=by_share)
            proposal = propose(taken, goal, current, rules.tolerances)
        except NoMetricsError as error:
            raise NoMetricsError(
                f"failed to get {resource} {'utilization' if by_share else 'usage'}: {error}"
            ) from None
        return proposal, f"{resource} {words}" + (" utilization (percentage of request)" if by_share else "")

    # -- acting

    def _scale(self, scaler: Object, target: Object, plural: str, done: _Round) -> None:
        def change(obj: Object) -> None:
            obj["spec"]["replicas"] = done.desired

        metadata = target["metadata"]
        self.registry.mutate(plural, metadata["name"], metadata["namespace"], change, manager=MANAGER)
        self._histories[key_of(scaler)].changes.append((time.time(), done.desired - done.current))
        success = f"the HPA controller was able to update the target scale to {done.desired}"
        done.say("AbleToScale", true=True, why=("SucceededRescale", success))
        message = f"New size: {done.desired}; reason: {done.reason}"
        self.registry.record_event(scaler, "Normal", "SuccessfulRescale", message, COMPONENT)

    def _publish(self, scaler: Object, done: _Round) -> None:
        now = meta.now()

        def change(obj: Object) -> None:
            status = obj.setdefault("status", {})
            status["currentReplicas"], status["desiredReplicas"] = done.current, done.desired
            if done.desired != done.current:
                status["lastScaleTime"] = now
            if done.metrics is not None:
                status["currentMetrics"] = done.metrics
            old = {each["type"]: each for each in status.get("conditions") or ()}
            old.update(
                {kind: _condition(kind, state, old.get(kind, {}), now) for kind, state in done.conditions.items()}
            )
            status["conditions"] = [
                old[kind] for kind in ("AbleToScale", "ScalingActive", "ScalingLimited") if kind in old
            ]

        metadata = scaler["metadata"]
        self.registry.mutate(self.resource, metadata["name"], metadata["namespace"], change, subresource="status")


def _condition(kind: str, state: tuple[str, str, str], old: Object, now: str) -> Object:
    status, reason, message = state
    since = old["lastTransitionTime"] if old.get("status") == status else now
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}


def _shown(metric: Object, proposal: Proposal) -> Object:
    """The metric's entry in `status.currentMetrics`."""
    field_name = "containerResource" if metric["type"] == "ContainerResource" else "resource"
    source = metric[field_name]
    average = quantities.text(source["name"], proposal.average)
    current: Object = {"averageValue": average}
    if proposal.utilization is not None:
        current["averageUtilization"] = proposal.utilization
    named = {name: source[name] for name in ("name", "container") if name in source}
    return {"type": metric["type"], field_name: {**named, "current": current}}


def samples(
    selected: Sequence[Object],
    usage: Mapping[tuple[str, str], Sequence[ContainerUsage]],
    resource: str,
    container: str | None,
    now: float,
    *,
    by_share: bool,
) -> list[Sample]:
    """The pods of a target that count, of one container alone where it is named. Pure. Raises NoMetricsError."""
    taken = []
    for pod in selected:
        if pod["metadata"].get("deletionTimestamp") or pods.phase(pod) == "Failed":
            continue
        measured = [each for each in usage.get(key_of(pod), ()) if container in (None, each.name)]
        used = sum(_amount(each, resource) for each in measured) if measured else None
        requested = _requested(pod, resource, container) if by_share else 0
        taken.append(Sample(used, requested, _settled(pod, measured, resource, now)))
    if not any(each.used is not None for each in taken):
        reason = "no metrics returned from resource metrics API"
        raise NoMetricsError(f"unable to get metrics for resource {resource}: {reason}")
    return taken


def _amount(measured: ContainerUsage, resource: str) -> int:
    return -(-measured.cpu_nanocores // 1_000_000) if resource == "cpu" else measured.memory_bytes


def _requested(pod: Object, resource: str, container: str | None) -> int:
    total = 0
    for each in pod["spec"]["containers"]:
        if container in (None, each["name"]):
            asked = container_requests(each).get(resource)
            if not asked:
                where = f"container {each['name']} of Pod {pod['metadata']['name']}"
                raise NoMetricsError(f"missing request for {resource} in {where}")
            total += asked
    return total


def _settled(pod: Object, measured: Sequence[ContainerUsage], resource: str, now: float) -> bool:
    """False for a pod that is not yet ready, or whose CPU was last measured before it was."""
    if pods.phase(pod) == "Pending":
        return False
    if resource != "cpu" or not measured:
        return True
    condition, began = pods.condition(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if condition is None or not began:
        return False
    since, start = (parse_time(text).timestamp() for text in (condition["lastTransitionTime"], began))
    if condition["status"] != "True":
        return start + CPU_INITIALIZATION <= now and since > start + READINESS_DELAY
    return start + CPU_INITIALIZATION <= now or min(each.at for each in measured) >= since
