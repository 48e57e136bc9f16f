"""How experiments, runs and models look in REST, and what may be asked for."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.clusters.selectors.visibility import Visibility
from apps.clusters.why import Why
from apps.core.api.serializers import Strict
from apps.core.api.shown import Shown
from apps.experiments.api.places import PlacingSerializer, RunPlacingSerializer
from apps.experiments.mlflow.render import number
from apps.experiments.models import Attempt, Experiment, ModelVersion, RegisteredModel, Run, RunPackages
from apps.experiments.pages.whys import whys_of
from apps.experiments.selectors import Logged, logged_by

_NUMBER = {"oneOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


class ExperimentSerializer(Shown, serializers.ModelSerializer[Experiment]):
    """An experiment with how many runs it has."""

    experiment_id = serializers.CharField(source="pk", help_text="As MLflow names it.")
    project = serializers.CharField(source="project.name")
    tags = serializers.DictField(child=serializers.CharField())
    run_count = serializers.IntegerField(default=0)
    active_count = serializers.IntegerField(default=0)
    failed_count = serializers.IntegerField(default=0)
    last_run_at = serializers.DateTimeField(default=None, allow_null=True)

    class Meta:
        model = Experiment
        fields = (
            "experiment_id", "project", "name", "tags", "run_count", "active_count", "failed_count", "last_run_at",
            "created_by", "created_at", "updated_at",
        )  # fmt: skip

    def to_representation(self, instance: Experiment) -> dict[str, Any]:
        """Counts of an experiment without runs are 0, not null."""
        shown = super().to_representation(instance)
        return {key: 0 if value is None and key.endswith("_count") else value for key, value in shown.items()}


class NewExperimentSerializer(Strict):
    """The wish for a new experiment."""

    project = serializers.CharField(required=False)
    name = serializers.CharField(max_length=500)
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)


class RenameSerializer(Strict):
    """Another name."""

    name = serializers.CharField(max_length=500)


class AttemptPodSerializer(serializers.Serializer[Any]):
    """One pod of an attempt, as last seen."""

    name = serializers.CharField()
    index = serializers.IntegerField(allow_null=True, help_text="Its number among several workers.")
    node = serializers.CharField(allow_blank=True)
    state = serializers.CharField()
    exit_code = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    message = serializers.CharField(allow_blank=True)
    image_id = serializers.CharField(
        allow_blank=True, default="", help_text="The image as its node pulled it, with its digest."
    )
    commit = serializers.CharField(allow_blank=True, default="", help_text="That was fetched, where git is asked for.")
    node_kind = serializers.DictField(
        child=serializers.CharField(),
        default=dict,
        help_text="As the node's labels tell it: instance_type, gpu, arch; without what they don't.",
    )
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class AttemptSerializer(serializers.ModelSerializer[Attempt]):
    """One try of a run: a Job, its pods, how it ended. `cause` is what a retry policy chooses by."""

    cluster = serializers.CharField(source="cluster.name", default=None, allow_null=True)
    nodes = serializers.ListField(child=serializers.CharField())
    pods = AttemptPodSerializer(many=True)

    class Meta:
        model = Attempt
        fields = (
            "number", "state", "reason", "message", "cause", "exit_code", "cluster", "namespace", "job_name", "nodes",
            "pods", "created_at", "started_at", "ended_at", "log",
        )  # fmt: skip


class RunSerializer(Shown, serializers.ModelSerializer[Run]):
    """A run with its latest values."""

    run_id = serializers.CharField(source="uid")
    project = serializers.CharField(source="project_name")
    experiment = serializers.CharField(source="experiment_name")
    cluster = serializers.CharField(source="cluster_name", default=None, allow_null=True)
    cluster_selector = serializers.SerializerMethodField()
    placement = serializers.SerializerMethodField()
    rerun_of = serializers.CharField(source="rerun_of_uid", default=None, allow_null=True)
    waits_since = serializers.DateTimeField(
        default=None,
        allow_null=True,
        help_text="Since when a launched run waits to run, while it does.",
    )
    message = serializers.SerializerMethodField()
    spec = serializers.DictField()
    metrics = serializers.SerializerMethodField()
    params = serializers.SerializerMethodField()
    tags = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = (
            "run_id", "project", "experiment", "name", "kind", "state", "reason", "message", "exit_code", "metrics",
            "params", "tags", "spec", "cluster", "cluster_selector", "placement",
            "namespace", "rerun_of", "created_by", "client_user", "created_at", "waits_since", "started_at",
            "ended_at", "retry_at",
        )  # fmt: skip

    @extend_schema_field({"type": ["object", "null"], "additionalProperties": {"type": "string"}})
    def get_cluster_selector(self, run: Run) -> dict[str, str] | None:
        """The labels that any cluster has to have; null where the cluster was named."""
        return None if run.anywhere is None else dict(run.anywhere["selector"])

    @extend_schema_field(RunPlacingSerializer(allow_null=True))
    def get_placement(self, run: Run) -> dict[str, Any] | None:
        """Where the last attempt was placed and why; null where the cluster was named, or none was looked for yet."""
        return run.placing or None

    def get_message(self, run: Run) -> str:
        """Why it waits or is unwell, in the words of its page, while it does; else what was recorded of it."""
        why: Why | None = run.why  # type: ignore[attr-defined]
        return why.quoted if why is not None else run.message

    @extend_schema_field({"type": "object", "additionalProperties": _NUMBER})
    def get_metrics(self, run: Run) -> dict[str, float | str]:
        """The latest value of each metric."""
        return {key: number(value) for key, value in _logged(run).metrics.items()}

    @extend_schema_field(_TEXTS)
    def get_params(self, run: Run) -> dict[str, str]:
        """The params."""
        return _logged(run).params

    @extend_schema_field(_TEXTS)
    def get_tags(self, run: Run) -> dict[str, str]:
        """The tags."""
        return _logged(run).tags


def _logged(run: Run) -> Logged:
    logged: Logged = run.logged  # type: ignore[attr-defined]
    return logged


def shown_runs(
    runs: Sequence[Run], sight: Visibility | None = None, serializer: type[RunSerializer] = RunSerializer
) -> list[dict[str, Any]]:
    """Runs of `selectors.runs_for_rest` with what they logged, and why they wait as far as the reader's `sight` goes;
    nothing is asked of runs that have only been launched. One query where none waits, else as many for one as for all.
    """
    logged, whys = logged_by(runs), whys_of(runs, sight) if sight is not None else {}
    for run in runs:
        run.logged = logged[run.pk]  # type: ignore[attr-defined]
        run.why = whys.get(run.pk)  # type: ignore[attr-defined]
    shown: Any = serializer(runs, many=True).data
    return list(shown)


class PackagesSerializer(serializers.ModelSerializer[RunPackages]):
    """The Python packages of a run."""

    path = serializers.CharField(
        help_text="Of the list among the run's files; or a model that it logged, and the list."
    )
    whole = serializers.BooleanField(help_text="Whether it lists all that was installed, not only what a model needs.")
    versions = serializers.DictField(child=serializers.CharField(), help_text='By name; "python" is the interpreter.')

    class Meta:
        model = RunPackages
        fields = ("path", "whole", "versions")


class RunDetailSerializer(RunSerializer):
    """A run with its latest values, its packages and its attempts."""

    packages = serializers.SerializerMethodField()
    attempts = AttemptSerializer(many=True)

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "packages", "attempts")  # type: ignore[assignment]

    @extend_schema_field(PackagesSerializer(allow_null=True))
    def get_packages(self, run: Run) -> dict[str, Any] | None:
        """What was installed where it ran; null where no list of it came."""
        packages = getattr(run, "packages", None)
        return None if packages is None else dict(PackagesSerializer(packages).data)


class LaunchedSerializer(serializers.Serializer[Any]):
    """Runs that were launched together."""

    runs = RunSerializer(many=True)


class LaunchPreviewSerializer(serializers.Serializer[Any]):
    """The Kubernetes objects that a launch would make; each run gets its own number in place of 0."""

    dry_run = serializers.BooleanField()
    objects = serializers.ListField(child=serializers.DictField())
    placements = PlacingSerializer(
        many=True, allow_null=True, help_text="Where each run would go now; null for one whose cluster is named."
    )


class RunLogSerializer(serializers.Serializer[Any]):
    """The end of a run's log."""

    run_id = serializers.CharField()
    log = serializers.CharField(allow_blank=True)
    ended = serializers.BooleanField(help_text="Whether nothing more will come.")
    note = serializers.CharField(allow_blank=True)
    attempt = serializers.IntegerField(allow_null=True, help_text="Whose log it is.")
    pod = serializers.CharField(allow_blank=True, help_text="Empty where the lines are those that were kept.")


class PointSerializer(serializers.Serializer[Any]):
    """One logged value; `timestamp` in milliseconds since the epoch."""

    step = serializers.IntegerField()
    timestamp = serializers.IntegerField()
    value = serializers.SerializerMethodField("shown_value")

    @extend_schema_field(_NUMBER)
    def shown_value(self, point: dict[str, Any]) -> float | str:
        """The value."""
        return number(point["value"])


class SeriesSerializer(serializers.Serializer[Any]):
    """The curve of one metric, thinned where it is long."""

    key = serializers.CharField()
    points = PointSerializer(many=True)


class RunMetricsSerializer(serializers.Serializer[Any]):
    """The curves of a run."""

    run_id = serializers.CharField()
    series = SeriesSerializer(many=True)


class ModelSerializer(serializers.ModelSerializer[RegisteredModel]):
    """A registered model."""

    project = serializers.CharField(source="project.name")
    tags = serializers.DictField(child=serializers.CharField())
    aliases = serializers.SerializerMethodField()
    version_count = serializers.IntegerField(default=0)
    latest_version = serializers.IntegerField(source="newest", default=None, allow_null=True)

    class Meta:
        model = RegisteredModel
        fields = (
            "project", "name", "description", "tags", "aliases", "version_count", "latest_version", "created_by",
            "created_at", "updated_at",
        )  # fmt: skip

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
    def get_aliases(self, model: RegisteredModel) -> dict[str, int]:
        """The version of each alias."""
        return {alias.name: alias.version.version for alias in model.aliases.all()}

    def to_representation(self, instance: RegisteredModel) -> dict[str, Any]:
        """A model without versions has 0 of them, not null."""
        shown = super().to_representation(instance)
        return {**shown, "version_count": shown["version_count"] or 0}


class NewModelSerializer(Strict):
    """The wish for a new model."""

    project = serializers.CharField(required=False)
    name = serializers.CharField(max_length=250)
    description = serializers.CharField(required=False, allow_blank=True)
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)


class DescriptionSerializer(Strict):
    """Another description or tags; a tag of null is removed."""

    description = serializers.CharField(required=False, allow_blank=True)
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True, allow_null=True), required=False)


class VersionSerializer(serializers.ModelSerializer[ModelVersion]):
    """A version of a model."""

    project = serializers.CharField(source="model.project.name")
    model = serializers.CharField(source="model.name")
    run_id = serializers.CharField(source="run.uid", default=None, allow_null=True)
    location = serializers.CharField(help_text="Where its files are, if Flotilla does not keep them; else empty.")
    stage = serializers.CharField(help_text="As MLflow's clients set it: None, Staging, Production or Archived.")
    experiment = serializers.CharField(source="run.experiment.name", default=None, allow_null=True)
    tags = serializers.DictField(child=serializers.CharField())
    aliases = serializers.SerializerMethodField()
    metrics = serializers.SerializerMethodField()

    class Meta:
        model = ModelVersion
        fields = (
            "project", "model", "version", "state", "stage", "run_id", "experiment", "source", "artifact_path",
            "location", "description", "tags", "aliases", "metrics", "created_by", "created_at", "updated_at",
        )  # fmt: skip

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_aliases(self, version: ModelVersion) -> list[str]:
        """The aliases that point here."""
        return [alias.name for alias in version.aliases.all()]

    @extend_schema_field({"type": "object", "additionalProperties": _NUMBER})
    def get_metrics(self, version: ModelVersion) -> dict[str, float | str]:
        """The latest metrics of the source run."""
        if version.run is None:
            return {}
        return {metric.key: number(metric.value) for metric in version.run.latest_metrics.all()}


class VersionFileSerializer(serializers.Serializer[Any]):
    """A file of a model version; `path` is relative to the version's folder."""

    path = serializers.CharField()
    size = serializers.IntegerField(help_text="In bytes.")
    sha256 = serializers.CharField(help_text="In hexadecimal digits; empty of files from before it was kept.")


class VersionFilesSerializer(serializers.Serializer[Any]):
    """The folder that a model version is, as a URI for MLflow's clients, and all files in it."""

    uri = serializers.CharField()
    files = VersionFileSerializer(many=True)


class NewVersionSerializer(Strict):
    """The source of the next version: a model that the run logged, or a folder of its artifacts."""

    project = serializers.CharField(required=False)
    run_id = serializers.CharField(min_length=32, max_length=32)
    artifact_path = serializers.CharField(required=False, allow_blank=True, max_length=1000)
    description = serializers.CharField(required=False, allow_blank=True)
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)


class AliasSerializer(Strict):
    """The version that an alias points at."""

    version = serializers.IntegerField(min_value=1)


class NewAliasSerializer(AliasSerializer):
    """An alias and its version."""

    project = serializers.CharField(required=False)
    alias = serializers.CharField(max_length=250)
