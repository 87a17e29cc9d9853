"""What lists filter by, for the scores that are there."""

from django.db import migrations

FILL = """
UPDATE scoring_dyadscore SET
    wave_id = (SELECT wave_id FROM studies_visit WHERE id = scoring_dyadscore.visit_id),
    visit_date = (SELECT visit_date FROM studies_visit WHERE id = scoring_dyadscore.visit_id),
    dyad_code = (
        SELECT dyad.code FROM studies_visit visit JOIN studies_dyad dyad ON dyad.id = visit.dyad_id
        WHERE visit.id = scoring_dyadscore.visit_id
    ),
    dyad_clinician_id = (
        SELECT dyad.clinician_id FROM studies_visit visit JOIN studies_dyad dyad ON dyad.id = visit.dyad_id
        WHERE visit.id = scoring_dyadscore.visit_id
    )
"""


class Migration(migrations.Migration):
    dependencies = [("scoring", "0002_listing_columns")]
    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
