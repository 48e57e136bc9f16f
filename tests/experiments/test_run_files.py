"""Files between runs: what may be asked for, the pod that brings and keeps them, and the programs that do."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from apps.core.access import Principal
from apps.core.errors import Invalid
from apps.core.models import Project
from apps.experiments import services
from apps.experiments.files.folders import folders_of
from apps.experiments.models import Experiment, Run
from apps.experiments.reconcile.case import new_token
from apps.experiments.specs import parse_spec
from apps.experiments.specs.files import FILES, Files
from apps.experiments.states import RunState
from modelserver.openinference.collect import Collector, collect
from modelserver.openinference.errors import ModelError
from modelserver.openinference.registry import Registry
from modelserver.openinference.stage import stage
from modelserver.openinference.transport import Server
from tests import factories
from tests.experiments.test_manifests import job_of

UID = "ab" * 16
DATA = f"runs:/{UID}/outputs/data"


@pytest.mark.parametrize(
    ("asked", "field", "said"),
    [
        ({"inputs": ["x"]}, "inputs", "an object"),
        ({"inputs": {"../x": DATA}}, "inputs", "can't name"),
        ({"inputs": {"x": "s3://elsewhere"}}, "inputs.x", "no artifact of a run"),
        ({"inputs": {"x": f"runs:/{UID}/../../etc"}}, "inputs.x", "no artifact of a run"),
        ({"inputs": {"x": f"runs:/{UID}//etc"}}, "inputs.x", "no artifact of a run"),
        ({"inputs": {"x": []}}, "inputs.x", "a list of them"),
        ({"outputs": {"x": "folder"}}, "outputs.x", "files, value"),
        ({"outputs": ["a/b"]}, "outputs", "can't name"),
        ({"outputs": ["x"], "workers": 2}, "outputs", "one worker"),
        ({"outputs": ["x"], "env": {"FLOTILLA_OUTPUTS": "/x"}}, "env", "set by Flotilla"),
        ({"inputs": {"x": DATA}, "volumes": [{"mountPath": "/flotilla/x", "emptyDir": {}}]}, "volumes", "elsewhere"),
        ({"outputs": ["x"], "runtime": {"trainer": "torch"}}, "outputs", "Kubeflow Trainer"),
    ],
)
def test_what_can_not_be_brought_or_kept_is_refused_at_its_field(asked: Any, field: str, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_spec({"image": "x", **asked})
    assert refused.value.field == field and said in refused.value.sentence


def test_a_spec_with_files_is_read_as_it_was_written() -> None:
    spec = parse_spec({"image": "x", "inputs": {"a": DATA, "b": [DATA]}, "outputs": ["c"]})
    assert spec.files == Files({"a": DATA, "b": (DATA,)}, {"c": FILES})
    assert parse_spec(spec.to_json()) == spec
    assert not {"inputs", "outputs"} & set(parse_spec({"image": "x"}).to_json())


def test_a_pod_brings_inputs_first_and_keeps_outputs_beside_the_run() -> None:
    job = job_of(parse_spec({"image": "x", "inputs": {"a": DATA}, "outputs": {"c": "value"}}))
    kubernetes_validate.validate(job, "1.37", strict=True)
    pod = job["spec"]["template"]["spec"]
    fetch, keep = pod["initContainers"]
    assert "restartPolicy" not in fetch and keep["restartPolicy"] == "Always"
    told = [{entry["name"]: entry.get("value") for entry in step["env"]} for step in (fetch, keep)]
    assert json.loads(told[0]["FLOTILLA_INPUT_SOURCES"]) == {"a": DATA}
    assert json.loads(told[1]["FLOTILLA_OUTPUT_KINDS"]) == {"c": "value"}
    [container] = pod["containers"]
    assert container["env"][:2] == [
        {"name": "FLOTILLA_INPUTS", "value": "/flotilla/inputs"},
        {"name": "FLOTILLA_OUTPUTS", "value": "/flotilla/outputs"},
    ]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {"/flotilla/inputs": "flotilla-inputs", "/flotilla/outputs": "flotilla-outputs"}
    assert [volume["name"] for volume in pod["volumes"]] == ["flotilla-inputs", "flotilla-outputs"]


@pytest.fixture
def run(principal: Principal, project: Project) -> Run:
    experiment: Experiment = services.create_experiment(principal=principal, project=project, name="files")
    return factories.run(experiment, state=RunState.RUNNING, points=0)


@pytest.mark.django_db(transaction=True)
def test_what_one_run_leaves_another_finds(run: Run, web_server: str, tmp_path: Path) -> None:
    left, found, token = tmp_path / "left", tmp_path / "found", new_token(run)
    (left / "data/deep").mkdir(parents=True)
    (left / "data/deep/a b.txt").write_text("one")
    (left / "data/empty").touch()
    (left / "data/link").symlink_to("/etc/passwd")
    (left / "notes").write_text("not asked for")
    (left / "score").write_text("0.97\n")
    (left / "best").write_text("north\n")
    collector = Collector(
        Server(web_server, token), run.uid, left, {"data": "files", "score": "value", "best": "value"}
    )
    ended = threading.Event()
    ended.set()
    # An earlier attempt left something else.
    collector.begin()
    (left / "data/old").write_text("old")
    collector.finish()
    (left / "data/old").unlink()
    collect(Collector(collector.server, run.uid, left, collector.kinds), ended)
    assert sorted(run.artifacts.values_list("path", flat=True)) == ["outputs/data/deep/a b.txt", "outputs/data/empty"]
    assert run.tags.get(key="flotilla.outputs").value == "complete"
    assert run.tags.get(key="best").value == "north" and run.latest_metrics.get(key="score").value == 0.97

    uri = f"runs:/{run.uid}/outputs/data"
    sources = {"digits": uri, "both": [uri, f"{uri}/deep"], "alone": f"{uri}/deep/a b.txt"}
    stage(Registry(web_server, token), sources, found)
    names = sorted(path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file())
    assert names == [
        "alone",
        "both/0/deep/a b.txt",
        "both/0/empty",
        "both/1/a b.txt",
        "digits/deep/a b.txt",
        "digits/empty",
    ]
    assert (found / "alone").read_text() == (found / "digits/deep/a b.txt").read_text() == "one"
    with pytest.raises(ModelError, match="Input x is not there"):
        stage(Registry(web_server, token), {"x": f"runs:/{run.uid}/outputs/y"}, found)

    place = (run.uid, "outputs/data")
    before = folders_of([place], run.experiment.project_id)[place]
    assert [file.path for file in before.files] == ["deep/a b.txt", "empty"] and before.size == 3 and before.digest
    assert folders_of([place], 0)[place].files == ()


@pytest.mark.django_db(transaction=True)
def test_what_is_missing_is_told_and_what_has_settled_is_sent_while_the_run_goes_on(
    run: Run, web_server: str, tmp_path: Path
) -> None:
    collector = Collector(
        Server(web_server, new_token(run)), run.uid, tmp_path, {"data": "files", "gone": "files", "n": "value"}
    )
    collector.begin()
    (tmp_path / "data").write_text("1")
    collector.send_settled(now=0.0)
    collector.send_settled(now=9.0)
    assert not run.artifacts.exists(), "it may still be written to"
    collector.send_settled(now=10.0)
    assert run.artifacts.get().path == "outputs/data"
    time.sleep(0.01)
    (tmp_path / "data").write_text("22")
    collector.finish()
    assert run.artifacts.get().size == 2
    assert run.tags.get(key="flotilla.outputs").value == "n can't be read (FileNotFoundError); gone is not there"
