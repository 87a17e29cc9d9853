import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('studies', '0013_visits_by_day'),
    ]

    operations = [
        # Made anew: nothing has written a row of it yet.
        migrations.DeleteModel(name='EmailSignIn'),
        migrations.CreateModel(
            name='EmailSignIn',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('language', models.CharField(max_length=8)),
                ('asked_at', models.DateTimeField()),
                ('token_hash', models.CharField(max_length=64, null=True, unique=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('used_at', models.DateTimeField(null=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'sign-in link',
                'verbose_name_plural': 'sign-in links',
                'indexes': [models.Index(fields=['user', 'asked_at'], name='sign_in_links_of_user')],
            },
        ),
    ]
