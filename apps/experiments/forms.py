"""Forms of the pages. They turn text into what services take; services check it."""

from typing import Any

from django import forms

from apps.clusters.models import Cluster
from apps.clusters.pages.optionfields import PodOptionsForm
from apps.core.pages.formfields import amount, gpus
from apps.core.pages.formtext import pairs, words
from apps.experiments.specs import MAX_RETRIES, MAX_WORKERS


class LaunchForm(PodOptionsForm):
    """A run to launch."""

    experiment = forms.CharField(max_length=500, help_text="Made when it is new.")
    name = forms.CharField(max_length=250, required=False, help_text="A name for this run.")
    image = forms.CharField(max_length=500, help_text="Such as python:3.11.")
    command = forms.CharField(
        max_length=10_000,
        required=False,
        help_text="As in a shell: python train.py --alpha 0.1. An MLflow client in it is set up for this run.",
    )
    cluster = forms.ChoiceField()
    cpu = amount("CPU", "1", "Cores, such as 500m or 2.")
    memory = amount("Memory", "1Gi", "Such as 512Mi or 2Gi.")
    gpu = gpus()
    deadline_minutes = forms.IntegerField(
        label="Stop after, in minutes", min_value=1, required=False, help_text="Empty: as long as it takes."
    )
    retries = forms.IntegerField(
        label="Try a failure again",
        min_value=0,
        max_value=MAX_RETRIES,
        required=False,
        help_text="How often; empty: never. What is preempted, evicted or loses its node always is.",
    )
    workers = forms.IntegerField(
        label="Pods at once",
        min_value=1,
        max_value=MAX_WORKERS,
        required=False,
        help_text="Empty: one. Several find their number in JOB_COMPLETION_INDEX.",
    )
    params = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text="name=value, one a line: recorded with the run.",
    )
    env = forms.CharField(
        label="Environment",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text="NAME=value, one a line. No secrets: anyone in the project can read them.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = Cluster.objects.filter(enabled=True).order_by("name").values_list("name", flat=True)
        self.fields["cluster"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

    def clean_command(self) -> list[str]:
        """Words as a shell would split them."""
        return words(self.cleaned_data["command"])

    def clean_params(self) -> dict[str, str]:
        """Pairs out of lines."""
        return pairs(self.cleaned_data["params"])

    def clean_env(self) -> dict[str, str]:
        """Pairs out of lines."""
        return pairs(self.cleaned_data["env"])

    def wish(self) -> dict[str, Any]:
        """What `services.launch_wish` takes."""
        values = self.cleaned_data
        wish = {key: values[key] for key in ("experiment", "name", "image", "command", "cluster", "params", "env")}
        wish |= self.options()
        wish["resources"] = {"cpu": values["cpu"], "memory": values["memory"], "gpu": values["gpu"] or 0}
        if values["deadline_minutes"]:
            wish["deadline_seconds"] = values["deadline_minutes"] * 60
        return wish | {name: values[name] for name in ("retries", "workers") if values[name] is not None}


class RegisterForm(forms.Form):
    """Which model a run's files become a version of."""

    model = forms.CharField(max_length=250, help_text="Made when it is new.")
    artifact_path = forms.ChoiceField(label="Files")

    def __init__(self, *args: Any, sources: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["artifact_path"].choices = [(source, source) for source in sources]  # type: ignore[attr-defined]


class AliasForm(forms.Form):
    """A name for one version."""

    alias = forms.CharField(max_length=250, help_text="Such as champion. It moves when it is set already.")
    version = forms.ChoiceField()

    def __init__(self, *args: Any, versions: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["version"].choices = [(number, f"version {number}") for number in versions]  # type: ignore[attr-defined]
