"""The number of GPUs is that of whole ones: slices and shares are counted by their kind alone."""

from typing import ClassVar

from django.db import migrations

_WHOLE = """
UPDATE {table} SET {number} = (
  SELECT least(coalesce(sum(value::bigint), 0), 2147483647) FROM jsonb_each_text({kinds})
  WHERE key LIKE '%/gpu' OR key LIKE 'gpu.intel.com/%'
) WHERE {kinds} <> '{{}}'
"""


class Migration(migrations.Migration):
    """Counts the rows anew that are there: the watcher would write them only when they change."""

    dependencies: ClassVar = [("clusters", "0011_meant_twins")]

    operations: ClassVar = [
        migrations.RunSQL(
            [
                _WHOLE.format(table="clusters_node", number="allocatable_gpu", kinds="allocatable_gpus"),
                _WHOLE.format(table="clusters_pod", number="requests_gpu", kinds="requests_gpus"),
            ],
            migrations.RunSQL.noop,
        )
    ]
