"""A form that is refused is shown again with what was typed, with what is wrong at its field, and that in focus.

Every form that asks for something is found by walking the pages, and must be in the table.
"""

import html
import io
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from django import forms
from django.contrib import admin
from django.test import Client

from apps.core.models import Project, User
from apps.core.pages.fielderrors import errors_of, told
from apps.core.states import Role
from apps.deployments.models import Placement, Target
from apps.experiments.files import artifacts
from apps.experiments.models import ModelAlias, ModelVersion, Run
from tests import factories
from tests.architecture.test_offers import kind, walk
from tests.architecture.test_offers import project as project

pytestmark = pytest.mark.django_db
WRONG = "Not A Name!"
# Here people type the names of fields themselves.
TYPED_NAMES = {"spec", "strategy", "tolerations", "yaml"}
_ERRORS = re.compile(r'class="(?:errors|form-errors)".*?</(?:ul|div)>', re.DOTALL)
_DJANGOS = re.compile(r"This field|Ensure this|Enter a |Select a valid")
_TAGS = re.compile(r"<[^>]*>|class=[^>]*>")
# Names of fields as programs have them.
_PATHS = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b|(?<![/\w])[a-z]+\.[a-z]+(?:_[a-z]+)*\b")
# Of each form: what is sent, the field at which it is refused, and what of it is to be seen again.
FORMS: dict[str, tuple[dict[str, str], str, str]] = {
    "/p/demo/deployments/new": (
        {
            "name": WRONG,
            "target": "demo-cluster-production",
            "replicas": "2",
            "image": "x:1",
            "cpu": "1",
            "memory": "1Gi",
        },
        "name",
        WRONG,
    ),
    "/p/demo/deployments/digits/revise": ({"image": "x:1", "tolerations": "- effect: Never"}, "tolerations", "Never"),
    "/p/demo/deployments/digits/edit": ({"of": "1", "spec": "replica: 3"}, "spec", "replica: 3"),
    "/p/demo/deployments/digits/scale": ({"replicas": "-7"}, "replicas", "-7"),
    "/p/demo/deployments/digits/spread": ({"how": "all", "replicas": "-7"}, "replicas", "-7"),
    "/p/demo/deployments/digits/follow": ({"alias": "nobody"}, "alias", ""),
    "/p/demo/deployments/digits/targets/new": ({"target": "spare", "replicas": "-7"}, "replicas", "-7"),
    "/p/demo/deployments/digits/autoscaling": ({"min": "5", "max": "4"}, "max", "4"),
    "/p/demo/deployments/digits/budget": ({"how": "min_available", "amount": "half"}, "amount", "half"),
    "/p/demo/deployments/digits/schedule": ({"schedule": "fri 18:00 to mon 08:00 = no"}, "schedule", "= no"),
    "/p/demo/deployments/digits/strategy": ({"strategy": "kind: odd"}, "strategy", "kind: odd"),
    "/p/demo/pipelines/new": ({"yaml": "name: x\nsteps: 3"}, "yaml", "steps: 3"),
    "/p/demo/targets/new": ({"name": WRONG, "cluster": "demo-cluster", "environment": "staging"}, "name", WRONG),
    "/p/demo/metrics-sources/new": ({"name": "prod", "address": "ftp://prometheus"}, "address", "ftp://prometheus"),
    "/p/demo/targets/…/": ({"deployers": "developer", "freezes": "on fridays"}, "freezes", "on fridays"),
    "/p/demo/approvals/9/approve": ({"comment": 2001 * "y"}, "comment", "yyy"),
    "/p/demo/runs/new": (
        {
            "experiment": "digits",
            "image": "x:1",
            "way": "line",
            "cluster": "{cluster}",
            "cpu": "1",
            "memory": "1Gi",
            "node_selector": "odd",
        },
        "node_selector",
        "odd",
    ),
    "/p/demo/runs/…/edit": ({"name": "x", "tags": "a\\b=1"}, "tags", "a\\b"),
    "/p/demo/experiments/digits/edit": ({"name": "/x", "note": "*so*"}, "name", "*so*"),
    "/p/demo/runs/act": ({"action": "tag", "experiment": "digits", "key": "a\\b", "value": "x"}, "key", "a\\b"),
    "/p/demo/bin/days": ({"days": "-7"}, "days", "-7"),
    "/p/demo/runs/…/register": ({"model": "a/b", "artifact_path": "{source}"}, "", "a/b"),
    "/p/demo/models/digits/aliases": ({"alias": "latest", "version": "1"}, "alias", "latest"),
    "/settings/": ({"name": "ci", "role": "viewer", "days": "-7"}, "days", "ci"),
    # What was typed here is never sent back.
    "/settings/password/": ({"old_password": "a", "new_password1": "b", "new_password2": "c"}, "old_password", ""),
}
# Answers with a fragment beside the form, which stays as it is.
ASIDE = {"/p/demo/deployments/digits/predict"}


@dataclass
class Forms(HTMLParser):
    """The forms of a page that ask for something: action → the options of its choices. And what is in focus."""

    url: str
    asking: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    focus: str | None = None
    invalid: list[str] = field(default_factory=list)
    _action: str = ""
    _choice: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note fields that a person fills in; those of dialogs are no fields of a form that is sent."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._action = (values.get("action") or self.url) if values.get("method", "").lower() == "post" else ""
        shown = tag in {"textarea", "select"} or (tag == "input" and values.get("type") not in {"hidden", "submit"})
        if self._action and shown:
            self.asking.setdefault(urlsplit(self._action).path, {})
            self._choice = values.get("name", "") if tag == "select" else ""
        if self._action and tag == "option" and self._choice:
            self.asking[urlsplit(self._action).path].setdefault(self._choice, []).append(values.get("value", ""))
        if values.get("aria-invalid") == "true":
            self.invalid.append(values.get("name", ""))
        if "autofocus" in values and self.focus is None:
            self.focus = values.get("name", values.get("class", ""))

    def handle_endtag(self, tag: str) -> None:
        """A form ends."""
        if tag == "form":
            self._action = ""


def forms_of(url: str, answer: Any) -> Forms:
    made = Forms(url)
    made.feed(answer.content.decode())
    return made


def test_what_was_typed_is_kept_and_the_error_in_focus(project: Project, tmp_path: Any, settings: Any) -> None:
    settings.ARTIFACTS_DIR = tmp_path
    for run in Run.objects.all():
        artifacts.write(run, "model/MLmodel", io.BytesIO(b"x"))
    version = ModelVersion.objects.filter(model__name="digits").latest("pk")
    ModelAlias.objects.get_or_create(model=version.model, name="champion", defaults={"version": version})
    # Replicas are spread over targets, where there are several.
    digits = project.deployments.get()
    [home] = digits.places
    second = Target.objects.create(project=project, name="second", cluster=home.target.cluster, namespace="second")
    Placement.objects.create(deployment=digits, target=second, state=home.state, stable=home.stable)
    client = Client()
    client.force_login(factories.member(project, "ada", Role.ADMIN))
    asking: dict[str, dict[str, list[str]]] = {}
    for page, answer in walk(client):
        if not answer.streaming and "text/html" in answer.headers.get("Content-Type", ""):
            asking |= forms_of(page.url, answer).asking
    # A second model has the same forms as the first.
    there = {kind(action): action for action in asking if "/models/of-a-deleted-run/" not in action}
    assert set(there) == set(FORMS) | ASIDE, "every form is in the table, and nothing else"
    for name, (body, at, typed) in FORMS.items():
        chosen = {"{source}": "artifact_path", "{cluster}": "cluster"}
        sent = {
            key: asking[there[name]][chosen[value]][-1] if value in chosen else value for key, value in body.items()
        }
        answer = client.post(there[name], sent)
        assert answer.status_code == 400, name
        again = forms_of(there[name], answer)
        assert typed in answer.content.decode(), name
        assert (again.focus, again.invalid[:1]) == ((at, [at]) if at else ("form-errors", [])), name
        assert there[name] in again.asking, name
        said = html.unescape(_TAGS.sub(" ", " ".join(_ERRORS.findall(answer.content.decode()))))
        assert not _DJANGOS.search(said), (name, "an error names its field and says what to do", said)
        assert said and (at in TYPED_NAMES or not _PATHS.search(said)), (name, "a field is called by its label", said)


class Sample(forms.Form):
    """Each kind of field that a form of ours has."""

    name = forms.CharField(label="Name", max_length=5)
    place = forms.ChoiceField(label="Where", choices=[("a", "a"), ("b", "b")])
    way = forms.ChoiceField(label="How", choices=[("a", "a")], widget=forms.RadioSelect)
    count = forms.IntegerField(label="Replicas", min_value=1, max_value=9)
    share = forms.FloatField(label="Share")
    sure = forms.BooleanField(label="Sure")
    text = forms.FileField(label="Kubeconfig")
    owner = forms.ModelChoiceField(label="Owner", queryset=User.objects.none())


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("name", "", "“Name” is needed: fill it in."),
        ("name", "longer", "“Name” has 5 letters at most, and this has 6."),
        ("place", "", "“Where” is needed: choose one."),
        ("place", "c", "“Where” does not offer “c”: choose one of those that it does."),
        ("way", "", "“How” is needed: choose one."),
        ("count", "", "“Replicas” is needed: fill it in."),
        ("count", "0", "“Replicas” is 1 at least."),
        ("count", "10", "“Replicas” is 9 at most."),
        ("count", "x", "“Replicas” is a whole number."),
        ("share", "x", "“Share” is a number."),
        ("sure", "", "“Sure” is needed: tick it."),
        ("text", "", "“Kubeconfig” is needed: choose a file."),
        ("owner", "7", "“Owner” does not offer “7”: choose one of those that it does."),
    ],
)
def test_an_error_names_its_field_and_says_what_to_do(name: str, value: str, sentence: str) -> None:
    form = Sample({name: value})
    assert (errors_of(form[name]), told(form, name)) == ([sentence], sentence)
    form.add_error(name, "It is taken.")
    assert told(form, name) == sentence and errors_of(form[name])[1] == "It is taken."


def test_a_form_of_the_panel_that_is_refused_has_its_error_in_focus() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    forms = [f"{model._meta.app_label}/{model._meta.model_name}/add/" for model in admin.site._registry]
    refused = {path: client.post(f"/admin/{path}", {}) for path in forms}
    asking = {path: forms_of(path, answer) for path, answer in refused.items() if answer.status_code != 403}
    assert {"clusters/cluster/add/", "core/project/add/", "core/user/add/"} <= set(asking)
    for path, form in asking.items():
        assert form.focus == form.invalid[0], path
        text = refused[path].content.decode()
        scripts = re.findall(r"<script\b[^>]*data-model-name", text)
        assert text.count(" autofocus") == 1 and not scripts, f"{path}: nothing else asks for it"
