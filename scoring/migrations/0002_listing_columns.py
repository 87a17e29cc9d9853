"""What lists filter by stands beside the scores."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scoring", "0001_initial"), ("studies", "0008_preparation_and_windows")]
    operations = [
        migrations.AddField(
            model_name="dyadscore",
            name="dyad_clinician",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="studies.clinician",
            ),
        ),
        migrations.AddField(
            model_name="dyadscore",
            name="wave",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="studies.wave",
            ),
        ),
        migrations.AddField(model_name="dyadscore", name="dyad_code", field=models.CharField(max_length=80, null=True)),
        migrations.AddField(model_name="dyadscore", name="visit_date", field=models.DateField(null=True)),
    ]
