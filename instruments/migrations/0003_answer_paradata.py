from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('instruments', '0002_final_answers'),
    ]

    operations = [
        # Nullable and without a default: SQLite adds the column in place and keeps the log's triggers.
        migrations.AddField(
            model_name='answerevent',
            name='paradata',
            field=models.JSONField(blank=True, null=True),
        ),
    ]
