"""The Python packages of a run: told before its command begins, or by the list that comes with a model's files."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.experiments.files import artifacts
from apps.experiments.manifests.packages import telling
from apps.experiments.models import Artifact, Experiment, LoggedModel, Run, RunPackages
from apps.experiments.specs.commands import by_shell
from apps.experiments.specs.packages import MOST_BYTES, MOST_PACKAGES, WHOLE, is_list, parse_list
from tests import factories

NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_EXPERIMENT_ID": "1", "MLFLOW_RUN_ID": "ab" * 16}
TOKEN = "MLFLOW_TRACKING_TOKEN"


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("# Python 3.11.7\nnumpy==2.1.0\n\nPyYAML == 6.0\n", {"numpy": "2.1.0", "python": "3.11.7", "PyYAML": "6.0"}),
        ("mlflow-skinny[databricks]==3.17.2 ; python_version > '3.9'  # pinned", {"mlflow-skinny": "3.17.2"}),
        ("scikit-learn>=1.4,<2\ntorch", {"scikit-learn": ">=1.4,<2", "torch": ""}),
        ("a @ git+https://me:secret@a.b/c.git", {"a": "@ git+https://a.b/c.git"}),
        ("a==1 \\\n    --hash=sha256:00\nb==2 --hash=sha256:11", {"a": "1", "b": "2"}),
        ("-r other.txt\n--index-url https://a.b\n-e .\n./wheel.whl\nhttps://a.b/c.whl\nhello world\n#\x00", {}),
        ("\n".join(f"p{number}==1" for number in range(MOST_PACKAGES + 5)), MOST_PACKAGES),
        ("a==1\n" + "b" * MOST_BYTES, {"a": "1"}),
        (b"\xff\xfe", {}),
    ],
)
def test_what_a_list_says(text: str | bytes, versions: dict[str, str] | int) -> None:
    told = parse_list(FILE, text if isinstance(text, bytes) else text.encode()).packages
    assert (len(told) if isinstance(versions, int) else told) == versions


FILE = "model/requirements.txt"


def test_which_files_list_packages() -> None:
    assert [is_list(path) for path in (FILE, WHOLE, "requirements.txt", "a/my-requirements.txt", "conda.yaml")] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert parse_list(WHOLE, b"a==1").whole and not parse_list(FILE, b"a==1").whole


@pytest.mark.parametrize(
    ("command", "more", "printed", "code"),
    [
        (by_shell('echo "$0 $# $GREETING"; exit 3'), (), "/bin/sh 0 hi\n", 3),
        (["/bin/sh", "-c", 'echo "$0 $*"'], ("a b", "c"), "a b c\n", 0),
        ([sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(5)"], ("$x", ""), "['$x', '']\n", 5),
        (["echo", "as it is"], (), "as it is\n", 0),
    ],
)
def test_the_command_runs_as_it_would_by_itself_though_nobody_takes_the_list(
    command: list[str], more: tuple[str, ...], printed: str, code: int
) -> None:
    # Kubernetes makes one dollar sign of two.
    words = [word.replace("$$", "$") for word in telling(command)]
    env = os.environ | NOWHERE | {TOKEN: "x", "GREETING": "hi"}
    ran = subprocess.run([*words, *more], env=env, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.returncode) == (printed, code), ran.stderr
    told = [line for line in ran.stderr.splitlines() if line]
    assert told == [] if command[0] == "echo" else "not recorded" in told[0] and len(told) == 1


@pytest.mark.parametrize("command", [["torchrun", "train.py"], ["/bin/sh", "run.sh"], ["pythonic", "x"], []])
def test_what_may_have_no_python_is_left_alone(command: list[str]) -> None:
    assert telling(command) == command


@pytest.mark.django_db(transaction=True)
def test_a_command_line_tells_what_is_installed_by_the_token_of_its_run(
    experiment: Experiment, browser: Client, token: str, web_server: str
) -> None:
    run = factories.run(experiment)
    own = issue_token(name="run", project=experiment.project, run_uid=run.uid, role=Role.DEVELOPER)[1]
    env = os.environ | {
        "MLFLOW_TRACKING_URI": web_server,
        "MLFLOW_EXPERIMENT_ID": str(experiment.pk),
        "MLFLOW_RUN_ID": run.uid,
        TOKEN: own,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    words = [word.replace("$$", "$") for word in telling(by_shell("echo trained"))]
    for others in ("1", "0"):
        ran = subprocess.run(
            words, env=env | {"JOB_COMPLETION_INDEX": others}, capture_output=True, text=True, timeout=60
        )
        assert (ran.stdout, ran.stderr, ran.returncode) == ("trained\n", "", 0)
        assert RunPackages.objects.filter(run=run).exists() == (others == "0"), "the first of several workers tells"
    told = RunPackages.objects.get(run=run)
    assert told.whole and told.path == WHOLE
    assert told.versions["python"] == sys.version.split()[0] and told.versions["Django"]
    page = browser.get(f"/p/demo/runs/{run.uid}/").content.decode()
    assert ">Packages<" in page and "all that was installed" in page and told.versions["Django"] in page
    names = re.findall(r'<th scope="row" class="one mono">([^<]+)</th>', page.partition('id="package-list"')[2])
    assert names[: len(told.versions) - 1] == sorted(set(told.versions) - {"python"}, key=str.lower)
    shown = Client(headers={"authorization": f"Bearer {token}"}).get(f"/api/v1/runs/{run.uid}").json()["packages"]
    assert shown["versions"]["python"] == told.versions["python"] and shown["whole"]


@pytest.mark.django_db
def test_what_a_model_needs_gives_way_to_all_that_was_installed(experiment: Experiment) -> None:
    run = factories.run(experiment)
    model = LoggedModel.objects.create(experiment=experiment, run=run, name="iris")

    def wrote(owner: Any, path: str, body: bytes) -> tuple[str, dict[str, str]]:
        artifacts.write(owner, path, io.BytesIO(body))
        told = RunPackages.objects.get(run=run)
        return told.path, told.versions

    assert wrote(run, "model/requirements.txt", b"a==1") == ("model/requirements.txt", {"a": "1"})
    assert wrote(model, "requirements.txt", b"a==2") == ("iris/requirements.txt", {"a": "2"})
    assert wrote(run, "requirements.txt", b"nothing to be read") == ("iris/requirements.txt", {"a": "2"})
    assert wrote(model, WHOLE, b"a==3") == (f"iris/{WHOLE}", {"a": "3"}), "which is a model's own file"
    assert wrote(run, WHOLE, b"a==4\nb==1") == (WHOLE, {"a": "4", "b": "1"})
    assert wrote(model, "requirements.txt", b"a==5") == (WHOLE, {"a": "4", "b": "1"})
    assert wrote(run, WHOLE, b"a==6") == (WHOLE, {"a": "6"})
    assert Artifact.objects.count() == 5
    alone = LoggedModel.objects.create(experiment=experiment, name="alone")
    artifacts.write(alone, "requirements.txt", io.BytesIO(b"a==1"))
    assert RunPackages.objects.count() == 1


@pytest.mark.django_db
def test_runs_are_compared_by_the_packages_and_the_data_that_they_had(browser: Client, experiment: Experiment) -> None:
    first, second, unknown = (factories.run(experiment) for _ in range(3))
    for run, version in ((first, "1.0"), (second, "2.0")):
        artifacts.write(run, WHOLE, io.BytesIO(f"numpy=={version}\nsame==7.7.7\nAbc=={version}".encode()))
    runs = "&".join(f"run={run.uid}" for run in (first, second, unknown))
    page = browser.get(f"/p/demo/runs/compare?{runs}").content.decode()
    packages = page.partition(">Packages ")[2]
    assert packages.index(">Abc<") < packages.index(">numpy<"), "by name"
    assert "numpy" in packages and "1.0" in packages and "2.0" in packages
    assert "7.7.7" not in packages, "nobody knows what the third one had"
    assert "7.7.7" in browser.get(f"/p/demo/runs/compare?{runs}&all=1").content.decode()
    give(first, "digits", "aaa111")
    give(second, "digits", "bbb222")
    give(first, "held out", "ccc333")
    give(second, "held out", "ccc333")
    pair = browser.get(f"/p/demo/runs/compare?run={first.uid}&run={second.uid}").content.decode()
    datasets = pair.partition(">Datasets ")[2]
    assert "aaa111" in datasets and "bbb222" in datasets and "ccc333" not in datasets


def give(run: Run, name: str, digest: str) -> None:
    dataset, _ = run.experiment.datasets.get_or_create(
        name=name, digest=digest, defaults={"source_type": "local", "source": "{}"}
    )
    run.dataset_inputs.create(dataset=dataset, tags={"mlflow.data.context": "training"})
