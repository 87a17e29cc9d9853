"""The database itself refuses to change what was answered to the question for consent."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "instruments_consent"
MESSAGE = "the consents are append-only"

SQLITE = [
    f"""CREATE TRIGGER consent_log_append_only BEFORE UPDATE ON {TABLE}
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END""",
]
POSTGRESQL = [
    f"""CREATE FUNCTION refuse_consent_log_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    f"""CREATE TRIGGER consent_log_append_only BEFORE UPDATE ON {TABLE}
        FOR EACH ROW EXECUTE FUNCTION refuse_consent_log_change()""",
]


def _create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def _drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER consent_log_append_only")
    else:
        schema_editor.execute(f"DROP TRIGGER consent_log_append_only ON {TABLE}")
        schema_editor.execute("DROP FUNCTION refuse_consent_log_change")


class Migration(migrations.Migration):
    dependencies = [("instruments", "0009_consents")]
    operations = [migrations.RunPython(_create, _drop)]
