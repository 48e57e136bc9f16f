"""`flotilla` as a process, against a real web process: what it prints, and its exit codes."""

import stat
from collections.abc import Callable
from typing import Any

import yaml

from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.models import Project, User
from apps.deployments import services as deploying
from apps.deployments.models import Deployment, Rollout
from apps.experiments.models import Run
from apps.experiments.states import LAUNCHED_MOVES
from apps.workflows import services as workflows
from apps.workflows.models import PipelineRun
from controlplane.embedded.waiting import wait_for
from tests import factories
from tests.client.flotilla import Flotilla, ended
from tests.deployments.places import arrive
from tests.workflows.courses import end, rounds, step

ONE = "name: one\nparams: {n: 1}\nsteps:\n  - {name: only, run: {image: busybox, args: ['${{ params.n }}']}}\n"
LAUNCH = ("run", "--experiment", "digits", "--image", "busybox")


def there(find: Callable[[], Any], what: str) -> Any:
    """What a process of its own brings about, as soon as it has."""
    wait_for(lambda: find() is not None, what, timeout=100)
    return find()


def test_a_login_is_kept_for_its_owner_alone_and_its_token_is_never_said(web_server, token, project, tmp_path):
    person = Flotilla(tmp_path)
    said = person("get", "runs", code=2)
    assert "flotilla login" in said.stderr
    said = person("login", web_server, "--token-stdin", "--project", "demo", stdin=f"{token}\n")
    assert "It sees demo." in said.stdout
    path = tmp_path / ".config/flotilla/config.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert person.json("get", "projects")[0]["name"] == "demo"
    # It belongs to its server: no other gets it.
    assert "no token for https://else.test" in person("get", "runs", "--server", "https://else.test", code=2).stderr
    path.chmod(0o644)
    assert "chmod 600" in person("get", "runs", code=2).stderr
    path.chmod(0o600)
    wrong = person("login", web_server, "--token-stdin", code=1, stdin="flt_wrong\n")
    assert "does not know this token" in wrong.stderr
    assert yaml.safe_load(path.read_text())["servers"][web_server]["token"] == token


WRONG = [
    (("get", "nothing"), 2, "is not one of"),
    (("run", "--image", "busybox"), 2, "--experiment is missing"),
    ((*LAUNCH, "--env", "A"), 2, "--env 'A' has no value"),
    ((*LAUNCH, "--cpu", "much"), 1, "resources.cpu: 'much' is not a quantity"),
    (("deploy", "digits", "--image", "x"), 1, "--target NAME"),
    (("pipeline", "watch", "one"), 1, "no pipeline 'one'"),
    (("logs", "abc"), 1, "no run 'abc'"),
    (("get", "runs", "--project", "other"), 1, "no project 'other'"),
    (("get", "runs", "--server", "http://127.0.0.1:9"), 1, "can't be reached"),
]


def test_what_is_wrong_says_what_to_do_and_which_kind_it_is(flotilla):
    for words, code, said in WRONG:
        assert said in flotilla(*words, code=code).stderr


def test_a_run_is_launched_followed_and_its_end_is_the_exit_code(flotilla, cluster):
    shown = flotilla(*LAUNCH, "--dry-run", "--", "python", "train.py", "--fast")
    assert yaml.safe_load(shown.stdout)["objects"][0]["kind"]
    assert not Run.objects.exists()
    process = flotilla.start(*LAUNCH, "--follow", "--param", "lr=0.1", "--", "python", "train.py", "--fast")
    run = there(Run.objects.first, "the run to be launched")
    assert run.spec["command"] == ["python", "train.py", "--fast"]
    assert list(run.params.values_list("key", "value")) == [("lr", "0.1")]
    attempt = factories.attempt(run)
    attempt.log = "epoch 1\nepoch 2\n"
    attempt.save()
    assert transitions.advance(run, to="Succeeded", allowed=LAUNCHED_MOVES, reason="Completed")
    out, err = ended(process)
    assert out.splitlines()[:2] == ["epoch 1", "epoch 2"] and "Succeeded" in out
    assert f"Launched {run.uid}" in err
    assert flotilla("logs", run.uid[:8]).stdout == "epoch 1\nepoch 2\n"
    (row,) = flotilla("get", "runs").stdout.splitlines()[1:]
    assert row.split()[0] == run.uid[:12] and "Succeeded" in row


def test_a_pipeline_is_started_watched_and_its_end_is_the_exit_code(flotilla, cluster):
    assert flotilla.json("get", "pipelines") == []
    ada = Principal(user=User.objects.get(username="ada"))
    workflows.create_version(principal=ada, project=Project.objects.get(), source=ONE)
    process = flotilla.start("pipeline", "run", "one", "-p", "n=5", "--watch")
    run = rounds(there(PipelineRun.objects.first, "the pipeline to be started"))
    assert run.params == {"n": 5}
    # It has not ended: whoever waits no longer is told so, and it goes on.
    assert "has not ended" in flotilla("pipeline", "watch", "one", "--timeout", "0", code=3).stderr
    end(step(run, "only"))
    rounds(run)
    out, err = ended(process)
    assert "only" in out and "Succeeded" in out and "one #1: Succeeded" in err
    flotilla("pipeline", "run", "one")
    run = rounds(PipelineRun.objects.get(number=2))
    end(step(run, "only"), "Failed")
    rounds(run)
    assert "one #2 has not succeeded" in flotilla("pipeline", "watch", "one", "2", code=1).stderr
    assert flotilla.json("get", "pipelines", "one")["last_runs"][0] == {"number": 2, "state": "Failed"}


def test_a_deployment_is_rolled_out_and_the_verdict_is_the_exit_code(flotilla, project, cluster):
    root = Principal(user=User.objects.create_superuser("root"))
    deploying.create_target(principal=root, project=project, name="production", cluster="local")
    process = flotilla.start("deploy", "digits", "--image", "busybox", "--target", "production", "--wait")
    arrive(there(Deployment.objects.first, "the deployment to be made"))
    out, err = ended(process)
    assert "Healthy" in out and "Revision 1 of digits serves." in err
    waiting = flotilla.start("deploy", "digits", "--image", "busybox:2", "--wait")
    rollout = there(Rollout.objects.filter(to_revision__number=2).first, "the second rollout")
    assert "digits: Revision 2: " in flotilla("pause", "digits").stdout
    rollout.refresh_from_db()
    assert rollout.paused
    flotilla("promote", "digits", "--full")
    assert "RollingBack" in flotilla("abort", "digits").stdout
    arrive(Deployment.objects.get())
    _, err = ended(waiting, code=1)
    assert "Revision 2 of digits does not serve. Revision 2: Aborted" in err
    assert "no revision 9" in flotilla("rollback", "digits", "--revision", "9", code=1).stderr
    (row,) = flotilla("status").stdout.splitlines()[1:]
    assert row.split()[:4] == ["digits", "demo", "Healthy", "1/1"]
    assert "demo/digits" in flotilla("status", "digits", "--wait").stdout


def test_a_bundle_is_compared_applied_and_its_verdict_awaited(flotilla, project, cluster, tmp_path):
    root = Principal(user=User.objects.create_superuser("root"))
    deploying.create_target(principal=root, project=project, name="production", cluster="local")
    folder = tmp_path / "flotilla"
    folder.mkdir()
    (folder / "one.yaml").write_text(f"kind: Pipeline\n{ONE}")
    serving = "kind: Deployment\nname: digits\ntargets: [production]\nimage: busybox:1\n"
    (folder / "serving.yml").write_text(serving)
    bundle = ("-f", str(folder), "-b", "shop")
    seen = flotilla("diff", *bundle, "--exit-code", code=1)
    assert "+ Deployment digits: made" in seen.stdout and "Would be: 2 made." in seen.stderr
    assert not Deployment.objects.exists()
    process = flotilla.start("apply", *bundle, "--wait")
    arrive(there(Deployment.objects.first, "the bundle to be applied"))
    out, err = ended(process)
    assert "+ Pipeline one: made" in out and "Revision 1 of digits serves." in err
    assert {each["action"] for each in flotilla.json("diff", *bundle, "--exit-code")["changes"]} == {"same"}
    (folder / "serving.yml").write_text(serving.replace("busybox:1", "busybox:2"))
    out = flotilla("diff", *bundle).stdout
    assert "~ Deployment digits: changed" in out and "- image: busybox:1" in out and "+ image: busybox:2" in out
    (folder / "serving.yml").write_text(serving.replace("image", "imagge"))
    assert "documents[1].imagge: There is no such field." in flotilla("apply", *bundle, code=1).stderr
