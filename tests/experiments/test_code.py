"""A run of code out of a git repository: fetched by git itself from a real server, on a real local cluster."""

import base64
import functools
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.clusters.models import Cluster
from apps.clusters.services import connect
from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.models import Run
from apps.experiments.specs import parse_spec
from apps.experiments.specs.code import Code
from apps.experiments.states import SETTLED, RunState
from tests import factories
from tests.experiments.rounds import follow, last

LOGIN = base64.b64encode(b"robot:s3cret-of-git").decode()
Repository = tuple[str, dict[str, str]]


class Guarded(SimpleHTTPRequestHandler):
    """A folder of files by HTTP, as git's oldest servers are; what lies below /private asks for a login."""

    def do_GET(self) -> None:
        if self.path.startswith("/private") and self.headers.get("Authorization") != f"Basic {LOGIN}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """The address of a server, and the commits of its repository: a tag `v1`, and what `main` has now."""
    base = tmp_path_factory.mktemp("git")
    work = base / "work"
    (work / "training dir").mkdir(parents=True)
    git(work, "init", "-q")
    commits = {}
    for name, told in (("v1", "first"), ("main", "second")):
        (work / "training dir" / "train.py").write_text(f"print('{told} version')\n")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", told)
        commits[name] = git(work, "rev-parse", "HEAD")
        if name == "v1":
            git(work, "tag", "v1")
    for where in ("public", "private"):
        git(base, "clone", "-q", "--bare", "work", f"served/{where}.git")
        git(base / f"served/{where}.git", "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Guarded, directory=str(base / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", commits
    server.shutdown()
    server.server_close()


@pytest.mark.django_db(transaction=True)
def test_a_command_runs_in_the_commit_that_was_asked_for_and_the_run_tells_it(
    repository: tuple[str, dict[str, str]],
    real_cluster: Cluster,
    principal: Principal,
    project: Project,
    browser: Client,
) -> None:
    address, commits = repository

    def launch(git: dict[str, str]) -> Run:
        wish = {"experiment": "e", "image": "python:3.11", "command_line": "python train.py", "git": git}
        return services.launch_runs(principal=principal, project=project, wishes=[wish])[0]

    public = {"url": f"{address}/public.git", "folder": "training dir"}
    private = {"url": f"{address}/private.git", "folder": "training dir", "secret": "git-login"}
    runs = {
        "second": launch(public),
        "first": launch(public | {"ref": "v1"}),
        "by commit": launch(public | {"ref": commits["v1"][:9]}),
        "private": launch(private),
    }
    wrong = {
        "The repository has no branch, tag or commit nowhere.": launch(public | {"ref": "nowhere"}),
        "There is no folder gone in the commit": launch(public | {"folder": "gone"}),
        "could not read Username": launch({**private, "secret": ""}),
    }
    login = {"kind": "Secret", "apiVersion": "v1", "stringData": {"username": "robot", "password": "s3cret-of-git"}}
    namespace = runs["private"].namespace
    client = connect(real_cluster)
    client.apply({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}})
    client.create(login | {"metadata": {"name": "git-login", "namespace": namespace}})
    for said, run in wrong.items():
        follow(run, *SETTLED)
        assert run.state == RunState.FAILED and said in run.message, run.message
        assert said in last(run).log, "the log of what failed is kept"
        assert not run.tags.filter(key="mlflow.source.git.commit").exists()
    for name, run in runs.items():
        follow(run, *SETTLED)
        told = "first" if name in ("first", "by commit") else "second"
        assert run.state == RunState.SUCCEEDED and f"{told} version" in last(run).log, run.message
        commit = commits["v1" if told == "first" else "main"]
        [pod] = last(run).pods
        assert pod["commit"] == commit and "python:3.11" in pod["image_id"]
        assert run.tags.get(key="mlflow.source.git.commit").value == commit
        page = browser.get(f"/p/demo/runs/{run.uid}/").content.decode()
        assert commit in page and f"{address}/" in page
    assert runs["first"].tags.get(key="mlflow.source.git.branch").value == "v1"


@pytest.mark.parametrize(
    ("git", "field", "said"),
    [
        ("https://a.b/c", "git", "an object with url, ref, folder, secret"),
        ({"url": "https://a.b/c", "branch": "x"}, "git", "an object with"),
        ({"ref": "main"}, "git.url", "begins with https://"),
        ({"url": "git@a.b:c.git"}, "git.url", "begins with https://"),
        ({"url": "file:///etc"}, "git.url", "begins with https://"),
        ({"url": "ext::sh -c id"}, "git.url", "begins with https://"),
        ({"url": "https://[::1"}, "git.url", "is no address"),
        ({"url": "https://me:secret@a.b/c"}, "git.url", "has no login in it"),
        ({"url": "https://token@a.b/c"}, "git.url", "has no login in it"),
        ({"url": "https://a.b/" + "c" * 500}, "git.url", "500 letters at most"),
        ({"url": 7}, "git.url", "is a string"),
        ({"url": "https://a.b/c", "ref": "--upload-pack=id"}, "git.ref", "no branch, tag or commit"),
        ({"url": "https://a.b/c", "ref": "a..b"}, "git.ref", "no branch, tag or commit"),
        ({"url": "https://a.b/c", "ref": "a b"}, "git.ref", "no branch, tag or commit"),
        ({"url": "https://a.b/c", "folder": "/etc"}, "git.folder", "within the repository"),
        ({"url": "https://a.b/c", "folder": "a/../.."}, "git.folder", "within the repository"),
        ({"url": "https://a.b/c", "secret": "run-7"}, "git.secret", "Flotilla's own"),
        ({"url": "https://a.b/c", "secret": "Not A Name"}, "git.secret", "the name of a Secret"),
    ],
)
def test_what_can_not_be_fetched_is_refused_at_its_field(git: Any, field: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_spec({"image": "x", "git": git})
    assert refused.value.field == field and said in str(refused.value)
    assert "secret@" not in refused.value.sentence


def test_code_is_stored_as_it_was_asked_for_and_read_again() -> None:
    asked = {"url": "https://a.b/c", "ref": "feature/x-1.2", "folder": "a/b", "secret": "login"}
    spec = parse_spec({"image": "x", "git": asked})
    assert spec.code == Code(**asked) and parse_spec(spec.to_json()) == spec
    assert spec.code.working_directory == "/workspace/source/a/b"
    assert "git" not in parse_spec({"image": "x"}).to_json()
    for volume in ({"mountPath": "/workspace/"}, {"mountPath": "/x", "name": "flotilla-code"}):
        with pytest.raises(Invalid, match="where the repository goes"):
            parse_spec({"image": "x", "git": asked, "volumes": [volume | {"emptyDir": {}}]})


@pytest.mark.django_db
def test_the_form_takes_a_repository_and_a_rerun_keeps_it(browser: Client, project: Project) -> None:
    cluster = factories.cluster("home", nodes=1)
    form = {"experiment": "e", "image": "x", "way": "line", "cluster": cluster.name, "cpu": "1", "memory": "1Gi"}
    wrong = browser.post("/p/demo/runs/new", form | {"git_url": "git@a.b:c"})
    assert "git_url" in wrong.context["form"].errors
    code = {"git_url": "https://a.b/c", "git_ref": "main", "git_folder": "sub", "git_secret": "login"}
    assert browser.post("/p/demo/runs/new", form | code).status_code == 302
    run = Run.objects.get()
    assert run.spec["git"] == {"url": "https://a.b/c", "ref": "main", "folder": "sub", "secret": "login"}
    again = browser.get(f"/p/demo/runs/new?again={run.uid}").context["form"]
    assert {name: again[name].value() for name in code} == code and again.advanced_open
