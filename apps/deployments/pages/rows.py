"""The lines of the tables on a deployment's page, and the words in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from apps.clusters.models import KubeEvent, Pod
from apps.clusters.podoptions import words
from apps.clusters.why.probes import is_startup
from apps.core.states import Health
from apps.core.text.wording import duration_text
from apps.deployments.health import ReplicaSeen
from apps.deployments.models import Deployment, Placement, Revision, Rollout, Stage
from apps.deployments.pages.mirrors import IN_PREVIEW, had_by, mirrored
from apps.deployments.pages.ready import LAST_SEEN, Ready, ready_on, revision_on
from apps.deployments.pages.spread import note_of
from apps.deployments.rollout.traffic import Phase
from apps.deployments.states import DeploymentState, RevisionState, RolloutState


@dataclass(frozen=True)
class RevisionRow:
    """One line of the table of revisions."""

    revision: Revision
    state: str
    # None where nothing of it is there.
    ready: Ready | None

    @property
    def model(self) -> str:
        """The model version with the alias under which it was asked for; the image where none is served."""
        spec = self.revision.spec
        return model_text(spec, self.revision.alias) if spec.get("model") else str(spec.get("image", "–"))

    @property
    def was_taken_back(self) -> bool:
        """Whether the rollout that brought it failed or was aborted."""
        return self.state in (RolloutState.FAILED, RolloutState.ABORTED)

    @property
    def model_deleted(self) -> bool:
        """Whether the model version that it serves was deleted."""
        return is_model_deleted(self.revision)

    @property
    def metric(self) -> Any:
        """The first figure of the run that made the model, by name; None where there is none."""
        version = self.revision.model_version
        return next(iter(version.run.latest_metrics.all()), None) if version and version.run else None

    @property
    def by(self) -> str:
        """The author of the revision."""
        return who(self.revision.created_by)


@dataclass(frozen=True)
class ReplicaRow:
    """One replica: its pod, and what is said of it."""

    pod: Pod
    seen: ReplicaSeen
    url: str
    young: bool
    stale: bool = False
    """Whether its target can't be asked now."""

    @property
    def name(self) -> str:
        """The pod's name."""
        return self.pod.name

    @property
    def state(self) -> str:
        """The word that the square shows: the reason where it is not well, for that tells more."""
        return Health.UNKNOWN if self.stale else self._was

    @property
    def _was(self) -> str:
        # One that ends again and again is ready at the beginning of each try, and not well.
        well = self.pod.ready and self.pod.health != Health.DEGRADED
        return "Ready" if well else (self.pod.reason or self.pod.health)

    @property
    def detail(self) -> str:
        """How it was where that is all that is known, revision, node and the last restart."""
        was = f"{self._was} {LAST_SEEN}" if self.stale else ""
        parts = [was, f"revision {self.pod.revision}", self.pod.node_name, self.seen.restarted]
        return ", ".join(part for part in parts if part)


class PlaceRow(NamedTuple):
    """A placement, and its stage of the rollout that is under way."""

    place: Placement
    stage: Stage | None

    @property
    def note(self) -> tuple[str, datetime | None]:
        """What the spread does of it, and when, where that is still to come."""
        return note_of(self.place)

    @property
    def leaves(self) -> bool:
        """Whether the deployment is being taken off this target."""
        return self.place.state == DeploymentState.DELETING

    @property
    def share(self) -> str:
        """ "20 %, now 25 %": the share of the coming revision, as wanted and as had; "" where none comes."""
        if self.stage is None:
            return ""
        if self.stage.phase == Phase.PREVIEW:
            return IN_PREVIEW
        if self.stage.mirror:
            return mirrored(self.stage.mirror, had_by(self.place))
        actual = self.stage.actual
        if actual is None or actual == self.stage.weight:
            return f"{self.stage.weight} %"
        return f"{self.stage.weight} %, now {actual} %"

    @property
    def ready(self) -> Ready:
        """The ready replicas of those that are wanted there now, or as last seen."""
        return ready_on(self.place)

    @property
    def revision(self) -> str:
        """ "1 → 2": the revision that shall be there, the one that comes, and what else is there where the cluster
        can't be asked to take it away."""
        place = self.place
        coming = f" → {place.coming.number}" if self.stage is not None and place.share and place.coming else ""
        return f"{place.stable.number if place.stable else '–'}{coming}{revision_on(place)}"

    @property
    def said(self) -> str:
        """What there is to say of it beside its health."""
        if self.stage is not None and self.stage.trouble:
            return self.stage.trouble
        return self.place.message


class DriftRow(NamedTuple):
    """One field that is not as it was applied, and who holds it since when, as far as that is known."""

    object: str
    field: str
    kind: str
    applied: str
    found: str
    manager: str
    when: datetime | None


class EventRow(NamedTuple):
    """An event with the state word that gives it its look."""

    event: KubeEvent
    state: str


def who(label: str) -> str:
    """A caller's label without the token that they used."""
    return label.partition(" (token")[0]


def event_rows(events: Iterable[KubeEvent], pods: Iterable[Pod]) -> list[EventRow]:
    """Events with their look: warnings stand out, but for probes that fail while a program is being started."""
    started = {pod.name: pod.started_at for pod in pods}
    return [
        EventRow(
            event,
            "Warning"
            if event.type == "Warning"
            and not is_startup(event.message, event.last_at, started.get(event.involved_name))
            else "Idle",
        )
        for event in events
    ]


def rollout_stands(deployment: Deployment, rollout: Rollout, *, in_trouble: bool) -> str:
    """A rollout in a word: its state, and no progress where what it brings is in trouble.

    What is wrong with the replicas that it takes away is told by the deployment's health: as with Argo, the rollout
    goes on all the same, and may be what mends it.
    """
    is_held_up = rollout.state == RolloutState.PROGRESSING and deployment.health == Health.DEGRADED and in_trouble
    return RolloutState.DEGRADED if is_held_up else rollout.state


def coming_of(deployment: Deployment) -> str:
    """The number of the revision whose replicas are marked as coming, as pods tell it; "" where none rolls out."""
    rollout = deployment.under_way
    return str(rollout.to_revision.number) if rollout is not None else ""


def model_text(spec: dict[str, Any], alias: str) -> str:
    """`digits:4 @champion`, with the alias that it was asked for by, or a dash where no registered model is served."""
    model = spec.get("model")
    if not model:
        return "–"
    return f"{model['name']}:{model['version']}" + (f" @{alias}" if alias else "")


def is_model_deleted(revision: Revision) -> bool:
    """Whether it serves a model version that was deleted since."""
    return bool(revision.spec.get("model")) and revision.model_version_id is None


def options_of(spec: Mapping[str, Any]) -> list[words.Row]:
    """The options in a revision's spec, without its container."""
    rows, shutdown = words.rows(spec), spec.get("shutdown")
    if shutdown:
        drain, grace = (duration_text(float(shutdown[name])) for name in ("drain_seconds", "grace_seconds"))
        drains = f"drains for {drain}" if shutdown["drain_seconds"] else "ends when it is told to"
        rows.append(words.Row("Shutdown", [f"{drains}, killed after {grace}"], prose=True))
    if spec.get("model_path"):
        rows.append(words.Row("Model's files", [f"fetched to {spec['model_path']} before it starts"], prose=True))
    return rows


def revision_state(deployment: Deployment, revision: Revision, entry: dict[str, int], *, in_trouble: bool) -> str:
    """How a revision stands; `entry` is what was observed of its replicas, `in_trouble` those that a rollout brings."""
    rollout = deployment.under_way
    if rollout is not None and revision.pk == rollout.to_revision_id:
        return rollout_stands(deployment, rollout, in_trouble=in_trouble)
    if revision.pk == deployment.current_id and rollout is None:
        return deployment.health
    if any(place.stable_id == revision.pk and place.share.weight < 100 for place in deployment.places):
        return RevisionState.SERVING
    if entry["existing"]:
        return RevisionState.RETIRING
    was = getattr(revision, "rollout_state", "")
    return was if was in (RolloutState.FAILED, RolloutState.ABORTED) else RevisionState.RETIRED
