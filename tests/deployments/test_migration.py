"""Deployments from before there were placements go on as their first placement, with their work and their tokens."""

import importlib
import json

import pytest
from django.db import connection

from apps.core.access import Principal
from apps.core.models import ApiToken, Project
from apps.deployments import services
from apps.deployments.models import Deployment, Placement, Rollout, Stage, Target
from apps.deployments.services import access
from tests.deployments.conftest import DRIFT
from tests.deployments.places import arrive

pytestmark = pytest.mark.django_db

OLD = {
    "deployments_deployment": {
        "target_id": "bigint", "token_id": "bigint", "scale_asked": "boolean DEFAULT false",
        "restore_asked": "boolean DEFAULT false",
    },
    "deployments_rollout": {
        "new_ready": "integer DEFAULT 1", "old_left": "integer DEFAULT 2", "progressed_at": "timestamptz DEFAULT now()",
    },
}  # fmt: skip
# Columns that came later.
YOUNGER = {
    "deployments_placement": {
        "phase": "''",
        "mirror": "0",
        "traffic": "'{}'",
        "seat": "'{}'",
        "roll_call": "'{}'",
        "refused": "'{}'",
        "chosen": "'{}'",
    },
    "deployments_stage": {"phase": "''", "mirror": "0"},
}
SPEC = {"image": "team/server:1"}


def test_each_deployment_becomes_its_first_placement(
    root: Principal, demo: Project, target: Target, developer: Principal
) -> None:
    def deploy(name: str) -> Deployment:
        return services.create_deployment(
            principal=root,
            project=demo,
            asked=services.NewDeployment(name=name, targets=[target.name], replicas=3, spec=SPEC),
        )

    settled, rolling, first, deleting = (deploy(name) for name in ("settled", "rolling", "first", "deleting"))
    for row in (settled, rolling, deleting):
        arrive(row)
    services.deploy_revision(principal=root, deployment=rolling, changes={"env": {"TAG": "2"}})
    services.delete_deployment(principal=root, deployment=deleting)
    token, _ = access.issue_model_token(settled.places[0], prefix_on_cluster="")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
        for table, columns in OLD.items():
            for name, kind in columns.items():
                cursor.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
        for table, columns in YOUNGER.items():
            for name, value in columns.items():
                cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {value}")
        Placement.objects.all().delete()
        cursor.execute("UPDATE deployments_deployment SET target_id = %s", [target.pk])
        cursor.execute(
            "UPDATE deployments_deployment SET token_id = %s, drift = %s WHERE id = %s",
            [token.pk, json.dumps(DRIFT), settled.pk],
        )
        ApiToken.objects.filter(pk=token.pk).update(name=f"deployment settled #{settled.pk}")
        cursor.execute("DELETE FROM core_work")
        cursor.execute(
            "INSERT INTO core_work (kind, object_id, cluster, lane, due_at, failures) VALUES "
            "('deployment', %s, %s, 0, now(), 0)",
            [rolling.pk, target.cluster_id],
        )
        cursor.execute(importlib.import_module("apps.deployments.migrations.0008_placements").PLACE)
        # The rest of the migration alters tables: nothing may be left to check by then.
        cursor.execute("ALTER TABLE deployments_placement ALTER COLUMN weight SET NOT NULL")
        cursor.execute("SELECT kind, object_id, cluster FROM core_work")
        assert cursor.fetchall() == [("placement", rolling.pk, target.cluster_id)]
    places = {place.deployment.name: place for place in Placement.objects.select_related("deployment")}
    wanted = {
        name: (place.state, place.stable and place.stable.number, place.coming and place.coming.number, place.weight)
        for name, place in places.items()
    }
    assert wanted == {
        "settled": ("Active", 1, None, 0),
        "rolling": ("Active", 1, 2, 100),
        "first": ("Active", None, 1, 100),
        "deleting": ("Deleting", 1, None, 0),
    }
    assert all(place.pk == place.deployment_id and place.desired_replicas == 3 for place in places.values())
    assert places["settled"].token == token
    access.revoke_model_tokens(places["settled"])
    token.refresh_from_db()
    assert token.revoked_at is not None, "it is known by its new name"
    under_way = Rollout.objects.get(deployment=rolling, ended_at=None)
    stage = Stage.objects.get(rollout=under_way)
    assert (stage.weight, stage.new_ready, stage.old_left, stage.state) == (100, 1, 2, "Pending")
    assert under_way.plan == [{"do": "promote", "wave": 0, "targets": [target.name]}]
    settled.refresh_from_db()
    assert [edit["target"] for edit in settled.drift] == 2 * [target.name], "REST tells the target of each edit"
    for row in (rolling, first):
        arrive(row)
        row.refresh_from_db()
        assert row.stable == row.current
