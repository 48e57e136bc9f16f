"""A spec that people edit as YAML: what comes out of it, what is refused with its line, what the clusters say."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from apps.clusters.models import Cluster
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.deployments import services
from apps.deployments.models import Deployment, Target
from apps.deployments.pages.spectext import as_text, changes_in, difference
from apps.deployments.specs import parse_revision
from tests.clusters.podoptions.test_podoptions import EVERYTHING

ALL: dict[str, Any] = {
    "image": "team/digits:1",
    "command": ["python", "serve.py"],
    "args": ["--quiet", "a b"],
    "env": {"THREADS": "2", "NO": "no"},
    "model": {"name": "digits", "version": 4},
    "resources": {"cpu": "250m", "memory": "256Mi", "gpu": 1},
    "port": 9000,
    "probes": {"ready_path": "/ready", "live_path": "", "startup_seconds": 60},
    "shutdown": {"drain_seconds": 5, "grace_seconds": 60},
    **EVERYTHING,
}
PAGE = "/p/demo/deployments/digits/edit"


@pytest.fixture
def page(developer: Principal) -> Client:
    client = Client()
    assert developer.user is not None
    client.force_login(developer.user)
    return client


@pytest.mark.parametrize("spec", [ALL, {"image": "x"}, {"image": "own", "model": {"name": "digits", "version": 1}}])
def test_a_text_that_nobody_has_changed_asks_for_nothing(spec: dict[str, Any]) -> None:
    stored = parse_revision(spec).to_json()
    own = spec["image"] == "own"
    text = as_text(stored, own_server=own)
    assert changes_in(text, stored, own_server=own) == {}
    # As Postgres gives it back: shorter names first.
    shuffled = json.loads(json.dumps(stored, sort_keys=True))
    assert as_text(shuffled, own_server=own) == text


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        (("port: 9000\n", ""), {"port": 8080}),
        (("port: 9000", "port: 9001"), {"port": 9001}),
        (("version: 4", "version: 5"), {"model": "digits", "version": 5}),
        (("version: 4", "alias: champion"), {"model": "digits", "alias": "champion"}),
        (("image_pull_policy: Always\n", ""), {"image_pull_policy": ""}),
        (("THREADS: '2'", "THREADS: '3'"), {"env": {"THREADS": "3", "NO": "no"}}),
        (("args:\n- --quiet\n- a b\n", "args:\n"), {"args": []}),
        (("priority_class: serving\n", "priority_class:\n"), {"priority_class": ""}),
    ],
)
def test_what_is_changed_or_left_out_is_asked_for(edit: tuple[str, str], changes: dict[str, Any]) -> None:
    stored = parse_revision(ALL).to_json()
    text = as_text(stored, own_server=False)
    assert edit[0] in text
    assert changes_in(text.replace(*edit), stored, own_server=False) == changes


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("image: [", "spec", "not valid YAML (line 1)"),
        ("- image", "spec", "A spec is an object."),
        ("image: x\nreplica: 3", "replica", "replica is nothing that Flotilla knows."),
        ("image: x\nimage: y", "spec", "stands twice"),
        ("image: x", "model", "goes on serving one"),
        ("model: digits\nversion: 4\nalias: champion", "alias", "Name a version or an alias"),
    ],
)
def test_text_that_makes_no_sense_is_refused(text: str, field: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        changes_in(text, parse_revision(ALL).to_json(), own_server=False)
    assert refused.value.field == field and says in refused.value.sentence


def test_a_difference_is_lines_that_go_and_come() -> None:
    before = "\n".join(f"line {number}" for number in range(30))
    after = before.replace("line 3\n", "line three\n").replace("line 25", "line 25\nmore")
    lines = [(line.sign, line.text) for line in difference(before, after)]
    assert [line for line in lines if line[0] != " "] == [
        ("-", "line 3"),
        ("+", "line three"),
        ("…", ""),
        ("+", "more"),
    ]
    assert difference(before, before) == []


SURGES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # the quota, the strategy, what is said of three replicas of 250m
    "a surge": ({"replicas": 3}, {}, "Up to 4 replicas at once while it rolls out: local-production has a quota of 3"),
    "room for it": ({"replicas": 4}, {}, ""),
    "none": ({"replicas": 3}, {"max_surge": 0, "max_unavailable": 1}, ""),
    "its own gap": ({"replicas": 3}, {"kind": "recreate"}, ""),
    "twice": ({"replicas": 5}, {"kind": "blue_green"}, "Up to 6 replicas at once"),
    "of other sizes": ({"cpu": "3"}, {}, "Up to 3.5 CPU at once"),
}  # fmt: skip


@pytest.mark.parametrize("case", SURGES)
def test_a_preview_tells_of_more_at_once_than_the_quota(api: Client, digits: Deployment, case: str) -> None:
    quota, strategy, told = SURGES[case]
    Cluster.objects.update(state="Unreachable")
    Target.objects.update(policy={"quota": quota})
    size = {"cpu": "1" if "cpu" in quota else "250m"}
    changes = {"resources": size, "env": {"A": "1"}, **({"strategy": strategy} if strategy else {})}
    answer = api.post("/api/v1/deployments/digits/preview", changes, content_type="application/json")
    assert answer.status_code == 200, answer.json()
    [said] = answer.json()
    assert said["note"].startswith(told) and bool(said["note"]) == bool(told), said["note"]


def test_the_page_previews_against_an_absent_cluster_and_rolls_out_what_was_typed(
    page: Client, digits: Deployment, developer: Principal
) -> None:
    Cluster.objects.update(state="Unreachable")
    shown = page.get(PAGE)
    text, of = shown.context["form"]["spec"].value(), shown.context["form"]["of"].value()
    edited = text + "priority_class: serving\n"
    previewed = page.post(f"{PAGE}/preview", {"of": of, "spec": edited})
    assert [(line.sign, line.text) for line in previewed.context["difference"]][-1] == ("+", "priority_class: serving")
    [answer] = previewed.context["answers"]
    assert "Pods are judged when they are made" in previewed.content.decode()
    assert (answer.accepted, "can't be reached" in answer.message, answer.note) == (None, True, "")
    assert "priorityClassName: serving" in answer.yaml
    digits.refresh_from_db()
    assert digits.last_revision == 1, "a preview rolls nothing out"
    assert "Nothing differs" in page.post(f"{PAGE}/preview", {"of": of, "spec": text}).content.decode()

    wrong = page.post(PAGE, {"of": of, "spec": text.replace("image:", "port: 0\nimage:", 1)})
    assert wrong.status_code == 400
    assert re.search(r"Line \d+: port is a whole number from 1 to 65535.", wrong.content.decode())

    for no_yaml in ("image: [", "- image", "a: 1\na: 2", "\t", "a: &x [*x]"):
        refused = page.post(f"{PAGE}/preview", {"of": of, "spec": no_yaml})
        assert refused.status_code == 400 and refused.context["form"].errors["spec"], no_yaml

    services.deploy_revision(principal=developer, deployment=digits, changes={"env": {"A": "1"}})
    late = page.post(PAGE, {"of": of, "spec": edited})
    assert late.status_code == 400 and "has rolled out revision 2 meanwhile" in late.content.decode()
    assert late.context["form"]["spec"].value() == edited and late.context["form"]["of"].value() == "2"

    assert page.post(PAGE, {"of": "2", "spec": edited}).status_code == 302
    digits.refresh_from_db()
    assert digits.current is not None
    assert (digits.current.number, digits.current.spec["priority_class"]) == (3, "serving")
    assert digits.current.spec["env"] == {}, "the text is all that is asked for"


def test_ci_asks_the_clusters_before_it_rolls_out(api: Client, digits: Deployment) -> None:
    Cluster.objects.update(state="Unreachable")
    address = "/api/v1/deployments/digits/preview/"
    asked = {"project": "demo", "priority_class": "serving"}
    [said] = api.post(address, asked, content_type="application/json").json()
    assert (said["target"], said["accepted"]) == ("local-production", None)
    assert said["objects"][0]["spec"]["template"]["spec"]["priorityClassName"] == "serving"
    Cluster.objects.update(state="Healthy", ca="no certificate")
    [said] = api.post(address, asked, content_type="application/json").json()
    assert said["accepted"] is None and "Register the cluster's credential again." in said["message"]
    assert api.post(address, {"project": "demo", "port": 0}, content_type="application/json").status_code == 400
    digits.refresh_from_db()
    assert digits.last_revision == 1
