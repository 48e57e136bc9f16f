"""What the deployment's page shows, computed only when a part of the page asks for it."""

import functools
from collections.abc import Iterable
from datetime import datetime

from apps.clusters.models import Pod
from apps.clusters.observed.values import moment
from apps.clusters.pages.silence import NOTHING_SAID, Silence, silence_of
from apps.clusters.podoptions import words
from apps.clusters.selectors.explain import explain_absent, explain_pods
from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.why import Why, together
from apps.core.access import Principal, may
from apps.core.states import Health
from apps.core.text.wording import look_of
from apps.deployments import selectors
from apps.deployments.models import Deployment, Heal, Placement, Recording, Revision
from apps.deployments.pages.links import pod_url, run_url
from apps.deployments.pages.ready import ready_of, ready_of_revision
from apps.deployments.pages.replicas import By, Group, groups_of
from apps.deployments.pages.rolling import in_a_line
from apps.deployments.pages.rolloutboard import RolloutBoard
from apps.deployments.pages.rows import (
    DriftRow,
    EventRow,
    PlaceRow,
    ReplicaRow,
    RevisionRow,
    coming_of,
    event_rows,
    is_model_deleted,
    model_text,
    options_of,
    revision_state,
    who,
)
from apps.deployments.pages.scalers import Scaler, scaler_of
from apps.deployments.pages.story import serves
from apps.deployments.predict.examples import UNKNOWN, pretty
from apps.deployments.rollout.strategy import parse_strategy
from apps.deployments.services.server import is_own
from apps.deployments.states import RolloutState

SHOWN_REPLICAS = 300
SHOWN_REVISIONS = 20
SHOWN_HEALS = 5
SHOWN_WHYS = 10


class Board(RolloutBoard):
    """Everything that a deployment's page may show. Each part is read once, and only when the template asks."""

    def __init__(self, deployment: Deployment, principal: Principal, by: By = By.REVISION) -> None:
        super().__init__(deployment)
        self.by = by
        self._sight = visibility_of(principal)
        self.may_change = may(principal, deployment.project)

    @functools.cached_property
    def pods(self) -> list[Pod]:
        """The observed pods, newest revision first; of very many those that are not well, and the first of the rest."""
        rows = selectors.pods_of(self.deployment).order_by("ready", "name")[:SHOWN_REPLICAS]
        return sorted(rows, key=lambda pod: (-selectors.number_of(pod), pod.name))

    @property
    def hidden(self) -> int:
        """How many replicas exist that are not shown."""
        existing = sum(entry["existing"] for entry in self.deployment.observed)
        return max(0, existing - len(self.pods)) if len(self.pods) == SHOWN_REPLICAS else 0

    @functools.cached_property
    def replicas(self) -> list[ReplicaRow]:
        """The replicas; those of the revision that is coming are marked young."""
        lost = [place.target for place in self.deployment.places if place.health == Health.UNKNOWN]
        unheard = {(target.cluster_id, target.namespace) for target in lost}
        coming = coming_of(self.deployment)
        return [
            ReplicaRow(
                pod,
                selectors.seen_of(pod),
                pod_url(self.deployment, pod),
                young=bool(coming) and pod.revision == coming,
                stale=(pod.cluster_id, pod.namespace) in unheard,
            )
            for pod in self.pods
        ]

    @property
    def groups(self) -> list[Group]:
        """The replicas in groups, as the address asks for them."""
        counts = selectors.counts_of(self.deployment) if len(self.pods) == SHOWN_REPLICAS else ()
        return groups_of(self.replicas, self.by, self._clusters, counts)

    @property
    def ways(self) -> list[By]:
        """What replicas can be grouped by: a cluster alone is no group."""
        return [by for by in By if by is not By.CLUSTER or len(self._clusters) > 1]

    @functools.cached_property
    def _clusters(self) -> dict[int, str]:
        places = [*self.deployment.places, *self.deployment.leaving]
        return {place.target.cluster_id: place.target.cluster.name for place in places}

    @functools.cached_property
    def whys(self) -> list[Why]:
        """What is not well, or was restarted not long ago, and why; the worst first. And why pods can't be made."""
        by_uid = explain_pods(self.pods, sight=self._sight)
        whys = [why for row in self.replicas if (why := _why(row, by_uid.get(row.pod.uid), self.now)) is not None]
        bad = [why for why in whys if look_of(why.state).tone == "bad"]
        return together([*self._refused(), *bad, *(why for why in whys if why not in bad)])[:SHOWN_WHYS]

    def _refused(self) -> list[Why]:
        """Revisions that have fewer pods than they want because these are refused: by a quota, say."""
        short = [entry["revision"] for entry in self.deployment.observed if entry["existing"] < entry["wanted"]]
        places = {
            (place.target.cluster_id, place.target.namespace, f"{self.deployment.name}-r{number}"): number
            for place in self.deployment.places
            for number in short
        }
        by_place = explain_absent(places, "ReplicaSet", prefix=True, waiting_for="a replica")
        return [why.named(f"Revision {places[place]} lacks replicas") for place, why in by_place.items()]

    @property
    def places(self) -> list[PlaceRow]:
        """The placements, with their part in the rollout that is under way."""
        stages = {stage.placement_id: stage for stage in self.stages} if self.deployment.under_way else {}
        there = [*self.deployment.places, *self.deployment.leaving]
        return [PlaceRow(place, stages.get(place.pk)) for place in there]

    @property
    def where(self) -> str:
        """ "gke-eu", or "3 clusters"."""
        return _clusters_of(self.deployment.places)

    @property
    def strategy(self) -> str:
        """How the deployment rolls, in a line."""
        return in_a_line(parse_strategy(self.deployment.strategy))

    @functools.cached_property
    def scaler(self) -> Scaler | None:
        """What its autoscaling says; None where people say how many replicas there are."""
        return scaler_of(self.deployment)

    @property
    def stands(self) -> str:
        """The word at the head of the page: the health, or why a rollout that fares well does not move on."""
        return self.deployment.word

    @property
    def stands_since(self) -> datetime:
        """Since when that is so: a rollout does not move on since it came to its step."""
        rollout = self.deployment.under_way
        if rollout is not None and self.stands == RolloutState.PAUSED:
            return rollout.step_since
        return self.deployment.health_since

    @property
    def serves(self) -> str:
        """What serves now, in a sentence."""
        return serves(self.deployment)

    @functools.cached_property
    def revisions(self) -> list[RevisionRow]:
        """The newest revisions and how each stands."""
        rows = selectors.revisions_of(self.deployment)[:SHOWN_REVISIONS]
        return [self._revision_row(revision) for revision in rows]

    @functools.cached_property
    def heals(self) -> list[Heal]:
        """The latest losses of replicas and how they ended."""
        return list(selectors.heals_of(self.deployment)[:SHOWN_HEALS])

    @property
    def restarts(self) -> int:
        """How often the replicas that are there were restarted."""
        return sum(row.seen.restarts for row in self.replicas)

    @property
    def unhurt(self) -> str:
        """Why nothing stands in the list of heals, which people read beside replicas that were restarted."""
        if not self.restarts:
            return "No replica has gone down by itself."
        return f"Replicas were restarted {self.restarts}×, all of it before their revision was wholly rolled out."

    @property
    def made_by(self) -> str:
        """The author of the current revision."""
        return who(self.deployment.current.created_by) if self.deployment.current else ""

    @functools.cached_property
    def drift(self) -> list[DriftRow]:
        """The fields that were edited by hand on the cluster."""
        shown = [name for name in DriftRow._fields if name != "when"]
        return [
            DriftRow(**{name: edit[name] for name in shown}, when=moment(edit["at"])) for edit in self.deployment.drift
        ]

    @property
    def drift_count(self) -> str:
        """ "3 fields differ": how many, in words."""
        count = len(self.drift)
        return "1 field differs" if count == 1 else f"{count} fields differ"

    @property
    def health_text(self) -> str:
        """ "Healthy · 3 of 3 ready", with the word at the head of the page."""
        return f"{self.stands} · {self.ready}"

    @property
    def ready(self) -> str:
        """ "3 of 3 ready"; while two revisions serve beside each other, of those that both of them want."""
        return ready_of(self.deployment).said()

    @property
    def ready_there(self) -> str:
        """ "3 of 3 ready on eu"; "2 of 2 ready on eu; 1 on a target that can't be asked"."""
        asked = [place for place in self.deployment.places if not place.is_lost]
        return ready_of(self.deployment).said(f"ready on {_clusters_of(asked or self.deployment.places)}")

    @property
    def model(self) -> str:
        """The current model version."""
        deployment = self.deployment
        return model_text(deployment.current.spec, deployment.alias) if deployment.current else "–"

    @property
    def answers(self) -> bool:
        """Whether a replica is ready to be asked."""
        return self.deployment.ready_replicas > 0

    @functools.cached_property
    def recordings(self) -> list[tuple[Recording, str]]:
        """The requests that analyses send again, without what is in them, and who kept each."""
        rows = selectors.recordings_of(self.deployment).defer("body")
        return [(row, who(row.created_by)) for row in rows]

    @property
    def general_request(self) -> str:
        """A request as any model takes one."""
        return pretty(UNKNOWN)

    @property
    def options(self) -> list[words.Row]:
        """The options of the current revision's pods, without their container, and how they end."""
        return options_of(self.deployment.current.spec) if self.deployment.current else []

    @property
    def own_server(self) -> bool:
        """Whether Flotilla's own server serves."""
        return self.deployment.current is not None and is_own(self.deployment.current.spec["image"])

    @property
    def run_url(self) -> str:
        """The page of the run that made the current model."""
        return run_url(self.provenance)

    @property
    def model_deleted(self) -> bool:
        """Whether the version that is wanted now was deleted."""
        return self.deployment.current is not None and is_model_deleted(self.deployment.current)

    @functools.cached_property
    def silence(self) -> Silence:
        """What is said in the place of events, or beside them."""
        clusters = [place.target.cluster for place in self.deployment.places]
        return silence_of(clusters, self.now, otherwise=NOTHING_SAID)

    @functools.cached_property
    def events(self) -> list[EventRow]:
        """The cluster's events about the deployment."""
        return event_rows(selectors.events_of(self.deployment, self.pods), self.pods)

    @functools.cached_property
    def provenance(self) -> Revision | None:
        """The current revision with its model version and run."""
        if self.deployment.current_id is None:
            return None
        return selectors.revisions_of(self.deployment).filter(pk=self.deployment.current_id).first()

    def _revision_row(self, revision: Revision) -> RevisionRow:
        entry = self._entry(revision.number)
        state = revision_state(self.deployment, revision, entry, in_trouble=self.in_trouble)
        ready = ready_of_revision(self.deployment, revision.number) if entry["wanted"] or entry["existing"] else None
        return RevisionRow(revision, state, ready)


def _clusters_of(places: Iterable[Placement]) -> str:
    """ "gke-eu", or "3 clusters"."""
    names = {place.target.cluster.name for place in places}
    return next(iter(names)) if len(names) == 1 else f"{len(names)} clusters"


def _why(row: ReplicaRow, why: Why | None, now: datetime) -> Why | None:
    if why is not None:
        title = f"{row.name} {row.seen.restarted}" if row.seen.restarted else row.name
        return why.named(title, row.url)
    if row.seen.was_restarted_lately(now):
        title = f"{row.name} {row.seen.restarted}"
        return Why("Ready", "It is ready again.", title=title, url=row.url, at=row.seen.last_ended_at)
    return None
