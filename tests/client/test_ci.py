"""The shell lines of the example workflows, run as GitHub's and GitLab's runners would, against a real web process.

Only `docker` and `pip` are played: there is no registry here, and what pip would install is there already.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from apps.core.access import Principal
from apps.core.models import User
from apps.deployments import services as deploying
from apps.deployments.models import Deployment
from tests.client.flotilla import CLIENT, Flotilla, ended
from tests.client.test_client import there
from tests.deployments.places import arrive

EXAMPLES = CLIENT.parent / "examples" / "ci"
# What the runner knows by itself, or the project's settings.
GITHUB = {"github.repository": "team/digits", "github.sha": "c0ffee", "vars.FLOTILLA_CLIENT": str(CLIENT)}
GITLAB = {"CI_REGISTRY_IMAGE": "registry.test/digits", "CI_COMMIT_SHA": "c0ffee", "CI_REGISTRY": "registry.test"}


@dataclass(frozen=True)
class Runner:
    """A checkout, the programs that a runner has, and what it knows."""

    place: Path
    flotilla: Flotilla

    def start(self, lines: str, known: Mapping[str, str]) -> "subprocess.Popen[str]":
        """A job's lines, of which the first that fails ends it."""
        environment = {
            **self.flotilla.environment,
            "PYTHONPATH": str(CLIENT),
            "HOME": str(self.place),
            "FLOTILLA_CLIENT": str(CLIENT),
            "GITHUB_ACTOR": "ada",
            "CI_REGISTRY_USER": "ada",
            "CI_REGISTRY_PASSWORD": "x",
            **known,
            "PATH": f"{self.place / 'bin'}:{os.environ['PATH']}",
        }
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", lines],
            cwd=self.place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def called(self) -> str:
        """What the played programs were called with."""
        return (self.place / "called").read_text()


@pytest.fixture
def runner(flotilla: Flotilla, project: Any, cluster: Any, tmp_path: Path) -> Runner:
    root = Principal(user=User.objects.create_superuser("root"))
    deploying.create_target(principal=root, project=project, name="production", cluster="local")
    place = tmp_path / "checkout"
    shutil.copytree(EXAMPLES / "deploy", place / "deploy")
    # A password that nobody reads would end whoever writes it.
    reads = 'case "$*" in *--password-stdin*) cat > /dev/null;; esac'
    programs = {name: f'{reads}\necho "{name} $*" >> {place}/called' for name in ("docker", "pip")}
    programs["flotilla"] = f'exec {sys.executable} -m flotilla_client "$@"'
    (place / "bin").mkdir()
    for name, line in programs.items():
        path = place / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Runner(place, flotilla)


def filled(values: Mapping[str, str], known: Mapping[str, str], mark: str) -> dict[str, str]:
    """The variables that a runner knows all parts of."""
    found = {key: re.sub(mark, lambda name: known.get(name[1], "\0"), str(value)) for key, value in values.items()}
    return {key: value for key, value in found.items() if "\0" not in value}


def github(job: str) -> tuple[str, dict[str, str]]:
    workflow = yaml.safe_load((EXAMPLES / "github-actions.yaml").read_text())
    steps = workflow["jobs"][job]["steps"]
    known = filled(workflow["env"], GITHUB, r"\$\{\{ ([\w.]+) \}\}")
    return "\n".join(step["run"] for step in steps if "run" in step), known | {"REGISTRY_TOKEN": "x"}


def gitlab(job: str) -> tuple[str, dict[str, str]]:
    workflow = yaml.safe_load((EXAMPLES / "gitlab-ci.yaml").read_text())
    before = [] if job == "plan" else workflow["build"]["script"]
    lines = [*before, *workflow[job]["script"]]
    return "\n".join(lines), GITLAB | filled(workflow["variables"], GITLAB, r"\$(\w+)")


@pytest.mark.parametrize("workflow", [github, gitlab])
def test_a_push_is_built_applied_and_red_where_its_verdict_is_bad(runner, workflow):
    lines, known = workflow("plan")
    out, err = ended(runner.start(lines, known))
    assert "+ Deployment digits: made" in out and "Would be: 1 made." in err
    assert not Deployment.objects.exists()
    lines, known = workflow("deploy")
    image = known["IMAGE"]
    job = runner.start(lines, known)
    arrive(there(Deployment.objects.first, "the bundle to be applied"))
    _, err = ended(job)
    assert "Revision 1 of digits serves." in err
    assert f"docker push {image}" in runner.called()
    assert Deployment.objects.get().current.spec["image"] == image
    job = runner.start(lines, known | {"IMAGE": f"{image}-bad"})
    there(Deployment.objects.filter(current__number=2).first, "the next image to be applied")
    runner.flotilla("abort", "digits")
    arrive(Deployment.objects.get())
    _, err = ended(job, code=1)
    assert "Revision 2 of digits does not serve." in err
