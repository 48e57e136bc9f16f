"""The page of changes: each one in words, found by kind, project and text, and all of them page by page."""

import ast
import re
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from apps.core.audit import KINDS
from apps.core.models import AuditEntry, Membership, Project, User
from apps.core.pages.activity import A_PAGE, Change, Wanted, changes_of
from apps.core.states import Role
from apps.core.text import actions
from apps.deployments.models import Target
from apps.experiments.models import Experiment, RegisteredModel, Run
from controlplane.embedded.fleet import BASE_DIR
from tests import factories

ACTION = re.compile(rf"({'|'.join(KINDS)})(\.[a-z_]+)+")
ROWS = re.compile(r'id="entry-(\d+)"')


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, None, []),
        ({"replicas": 2}, {"replicas": 4}, [("replicas", "2", "4")]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, [("b", "2", "3")]),
        ({"role": "viewer"}, {"role": None, "narrowed": 0}, [("role", "viewer", ""), ("narrowed", "", "0")]),
        (None, {"spec": {"image": "a:1", "env": {"A": "é"}}}, [("spec.image", "", "a:1"), ("spec.env.A", "", "é")]),
        ({"on": False}, {"on": True}, [("on", "no", "yes")]),
        ({"on": 1}, {"on": True}, [("on", "1", "yes")]),
        ({"tags": ["a"]}, {"tags": ["a", "b"]}, [("tags", "a", "a, b")]),
        ({"volumes": [{"name": "é"}]}, {"volumes": []}, [("volumes", '[{"name": "é"}]', "")]),
        (None, {"spec": {"command": ["echo", "a, b", "$HOME", ""]}}, [("spec.command", "", "echo 'a, b' '$HOME' ''")]),
        ({"args": ["-c"]}, {"args": ["it's"]}, [("args", "-c", "'it'\"'\"'s'")]),
        ({"env": {}}, {"env": {"A": "1"}}, [("env.A", "", "1")]),
        ({"text": "None"}, {"text": None}, [("text", "None", "")]),
    ],
)
def test_changes_are_told_value_by_value(
    before: dict[str, Any] | None, after: dict[str, Any] | None, told: list[tuple[str, str, str]]
) -> None:
    assert changes_of(before, after) == [Change(*each) for each in told]


@pytest.mark.parametrize("query", ["before=x", "before=²", "before=99999999999999999999", "kind=nothing", "q=%00", ""])
def test_what_makes_no_sense_in_an_address_is_left_out(query: str) -> None:
    assert Wanted.parse(QueryDict(query)) == Wanted()


def test_every_action_is_of_a_kind_that_can_be_chosen_and_has_words() -> None:
    # Those that no single literal has.
    spoken = {f"deployment.{field}" for field in ("autoscaling", "disruption_budget", "schedule")}
    spoken |= {"rollout.approve", "rollout.reject"}
    for path in (BASE_DIR / "apps").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value
            if literal and path.parent.name == "services" and ACTION.fullmatch(literal):
                spoken.add(literal)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("audit.record", "audit.record_all"):
                (action,) = (keyword.value for keyword in node.keywords if keyword.arg == "action")
                spoken |= {action.value} if isinstance(action, ast.Constant) else set()
    assert {action.partition(".")[0] for action in spoken} == set(KINDS)
    assert spoken == set(actions.WORDS)
    assert actions.action_text("model.made_of_old") == "Model made of old"


def test_objects_are_linked_while_they_are_there(client: Client) -> None:
    mine = Project.objects.get(name="mine")
    experiment = Experiment.objects.create(project=mine, name="a b")
    model = RegisteredModel.objects.create(project=mine, name="digits")
    run = factories.run(experiment)
    cluster = factories.cluster("home", nodes=0)
    target = Target.objects.create(project=mine, name="t", cluster=cluster, namespace="n", environment="e")
    version = model.versions.create(version=1, source="s")
    made = [mine, experiment, model, run, cluster, target, version]
    entries = [
        AuditEntry(
            action="run.launch",
            object_type=each._meta.label_lower,
            object_id=str(each.pk),
            object_name="x",
            project=mine,
        )
        for each in made
    ]
    AuditEntry.objects.bulk_create(entries)
    html = client.get("/activity/").content.decode()
    links = set(re.findall(r'<a class="name" href="([^"]*)">x</a>', html))
    where = "/p/mine"
    assert links == {
        f"{where}/", f"{where}/experiments/a%20b/", f"{where}/models/digits/", f"{where}/runs/{run.uid}/",
        "/clusters/home/", f"{where}/targets/#target-{target.pk}",
    }  # fmt: skip
    assert "Launched run" in html and 'title="run.launch"' in html
    Run.objects.update(deleted_at=timezone.now())
    target.delete()
    html = client.get("/activity/?q=launched").content.decode()
    assert f"{where}/runs/" not in html and "#target" not in html


@pytest.fixture
def client(db: None) -> Client:
    """A viewer of `mine`; there is more of `theirs` and of nobody's."""
    ada, mine = User.objects.create_user("ada"), Project.objects.create(name="mine")
    Membership.objects.create(project=mine, user=ada, role=Role.VIEWER)
    theirs = Project.objects.create(name="theirs")
    about: dict[str, Any] = {"object_type": "x", "object_id": "1"}
    AuditEntry.objects.bulk_create(
        AuditEntry(
            **about, actor="ada" if number % 3 else "100%", action="run.launch" if number % 2 else "model.update",
            object_name=f"thing-{number}", project=(mine, mine, mine, theirs, None)[number % 5],
            before={"note": "first"}, after={"note": "second", "on": True},
        )
        for number in range(5 * A_PAGE)
    )  # fmt: skip
    client = Client()
    client.force_login(ada)
    return client


def walk(client: Client, address: str, word: str = "next") -> list[int]:
    """The entries of a page and of all that follow, in the order in which they come."""
    shown: list[int] = []
    while address:
        html = client.get(f"/activity/{address}").content.decode()
        shown += map(int, ROWS.findall(html))
        link = re.search(rf'rel="{word}" href="([^"]*)"', html)
        address = link[1].replace("&amp;", "&") if link else ""
    return shown


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?", {}),
        ("?kind=run", {"action": "run.launch"}),
        ("?project=mine&kind=model", {"action": "model.update"}),
        ("?q=100%25", {"actor": "100%"}),
        ("?q=THING-1&kind=run", {"action": "run.launch", "object_name__startswith": "thing-1"}),
    ],
)
def test_pages_hold_each_change_once_forth_and_back(client: Client, query: str, wanted: dict[str, str]) -> None:
    mine = AuditEntry.objects.filter(project__name="mine", **wanted)
    expected = list(mine.order_by("-pk").values_list("pk", flat=True))
    assert expected and walk(client, query) == expected
    middle = len(expected) // 2
    back = walk(client, f"{query}&before={expected[middle]}", "prev")
    assert set(back) == set(expected) - set(expected[middle + 1 + A_PAGE :])


def test_a_change_is_read_without_knowing_python(client: Client) -> None:
    html = client.get("/activity/").content.decode()
    assert "<del>first</del>" in html and "<ins>second</ins>" in html and "<ins>yes</ins>" in html
    for written in ("{&#x27;", "True", "None"):
        assert written not in html
    assert client.get("/activity/?project=theirs").content.decode().count('id="entry-') == 0
    assert "Nothing matches" in client.get("/activity/?q=nowhere").content.decode()
