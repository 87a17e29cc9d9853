"""What is drawn by lot for a patient: the form, for a share of them another than the study's, and the items' order."""

import hashlib
from typing import Any

from instruments.definitions import Instrument, Role
from instruments.questionnaire import N_ORDERS, ordered_items
from studies.models import Study, Visit


def lot(*, seed: int, of: object) -> float:
    """A number from 0 up to 1, the same each time, and spread evenly over patients (or whatever it is drawn for)."""
    digest = hashlib.sha256(f"{seed}:{of}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def form_by_lot(study: Study, patient_id: int) -> str:
    """The form of this patient, at every wave and with every clinician."""
    if not study.drawn_form:
        return study.default_form
    is_drawn = lot(seed=study.draw_seed, of=patient_id) < study.drawn_percent / 100
    return study.drawn_form if is_drawn else study.default_form


def order_fields(study: Study, instrument: Instrument, visit: Visit, role: Role) -> dict[str, Any]:
    """The order of the items for a new questionnaire, as its columns; nothing where the form's own order is shown.

    Drawn for each visit's patient. Clinicians, who fill in many, keep the form's order.
    """
    if not study.shuffles_items or not instrument.may_shuffle or role != Role.PATIENT:
        return {}
    number = 1 + int(lot(seed=study.draw_seed, of=f"order of visit {visit.pk}") * N_ORDERS)
    items = ordered_items(instrument, visit.form, number)
    return {"order_number": number, "item_order": [item.code for item in items]}
