"""Everything that a run's page shows."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.urls import reverse
from django.utils import timezone

from apps.clusters.models import KubeEvent, Pod
from apps.clusters.pages.silence import NOTHING_SAID, Silence, silence_of
from apps.clusters.podoptions import words
from apps.clusters.podoptions.words import Row
from apps.clusters.selectors.visibility import visibility_of
from apps.clusters.why import Why
from apps.core.access import Principal, may
from apps.core.database.transitions import transitions_of
from apps.core.models import Transition
from apps.experiments import selectors
from apps.experiments.files import artifacts
from apps.experiments.files.filetree import Files, file_trees
from apps.experiments.models import (
    Attempt,
    DatasetInput,
    Experiment,
    LatestMetric,
    LoggedModel,
    ModelVersion,
    Run,
    RunPackages,
    Tag,
)
from apps.experiments.models.waiting import waiting_since
from apps.experiments.pages.madeof import made_of
from apps.experiments.pages.panels.curveset import CurveSet
from apps.experiments.pages.panels.keys import prominence
from apps.experiments.pages.panels.lineage import Step, lineage_of
from apps.experiments.pages.whys import last_lines, told, why_of, why_of_attempt
from apps.experiments.services.notes import NOTE
from apps.experiments.specs.commands import Command, expanded, of_spec
from apps.experiments.specs.places import Placing
from apps.experiments.states import FAILURES, SETTLED, RunKind, RunState
from apps.experiments.tracking.tags import own_first

# What a client of MLflow logs of its machine begins so.
SYSTEM = "system/"
MAX_SOURCES = MAX_VERSIONS = 50
FAILURE_LINES = 12


def may_change(principal: Principal, experiment: Experiment) -> bool:
    """Whether the viewer sees buttons that change something."""
    return may(principal, experiment.project)


OVERVIEW = "overview"
TABS = {
    OVERVIEW: "Overview",
    "charts": "Charts",
    "system": "System",
    "artifacts": "Artifacts",
    "logs": "Logs",
    "pods": "Pods",
    "lineage": "Lineage",
}
# Parts that only a run has that Flotilla runs.
OF_LAUNCHED = ("logs", "pods")


@dataclass(frozen=True)
class Tab:
    """A part of a run's page, at an address of its own."""

    name: str
    label: str
    url: str


@dataclass(frozen=True)
class PodRow:
    """One pod of an attempt; `known` is its observed row while there is one."""

    name: str
    state: str
    node: str
    note: str
    known: Pod | None


@dataclass(frozen=True)
class Try:
    """One attempt as the page lists it; `why` is one sentence, empty where all is well."""

    attempt: Attempt
    why: str
    pods: list[PodRow]


def _try(run: Run, attempt: Attempt, known: dict[str, Pod]) -> Try:
    reading = why_of_attempt(run, attempt)
    why = reading.sentence if reading is not None else attempt.message
    pods = [
        PodRow(
            str(pod["name"]),
            str(pod["state"]),
            str(pod.get("node") or ""),
            f"exit code {pod['exit_code']}" if pod.get("exit_code") else str(pod.get("reason") or ""),
            known.get(str(pod["name"])),
        )
        for pod in attempt.pods
    ]
    return Try(attempt, why, pods)


class RunBoard:
    """Everything about one run."""

    def __init__(self, run: Run, principal: Principal) -> None:
        self.run = run
        self._principal = principal

    @cached_property
    def may_change(self) -> bool:
        """Whether the viewer may cancel, repeat and register."""
        return may_change(self._principal, self.run.experiment)

    @property
    def settled(self) -> bool:
        """Whether nothing will change by itself."""
        return self.run.state in SETTLED

    @property
    def may_cancel(self) -> bool:
        """Whether Cancel makes sense."""
        return self.may_change and self.launched and not self.settled and self.run.state != RunState.CANCELING

    @property
    def may_delete(self) -> bool:
        """Whether it may be put into the bin: nobody knows whether a program elsewhere will ever say that it ended."""
        return self.may_change and (self.settled or not self.launched)

    @cached_property
    def waits_again(self) -> datetime | None:
        """Since when it waits after it had run; None where it runs, or never ran."""
        return waiting_since([self.run]).get(self.run.pk) if self.run.started_at is not None else None

    @property
    def silence(self) -> Silence:
        """What is said in the place of events, or beside them: since when a cluster of a run that goes on is silent."""
        cluster = self.run.cluster if not self.settled else None
        return silence_of([cluster] if cluster is not None else [], timezone.now(), otherwise=NOTHING_SAID)

    @property
    def launched(self) -> bool:
        """Whether Flotilla runs it."""
        return self.run.kind == RunKind.LAUNCHED

    @property
    def failed(self) -> bool:
        """Whether the page begins with why."""
        return self.run.state in FAILURES

    @property
    def verdict(self) -> str:
        """One sentence beside the status; nothing where the card below it says why."""
        return "" if self.why is not None or self.settled else self.run.message

    @property
    def told(self) -> str:
        """Why it failed, in the sentence that the overview has, too."""
        return told(self.run, self.last)

    @cached_property
    def why(self) -> Why | None:
        """Why it waits, is unwell or failed: one sentence with its evidence; None when all is well."""
        if not self.launched:
            return None
        return why_of(self.run, self.attempts, self.pods, visibility_of(self._principal))

    @property
    def last_lines(self) -> str:
        """The end of the kept log."""
        return "\n".join(last_lines(self.last)[-FAILURE_LINES:])

    @cached_property
    def metrics(self) -> list[LatestMetric]:
        """The latest values."""
        return sorted(self.run.latest_metrics.all(), key=lambda metric: prominence(metric.key))

    @cached_property
    def charts(self) -> CurveSet:
        """The curves of what it measured."""
        return CurveSet(self.run, [metric for metric in self.metrics if not metric.key.startswith(SYSTEM)])

    @cached_property
    def system(self) -> CurveSet:
        """The curves of the machine that it ran on, as MLflow's client logs them."""
        return CurveSet(self.run, [metric for metric in self.metrics if metric.key.startswith(SYSTEM)])

    @property
    def lineage(self) -> list[Step]:
        """What led to it, and what came of it."""
        return lineage_of(self.run)

    @property
    def tabs(self) -> list[Tab]:
        """The parts of its page."""
        args = [self.run.experiment.project.name, self.run.uid]
        shown = [name for name in TABS if self.launched or name not in OF_LAUNCHED]
        return [
            Tab(
                name,
                TABS[name],
                reverse("experiments:run" if name == OVERVIEW else f"experiments:run_{name}", args=args),
            )
            for name in shown
        ]

    @cached_property
    def params(self) -> list[Any]:
        """The params by name."""
        return list(self.run.params.order_by("key"))

    @cached_property
    def datasets(self) -> list[DatasetInput]:
        """The datasets that it was given."""
        return list(self.run.dataset_inputs.select_related("dataset").defer("dataset__schema", "dataset__profile")[:20])

    @cached_property
    def packages(self) -> RunPackages | None:
        """What was installed where it ran, where that is known."""
        return selectors.packages_of([self.run]).get(self.run.pk)

    @cached_property
    def tags(self) -> list[Any]:
        """The tags by name, those of the client's own book-keeping last; the note stands by itself."""
        tags = [tag for tag in self._every_tag if tag.key != NOTE]
        return sorted(tags, key=lambda tag: own_first(tag.key))

    @cached_property
    def _every_tag(self) -> list[Tag]:
        return list(self.run.tags.all())

    @property
    def note(self) -> str:
        """What people wrote about it, in Markdown."""
        return next((tag.value for tag in self._every_tag if tag.key == NOTE), "")

    @cached_property
    def logged_models(self) -> list[LoggedModel]:
        """The models that it logged."""
        return list(self.run.logged_models.filter(deleted_at=None).order_by("-id")[:10])

    @cached_property
    def files(self) -> list[Files]:
        """Its own files, then those of each logged model."""
        return file_trees(self.run, self.logged_models)

    @cached_property
    def sources(self) -> list[str]:
        """The sources that can be registered: logged models, and folders that hold an MLmodel."""
        names = [model.name for model in self.logged_models]
        marks = (
            artifacts.artifacts_of(self.run)
            .filter(path__endswith="/MLmodel")
            .order_by("path")
            .values_list("path", flat=True)
        )
        return list(dict.fromkeys([*names, *(path.rpartition("/")[0] for path in marks[:MAX_SOURCES])]))

    @property
    def offers_versions(self) -> bool:
        """Whether the viewer may make a model version of what it kept."""
        return self.may_change and bool(self.sources)

    @cached_property
    def versions(self) -> list[ModelVersion]:
        """The model versions that were made from it."""
        return list(self.run.model_versions.select_related("model").order_by("-id")[:MAX_VERSIONS])

    @cached_property
    def trace_count(self) -> int:
        """How many traces belong to it."""
        return self.run.trace_links.count()

    @property
    def trace_filter(self) -> str:
        """The filter that finds them."""
        return f"run_id = '{self.run.uid}'"

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Its attempts by number."""
        return selectors.attempts_of(self.run) if self.launched else []

    @property
    def options(self) -> list[Row]:
        """What it was made of, and what was asked for its pods."""
        return [*made_of(self.run, self.attempts), *words.rows(self.run.spec)]

    @property
    def last(self) -> Attempt | None:
        """The attempt that counts."""
        return self.attempts[-1] if self.attempts else None

    @cached_property
    def tries(self) -> list[Try]:
        """The attempts as the page lists them, the newest first; those that only one pod tells of leave pods out."""
        pods = {pod.name: pod for pod in self.pods}
        return [_try(self.run, each, pods) for each in reversed(self.attempts)]

    @property
    def several(self) -> bool:
        """Whether there is more to tell than of one attempt with one pod."""
        return len(self.attempts) > 1 or (bool(self.attempts) and len(self.attempts[0].pods) > 1)

    @cached_property
    def pods(self) -> list[Pod]:
        """Its pods as last observed."""
        return selectors.pods_of(self.run)

    @cached_property
    def events(self) -> list[tuple[KubeEvent, str]]:
        """The cluster's events, each with the state word that gives its look."""
        return [
            (event, "Warning" if event.type == "Warning" else "Idle")
            for event in selectors.events_of(self.run, self.attempts, self.pods)
        ]

    @cached_property
    def history(self) -> list[Transition]:
        """Its states, newest first."""
        return list(reversed(transitions_of(self.run)))

    @property
    def placing(self) -> Placing | None:
        """Where Flotilla has placed it, and why; None where its cluster was named, or none has room yet."""
        placing = Placing.from_json(self.run.placing)
        return placing if placing is not None and placing.cluster else None

    @property
    def command(self) -> Command | None:
        """The container's command; None where its image alone decides."""
        return of_spec(self.run.spec)

    @property
    def is_expanded(self) -> bool:
        """Whether Kubernetes replaces something in the words of the command."""
        return expanded([*self.run.spec.get("command", []), *self.run.spec.get("args", [])])

    @property
    def ended(self) -> Any:
        """When it ended, for the ticking duration: a run that never started has none."""
        return self.run.ended_at or (timezone.now() if self.settled else None)
