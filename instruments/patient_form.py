"""Which form a patient answers where nobody says so: the study's, or for a share of patients another one, by lot."""

import hashlib

from studies.models import Study


def lot(*, seed: int, patient_id: int) -> float:
    """A number from 0 up to 1, the same each time, and spread evenly over patients."""
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def form_by_lot(study: Study, patient_id: int) -> str:
    """The form of this patient, at every wave and with every clinician."""
    if not study.drawn_form:
        return study.default_form
    is_drawn = lot(seed=study.draw_seed, patient_id=patient_id) < study.drawn_percent / 100
    return study.drawn_form if is_drawn else study.default_form
