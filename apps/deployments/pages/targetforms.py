"""Forms of targets: a new one, what one allows, and one more for a deployment."""

import re
from typing import Any

from django import forms

from apps.clusters.pages.places import places
from apps.core.errors import FlotillaError
from apps.core.pages.formfields import SHORT
from apps.core.states import Role
from apps.deployments import selectors
from apps.deployments.models import Deployment, Target
from apps.deployments.pages.gatewayfields import GatewayFields, shown_gateway
from apps.deployments.pages.placefields import ANY, ANY_OF, AnyTargetFields, asked_first, cluster_of
from apps.deployments.pages.windowlines import line_of, window_of
from apps.deployments.rollout.policy import Policy, parse_policy
from apps.deployments.rollout.strategy import Kind
from apps.deployments.specs import MAX_REPLICAS

NAMED = "named"
# How services call a window, and a part of it.
_FREEZE = re.compile(r"policy\.freezes\[(\d+)\](?:\.\w+)?")


class TargetForm(GatewayFields):
    """A new target."""

    field_order = ("name", "cluster", "environment", "namespace")

    name = forms.CharField(max_length=40, help_text="Such as gke-eu-production.")
    cluster = forms.ChoiceField()
    environment = forms.CharField(max_length=40, initial="production")
    namespace = forms.CharField(
        max_length=63,
        required=False,
        help_text="The project's own unless you name another, which only a platform administrator may.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["cluster"].choices = [(place.name, place.text) for place in places()]  # type: ignore[attr-defined]

    def asked(self) -> dict[str, Any]:
        """The target as services take it."""
        own = {name: self.cleaned_data[name] for name in self.field_order}
        return own | {"gateway": self.asked_gateway()}


class AddTargetForm(AnyTargetFields):
    """One more target for a deployment: by its name, or one that fits."""

    field_order = ("target", *ANY_OF, "replicas")

    target = forms.ChoiceField(
        help_text="It gets what serves on the others; what a rollout that is under way brings it gets last."
    )
    replicas = forms.IntegerField(min_value=0, max_value=MAX_REPLICAS)

    def __init__(self, data: Any = None, *, deployment: Deployment, **kwargs: Any) -> None:
        initial = {"replicas": deployment.places[0].desired_replicas if deployment.places else 1}
        super().__init__(data, initial=initial, **kwargs)
        there = {place.target_id for place in deployment.placements.all()}
        rows = asked_first(row for row in selectors.targets(project=deployment.project) if row.pk not in there)
        choices = [(row.name, f"{row.name} · {cluster_of(row)}") for row in rows]
        self.may_choose = len(rows) > 1
        if self.may_choose:
            self.parts, self.part_fields = (("target", "deployments/where_more.html"),), ("target", *ANY_OF)
            self.offer(rows)
            choices.insert(0, (ANY, "Any that fits"))
        else:
            for name in ANY_OF:
                del self.fields[name]
        self.fields["target"].choices = choices  # type: ignore[attr-defined]
        if deployment.spread is not None:
            # It gets its part of those that there are.
            del self.fields["replicas"]

    def asked(self) -> dict[str, Any]:
        """What `add_target` takes."""
        values = self.cleaned_data
        where = {"anywhere": self.anywhere()} if values["target"] == ANY else {"target": values["target"]}
        return {**where, "replicas": values.get("replicas")}


class PolicyForm(GatewayFields):
    """What a target allows, and by which Gateway requests come there."""

    field_order = (
        *("deployers", "people", "approval", "strategies", "freezes"),
        *("replicas", "cpu", "memory", "gpu"),
    )

    deployers = forms.ChoiceField(
        label="Who may deploy",
        choices=[
            (Role.DEVELOPER.value, "Developers and admins of the project"),
            (Role.ADMIN.value, "Admins of the project"),
            (NAMED, "Only these people:"),
        ],
        help_text="Whoever may not, changes nothing there. Anybody may still pause a rollout or take it back.",
    )
    people = forms.CharField(
        max_length=4000,
        required=False,
        help_text="Names, with a comma or a space between. A project's token is none of them.",
    )
    approval = forms.BooleanField(
        required=False,
        label="Each rollout needs the approval of another person",
        help_text="It waits before the wave of this target. Whoever asked for it can't approve it.",
    )
    strategies = forms.MultipleChoiceField(
        required=False,
        label="Allowed strategies",
        widget=forms.CheckboxSelectMultiple,
        choices=[(kind.value, kind.value) for kind in Kind],
        help_text="None chosen: all of them.",
    )
    freezes = forms.CharField(
        required=False,
        label="Freeze windows",
        max_length=8000,
        widget=forms.Textarea(attrs={"rows": 4, "class": "mono", "spellcheck": "false"}),
        help_text=(
            "One a line: “fri 18:00 to mon 08:00 Europe/Berlin” each week, “18:00 to 08:00” each day (UTC), or "
            "“2026-12-20 00:00 to 2027-01-04 08:00 # holidays” once. Nothing new is brought there meanwhile."
        ),
    )
    replicas = forms.IntegerField(
        min_value=0, required=False, label="Most replicas", widget=forms.NumberInput(attrs=SHORT),
        help_text="Of all deployments there together. Empty: no limit.",
    )  # fmt: skip
    cpu = forms.CharField(
        max_length=20, required=False, label="Most CPU", widget=forms.TextInput(attrs=SHORT), help_text="Such as 16."
    )
    memory = forms.CharField(
        max_length=20,
        required=False,
        label="Most memory",
        widget=forms.TextInput(attrs=SHORT),
        help_text="Such as 64Gi.",
    )
    gpu = forms.IntegerField(min_value=0, required=False, label="Most GPUs", widget=forms.NumberInput(attrs=SHORT))

    def __init__(self, data: Any = None, *, target: Target, **kwargs: Any) -> None:
        initial = _shown(parse_policy(target.policy)) | shown_gateway(target.gateway)
        super().__init__(data, initial=initial, **kwargs)

    def clean_people(self) -> list[str]:
        """Names out of a text."""
        return [name for name in re.split(r"[,\s]+", self.cleaned_data["people"]) if name]

    def clean_freezes(self) -> list[dict[str, str]]:
        """Windows out of lines; the service reads the times."""
        lines = filter(None, map(str.strip, self.cleaned_data["freezes"].splitlines()))
        return [window_of(line) for line in lines]

    def clean(self) -> dict[str, Any]:
        """Whether the names and the choice above them agree."""
        values = super().clean() or {}
        if values.get("deployers") == NAMED and "people" in values and not values["people"]:
            self.add_error("people", "Name them, or choose a role.")
        return values

    def at_its_field(self, error: FlotillaError) -> FlotillaError:
        """What a service says of the policy, at the field of the form that it is about, and in its words."""
        error.message = _FREEZE.sub(lambda place: f"Line {int(place[1]) + 1}", error.message)
        error.field = error.field.removeprefix("policy.").removeprefix("quota.")
        if error.field == "deployers" and self.cleaned_data["deployers"] == NAMED:
            error.field = "people"
        return super().at_its_field(error)

    def asked(self) -> dict[str, Any]:
        """The policy as services take it."""
        values = self.cleaned_data
        quota = {name: values[name] for name in ("replicas", "cpu", "memory", "gpu") if values[name] not in (None, "")}
        return {
            "deployers": values["people"] if values["deployers"] == NAMED else values["deployers"],
            "approval": values["approval"],
            "strategies": values["strategies"],
            "freezes": values["freezes"],
            "quota": quota,
        }


def _shown(policy: Policy) -> dict[str, Any]:
    """The policy as the form's fields."""
    said = policy.to_json()
    return {
        "deployers": NAMED if policy.people else policy.deployers.value,
        "people": ", ".join(policy.people),
        "approval": policy.approval,
        "strategies": said.get("strategies", []),
        "freezes": "\n".join(map(line_of, policy.freezes)),
        **said.get("quota", {}),
    }
