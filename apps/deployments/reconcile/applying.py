"""Bringing a deployment's objects to what was asked: the part of a round that writes to the cluster.

An object is applied when something else is asked than was when it was applied, and left alone otherwise, whatever
today's code would make of it: upgrading Flotilla, or changing its address, restarts nothing. What a hand changed is
found, told, and put back when somebody asks for that.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from apps.clusters import manifests as common
from apps.clusters.kube.client import KubeClient
from apps.clusters.kube.errors import UNHEARD, KubeError, NamespaceMissing, NotFound
from apps.core.states import Health
from apps.deployments import manifests
from apps.deployments.drift import Act, Difference, act_on, adopted, differences, is_noted, projection, undoing
from apps.deployments.drift.ownership import counted_by
from apps.deployments.health import budget_health, route_health
from apps.deployments.manifests import disruption, routes
from apps.deployments.manifests.disruption import Budget, stored_budget
from apps.deployments.manifests.sizes import has_size, resizing, size_of, sized, unsized
from apps.deployments.models import AppliedObject, Placement, Revision
from apps.deployments.reconcile.live import Live, Object
from apps.deployments.reconcile.modeltoken import bring_secret
from apps.deployments.reconcile.routing import LONG_AGO, look, routed
from apps.deployments.reconcile.scaling import Scaling
from apps.deployments.rollout.decisions import Decision
from apps.deployments.rollout.refusals import Refusal
from apps.deployments.rollout.standing import standing_of
from apps.deployments.rollout.traffic import Route, Routed, Selected, Traffic
from apps.deployments.scaling import KINDS as SCALERS
from apps.deployments.scaling import kind_of, scaler
from apps.deployments.selectors import revisions_by_number
from apps.deployments.services import applied
from apps.deployments.services.common import hostname_of
from apps.deployments.services.server import source_on
from apps.deployments.specs import parse_revision

REVISION_HISTORY_LIMIT = 10
# How soon to look at a disruption budget again that Kubernetes has not counted yet, or that lacks replicas.
UNCOUNTED, SHORT = timedelta(seconds=2), timedelta(seconds=30)


class Applying:
    """One round's writes. May be killed between any two of them, and done again.

    What the API server refuses of one object is noted in `refusals`, and keeps no other object from being written: so
    what was refused of a revision keeps nobody from taking it back.
    """

    def __init__(
        self,
        client: KubeClient,
        placement: Placement,
        identity: manifests.Identity,
        live: Live,
        kept: Mapping[applied.Key, AppliedObject],
    ) -> None:
        self._client, self._placement, self._identity, self._live = client, placement, identity, live
        self._kept = kept
        self._route = look(client, placement, identity, kept)
        # When what nobody watches, and is not well yet, is to be looked at again.
        self.unsettled: timedelta | None = None
        self.refusals: list[Refusal] = []

    @property
    def kept_scalers(self) -> list[str]:
        """The kinds of autoscalers of which one was applied and not taken down since."""
        return [kind for _, kind in SCALERS if (kind, self._identity.deployment) in self._kept]

    @property
    def selected(self) -> Selected | None:
        """What the Service selects now, and since when it may have; None where there is no Service."""
        name = self._identity.service
        service = self._live.services.get(name)
        return Selected(manifests.selected_by(service), self._applied_at("Service", name)) if service else None

    def routed(self, now: datetime) -> Routed | None:
        """How the target's Gateway follows the HTTPRoute; None where it names none."""
        identity = self._identity
        own = {
            number: self._applied_at("Service", name)
            for name, service in self._live.services.items()
            if (number := manifests.owner_of_service(identity, service)) is not None
        }
        written = self._applied_at(routes.KIND, identity.deployment)
        return routed(self._route, self._placement, identity, written, own, now)

    @property
    def traffic(self) -> Traffic:
        """Where Services send requests now, as far as the cluster has answered."""
        identity, services = self._identity, self._live.services
        service, preview = (services.get(name) for name in (identity.service, identity.preview))
        own = (manifests.owner_of_service(identity, each) for each in services.values())
        return Traffic(
            selects=manifests.selected_by(service) if service else None,
            preview=manifests.selected_by(preview) if preview else None,
            own=tuple(sorted(number for number in own if number is not None)),
        )

    def run(self, decision: Decision, scaling: Scaling, now: datetime) -> list[Difference]:
        """Make, apply, adopt and resize what has to be; returns what differs from what was applied."""
        live, main = self._live, self._placement.serving
        number = main.number if main else 0
        # Retired workloads are left alone, with whatever was done to them: nothing of them runs, or will again.
        serving = [
            each for each, count in decision.replicas.items() if count or each == number or each not in live.workloads
        ]
        rows = revisions_by_number(self._placement.deployment_id, serving)
        if any(row.spec.get("model") for row in [*rows.values(), *([main] if main else [])]):
            with self._part("Secret", self._identity.secret):
                bring_secret(self._client, self._placement, self._identity, self._put, now)
        # An autoscaler leaves a revision before that one shrinks, and comes to one that is there.
        is_there = number in live.workloads or scaling.policy is None
        drift = self._bring_scaler(scaling, number) if is_there else []
        if not any(refusal.holds for refusal in self._of_scalers()):
            # Otherwise its autoscaler would take back what is told to a revision that it has not left.
            drift += self._bring_workloads(decision, rows)
        # Replicas take longest to be ready, so that they are asked for first.
        drift = self._bring_services(decision.traffic, number) + drift
        drift += self._bring_route(decision.traffic.route)
        drift += [] if is_there else self._bring_scaler(scaling, number)
        drift += self._bring_budget(scaling)
        self._prune(decision)
        return drift

    def _bring_workloads(self, decision: Decision, rows: Mapping[int, Revision]) -> list[Difference]:
        """Bring the workloads: those of `rows` as they were asked for, of others only the size, which alone is ours."""
        identity, drift = self._identity, list[Difference]()
        source = source_on(self._placement.target.cluster)
        for each, count in decision.replicas.items():
            there, row = self._live.workloads.get(each), rows.get(each)
            if row is not None:
                spec = parse_revision(row.spec)
                rendered = manifests.workload(identity, each, spec, count, source=source)
                drift += self._bring(there, rendered, manifests.asked_of(identity, each, row.digest))
            elif there is not None:
                # It is retired, or belongs to a revision that Postgres does not know.
                with self._part(there["kind"], there["metadata"]["name"]):
                    self._resize(there, count)
        return drift

    def _bring_scaler(self, scaling: Scaling, number: int) -> list[Difference]:
        """Bring the autoscaler of the revision with this number, or take it away where nobody asks for one."""
        policy = scaling.policy
        self._drop_scalers(scaling, number)
        if policy is None or not number or not scaling.is_allowed:
            return []
        rendered, asked = scaler(
            self._identity,
            number,
            policy,
            scaling.bounds or policy.bounds,
            holds=scaling.holds,
            sleeps=scaling.sleeps,
        )
        own = scaling.own
        holds = own is not None and self._scales_another(own, number)
        drift: list[Difference] = []
        with self._part(rendered["kind"], rendered["metadata"]["name"], holds=holds, unless_allowed=scaling.refuse):
            if own is not None and not is_noted(own):
                # Somebody made it under the name that is ours: it is taken over, whatever it said.
                drift = self._make(own, manifests.stamped(rendered, asked), asked)
            else:
                drift = self._brought(own, rendered, asked)
        return drift

    def _scales_another(self, scaler: Object, number: int) -> bool:
        """Whether the autoscaler scales another revision than this one."""
        named = ((scaler.get("spec") or {}).get("scaleTargetRef") or {}).get("name")
        return bool(number) and named != self._identity.workload(number)

    def _bring_budget(self, scaling: Scaling) -> list[Difference]:
        """Bring the disruption budget, or delete ours; where there was none and shall be none nothing is asked."""
        budget = stored_budget(self._placement.deployment.disruption_budget)
        kind, name = disruption.KIND, self._identity.deployment
        if budget is None and (kind, name) not in self._kept:
            return []

        def lack() -> None:
            said = f"It has no disruption budget: Flotilla may not make a {kind} here."
            scaling.note = f"{scaling.note} {said} The cluster's check page has the role to apply.".strip()

        drift: list[Difference] = []
        with self._part(kind, name, holds=False, unless_allowed=lack):
            live = self._find(disruption.API_VERSION, kind, name)
            if budget is not None:
                drift = self._keep_budget(live, budget)
            else:
                if live is not None and is_noted(live):
                    uid = live["metadata"]["uid"]
                    self._client.delete(disruption.API_VERSION, kind, name, self._identity.namespace, uid=uid)
                applied.forget(self._placement, kind, name)
        return drift

    def _keep_budget(self, live: Object | None, budget: Budget) -> list[Difference]:
        rendered, asked = disruption.budget_of(self._identity, budget)
        if live is not None and not is_noted(live):
            # Somebody made it under the name that is ours: it is taken over, whatever it said.
            return self._make(live, manifests.stamped(rendered, asked), asked)
        drift = self._brought(live, rendered, asked)
        self._note_budget(live, asked)
        return drift

    def _note_budget(self, live: Object | None, asked: str) -> None:
        """Note how the budget stands; no event tells when Kubernetes has counted anew."""
        key = (disruption.KIND, self._identity.deployment)
        kept, stands = self._kept.get(key), budget_health(live or {})
        if kept is None or kept.asked != asked or stands.reason == "NotCounted":
            self.unsettled = UNCOUNTED
        elif stands.health is Health.PROGRESSING:
            self.unsettled = SHORT
        applied.note_health(self._placement, self._kept, key, stands)

    def _find(self, api_version: str, kind: str, name: str) -> Object | None:
        try:
            return self._client.get(api_version, kind, name, self._identity.namespace)
        except NotFound:
            return None

    def _drop_scalers(self, scaling: Scaling, number: int) -> None:
        """Delete the autoscalers of an earlier policy."""
        for each in scaling.stale:
            metadata = each["metadata"]
            with self._part(each["kind"], metadata["name"], holds=self._scales_another(each, number)):
                self._client.delete(
                    each["apiVersion"], each["kind"], metadata["name"], self._identity.namespace, uid=metadata["uid"]
                )
        wanted = kind_of(scaling.policy) if scaling.policy else ""
        left = {refusal.about.partition(" ")[0] for refusal in self._of_scalers()}
        for kind in self.kept_scalers:
            if kind != wanted and kind not in left:
                applied.forget(self._placement, kind, self._identity.deployment)

    def _bring_services(self, traffic: Traffic, serving: int) -> list[Difference]:
        """Bring the Services; what a strategy ceases to preview loses its own."""
        identity, there, drift = self._identity, self._live.services, []
        wanted = manifests.services(
            identity, serving, selects=traffic.selects, preview=traffic.preview, own=traffic.own
        )
        for rendered, asked in wanted:
            drift += self._bring(there.get(rendered["metadata"]["name"]), rendered, asked)
        for name in there.keys() - {rendered["metadata"]["name"] for rendered, _ in wanted}:
            if name == identity.preview or manifests.owner_of_service(identity, there[name]) is not None:
                with self._part("Service", name):
                    self._client.delete("v1", "Service", name, identity.namespace)
                    applied.forget(self._placement, "Service", name)
                    del there[name]
        return drift

    def _bring_route(self, route: Route | None) -> list[Difference]:
        """Bring the HTTPRoute; there is none where the target names no Gateway."""
        identity, seen = self._identity, self._route
        if seen.gateway is None:
            if seen.live is not None:
                metadata = seen.live["metadata"]
                with self._part(routes.KIND, metadata["name"], holds=False):
                    self._client.delete(
                        routes.API_VERSION, routes.KIND, metadata["name"], identity.namespace, uid=metadata["uid"]
                    )
                    applied.forget(self._placement, routes.KIND, identity.deployment)
            elif (routes.KIND, identity.deployment) in self._kept:
                applied.forget(self._placement, routes.KIND, identity.deployment)
            return []
        if route is None or seen.reason:
            return []
        hostname = hostname_of(self._placement)
        rendered = routes.http_route(identity, seen.gateway, hostname, route)
        drift: list[Difference] = []
        with self._part(routes.KIND, identity.deployment, unless_allowed=seen.refuse):
            drift = self._brought(seen.live, rendered, routes.asked_for(identity, seen.gateway, hostname, route))
            stands = route_health(standing_of(seen.live or rendered, seen.gateway))
            applied.note_health(self._placement, self._kept, (routes.KIND, identity.deployment), stands)
        return drift

    @contextmanager
    def _part(
        self, kind: str, name: str, *, holds: bool = True, unless_allowed: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """The writes of one object: what the API server refuses of it is noted. `unless_allowed` is what is done
        instead where the credential's role lacks an optional permission. Raises what says nothing of the object."""
        try:
            yield
        except UNHEARD:
            raise
        except KubeError as error:
            refusal = Refusal(f"{kind} {name}", error.status, error.reason, error.message, holds=holds)
            if unless_allowed is not None and refusal.lacks_role:
                unless_allowed()
            else:
                self.refusals.append(refusal)

    def _of_scalers(self) -> list[Refusal]:
        kinds = [kind for _, kind in SCALERS]
        return [refusal for refusal in self.refusals if refusal.about.partition(" ")[0] in kinds]

    def _bring(self, live: Object | None, rendered: Object, asked: str) -> list[Difference]:
        """Bring one object; returns what differs from what was applied of it."""
        edits: list[Difference] = []
        with self._part(rendered["kind"], rendered["metadata"]["name"]):
            edits += self._brought(live, rendered, asked)
        return edits

    def _brought(self, live: Object | None, rendered: Object, asked: str) -> list[Difference]:
        """Bring one object, and raise what the API server refuses of it."""
        kept = self._kept.get((rendered["kind"], rendered["metadata"]["name"]))
        act = act_on(live, rendered, asked, kept.asked if kept else None)
        if live is None or act in (Act.MAKE, Act.APPLY):
            # An object that vanished comes back as it was.
            same = kept is not None and kept.asked == asked
            manifest = sized(kept.manifest, rendered) if kept and same else manifests.stamped(rendered, asked)
            return self._make(live, manifest, asked)
        if has_size(rendered):
            self._resize(live, size_of(rendered))
        if act is Act.ADOPT or kept is None:
            return self._adopt(live, rendered, asked)
        edits = differences(live, kept.manifest)
        if edits and self._placement.restore_asked:
            # It serves as it is, edits and all.
            with self._part(rendered["kind"], rendered["metadata"]["name"], holds=False):
                self._restore(live, kept.manifest, rendered)
                edits = []
        return edits

    def _make(self, live: Object | None, manifest: Object, asked: str) -> list[Difference]:
        """Make the object as the manifest says, whatever is there; nothing differs then."""
        if live is not None:
            self._undo(live, manifest)
            manifest = unsized(manifest) if counted_by(live) else manifest
        answer = self._put(manifest)
        applied.remember(self._placement, asked, unsized(projection(answer, manifest)))
        if manifest["kind"] == "Service":
            self._live.services[manifest["metadata"]["name"]] = answer
        elif manifest["kind"] == routes.KIND:
            self._route.live = answer
        return []

    def _adopt(self, live: Object, rendered: Object, asked: str) -> list[Difference]:
        """Note on an object what was asked, and keep what was applied of it. Touches nothing that restarts a pod."""
        manifest = manifests.stamped(adopted(live, rendered), asked)
        manifest["metadata"]["annotations"].pop(manifests.FORMERLY, None)
        note = {"metadata": {"annotations": {manifests.ASKED: asked, manifests.FORMERLY: None}}}
        answer = self._patch(live, note)
        applied.remember(self._placement, asked, manifest)
        return differences(answer, manifest)

    def _restore(self, live: Object, manifest: Object, rendered: Object) -> None:
        """Put all back as it was applied: what others added goes by a patch, the rest by taking our fields back."""
        self._undo(live, manifest)
        self._put(manifest if counted_by(live) else sized(manifest, rendered))

    def _undo(self, live: Object, manifest: Object) -> None:
        """Remove what others added inside of ours."""
        patch = undoing(manifest, live)
        if patch is not None:
            self._patch(live, patch)

    def _resize(self, live: Object, count: int) -> None:
        """Change the number of replicas and nothing else."""
        if size_of(live) != count:
            self._patch(live, resizing(live, count))

    def _patch(self, live: Object, patch: Object) -> Object:
        metadata = live["metadata"]
        return self._client.merge_patch(
            live["apiVersion"], live["kind"], metadata["name"], patch, metadata["namespace"]
        )

    def _put(self, obj: Object) -> Object:
        """Apply; where the project's namespace is not there yet, make it first."""
        try:
            return self._client.apply(obj)
        except NamespaceMissing:
            self._client.apply(common.namespace(self._identity.namespace, self._identity.project))
            return self._client.apply(obj)

    def _applied_at(self, kind: str, name: str) -> datetime:
        kept = self._kept.get((kind, name))
        return kept.applied_at if kept else LONG_AGO

    def _prune(self, decision: Decision) -> None:
        """Delete what retired revisions beyond the history limit leave on the cluster."""
        seen = self._live.observed
        retired = [
            number
            for number in sorted(self._live.workloads, reverse=True)
            if decision.replicas.get(number) == 0 and seen[number].pods == 0
        ]
        for number in retired[REVISION_HISTORY_LIMIT:]:
            gone, name = self._live.workloads[number], self._identity.workload(number)
            with self._part(gone["kind"], name, holds=False):
                self._client.delete(gone["apiVersion"], gone["kind"], name, self._identity.namespace)
                applied.forget(self._placement, gone["kind"], name)
