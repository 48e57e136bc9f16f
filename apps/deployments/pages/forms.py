"""Forms of the pages. They turn text into what services take; services check it."""

from collections.abc import Callable
from typing import Any

import yaml
from django import forms
from django.utils.html import format_html

from apps.clusters import podoptions
from apps.clusters.pages.optionfields import PodOptionsForm, initial_of
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.core.pages.fielderrors import told
from apps.core.pages.formfields import amount, gpus
from apps.core.pages.formtext import check_each, pairs, words
from apps.core.text import safeyaml
from apps.core.text.names import check_service_name
from apps.deployments import selectors, services
from apps.deployments.models import Deployment, Revision, Target
from apps.deployments.pages.placefields import ANY, ANY_OF, NAMED, AnyTargetFields, asked_first, cluster_of, how_many
from apps.deployments.pages.probefields import PORT, PROBES, USUAL, ProbeFields, probes_initial
from apps.deployments.pages.rollsfields import ROLLS, RollsFields
from apps.deployments.pages.runtimefields import KSERVE, RUNTIME, RuntimeFields
from apps.deployments.pages.scalingforms import NumbersForm
from apps.deployments.rollout.strategy import Kind, parse_strategy
from apps.deployments.services import server
from apps.deployments.specs import MAX_REPLICAS, parse_revision


def _image() -> forms.CharField:
    served = " and ".join(server.FLAVOURS)
    help_text = f"Empty: Flotilla's own server, for models of {served}. Another one serves HTTP on $HOST:$PORT."
    return forms.CharField(max_length=500, required=False, help_text=help_text)


# Fields that the service checks one after the other.
_CHECKED: dict[str, Callable[[Any], object]] = {
    "name": lambda name: check_service_name(name, "name"),
    "image": lambda image: _check(image=image),
    "cpu": lambda cpu: _check(resources={"cpu": cpu}),
    "memory": lambda memory: _check(resources={"memory": memory}),
    "env": lambda env: _check(env=env),
    "ready_path": lambda path: _check(probes={"ready_path": path}),
    "live_path": lambda path: _check(probes={"live_path": path}),
}


def _check(**part: Any) -> None:
    """A part of a revision's spec, beside nothing else. Raises Invalid."""
    parse_revision({"image": "checked", **part}).container.resources.sensible()


class DeployForm(NumbersForm, AnyTargetFields, RollsFields, ProbeFields, RuntimeFields, PodOptionsForm):
    """A new deployment."""

    advanced = ("image", "command", *RUNTIME, *PodOptionsForm.advanced)
    advanced_about = "another image, KServe, drains, nodes, spread, Secrets, volumes, image pulls"
    # Those of the pods, which are not named here, come last.
    field_order = (
        *("name", "where", "target", "model", "follow", "how"),
        *("cpu", "memory", "gpu", "env", *ROLLS, *PORT, "image", "command", *RUNTIME),
    )
    parts = (*NumbersForm.parts, ("kind", "deployments/rolls_fields.html"), ("port", "deployments/probe_fields.html"))
    part_fields = (*NumbersForm.part_fields, *ROLLS, *PORT)

    name = forms.CharField(max_length=40, help_text="It names the Service, too: small letters, digits, '-'.")
    where = forms.ChoiceField(
        choices=[(NAMED, "On targets that I choose"), (ANY, "On any that fit")],
        initial=NAMED,
        required=False,
        widget=forms.RadioSelect,
    )
    targets = how_many()
    target = forms.MultipleChoiceField(
        label="Targets",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="It is placed on each that you choose. How it passes from one to the next is its strategy's.",
    )
    model = forms.ChoiceField(label="Model version", required=False, help_text="What the replicas fetch and serve.")
    follow = forms.BooleanField(
        required=False,
        label="Follow the alias",
        help_text="Of an alias that is chosen above: each version that it is moved to later is rolled out by itself.",
    )
    image = _image()
    command = forms.CharField(
        max_length=2000,
        required=False,
        help_text="Of that image, word by word: quotes hold words together, and no shell expands anything.",
    )
    cpu = amount("CPU", "250m", "Cores of each replica, such as 500m or 2.")
    memory = amount("Memory", "512Mi", "Of each replica, such as 512Mi or 2Gi.")
    gpu = gpus()
    env = forms.CharField(
        label="Environment",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"}),
        help_text="NAME=value, one a line. Anyone in the project can read them: secrets are named under Advanced.",
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        kwargs["initial"] = USUAL | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        rows = asked_first(selectors.targets(project=project))
        self.fields["target"].choices = [(row.name, _target_text(row)) for row in rows]  # type: ignore[attr-defined]
        if len(rows) > 1:
            self.parts = (("where", "deployments/where.html"), *self.parts)
            self.part_fields = (*self.part_fields, "where", "target", "targets", *ANY_OF)
            self.offer(rows)
        else:
            for name in ("where", "targets", *ANY_OF):
                del self.fields[name]
            self.fields["target"].initial = [row.name for row in rows]
        self.fields["model"].choices = _models(project)  # type: ignore[attr-defined]

    def clean_command(self) -> list[str]:
        """Words as a shell would split them."""
        return words(self.cleaned_data["command"])

    def clean_env(self) -> dict[str, str]:
        """Pairs out of lines."""
        return pairs(self.cleaned_data["env"])

    def clean(self) -> dict[str, Any]:
        """What is followed is an alias, and there is somewhere to go; and all that is wrong is said at once."""
        values = super().clean() or self.cleaned_data
        check_each(self, _CHECKED)
        if values.get("where") != ANY and "target" in values and not values["target"]:
            self.add_error("target", "Choose a target at least.")
        if values.get("follow") and "@" not in str(values.get("model")).rpartition(":")[2]:
            self.add_error("follow", "A version never moves. Choose an alias above, or leave this out.")
        return values

    def asked(self) -> services.NewDeployment:
        """What the form says."""
        values = self.cleaned_data
        model, _, version = str(values["model"]).rpartition(":")
        spec: dict[str, Any] = {"image": values["image"], "command": values["command"], "env": values["env"]}
        spec |= self._pods() | self.asked_runtime() | self.probes() | self.rolls()
        if model and version.startswith("@"):
            spec |= {"model": model, "alias": version.removeprefix("@"), "follow": values["follow"]}
        elif model:
            spec |= {"model": model, "version": int(version)}
        return services.NewDeployment(name=values["name"], spec=spec, **self._place(), **self.numbers())

    @property
    def place_fields(self) -> tuple[str, ...]:
        """The fields that targets are chosen by. The preview sends no others: an address has less room than a form."""
        numbers = ("cpu", "memory", "gpu", *NumbersForm.part_fields, "target", "kind")
        return tuple(dict.fromkeys(("where", "name", "targets", *ANY_OF, *numbers, *RUNTIME, *PodOptionsForm.advanced)))

    def place_wish(self) -> services.NewDeployment:
        """As much of it as targets are chosen by, whatever else is still to be filled in. Raises Invalid."""
        self.is_valid()
        of_places = (*ANY_OF, "targets", "cpu", "memory", "gpu", *NumbersForm.part_fields, *PodOptionsForm.advanced)
        wrong = next((name for name in of_places if name in self.errors), None)
        if wrong is not None:
            raise Invalid(told(self, wrong), field=wrong)
        by: dict[str, Any] = {"runtime": {KSERVE: {}}} if self.cleaned_data.get("runtime") == KSERVE else {}
        # By its kind alone: what a person writes of its steps would be too long for an address.
        rolls = {"strategy": {"kind": kind}} if (kind := self.cleaned_data.get("kind")) else {}
        spec = {"image": "any", **self._pods(), **by, **rolls}
        name = self.cleaned_data.get("name") or ""
        return services.NewDeployment(name=name, spec=spec, **self._place(), **self.numbers())

    def _pods(self) -> dict[str, Any]:
        values = self.cleaned_data
        resources = {"cpu": values["cpu"], "memory": values["memory"], "gpu": values["gpu"] or 0}
        return {"resources": resources, **self.options()}

    def _place(self) -> dict[str, Any]:
        """The targets that are named, or what any is asked for by."""
        values = self.cleaned_data
        if values.get("where") != ANY:
            return {"targets": values["target"]}
        return {"anywhere": {"targets": values["targets"] or 1, **self.anywhere()}}


class ReviseForm(ProbeFields, PodOptionsForm):
    """Another model version or image for a deployment that is there.

    It starts with what a revision has, and asks for what the person has changed of that, and nothing else: somebody
    else may have rolled out another one since the form was shown.
    """

    parts = (("port", "deployments/probe_fields.html"),)
    part_fields = PORT
    field_order = ("of", "model", "image", *PORT)

    of = forms.IntegerField(widget=forms.HiddenInput)
    model = forms.ChoiceField(label="Model version", required=False)
    image = _image()

    def __init__(self, data: Any = None, *, project: Project, revision: Revision, **kwargs: Any) -> None:
        self._spec: dict[str, Any] = revision.spec
        initial = {"of": revision.number, **initial_of(revision.spec), **_shown(revision.spec)}
        initial |= probes_initial(revision.spec)
        # A form that leaves fields out, as the small one on the deployment's page does, leaves them as they are.
        super().__init__({**initial, **data.dict()} if data is not None else None, initial=initial, **kwargs)
        now, versions = str(self.initial.get("model") or ""), selectors.version_choices(project)
        shown = now.replace(":", " v")
        if now and revision.model_version_id is None:
            # Nothing can be rolled out of it any more: another one has to be chosen.
            versions.insert(0, ("", f"{shown} was deleted: choose another"))
            self.initial["model"] = ""
        elif now and now not in dict(versions):
            versions.insert(0, (now, shown))
        # A deployment that serves a model goes on serving one: an empty choice would silently keep the present version.
        self.fields["model"].required = bool(now)
        self.fields["model"].choices = versions if now else [("", "No registered model"), *versions]  # type: ignore[attr-defined]

    def changes(self) -> dict[str, Any]:
        """What `deploy_revision` takes: a version only where another one is chosen, so that the alias stays."""
        before = podoptions.parse(self._spec).everything()
        changes: dict[str, Any] = {key: value for key, value in self.options().items() if value != before[key]}
        if "image" in self.changed_data:
            changes["image"] = self.cleaned_data["image"]
        said = self.probes()
        if "port" in self.changed_data:
            changes["port"] = said["port"]
        if not set(PROBES).isdisjoint(self.changed_data):
            changes["probes"] = said["probes"]
        if "model" in self.changed_data:
            model, _, version = self.cleaned_data["model"].rpartition(":")
            changes |= {"model": model, "version": int(version)}
        return changes


def _models(project: Project) -> list[Any]:
    """What a new deployment may serve: nothing registered, what an alias points to now, or a version."""
    aliases = [
        (f"{model}:@{alias}", f"{model} @{alias}, now v{version}")
        for model, alias, version in selectors.alias_choices(project)
    ]
    versions = selectors.version_choices(project)
    grouped = [(title, rows) for title, rows in (("By alias", aliases), ("Versions", versions)) if rows]
    return [("", "No registered model"), *(grouped if aliases else versions)]


def _target_text(target: Target) -> str:
    return format_html('{}<span class="sub">{} · {}</span>', target.name, cluster_of(target), target.environment)


def _shown(spec: dict[str, Any]) -> dict[str, str]:
    """Model and image of a spec for a form, where no image stands for Flotilla's own server."""
    model, image = spec.get("model"), str(spec["image"])
    return {
        "model": f"{model['name']}:{model['version']}" if model else "",
        "image": "" if server.is_own(image) else image,
    }


class ScaleForm(forms.Form):
    """The number of replicas: of one target, of each, or of all together where they are spread over them."""

    replicas = forms.IntegerField(min_value=0, max_value=MAX_REPLICAS)
    target = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, deployment: Deployment, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [place.target.name for place in deployment.places]
        if deployment.spread is not None:
            self.fields["replicas"].help_text = "Over all targets together."
        if len(names) == 1 or deployment.spread is not None:
            del self.fields["target"]
        else:
            self.fields["target"].choices = [("", "Each target"), *((name, name) for name in names)]  # type: ignore[attr-defined]


class StrategyForm(forms.Form):
    """How a deployment rolls, as YAML: the words of the REST API."""

    strategy = forms.CharField(
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 18, "class": "mono", "spellcheck": "false"}),
        help_text="It holds from the next rollout on, and restarts nothing.",
    )

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        super().__init__(data, initial={"strategy": as_yaml(deployment.strategy)}, **kwargs)

    def clean_strategy(self) -> dict[str, Any]:
        """What it says, as an object."""
        try:
            said = safeyaml.load(self.cleaned_data["strategy"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        if not isinstance(said, dict):
            raise forms.ValidationError(f'Begin with "kind: " and one of {", ".join(Kind)}.')
        return said


def a_canary(deployment: Deployment) -> str:
    """An example over the deployment's own targets: the first of several goes ahead."""
    steps = ["set_weight: 20", "pause: {seconds: 300}", "analyse: {interval_seconds: 10, count: 6}", "set_weight: 50"]
    lines = ["kind: canary", "steps:", *(f"  - {step}" for step in steps), "  - pause: {}  # until somebody promotes"]
    return "\n".join([*lines, *_in_waves(deployment, by_parts=True), "on_failure: rollback"])


def a_blue_green(deployment: Deployment) -> str:
    """The same as a blue-green."""
    lines = ["kind: blue_green", "steps:", "  - analyse: {provider: probe, count: 6}  # asks the preview"]
    lines += ["  - switch: {}", "  - analyse: {interval_seconds: 10, count: 3}"]
    lines += ["auto_promote_seconds: 300  # without it, until somebody promotes", "scale_down_delay_seconds: 60"]
    return "\n".join([*lines, *_in_waves(deployment)])


def a_shadow(deployment: Deployment) -> str:
    """The same as a shadow, whose answers are compared."""
    lines = ["kind: shadow", "steps:", "  - mirror: 20", "  - pause: {seconds: 60}", "  - mirror: 100"]
    lines += [
        "  - analyse: {provider: probe, min_agreement: 95}  # asks both; recorded: true, what was kept",
        "  - pause: {}  # until somebody promotes",
    ]
    return "\n".join([*lines, *_in_waves(deployment)])


def _in_waves(deployment: Deployment, *, by_parts: bool = False) -> list[str]:
    """The first goes ahead, and of the next one a part before all others."""
    names = [place.target.name for place in deployment.places]
    if len(names) < 2:
        return []
    lines = ["waves:", f"  - targets: [{names[0]}]", "    soak_seconds: 600"]
    if by_parts:
        own = ["    steps:  # of this wave alone: a tenth of it first", "      - set_weight: 10"]
        lines += [f"  - targets: [{names[1]}]", *own, "    soak_seconds: 3600"]
    lines += ["  - targets:"]
    return [*lines, *(f"      - {name}" for name in names[1:])]


def as_yaml(strategy: dict[str, Any]) -> str:
    """The strategy with its defaults, for the form."""
    parsed = parse_strategy(strategy)
    return str(yaml.safe_dump({"kind": parsed.kind.value, **parsed.to_json()}, sort_keys=False))
