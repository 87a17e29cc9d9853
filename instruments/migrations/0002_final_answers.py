"""The database itself refuses to change a line of the answer log or the answers of a finished questionnaire."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

LOG, FORM = "instruments_answerevent", "instruments_administration"
LOG_MESSAGE = "the answer log is append-only"
FORM_MESSAGE = "a finished questionnaire is final"

SQLITE = [
    f"""CREATE TRIGGER answer_log_append_only BEFORE UPDATE ON {LOG}
        BEGIN SELECT RAISE(ABORT, '{LOG_MESSAGE}'); END""",
    f"""CREATE TRIGGER finished_form_is_final BEFORE UPDATE OF
            visit_id, role, instrument_version_id, form, language, mode, status, answers, started_at, completed_at,
            last_sequence, median_item_seconds ON {FORM}
        WHEN OLD.status = 'completed'
        BEGIN SELECT RAISE(ABORT, '{FORM_MESSAGE}'); END""",
]
POSTGRESQL = [
    f"""CREATE FUNCTION refuse_answer_log_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{LOG_MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    f"""CREATE FUNCTION refuse_finished_form_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{FORM_MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    f"""CREATE TRIGGER answer_log_append_only BEFORE UPDATE ON {LOG}
        FOR EACH ROW EXECUTE FUNCTION refuse_answer_log_change()""",
    f"""CREATE TRIGGER finished_form_is_final BEFORE UPDATE OF
            visit_id, role, instrument_version_id, form, language, mode, status, answers, started_at, completed_at,
            last_sequence, median_item_seconds ON {FORM}
        FOR EACH ROW WHEN (OLD.status = 'completed') EXECUTE FUNCTION refuse_finished_form_change()""",
]


def _create(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def _drop(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    on_table = schema_editor.connection.vendor != "sqlite"
    for trigger, table in (("answer_log_append_only", LOG), ("finished_form_is_final", FORM)):
        schema_editor.execute(f"DROP TRIGGER {trigger}" + (f" ON {table}" if on_table else ""))
    if on_table:
        schema_editor.execute("DROP FUNCTION refuse_answer_log_change, refuse_finished_form_change")


class Migration(migrations.Migration):
    dependencies = [("instruments", "0001_initial")]
    operations = [migrations.RunPython(_create, _drop)]
