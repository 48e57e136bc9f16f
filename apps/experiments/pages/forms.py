"""Forms of the pages. They turn text into what services take; services check it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms

from apps.clusters.pages.optionfields import PodOptionsForm, initial_of
from apps.clusters.pages.places import Place
from apps.core.errors import Invalid
from apps.core.pages.fielderrors import told
from apps.core.pages.formfields import SHORT, amount, gpus
from apps.core.pages.formtext import as_lines, check_each, pairs
from apps.experiments.models import TAG_LENGTH, Run
from apps.experiments.services.launching import default_name
from apps.experiments.specs import MAX_DEADLINE_SECONDS, MAX_RETRIES, MAX_TEXT, MAX_WORKERS, parse_spec
from apps.experiments.specs.checkpoints import KEYS as CHECKPOINT_KEYS
from apps.experiments.specs.code import KEYS as GIT_KEYS
from apps.experiments.specs.commands import Way, fields_of, of_spec

WAYS = (
    (Way.LINE, "by a shell: &&, $HOME and pipes work"),
    (Way.WORDS, "word by word: quotes hold words together, nothing is expanded"),
    (Way.ARGUMENTS, "as arguments of the program that the image has"),
)
# The fields of a spec behind a field of the form, where they have other names.
_SPEC_FIELDS = {
    "command": ("command_line", "command", "args"),
    "deadline_minutes": ("deadline_seconds",),
    "retries": ("retries", "retry_on"),
    "trainer": ("runtime",),
}
# Fields that the service checks one after the other.
_CHECKED: dict[str, Callable[[Any], object]] = {
    "image": lambda image: _check(image=image),
    "cpu": lambda cpu: _check(resources={"cpu": cpu}),
    "memory": lambda memory: _check(resources={"memory": memory}),
    "env": lambda env: _check(env=env),
}
_OF_CHECKPOINTS = tuple(f"checkpoints_{key}" for key in CHECKPOINT_KEYS)
# What a place is chosen by.
_OF_PLACES = ("cluster", "cluster_selector", "cpu", "memory", "gpu", "workers")
ANY = "Any cluster that fits"
_LINES = {"class": "mono", "spellcheck": "false"}


def _check(**part: Any) -> None:
    """A part of a spec, beside nothing else. Raises Invalid."""
    parse_spec({"image": "checked", **part}).resources.sensible()


class LaunchForm(PodOptionsForm):
    """A run to launch. With `again`, the spec of a run, every field left as it was filled in keeps its exact value."""

    advanced_about = "code, queue, checkpoints, nodes, Secrets, volumes, image pulls"
    advanced = ("git_folder", "git_secret", "queue", "trainer", *_OF_CHECKPOINTS, *PodOptionsForm.advanced)

    experiment = forms.CharField(max_length=500, help_text="Made when it is new.")
    name = forms.CharField(max_length=250, required=False, help_text="Empty: the experiment's, with a number.")
    image = forms.CharField(max_length=500, help_text="Such as python:3.11.")
    command = forms.CharField(
        max_length=MAX_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "python train.py --alpha 0.1", **_LINES}),
        help_text="An MLflow client in it is set up for this run. Empty: what the image does by itself.",
    )
    way = forms.ChoiceField(label="The command is run", choices=WAYS, initial=Way.LINE)
    git_url = forms.CharField(
        label="Git repository",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"placeholder": "https://git.example.com/team/train.git", **_LINES}),
        help_text="Fetched before the command, which runs in it. Empty: the image has all that it needs.",
    )
    git_ref = forms.CharField(
        label="Branch, tag or commit", required=False, max_length=500, help_text="Empty: the default branch."
    )
    git_folder = forms.CharField(label="Folder of the repository", required=False, max_length=500)
    git_secret = forms.CharField(
        label="Login for the repository",
        required=False,
        max_length=253,
        help_text="A Secret in the namespace with username and password.",
    )
    cluster = forms.ChoiceField()
    cluster_selector = forms.CharField(
        label="Only clusters with",
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs={"placeholder": "region=eu accelerator=a100", **_LINES}),
        help_text="Labels, with spaces between. Where any cluster may be chosen.",
    )
    cpu = amount("CPU", "1", "Cores, such as 500m or 2.")
    memory = amount("Memory", "1Gi", "Such as 512Mi or 2Gi.")
    gpu = gpus()
    deadline_minutes = forms.FloatField(
        label="Stop after, in minutes",
        min_value=1 / 60,
        max_value=MAX_DEADLINE_SECONDS / 60,
        required=False,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="Empty: as long as it takes.",
    )
    retries = forms.IntegerField(
        label="Try a failure again",
        min_value=0,
        max_value=MAX_RETRIES,
        required=False,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="How often; empty: never. What is preempted, evicted or loses its node always is.",
    )
    workers = forms.IntegerField(
        label="Pods at once",
        min_value=1,
        max_value=MAX_WORKERS,
        required=False,
        widget=forms.NumberInput(attrs=SHORT),
        help_text="Empty: one. Several meet by the variables that torchrun reads.",
    )
    queue = forms.CharField(
        required=False,
        max_length=63,
        help_text="A LocalQueue of Kueue in the namespace, which says when it begins. The cluster is named, too.",
    )
    trainer = forms.CharField(
        label="Training runtime",
        required=False,
        max_length=253,
        help_text="Of Kubeflow Trainer, such as torch-distributed, on a cluster that is named. Empty: it is a Job.",
    )
    checkpoints_size = forms.CharField(
        label="Checkpoints",
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"placeholder": "20Gi", **SHORT}),
        help_text="The size of a directory that every attempt finds as the last one left it: $FLOTILLA_CHECKPOINTS. "
        "Empty: none.",
    )
    checkpoints_storage_class = forms.CharField(
        label="Storage class of the checkpoints", required=False, max_length=253, help_text="Empty: the cluster's own."
    )
    checkpoints_path = forms.CharField(
        label="Checkpoints are mounted at", required=False, max_length=500, help_text="Empty: /checkpoints."
    )
    params = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, **_LINES}),
        help_text="name=value, one a line: recorded with the run.",
    )
    matrix = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "LR=0.1, 0.01", **_LINES}),
        help_text="NAME=value, value, one a line: a run for each combination. The command reads $LR, say.",
    )
    env = forms.CharField(
        label="Environment",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, **_LINES}),
        help_text="NAME=value, one a line. Anyone in the project can read them: secrets are named under Advanced.",
    )

    def __init__(self, *args: Any, places: Sequence[Place], again: Mapping[str, Any] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._again = again
        self.has_places = bool(places)
        best = places[0].name if places and places[0].is_healthy else ""
        choices = [(place.name, place.text) for place in places]
        if len(places) > 1:
            choices.insert(0, ("", ANY))
            self.fields["cluster"].required = False
            best = ""
        else:
            del self.fields["cluster_selector"]
            choices = choices if best else [("", "Choose one: none is healthy now"), *choices]
        self.fields["cluster"].choices = choices  # type: ignore[attr-defined]
        self.fields["cluster"].initial = best

    def clean_cluster_selector(self) -> dict[str, str]:
        """Pairs out of words."""
        return pairs("\n".join(self.cleaned_data["cluster_selector"].replace(",", " ").split()))

    def clean_params(self) -> dict[str, str]:
        """Pairs out of lines."""
        return self._kept("params", "params") or pairs(self.cleaned_data["params"])

    def clean_matrix(self) -> dict[str, list[str]]:
        """Lists out of lines."""
        return {
            name: [value.strip() for value in values.split(",") if value.strip()]
            for name, values in pairs(self.cleaned_data["matrix"]).items()
        }

    def clean_env(self) -> dict[str, str]:
        """Pairs out of lines."""
        return self._kept("env", "env") or pairs(self.cleaned_data["env"])

    def clean(self) -> None:
        """Check what the service would refuse, each field by itself, so that all that is wrong is said at once.

        The command is what its text and the way it is run make together.
        """
        super().clean()
        values = self.cleaned_data
        check_each(self, _CHECKED)
        if "command" not in values or "way" not in values or self._is_kept("command", "way"):
            return
        try:
            values["command"] = fields_of(values["way"], values["command"])
        except ValueError as error:
            self.add_error("command", str(error))

    def _is_kept(self, *names: str) -> bool:
        """Whether the fields still say what the form was filled in with."""
        return self._again is not None and all(_text(self[name].data) == _text(self[name].initial) for name in names)

    def _kept(self, name: str, key: str) -> Any:
        return self._again.get(key) if self._again is not None and self._is_kept(name) else None

    def wish(self) -> dict[str, Any]:
        """One of the wishes of `services.launch_runs`."""
        values = self.cleaned_data
        wish = {key: values[key] for key in ("experiment", "name", "image", "params", "env")} | self._place()
        wish |= {"matrix": values["matrix"]} if values["matrix"] else {}
        wish |= {"queue": values["queue"]} if values["queue"] else {}
        wish |= {"runtime": {"trainer": values["trainer"]}} if values["trainer"] else {}
        wish |= {"git": git} if (git := self._git()) else {}
        wish |= {"checkpoints": kept} if (kept := self._checkpoints()) else {}
        if values["deadline_minutes"]:
            wish["deadline_seconds"] = max(1, round(values["deadline_minutes"] * 60))
        wish |= {"retries": values["retries"]} if values["retries"] is not None else {}
        if not self._is_kept("command", "way"):
            wish |= values["command"]
        for name, keys in _SPEC_FIELDS.items():
            fields = (name, "way") if name == "command" else (name,)
            if self._again is not None and self._is_kept(*fields):
                wish |= {key: self._again[key] for key in keys if key in self._again}
        return wish

    def _git(self) -> dict[str, str]:
        return {key: text for key in GIT_KEYS if (text := self.cleaned_data[f"git_{key}"])}

    def _checkpoints(self) -> dict[str, str]:
        return {key: text for key in CHECKPOINT_KEYS if (text := self.cleaned_data[f"checkpoints_{key}"])}

    @property
    def place_fields(self) -> tuple[str, ...]:
        """The fields that a place is chosen by. The preview sends no others: an address has less room than a form."""
        return (*_OF_PLACES, *PodOptionsForm.advanced)

    def place_wish(self) -> dict[str, Any]:
        """As much of it as a place is chosen by, whatever else is still to be filled in. Raises Invalid."""
        self.is_valid()
        wrong = next((name for name in self.place_fields if name in self.errors), None)
        if wrong is not None:
            raise Invalid(told(self, wrong), field=wrong)
        return {"image": "any", **self._place()}

    def _place(self) -> dict[str, Any]:
        values = self.cleaned_data
        asked = {name: values[name] for name in ("cluster", "cluster_selector") if values.get(name)}
        asked["resources"] = {"cpu": values["cpu"], "memory": values["memory"], "gpu": values["gpu"] or 0}
        return asked | self.options() | ({"workers": values["workers"]} if values["workers"] is not None else {})


def _text(value: Any) -> str:
    return "" if value is None else str(value).replace("\r\n", "\n").strip()


def filled_in(run: Run) -> dict[str, Any]:
    """The form's first values for a run that is launched again."""
    spec, command = run.spec, of_spec(run.spec)
    seconds, named = spec.get("deadline_seconds"), run.name != default_name(run.experiment, run.pk)
    return {
        "experiment": run.experiment.name,
        "name": run.name if named else "",
        "image": spec.get("image", ""),
        "command": command.text if command else "",
        "way": command.way if command else Way.LINE,
        "deadline_minutes": round(seconds / 60, 4) if seconds else None,
        "retries": spec.get("retries") or None,
        "queue": spec.get("queue"),
        "trainer": (spec.get("runtime") or {}).get("trainer"),
        "workers": spec.get("workers") if int(spec.get("workers") or 1) > 1 else None,
        "params": as_lines(spec.get("params") or {}),
        "env": as_lines(spec.get("env") or {}),
        **(spec.get("resources") or {}),
        **initial_of(spec),
        **_place_of(run),
        **{f"git_{key}": text for key, text in (spec.get("git") or {}).items()},
        **{f"checkpoints_{key}": text for key, text in (spec.get("checkpoints") or {}).items()},
    }


def _place_of(run: Run) -> dict[str, Any]:
    if run.anywhere is not None:
        labels = run.anywhere["selector"]
        return {"cluster": "", "cluster_selector": " ".join(f"{key}={value}" for key, value in labels.items())}
    return {"cluster": run.cluster.name} if run.cluster and run.cluster.enabled else {}


class RegisterForm(forms.Form):
    """The model that a run's files become a version of."""

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
        self.offer(versions)

    def offer(self, versions: list[int]) -> None:
        """Let these versions be chosen."""
        self.fields["version"].choices = [(number, f"version {number}") for number in versions]  # type: ignore[attr-defined]


class TagForm(forms.Form):
    """A tag for the runs that are chosen."""

    key = forms.CharField(
        label="Tag", max_length=250, help_text="Such as team. It is replaced where it is set already."
    )
    value = forms.CharField(max_length=TAG_LENGTH, required=False)


class DescribeForm(forms.Form):
    """What people write about a run or an experiment."""

    name = forms.CharField(max_length=500)
    note = forms.CharField(
        required=False, max_length=TAG_LENGTH, widget=forms.Textarea(attrs={"rows": 8}), help_text="Markdown."
    )
    tags = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, **_LINES}),
        help_text="name=value, one a line. What programs have set (mlflow.…) stays as it is.",
    )

    def clean_tags(self) -> dict[str, str]:
        """Pairs out of lines."""
        return pairs(self.cleaned_data["tags"])
