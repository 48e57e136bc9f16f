"""Objects are shown by a plan as REST framework would show them."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework import serializers

from apps.clusters import selectors as cluster_selectors
from apps.clusters.api import serializers as of_clusters
from apps.clusters.models import Cluster, Node
from apps.core.api.shown import Shown
from apps.core.models import Project
from apps.experiments import selectors
from apps.experiments.api import serializers as of_experiments
from apps.experiments.models import Run, Tag
from tests import factories

pytestmark = pytest.mark.django_db


def usual(serializer: Any, instance: Any) -> Any:
    """What REST framework's own walk through the fields gives."""
    return serializers.Serializer.to_representation(serializer, instance)


def test_every_list_shows_what_it_showed() -> None:
    project = factories.busy_project(size=2)
    Cluster.objects.update(conditions=[
        {"type": "Reachable", "status": "True", "reason": "Answering", "message": "",
         "last_transition_time": "2026-11-24T08:00:00Z"},
    ])  # fmt: skip
    first, second = Run.objects.filter(experiment__project=project)[:2]
    Run.objects.filter(pk=first.pk).update(rerun_of=second)
    Tag.objects.create(run=first, experiment=first.experiment, key="b", value="")
    runs = list(selectors.runs_for_rest(experiment__project=project))
    for run, shown in zip(runs, of_experiments.shown_runs(runs), strict=True):
        assert shown["params"] == {param.key: param.value for param in run.params.all()}
        assert shown["metrics"] == {metric.key: metric.value for metric in run.latest_metrics.all()}
        assert shown["tags"] == {tag.key: tag.value for tag in run.tags.all()}
        assert shown["rerun_of"] == (second.uid if run == first else None)
    experiments = list(selectors.experiments(project=project))
    clusters = list(Cluster.objects.all())
    rows = cluster_selectors.with_sums(clusters)
    assert runs and experiments and rows
    for made, instances in (
        (of_experiments.RunSerializer, runs),
        (of_experiments.ExperimentSerializer, experiments),
        (of_clusters.ClusterSerializer, clusters),
        (of_clusters.NodeSerializer, list(Node.objects.all())),
        (of_clusters.CapacitySerializer, [row.cpu for row in rows]),
    ):
        wanted = [usual(made(), one) for one in instances]
        if made is of_experiments.ExperimentSerializer:
            wanted = [
                {key: value or 0 if key.endswith("_count") else value for key, value in w.items()} for w in wanted
            ]
        assert [dict(one) for one in made(instances, many=True).data] == wanted, made.__name__


def test_defaults_and_errors_are_those_of_the_framework() -> None:
    class Given(Shown):
        name = serializers.CharField()
        owner = serializers.CharField(source="of.owner", default="nobody")
        maybe = serializers.CharField(required=False)
        far = serializers.CharField(source="of.place", required=False)
        secret = serializers.CharField(write_only=True)

    assert Given({"name": 1, "of": {"owner": "ada"}, "maybe": None}).data == {
        "name": "1",
        "owner": "ada",
        "maybe": None,
    }
    assert Given({"name": "x"}).data == {"name": "x", "owner": "nobody"}
    assert Given({"name": "x", "of": {"place": "here"}}).data == {"name": "x", "owner": "nobody", "far": "here"}
    with pytest.raises(KeyError, match="name"):
        Given(Project()).fields["name"].get_attribute({})
    with pytest.raises(KeyError, match="name"):
        Given({}).data  # noqa: B018 - reading it shows the object


def test_times_are_said_in_utc() -> None:
    class Timed(Shown):
        at = serializers.DateTimeField()

    at = datetime(2026, 11, 29, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    for each in ({"at": at}, SimpleNamespace(at=at)):
        assert Timed(each).data == {"at": "2026-11-29T10:00:00Z"} == usual(Timed(), each)
