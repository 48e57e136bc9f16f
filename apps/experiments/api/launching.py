"""What may be asked for when runs are launched in REST."""

from rest_framework import serializers

from apps.clusters.api.podoptions import PodOptionsSerializer
from apps.clusters.fit import Prefer
from apps.core.api.serializers import Strict
from apps.experiments.specs.files import FILES, VALUE
from apps.experiments.states import COUNTED


class RunResourcesSerializer(Strict):
    """Requests and limits of the one container."""

    cpu = serializers.CharField(required=False, help_text="Such as 500m or 2.")
    memory = serializers.CharField(required=False, help_text="Such as 512Mi.")
    gpu = serializers.IntegerField(required=False)


class GitSerializer(Strict):
    """A git repository, whose folder is the command's working directory."""

    url = serializers.CharField(help_text="https://…, without a login in it.")
    ref = serializers.CharField(required=False, help_text="A branch, a tag or a commit; the default branch otherwise.")
    folder = serializers.CharField(required=False, allow_blank=True, help_text="Within the repository.")
    secret = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="A Secret in the namespace with username and password, as of type kubernetes.io/basic-auth.",
    )


class TrainerSerializer(Strict):
    """What runs the run; an empty object is a Job."""

    trainer = serializers.CharField(
        required=False, allow_blank=True, help_text="A training runtime of Kubeflow Trainer, such as torch-distributed."
    )


class CheckpointsSerializer(Strict):
    """A directory that outlives the run's pods."""

    size = serializers.CharField(help_text="Of the volume, such as 20Gi.")
    storage_class = serializers.CharField(
        required=False, allow_blank=True, help_text="A StorageClass of the cluster; its default one otherwise."
    )
    path = serializers.CharField(required=False, help_text="Where it is mounted; /checkpoints by default.")


def _word() -> serializers.CharField:
    """A text that is taken as it is: blanks may be all that it is about."""
    return serializers.CharField(allow_blank=True, trim_whitespace=False)


class NewRunSerializer(PodOptionsSerializer):
    """A run to launch. The experiment is made when it is new. Without a cluster, any that fits is chosen."""

    project = serializers.CharField(required=False)
    experiment = serializers.CharField(max_length=500)
    name = serializers.CharField(required=False, max_length=250)
    image = serializers.CharField()
    command_line = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="What /bin/sh runs, as it is: &&, $HOME and pipes work. In place of command and args.",
    )
    command = serializers.ListField(
        child=_word(), required=False, help_text="Words that no shell reads; Kubernetes fills in $(NAME)."
    )
    args = serializers.ListField(child=_word(), required=False)
    git = GitSerializer(required=False, help_text="Fetched before the command runs in it.")
    env = serializers.DictField(child=_word(), required=False)
    resources = RunResourcesSerializer(required=False)
    deadline_seconds = serializers.IntegerField(
        required=False, allow_null=True, help_text="For all attempts together, from the first Job on."
    )
    workers = serializers.IntegerField(required=False, help_text="How many pods run it at once; 1 by default.")
    retries = serializers.IntegerField(
        required=False,
        help_text="How often a failure is tried again. Preemption, eviction and lost nodes always are, uncounted.",
    )
    retry_on = serializers.ListField(
        child=serializers.ChoiceField(choices=[cause.value for cause in COUNTED]),
        required=False,
        help_text='Which failures; ["error", "out-of-memory"] by default.',
    )
    cluster = serializers.CharField(
        required=False, allow_null=True, help_text="Without it, a cluster with room for all pods is chosen."
    )
    cluster_selector = serializers.DictField(
        child=serializers.CharField(allow_blank=True),
        required=False,
        help_text='In place of cluster: the labels that the chosen one has, such as {"region": "eu"}.',
    )
    prefer = serializers.ChoiceField(
        choices=[word.value for word in Prefer],
        required=False,
        help_text="In place of cluster: the lowest price, or the most room, among those that fit; price by default.",
    )
    queue = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="A LocalQueue of Kueue in the namespace, on a cluster that is named: it says when the run begins.",
    )
    runtime = TrainerSerializer(
        required=False, help_text="Kubeflow Trainer runs it as a TrainJob, on a cluster that is named and has it."
    )
    checkpoints = CheckpointsSerializer(
        required=False,
        help_text="A directory, told by FLOTILLA_CHECKPOINTS, that all attempts on a cluster find as they left it. It "
        "is deleted with the run, for good.",
    )
    inputs = serializers.DictField(
        required=False,
        help_text='Files that are there when it begins: {"data": "runs:/<run>/<path of an artifact>"}, or a list of '
        "them, below $FLOTILLA_INPUTS.",
    )
    outputs = serializers.DictField(
        child=serializers.ChoiceField(choices=[FILES, VALUE]),
        required=False,
        help_text="What is kept of $FLOTILLA_OUTPUTS when it has ended, by name: files as artifacts below outputs/, a "
        "value as a metric or a tag.",
    )
    params = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    tags = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)
    matrix = serializers.DictField(
        child=serializers.ListField(child=_word()),
        required=False,
        help_text='{"LR": ["0.1", "0.01"], "DEPTH": ["3", "5"]} launches a run for each combination, 500 at most. A '
        "value is a param of its run and a variable of its environment; the runs share the tag flotilla.matrix.",
    )


class NewRunsSerializer(Strict):
    """Several runs to launch, all or none of them."""

    project = serializers.CharField(required=False)
    runs = NewRunSerializer(many=True)
