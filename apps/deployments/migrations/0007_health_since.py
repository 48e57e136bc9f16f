import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0006_scale_asked"),
    ]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="health_since",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
