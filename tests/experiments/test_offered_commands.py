"""A command that a page offers does what the page is about, whatever names are in it: a real shell reads it here."""

import ast
import html
import json
import re
import subprocess

import pytest
from django.test import Client
from django.urls import reverse

from apps.core.access import Principal
from apps.core.models import Project
from apps.experiments import services

pytestmark = pytest.mark.django_db
# They say what they were given, word by word, in the place of what they would do.
STUBS = """curl() { printf '%s\\0' curl "$@"; }
python() { printf '%s\\0' python "$@"; }
"""
ODD = [
    "plain", "it's", 'the "best"', "$HOME $(id) ${x}", "`id`", "a\\n'\\''b\\", "{0} {project} %s", "ä 猫 \U0001f600",
    "!! # ~ *;&|",
]  # fmt: skip


@pytest.fixture
def page(principal: Principal) -> Client:
    client = Client()
    client.force_login(principal.user)
    return client


def offered(client: Client, url: str) -> list[str]:
    """The words that the command of an empty page gives to its program."""
    [code] = re.findall(r"<code>((?:curl|export).*?)</code>", client.get(url).content.decode(), re.DOTALL)
    done = subprocess.run(
        ["bash", "-euc", STUBS + html.unescape(code)],
        env={"TOKEN": "flt_1"}, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout.split("\0")[:-1]


def body_of(words: list[str], path: str) -> object:
    assert words[:3] == ["curl", "-X", "POST"] and words[3].endswith(path) and "Authorization: Bearer flt_1" in words
    assert words[-2] == "-d"
    return json.loads(words[-1])


@pytest.mark.parametrize("name", ODD)
def test_the_commands_of_an_experiment_name_it_as_it_is(
    name: str, page: Client, project: Project, principal: Principal
) -> None:
    services.create_experiment(principal=principal, project=project, name=name)
    at = {"project": project.name, "name": name}
    body = body_of(offered(page, reverse("experiments:detail", kwargs=at)), "/api/v1/runs")
    assert isinstance(body, dict) and (body["project"], body["experiment"]) == ("demo", name)
    python, flag, code = offered(page, reverse("experiments:traces", kwargs=at))
    assert (python, flag) == ("python", "-c")
    chosen = ast.parse(code).body[1]
    assert isinstance(chosen, ast.Expr) and isinstance(chosen.value, ast.Call)
    assert ast.unparse(chosen.value.func) == "mlflow.set_experiment"
    assert [ast.literal_eval(word) for word in chosen.value.args] == [name]


def test_the_commands_of_a_project_are_read_by_a_shell(page: Client, project: Project) -> None:
    python, flag, code = offered(page, "/p/demo/experiments/")
    assert (python, flag) == ("python", "-c") and ast.parse(code)
    body = body_of(offered(page, "/p/demo/models/"), "/api/v1/models/digits/versions")
    assert body == {"project": "demo", "run_id": "…"}
