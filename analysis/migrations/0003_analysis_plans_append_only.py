"""The database itself refuses to change a version of an analysis plan."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "analysis_analysisplan"
MESSAGE = "a version of an analysis plan is never changed"

# Deleting is refused on PostgreSQL only: Django empties SQLite's tables between tests by deleting.
SQLITE = [
    f"""CREATE TRIGGER analysis_plan_append_only BEFORE UPDATE ON {TABLE}
        BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END""",
]
POSTGRESQL = [
    f"""CREATE FUNCTION refuse_analysis_plan_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    f"""CREATE TRIGGER analysis_plan_append_only BEFORE UPDATE OR DELETE ON {TABLE}
        FOR EACH ROW EXECUTE FUNCTION refuse_analysis_plan_change()""",
]


def _create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def _drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER analysis_plan_append_only")
    else:
        schema_editor.execute(f"DROP TRIGGER analysis_plan_append_only ON {TABLE}")
        schema_editor.execute("DROP FUNCTION refuse_analysis_plan_change")


class Migration(migrations.Migration):
    dependencies = [("analysis", "0002_analysis_plans")]
    operations = [migrations.RunPython(_create, _drop)]
