"""Strategy and alias move from a revision's spec, where each change of them made another one, to the deployment."""

import hashlib
import json
from typing import Any

from django.db import migrations, models

CHUNK = 500


def digest_of(spec: dict[str, Any]) -> str:
    """As `RevisionSpec.digest` was when this was written."""
    said = {key: value for key, value in spec.items() if value not in (None, "", [], {})}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def take_out(apps: Any, schema_editor: Any) -> None:
    """Every revision keeps what its pods are made of; the deployment takes what its current one said beside that."""
    deployment, revision = apps.get_model("deployments", "Deployment"), apps.get_model("deployments", "Revision")
    for row in deployment.objects.select_related("current").iterator(chunk_size=CHUNK):
        spec = row.current.spec if row.current else {}
        alias = (spec.get("model") or {}).get("alias", "")
        deployment.objects.filter(pk=row.pk).update(strategy=spec.get("strategy") or {}, alias=alias)
    changed = []
    for row in revision.objects.iterator(chunk_size=CHUNK):
        row.spec.pop("strategy", None)
        if row.spec.get("model"):
            row.alias = row.spec["model"].pop("alias", "")
        row.digest = digest_of(row.spec)
        changed.append(row)
        if len(changed) == CHUNK:
            revision.objects.bulk_update(changed, ["spec", "alias", "digest"])
            changed = []
    revision.objects.bulk_update(changed, ["spec", "alias", "digest"])


def put_back(apps: Any, schema_editor: Any) -> None:
    """Every revision gets its alias, and the strategy of its deployment. Their digests are those of before but for that."""
    revision = apps.get_model("deployments", "Revision")
    for row in revision.objects.select_related("deployment").iterator(chunk_size=CHUNK):
        spec = {**row.spec, "strategy": row.deployment.strategy}
        if spec.get("model"):
            spec["model"] = {**spec["model"], "alias": row.alias}
        text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        revision.objects.filter(pk=row.pk).update(spec=spec, digest=digest)


class Migration(migrations.Migration):
    dependencies = [("deployments", "0001_initial")]

    operations = [
        migrations.AddField("Deployment", "strategy", models.JSONField(blank=True, default=dict)),
        migrations.AddField("Deployment", "alias", models.CharField(blank=True, max_length=250)),
        migrations.AddField("Revision", "alias", models.CharField(blank=True, max_length=250)),
        migrations.RunPython(take_out, put_back),
    ]
