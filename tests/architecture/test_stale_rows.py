"""Whoever acts on a row that was read a while ago changes what they were asked to change, and nothing else.

Each case is one service of the kind "read, then write": the row is read, somebody else changes it, and only then the
service is called with the old object. The last part lets several sessions do it at the same time.
"""

import importlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection

from apps.clusters import services as clusters
from apps.clusters.models import Cluster
from apps.clusters.usage import prices
from apps.clusters.usage.models import UsagePrice
from apps.core.access import Principal
from apps.core.errors import Conflict
from apps.core.models import AuditEntry, Project, User
from apps.deployments import services as deployments
from apps.deployments.models import Deployment, Revision
from apps.experiments import services as experiments
from apps.experiments.models import Experiment, LoggedModel, ModelVersion, RegisteredModel, Run
from apps.experiments.registry.origin import Origin
from tests import factories
from tests.concurrent import at_once, meanwhile

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root() -> Principal:
    return Principal(user=User.objects.create_superuser("root"))


@pytest.fixture
def project() -> Iterator[Project]:
    yield factories.busy_project(size=1)


def new_version(root: Principal, project: Project) -> ModelVersion:
    """The next version of `digits`, from a run that kept files."""
    run = Run.objects.filter(experiment__project=project).earliest("id")
    run.artifacts.get_or_create(path="model/MLmodel", defaults={"key": factories.uid(), "size": 1})
    return experiments.create_version(
        principal=root, project=project, model_name="digits", origin=Origin(run, path="model")
    )


def test_describing_a_model_leaves_its_counter_alone(root: Principal, project: Project) -> None:
    old = RegisteredModel.objects.select_related("project").get(project=project, name="digits")
    made = new_version(root, project)
    experiments.update_model(principal=root, model=old, description="new")
    assert RegisteredModel.objects.get(pk=old.pk).last_version == made.version
    assert new_version(root, project).version == made.version + 1


def test_tags_of_a_model_and_a_version_are_merged(root: Principal, project: Project) -> None:
    version = ModelVersion.objects.select_related("model__project").latest("version")
    model, again = version.model, ModelVersion.objects.select_related("model__project").get(pk=version.pk)
    experiments.update_model(principal=root, model=model, tags={"a": "1"})
    experiments.update_model(principal=root, model=again.model, tags={"b": "2"})
    experiments.update_version(principal=root, version=version, tags={"a": "1"}, description="said")
    experiments.update_version(principal=root, version=again, tags={"b": "2"})
    assert RegisteredModel.objects.get(pk=model.pk).tags.items() >= {"a": "1", "b": "2"}.items()
    now = ModelVersion.objects.get(pk=version.pk)
    assert (now.tags, now.description) == ({"a": "1", "b": "2"}, "said")


def test_a_logged_model_keeps_status_params_and_tags(root: Principal, project: Project) -> None:
    made = LoggedModel.objects.create(experiment=Experiment.objects.get(project=project), name="net")
    one, two, three = (LoggedModel.objects.select_related("experiment__project").get(pk=made.pk) for _ in range(3))
    experiments.finish_logged_model(principal=root, model=one, status="LOGGED_MODEL_READY")
    experiments.change_logged_model(principal=root, model=two, params={"lr": "1"}, tags={"a": "1"})
    experiments.change_logged_model(principal=root, model=three, params={"epochs": "2"}, tags={"b": "2"})
    now = LoggedModel.objects.get(pk=made.pk)
    assert now.status == "LOGGED_MODEL_READY"
    assert (now.params, now.tags) == ({"lr": "1", "epochs": "2"}, {"a": "1", "b": "2"})


def test_a_deleted_experiment_is_not_renamed_by_who_has_not_seen_it(root: Principal, project: Project) -> None:
    old = Experiment.objects.select_related("project").get(project=project)
    experiments.delete_experiment(principal=root, experiment=Experiment.objects.select_related("project").get())
    with pytest.raises(Conflict, match="deleted"):
        experiments.rename_experiment(principal=root, experiment=old, name="other")


def test_a_run_that_was_started_again_is_not_deleted(root: Principal, project: Project) -> None:
    old = Run.objects.select_related("experiment__project").earliest("id")
    Run.objects.filter(pk=old.pk).update(kind="launched", state="Running")
    with pytest.raises(Conflict, match="under way"):
        experiments.delete_run(principal=root, run=old)


def test_a_run_is_canceled_though_it_begins_or_is_canceled_at_that_moment(root: Principal, project: Project) -> None:
    run = Run.objects.select_related("experiment__project").earliest("id")
    Run.objects.filter(pk=run.pk).update(kind="launched", state="Starting", ended_at=None)
    run.refresh_from_db()
    cancel = partial(experiments.cancel_run, principal=root, run=run)
    begin = partial(Run.objects.filter(pk=run.pk).update, state="Running")
    for change in (begin, cancel):
        result = meanwhile(change, cancel)
        assert isinstance(result, Run) and result.state == "Canceling"
    assert AuditEntry.objects.filter(action="run.cancel").count() == 1


def test_a_revision_is_made_from_what_is_wanted_now(root: Principal, project: Project) -> None:
    old = Deployment.objects.select_related("project", "current").get(project=project)
    new = Deployment.objects.select_related("project", "current").get(pk=old.pk)
    deployments.deploy_revision(principal=root, deployment=new, changes={"env": {"LEVEL": "debug"}})
    revision, _ = deployments.deploy_revision(principal=root, deployment=old, changes={"image": "other:2"})
    assert (revision.spec["image"], revision.spec["env"]) == ("other:2", {"LEVEL": "debug"})


def test_who_waited_for_another_revision_goes_on_from_it(root: Principal, project: Project) -> None:
    one = Deployment.objects.select_related("project", "current").get(project=project)
    edit = {"principal": root, "deployment": one}
    deploy = partial(deployments.deploy_revision, **edit)
    both = meanwhile(
        partial(deploy, changes={"env": {"LEVEL": "debug"}}), partial(deploy, changes={"image": "other:2"})
    )
    assert isinstance(both, tuple)
    assert (both[0].spec["image"], both[0].spec["env"]) == ("other:2", {"LEVEL": "debug"})

    copy = meanwhile(partial(deploy, changes={"image": "other:3"}), partial(deployments.restart, **edit))
    assert isinstance(copy, Revision) and copy.spec["image"] == "other:3"

    back = partial(deployments.rollback, **edit, revision=both[0].number)
    refused = meanwhile(back, back)
    assert isinstance(refused, Conflict) and "already runs" in refused.message


def test_labels_of_a_cluster_leave_what_is_observed_alone(root: Principal, project: Project) -> None:
    old = Cluster.objects.get()
    Cluster.objects.update(message="seen meanwhile", server_version="v9")
    clusters.update_cluster(principal=root, cluster=old, labels={"region": "there"})
    now = Cluster.objects.get()
    assert (now.message, now.server_version, now.labels) == ("seen meanwhile", "v9", {"region": "there"})


def test_the_audit_row_of_a_price_says_what_it_was(root: Principal, project: Project) -> None:
    one = Decimal(1)
    figures: dict[str, Any] = {"labels": {}, "cpu_core_hour": one, "memory_gib_hour": one, "gpu_hour": one}
    figures["currency"] = "EUR"
    prices.set_price(principal=root, name="first", **figures)
    old = UsagePrice.objects.get()
    prices.set_price(principal=root, name="second", price=UsagePrice.objects.get(), **figures)
    prices.set_price(principal=root, name="third", price=old, **figures)
    assert (AuditEntry.objects.filter(action="price.set").latest("id").before or {})["name"] == "second"


@pytest.mark.parametrize("other", [{"name": "second"}, {"labels": {"pool": "b"}}])
def test_of_two_new_prices_with_the_same_labels_or_name_one_is_refused(
    root: Principal, project: Project, other: dict[str, Any]
) -> None:
    one = Decimal(1)
    figures: dict[str, Any] = {"cpu_core_hour": one, "memory_gib_hour": one, "gpu_hour": one, "currency": "EUR"}
    new = {"name": "first", "labels": {"pool": "a"}, **figures}
    result = meanwhile(
        partial(prices.set_price, principal=root, **new), partial(prices.set_price, principal=root, **new | other)
    )
    assert isinstance(result, Conflict) and UsagePrice.objects.count() == 1


def test_many_at_once_lose_nothing(root: Principal, project: Project) -> None:
    """Ten sessions tag, version and alias one model at the same time."""
    model = RegisteredModel.objects.select_related("project").get(project=project, name="digits")
    before = model.last_version
    version = ModelVersion.objects.select_related("model__project").filter(model=model).latest("version")
    new_version(root, project)

    tag = partial(experiments.update_model, principal=root, model=model)
    tag_version = partial(experiments.update_version, principal=root, version=version)
    works: list[Callable[[], object]] = [partial(new_version, root, project) for _ in range(3)]
    works += [partial(tag, tags={f"t{n}": "x"}) for n in range(3)]
    works += [partial(tag_version, tags={f"t{n}": "x"}) for n in range(3)]
    works.append(partial(experiments.set_alias, principal=root, version=version, alias="live"))
    results = at_once(works)
    assert not [each for each in results if isinstance(each, Exception)]
    now = RegisteredModel.objects.get(pk=model.pk)
    assert now.last_version == before + 4
    assert {"t0", "t1", "t2"} <= now.tags.keys()
    assert {"t0", "t1", "t2"} <= ModelVersion.objects.get(pk=version.pk).tags.keys()
    assert sorted(now.versions.values_list("version", flat=True))[-4:] == [before + n for n in range(1, 5)]


def test_a_counter_that_went_back_is_set_right_by_the_migration(root: Principal, project: Project) -> None:
    new_version(root, project)
    newest = new_version(root, project)
    RegisteredModel.objects.update(last_version=1)
    with connection.cursor() as cursor:
        cursor.execute(importlib.import_module("apps.experiments.migrations.0002_last_version").HEAL)
    assert new_version(root, project).version == newest.version + 1
