"""One patient whose every trace can be found, and one who stays: for erasing the first and restoring an older backup.

The scripts run inside an installation, by `manage.py shell`. Identifiers are stored unsealed there: a search must be
able to find them.
"""

GONE, STAYS = "zzgonezz", "zzstayszz"

PLAIN = """
from studies.identifier_keys import KeyRing
KeyRing.seal = lambda self, text, *, place: (self.newest.id, text.encode())
KeyRing.open = lambda self, key_id, box, *, place: box.decode()
"""

MAKE = (
    PLAIN
    + f"""
from uuid import uuid4
from instruments.definitions import Role
from instruments.models import Administration, AnswerEvent, PaperEntry
from scoring.services import score_due
from studies import audit
from studies.drafts import keep_draft
from studies.identifiers import Identifiers, store
from studies.models import DyadLabel, Member
from tests.factories import NOW, finish, make_member, make_study, make_visit
from django.utils import timezone

kit = make_study("KEPT", form="short")
user = make_member(kit, Member.Role.ADMIN)
for word in ({GONE!r}, {STAYS!r}):
    made = make_visit(kit)
    dyad = made.visit.dyad
    dyad.patient.code = "P" + word[2:-2]
    dyad.patient.save()
    open_form = Administration.objects.get(visit=made.visit, role="patient")
    # Each in its own place, long enough to be found wherever a page is left lying about.
    for number in range(40):
        AnswerEvent.objects.create(
            administration=open_form, sequence=500 + number, item="x", value=word * 30, language="en",
            received_at=NOW, paradata={{"x": word}},
        )
    PaperEntry.objects.create(
        administration=open_form, place=1, entered_by=user, entered_at=NOW, language="en", completed_on=NOW.date(),
        answers={{"x": word * 30}},
    )
    finish(made, Role.CLINICIAN)
    finish(made, Role.PATIENT)
    store(
        patient=dyad.patient,
        identifiers=Identifiers(name=f"{{word}} Person", email=f"{{word}}@example.org", record_number=word),
        actor=user, now=NOW,
    )
    DyadLabel.objects.create(dyad=dyad, user=user, sealed_text=word)
    detail = {{"dyad": dyad.code, "wave": "baseline"}}
    audit.record(study=kit.study, actor=user, action="new link", detail=detail, why=f"{{word}} asked for it", now=NOW)
keep_draft(key=uuid4(), study=kit.study, user=user, day=NOW.date(), content={GONE!r}.encode(), now=timezone.now())
score_due(owner="test", clock=timezone.now)
"""
)

ERASE = (
    PLAIN
    + """
from django.contrib.auth.models import User
from django.utils import timezone
from instruments.erasure import erase
from scoring.services import score_due
from studies.models import Patient
print(erase(person=Patient.objects.get(code="Pgone"), actor=User.objects.get(), now=timezone.now()))
score_due(owner="test", clock=timezone.now)
"""
)

STATE = """
import json
from django.utils import timezone
from scoring.services import score_due
score_due(owner="test", clock=timezone.now)
from instruments.models import Administration
from scoring.models import DyadScore
from studies.models import AuditNote, PatientIdentifiers, Withdrawal
print(json.dumps({
    "forms": sorted(Administration.with_withdrawn.values_list("visit__dyad__patient__code", "role")),
    "names": list(PatientIdentifiers.objects.values_list("patient__code", flat=True)),
    "notes": AuditNote.objects.count(),
    "withdrawals": sorted(Withdrawal.objects.values_list("dyad__patient__code", "role", "answers")),
    "pairs": list(DyadScore.objects.filter(is_complete=True).values_list("visit__dyad__patient__code", flat=True)),
}))
"""
#: What `STATE` tells once the first patient is erased: the clinician's own form stays, without its pair.
ERASED = {
    "forms": [["Pgone", "clinician"], ["Pstays", "clinician"], ["Pstays", "patient"]],
    "names": ["Pstays"],
    "notes": 1,
    "withdrawals": [["Pgone", "patient", "erase"]],
    "pairs": ["Pstays"],
}
