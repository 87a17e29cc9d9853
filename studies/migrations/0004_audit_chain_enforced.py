"""Every line has its place in the chain, two lines cannot share one, and the database refuses to change a line."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "studies_auditevent"
MESSAGE = "the audit trail is append-only"

# Deleting is refused on PostgreSQL only: Django empties SQLite's tables between tests by deleting. On both, a line that
# is gone breaks the chain.
SQLITE = [
    f"""CREATE TRIGGER audit_trail_append_only BEFORE UPDATE ON {TABLE}
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END""",
]
POSTGRESQL = [
    f"""CREATE FUNCTION refuse_audit_trail_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    f"""CREATE TRIGGER audit_trail_append_only BEFORE UPDATE OR DELETE ON {TABLE}
        FOR EACH ROW EXECUTE FUNCTION refuse_audit_trail_change()""",
]


def create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER audit_trail_append_only")
    else:
        schema_editor.execute(f"DROP TRIGGER audit_trail_append_only ON {TABLE}")
        schema_editor.execute("DROP FUNCTION refuse_audit_trail_change")


class Migration(migrations.Migration):
    dependencies = [("studies", "0003_audit_chain_existing")]

    operations = [
        migrations.AlterField("auditevent", "sequence", models.PositiveBigIntegerField(unique=True)),
        migrations.AlterField("auditevent", "record", models.TextField()),
        migrations.AlterField("auditevent", "prev_hash", models.CharField(max_length=64, unique=True)),
        migrations.AlterField("auditevent", "hash", models.CharField(max_length=64)),
        migrations.AlterField("auditevent", "at", models.DateTimeField(db_index=True, editable=False)),
        migrations.RemoveField("auditevent", "detail"),
        migrations.AlterModelOptions(
            "auditevent",
            options={
                "ordering": ["-sequence"],
                "verbose_name": "audit event",
                "verbose_name_plural": "audit events",
            },
        ),
        migrations.AddIndex(
            "auditevent", models.Index(fields=["study", "-sequence"], name="audit_newest_of_study")
        ),
        migrations.RunPython(create, drop),
    ]
