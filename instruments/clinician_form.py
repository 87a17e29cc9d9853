"""Which form the clinician answers about a patient: the patient's, a shorter one, or a long one for some by lot.

The lot is cast once for each clinician, before the first visit: of the numbers 1 to `n_planned` (patients in the order
in which they come), `n_long` are drawn without replacement. Each patient takes the next number at the first visit. So
every planned patient has the same chance `n_long / n_planned`, whoever will come later, and nobody at the desk can tell
what the next one gets. A clinician who sees more patients than planned gets the short form for the rest; one who sees
fewer answers fewer long forms, in proportion. The seed, the drawn numbers and each patient's number are stored.
"""

import random
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime

from instruments.definitions import Instrument
from instruments.models import DrawnForm, FormDraw
from studies.models import Dyad, Study

Rule = Study.ClinicianForm


def long_places(*, seed: int, n_planned: int, n_long: int) -> tuple[int, ...]:
    """`n_long` of the numbers 1 to `n_planned`, all sets equally likely; all of them where fewer are planned."""
    numbers = range(1, n_planned + 1)
    # Not for secrecy: the seed is kept so that the draw can be made again.
    return tuple(sorted(random.Random(seed).sample(numbers, min(n_long, n_planned))))


def short_form_within(instrument: Instrument, form: str) -> str:
    """The form with the fewest items, if all of them are on `form`, too; else `form` itself."""
    items = set(instrument.forms[form].order)
    inside = [one.id for one in instrument.forms.values() if items.issuperset(one.order)]
    return min(inside, key=lambda one: len(instrument.forms[one].order))


def clinician_forms(
    *, study: Study, instrument: Instrument, visits: Sequence[tuple[Dyad, str]], now: datetime
) -> dict[int, str]:
    """Dyad -> the clinician's form, for new visits given as (dyad, the patient's form) in the order of coming.

    Call it in the transaction that makes the visits.
    """
    if study.clinician_form == Rule.SAME:
        return {dyad.pk: form for dyad, form in visits}
    is_long: dict[int, bool] = {}
    if study.clinician_form == Rule.SOME:
        is_long = _lots(study, [dyad for dyad, _ in visits], now=now)
    return {dyad.pk: form if is_long.get(dyad.pk) else short_form_within(instrument, form) for dyad, form in visits}


def _lots(study: Study, dyads: Iterable[Dyad], *, now: datetime) -> dict[int, bool]:
    """Dyad -> whether it was drawn for the long form; those without a number take the next one of their clinician."""
    by_pk = {dyad.pk: dyad for dyad in dyads}
    known = dict(DrawnForm.objects.filter(dyad__in=by_pk).values_list("dyad", "is_long"))
    fresh = [dyad for pk, dyad in by_pk.items() if pk not in known]
    for clinician_id in sorted({dyad.clinician_id for dyad in fresh}):
        # Held until the visits are there: two desks at once take two numbers.
        draw = _held_draw(study, clinician_id, now=now)
        lots = [
            DrawnForm(dyad=dyad, draw=draw, place=place, is_long=place in draw.places)
            for place, dyad in enumerate(
                (dyad for dyad in fresh if dyad.clinician_id == clinician_id), start=draw.n_taken + 1
            )
        ]
        DrawnForm.objects.bulk_create(lots)
        draw.n_taken += len(lots)
        draw.save(update_fields=["n_taken"])
        known |= {lot.dyad_id: lot.is_long for lot in lots}
    return known


def _held_draw(study: Study, clinician_id: int, *, now: datetime) -> FormDraw:
    seed = secrets.randbits(62)
    places = long_places(seed=seed, n_planned=study.n_planned_patients, n_long=study.n_full_form_patients)
    FormDraw.objects.get_or_create(
        clinician_id=clinician_id,
        defaults={"seed": seed, "n_planned": study.n_planned_patients, "places": list(places), "drawn_at": now},
    )
    return FormDraw.objects.select_for_update().get(clinician_id=clinician_id)
