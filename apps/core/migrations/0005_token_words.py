from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("core", "0004_names")]

    operations: ClassVar = [migrations.AlterModelOptions(name="apitoken", options={"verbose_name": "API token"})]
