"""Pipeline runs from start to end: rows, rounds, people, and a worker that dies at any statement."""

import io
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from apps.core.access import Principal
from apps.core.database import transitions
from apps.core.errors import Conflict, Invalid, Missing, NotAllowed
from apps.core.models import AuditEntry, Membership, Project, Transition, User
from apps.core.secrets.tokens import issue_token
from apps.core.states import Role
from apps.core.work import DONE
from apps.deployments.models import Deployment
from apps.deployments.states import ROLLOUT_MOVES
from apps.experiments.files import artifacts
from apps.experiments.models import ModelVersion, Run
from apps.experiments.states import RunState
from apps.workflows import selectors, services
from apps.workflows.models import PipelineRun, Step
from apps.workflows.reconcile import reconcile
from tests.killing import killed_after
from tests.workflows.courses import asked, end, promoted, rounds, started, states, step
from tests.workflows.pipelines import DIGITS

DEPLOYS = DIGITS.replace(
    "deploy: {deployment: digits,", "deploy: {deployment: digits, targets: [production], image: 'team/digits:1',"
)
TWO = """
name: two
steps:
  - {name: first, run: {image: busybox}}
  - {name: second, needs: first, run: {image: busybox}}
"""


def trained(ada: Principal, project: Project) -> PipelineRun:
    """The pipeline of the digits where its model waits to be approved."""
    run = rounds(started(ada, project, DEPLOYS, sizes=[8, 32]))
    assert states(run) == {
        "prepare": "Running", "train[0]": "Waiting", "train[1]": "Waiting", "evaluate": "Waiting",
        "register": "Waiting", "approve": "Waiting", "deploy": "Waiting",
    }  # fmt: skip
    prepared = end(step(run, "prepare"))
    assert asked(run), "a run that ends asks for the round of its pipeline"
    rounds(run)
    first = step(run, "train", 0).run
    assert first.spec["command"] == ["python", "train.py", "--data", prepared.uid, "--hidden", "8"]
    assert (first.experiment.name, first.name, first.created_by) == ("digits", "digits-1 train[0]", "ada")
    assert {param.key: param.value for param in first.params.all()} == {"epochs": "5", "each": "8"}
    assert {tag.key: tag.value for tag in first.tags.filter(key__startswith="flotilla")} == {
        "flotilla.pipeline": "digits #1",
        "flotilla.step": "train[0]",
    }
    end(step(run, "train", 0))
    best = end(step(run, "train", 1))
    rounds(run)
    end(step(run, "evaluate"), accuracy=0.95, best=best.uid)
    return rounds(run)


def test_a_pipeline_goes_from_data_to_a_model_in_production(ada, project, target):
    run = trained(ada, project)
    version = ModelVersion.objects.get(model__name="digits")
    assert version.run == step(run, "train", 1).run
    assert [alias.name for alias in version.aliases.all()] == ["candidate"]
    assert (step(run, "approve").state, step(run, "approve").message) == ("Paused", "Shall it serve?")
    services.decide_step(principal=ada, run=run, name="approve", approves=True, comment="Good.")
    assert asked(run)
    rounds(run)
    deployment = Deployment.objects.get(name="digits")
    row = step(run, "deploy")
    assert (row.state, row.rollout) == ("Running", deployment.under_way)
    assert deployment.current.model_version == version
    promoted("digits")
    assert asked(run), "a rollout that ends asks for the round of its pipeline"
    rounds(run)
    assert (run.state, run.reason) == ("Succeeded", "Completed")
    assert step(run, "deploy").outputs == {"deployment": "digits", "revision": 1, "state": "Healthy"}
    assert set(states(run).values()) == {"Succeeded"}
    assert reconcile(run.pk) is not None and not asked(run)
    moves = Transition.objects.filter(object_type="workflows.step", object_id=row.pk).values_list("to_state", flat=True)
    assert list(moves) == ["Running", "Succeeded"]


def test_a_deployment_that_is_there_gets_another_revision_and_a_failed_one_fails_the_step(ada, project, target):
    run = trained(ada, project)
    services.decide_step(principal=ada, run=run, name="approve", approves=True)
    rounds(run)
    promoted("digits")
    rounds(run)
    again = trained_again(ada, run)
    rollout = step(again, "deploy").rollout
    assert (rollout.to_revision.number, rollout.from_revision.number) == (2, 1)
    assert transitions.advance(rollout, to="Failed", allowed=ROLLOUT_MOVES, columns={"message": "The canary crashed."})
    rounds(again)
    assert (again.state, again.message) == ("Failed", "Step deploy did not succeed.")
    assert step(again, "deploy").message == "The canary crashed."


def trained_again(ada: Principal, run: PipelineRun) -> PipelineRun:
    again = services.start(principal=ada, pipeline=run.pipeline, params={"sizes": [64]})
    rounds(again)
    end(step(again, "prepare"))
    rounds(again)
    best = end(step(again, "train"))
    rounds(again)
    end(step(again, "evaluate"), accuracy=0.99, best=best.uid)
    rounds(again)
    services.decide_step(principal=ada, run=again, name="approve", approves=True)
    return rounds(again)


def test_a_condition_that_is_false_registers_and_deploys_nothing(ada, project, target):
    run = rounds(started(ada, project, DEPLOYS, sizes=[8], least=0.99))
    end(step(run, "prepare"))
    rounds(run)
    best = end(step(run, "train"))
    rounds(run)
    end(step(run, "evaluate"), accuracy=0.5, best=best.uid)
    rounds(run)
    assert run.state == "Succeeded"
    assert {name: states(run)[name] for name in ("register", "approve", "deploy")} == dict.fromkeys(
        ("register", "approve", "deploy"), "Skipped"
    )
    assert step(run, "register").message == "Its condition was false: steps.evaluate.outputs.accuracy >= params.least"
    assert not ModelVersion.objects.exists()


@pytest.mark.parametrize(
    ("logged", "reason", "said"),
    [({}, "ConditionInvalid", "there is no 'accuracy'"), ({"accuracy": 0.9}, "Invalid", "there is no 'best'")],
)
def test_what_a_step_has_not_put_out_fails_the_step_that_reads_it(ada, project, target, logged, reason, said):
    run = rounds(started(ada, project, sizes=[8]))
    for name in ("prepare", "train"):
        end(step(run, name))
        rounds(run)
    end(step(run, "evaluate"), **logged)
    rounds(run)
    assert (run.state, step(run, "register").reason) == ("Failed", reason)
    assert said in step(run, "register").message


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.LOST, RunState.CANCELED])
def test_a_run_that_does_not_succeed_fails_its_step_and_a_retry_begins_there(ada, project, cluster, state):
    run = rounds(started(ada, project, TWO))
    done = end(step(run, "first"), answer=42)
    rounds(run)
    end(step(run, "second"), state)
    rounds(run)
    assert (run.state, states(run)) == ("Failed", {"first": "Succeeded", "second": "Failed"})
    again = services.retry(principal=ada, run=run)
    assert (again.number, again.retry_of, again.params) == (2, run, run.params)
    rounds(again)
    assert states(again) == {"first": "Succeeded", "second": "Running"}
    assert (step(again, "first").run, step(again, "first").outputs["answer"]) == (done, 42)
    assert step(again, "first").message == "As in #1."
    end(step(again, "second"))
    assert rounds(again).state == "Succeeded"
    with pytest.raises(Conflict, match="nothing to retry"):
        services.retry(principal=ada, run=again)


def test_canceling_stops_what_runs_and_begins_nothing(ada, project, cluster):
    run = rounds(started(ada, project, TWO))
    services.cancel(principal=ada, run=run)
    services.cancel(principal=ada, run=run)
    rounds(run)
    assert (run.state, states(run)) == ("Canceling", {"first": "Canceling", "second": "Canceled"})
    launched = step(run, "first").run
    assert launched.state == RunState.CANCELING
    assert transitions.advance(launched, to=RunState.CANCELED, allowed={RunState.CANCELING: {RunState.CANCELED}})
    assert asked(run)
    rounds(run)
    assert (run.state, run.message) == ("Canceled", "ada canceled it.")
    assert set(states(run).values()) == {"Canceled"}
    assert Run.objects.count() == 1
    assert AuditEntry.objects.filter(action="pipeline.cancel").count() == 1
    with pytest.raises(Conflict, match="has ended"):
        services.cancel(principal=ada, run=run)


def test_a_rejection_fails_the_pipeline(ada, project, target):
    run = trained(ada, project)
    services.decide_step(principal=ada, run=run, name="approve", approves=False, comment="Not on a Friday.")
    rounds(run)
    assert (run.state, states(run)["deploy"]) == ("Failed", "Skipped")
    assert step(run, "approve").message == "ada rejected it: Not on a Friday."
    with pytest.raises(Conflict, match="does not wait"):
        services.decide_step(principal=ada, run=run, name="approve", approves=True)
    with pytest.raises(Missing):
        services.decide_step(principal=ada, run=run, name="train", approves=True)


def test_a_deadline_stops_the_whole(ada, project, cluster):
    run = rounds(started(ada, project, TWO.replace("steps:", "deadline_seconds: 60\nsteps:")))
    due = reconcile(run.pk)
    assert 50 < due.after <= 60
    PipelineRun.objects.update(started_at=run.started_at.replace(year=2025))
    rounds(run)
    assert (run.state, step(run, "first").run.state) == ("Canceling", "Canceling")
    transitions.advance(step(run, "first").run, to="Canceled", allowed={"Canceling": {"Canceled"}})
    rounds(run)
    assert (run.state, run.reason) == ("Failed", "DeadlineExceeded")


def test_who_may_not_act_any_more_begins_nothing(ada, project, cluster):
    token, _ = issue_token(name="ci", user=ada.user, project=project)
    run = started(Principal(user=ada.user, token=token), project, TWO)
    token.delete()
    rounds(run)
    assert (run.state, step(run, "first").reason) == ("Failed", "NotAllowed")
    assert not Run.objects.exists()


def test_who_left_the_project_begins_nothing(ada, project, cluster):
    run = started(ada, project, TWO)
    Membership.objects.filter(user=ada.user).delete()
    rounds(run)
    assert run.state == "Failed" and not Run.objects.exists()


def test_a_role_is_needed_for_every_write_and_that_of_the_step_for_an_approval(ada, project, target):
    viewer = Principal(user=User.objects.create_user("vic"))
    Membership.objects.create(project=project, user=viewer.user, role=Role.VIEWER)
    run = started(ada, project, DEPLOYS.replace("serve?", 'serve?", role: "admin'), sizes=[8])
    for write in (
        lambda: services.create_version(principal=viewer, project=project, source=TWO),
        lambda: services.start(principal=viewer, pipeline=run.pipeline),
        lambda: services.cancel(principal=viewer, run=run),
        lambda: services.retry(principal=viewer, run=run),
        lambda: services.decide_step(principal=viewer, run=run, name="approve", approves=True),
        lambda: services.decide_step(principal=ada, run=run, name="approve", approves=True),
        lambda: services.create_webhook(principal=viewer, pipeline=run.pipeline, name="push"),
    ):
        with pytest.raises(NotAllowed):
            write()


def test_versions_are_numbered_immutable_and_made_only_where_something_differs(ada, project):
    first, new = services.create_version(principal=ada, project=project, source=TWO)
    same, again = services.create_version(principal=ada, project=project, source=f"# a remark\n{TWO}")
    assert (first.number, new, same, again) == (1, True, first, False)
    second, _ = services.create_version(principal=ada, project=project, source=TWO.replace("busybox", "alpine"))
    assert (second.number, second.pipeline) == (2, first.pipeline)
    with pytest.raises(Exception, match="immutable"):
        second.save()
    run = services.start(principal=ada, pipeline=first.pipeline, version=1)
    assert run.version == first
    with pytest.raises(Missing):
        services.start(principal=ada, pipeline=first.pipeline, version=3)


def test_what_is_refused_names_the_line(ada, project):
    with pytest.raises(Invalid) as refused:
        services.create_version(principal=ada, project=project, source=TWO.replace("needs: first", "needs: fist"))
    assert refused.value.message == "Line 5, steps.1.needs: Step second needs fist, which is no other step."
    assert refused.value.extensions == {"line": 5, "path": "steps.1.needs"}


def test_the_resync_finds_what_was_left_behind(ada, project, cluster):
    run = started(ada, project, TWO)
    assert selectors.left_behind() == [(run.pk, None)]
    rounds(run)
    assert selectors.left_behind() == []
    Run.objects.update(state=RunState.SUCCEEDED)
    assert selectors.left_behind() == [(run.pk, None)]
    Run.objects.all().delete()
    assert selectors.left_behind() == [(run.pk, None)]
    rounds(run)
    assert step(run, "first").reason == "RunDeleted"


def test_nothing_is_made_twice_and_nothing_is_lost_wherever_the_worker_is_killed(ada, project, target):
    """The whole course, with a round that dies after each number of statements before every round that goes through."""
    statements, killed = 1, True
    while killed:
        with transaction.atomic():
            killed = _course(ada, project, statements)
            transaction.set_rollback(True)
        statements += 1 + statements // 2
    assert statements > 60


def _course(ada: Principal, project: Project, statements: int) -> bool:
    """Whether a round was killed anywhere."""
    deaths: list[str] = []

    def on(run: PipelineRun) -> PipelineRun:
        # As Postgres does with what a dead session has begun.
        with transaction.atomic():
            with killed_after(statements) as sent:
                reconcile(run.pk)
            deaths.extend(word for word in sent[-1:] if word == "killed")
            transaction.set_rollback(sent[-1:] == ["killed"])
        return rounds(run)

    run = on(started(ada, project, DEPLOYS, sizes=[8, 32]))
    end(step(run, "prepare"))
    on(run)
    end(step(run, "train", 0))
    best = end(step(run, "train", 1))
    on(run)
    end(step(run, "evaluate"), accuracy=0.95, best=best.uid)
    on(run)
    services.decide_step(principal=ada, run=run, name="approve", approves=True)
    on(run)
    promoted("digits")
    on(run)
    assert (run.state, Run.objects.count(), ModelVersion.objects.count()) == ("Succeeded", 4, 1)
    assert Deployment.objects.get().rollouts.count() == 1
    assert Step.objects.filter(run=None, kind="run").count() == 0
    return bool(deaths)


FILES = """
name: files
steps:
  - name: cut
    each: [1, 2]
    run: {image: busybox, outputs: {data: files, rows: value}}
  - name: learn
    run: {image: busybox, inputs: {parts: "${{ steps.cut.files.data }}", one: "${{ steps.cut.files.data[1] }}"}}
"""


def test_a_step_finds_the_files_of_those_before_it(ada, project, cluster):
    run = rounds(started(ada, project, FILES))
    cut = [end(step(run, "cut", item), kept="complete") for item in range(2)]
    rounds(run)
    first, second = (f"runs:/{each.uid}/outputs/data" for each in cut)
    assert step(run, "learn").run.spec["inputs"] == {"parts": [first, second], "one": second}


@pytest.mark.parametrize(
    ("kept", "reason", "said"),
    [
        (None, "OutputsNotKept", "log of its pod's collect-outputs"),
        ("data is not there", "OutputMissing", "data is not"),
    ],
)
def test_a_step_whose_outputs_were_not_kept_has_failed(ada, project, cluster, kept, reason, said):
    run = rounds(started(ada, project, FILES))
    end(step(run, "cut", 0), kept=kept)
    rounds(run)
    row = step(run, "cut", 0)
    assert (row.state, row.reason) == ("Failed", reason) and said in row.message


CACHED = """
name: cached
params: {n: 1}
steps:
  - name: cut
    cache: true
    run: {image: busybox, args: ["${{ params.n }}"], outputs: {data: files}}
  - name: learn
    cache: true
    run: {image: busybox, inputs: {data: "${{ steps.cut.files.data }}"}}
"""


def kept(row: Step, content: bytes) -> Run:
    """The step's run ends, and this is what it has put out."""
    artifacts.write(row.run, "outputs/data/all.csv", io.BytesIO(content))
    return end(row, kept="complete", rows=7)


def test_what_has_succeeded_with_the_same_is_not_run_again(ada, project, cluster):
    first = rounds(started(ada, project, CACHED))
    cut = kept(step(first, "cut"), b"1,2")
    learned = end(step(rounds(first), "learn"))
    rounds(first)
    second = rounds(services.start(principal=ada, pipeline=first.pipeline))
    assert second.state == "Succeeded" and (step(second, "cut").run, step(second, "learn").run) == (cut, learned)
    row = step(second, "cut")
    assert row.reason == "Cached" and "those of cached #1" in row.message and row.outputs["rows"] == 7
    # Another parameter, another content of what is read, or being told so: it runs.
    third = rounds(services.start(principal=ada, pipeline=first.pipeline, params={"n": 2}))
    assert step(third, "cut").state == "Running"
    kept(step(third, "cut"), b"1,2,3")
    assert step(rounds(third), "learn").state == "Running", "its input has another content"
    again = rounds(services.start(principal=ada, pipeline=first.pipeline, anew=True))
    assert step(again, "cut").state == "Running"
    kept(step(again, "cut"), b"1,2")
    assert step(rounds(again), "learn").state == "Running", "told to run anew"


def test_the_same_content_by_another_run_is_the_same_and_what_is_gone_stands_for_nothing(ada, project, cluster):
    first = rounds(started(ada, project, CACHED))
    cut = kept(step(first, "cut"), b"1,2")
    end(step(rounds(first), "learn"))
    rounds(first)
    artifacts.delete(cut, "outputs")
    second = rounds(services.start(principal=ada, pipeline=first.pipeline))
    assert step(second, "cut").state == "Running", "its files are gone"
    kept(step(second, "cut"), b"1,2")
    rounds(second)
    assert (step(second, "learn").reason, second.state) == ("Cached", "Succeeded")


EXIT = """
name: exit
deadline_seconds: 3600
steps:
  - {name: work, run: {image: busybox}}
on_exit:
  - {name: clean, run: {image: busybox, args: ["${{ pipeline.state }}"]}}
  - {name: alarm, when: pipeline.state != "Succeeded", needs: clean, run: {image: busybox}}
"""


@pytest.mark.parametrize(
    ("ends", "said", "alarm", "state"),
    [("Succeeded", "Succeeded", "Skipped", "Succeeded"), ("Failed", "Failed", "Running", "Failed")],
)
def test_what_is_done_on_exit_knows_how_it_ended(ada, project, cluster, ends, said, alarm, state):
    run = rounds(started(ada, project, EXIT))
    assert states(run) == {"work": "Running", "clean": "Waiting", "alarm": "Waiting"}
    end(step(run, "work"), ends)
    rounds(run)
    assert run.state == "Running" and step(run, "clean").run.spec["args"] == [said]
    # Its time is over meanwhile, which matters to nothing that is done on exit.
    PipelineRun.objects.update(started_at=timezone.now() - timedelta(hours=2))
    end(step(rounds(run), "clean"))
    rounds(run)
    assert states(run)["alarm"] == alarm
    if alarm == "Running":
        end(step(run, "alarm"))
    assert rounds(run).state == state
    if state == "Failed":
        again = services.retry(principal=ada, run=run)
        assert states(again) == {"work": "Waiting", "clean": "Waiting", "alarm": "Waiting"}


OUTER = """
name: outer
steps:
  - {name: inner, pipeline: {pipeline: two}}
  - {name: then, run: {image: busybox, args: ["${{ steps.inner.outputs.steps.first.score }}"]}}
"""


def test_a_pipeline_is_a_step_of_another(ada, project, cluster):
    services.create_version(principal=ada, project=project, source=TWO)
    run = rounds(started(ada, project, OUTER))
    child = step(run, "inner").child
    assert (str(child), child.created_by, child.depth) == ("two #1", "ada", 1)
    rounds(child)
    end(step(child, "first"), score=0.5)
    rounds(child)
    end(step(child, "second"))
    rounds(child)
    assert asked(run), "a pipeline that ends asks for the round of the one that waits for it"
    rounds(run)
    assert step(run, "then").run.spec["args"] == ["0.5"]
    again = rounds(services.start(principal=ada, pipeline=run.pipeline))
    child = rounds(step(again, "inner").child)
    services.cancel(principal=ada, run=again)
    rounds(again)
    rounds(child)
    assert rounds(again).state == "Canceling", "it waits for the end of what it stops"
    end(step(child, "first"), RunState.CANCELED)
    assert rounds(child).state == "Canceled" and rounds(again).state == "Canceled"
    assert states(again) == {"inner": "Canceled", "then": "Canceled"}


def test_a_pipeline_that_starts_itself_ends(ada, project, cluster):
    source = "name: loop\nsteps:\n  - {name: again, pipeline: {pipeline: loop}}\n"
    run = started(ada, project, source)
    for number in range(1, 7):
        rounds(PipelineRun.objects.get(number=number))
    assert PipelineRun.objects.count() == 6
    deepest = PipelineRun.objects.get(number=6)
    assert deepest.state == "Failed" and "at most 5 deep" in step(deepest, "again").message
    for number in range(5, 0, -1):
        rounds(PipelineRun.objects.get(number=number))
    run.refresh_from_db()
    assert run.state == "Failed"


def test_a_deadline_that_has_passed_lets_nobody_look_again_at_once(ada, project, cluster):
    run = rounds(started(ada, project, EXIT))
    PipelineRun.objects.update(started_at=timezone.now() - timedelta(hours=2))
    assert reconcile(run.pk) == DONE, "it is told when what it stopped has ended"
    assert rounds(run).state == "Canceling" and states(run)["work"] == "Canceling"
