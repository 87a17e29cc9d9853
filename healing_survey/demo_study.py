"""The demonstration study: synthetic dyads drawn from the published model.

Everything here is marked synthetic. `DESIGN` and `SEED` fix the data; the knobs are explained at `SimulationDesign`.
"""

from datetime import datetime, time, timedelta

import numpy as np
from django.db import transaction

from analysis.psychometrics.simulation import (
    SimulatedDyads,
    SimulationDesign,
    SimulationStructure,
    simulate_dyads,
)
from analysis.running import run_analysis
from analysis.services import request_analysis
from healing_survey.demo import STUDY_CODE
from instruments.definitions import Absence, Answer, Instrument, Question, Role
from instruments.models import Administration, Consent
from instruments.questionnaire import Questionnaire
from instruments.services import (
    FinishedForm,
    store_finished_forms,
    study_instrument_version,
)
from scoring.services import Clock, rescore_study
from studies.consent_texts import starting_text, write_text
from studies.models import Clinician, Dyad, Patient, Site, Study, Wave
from studies.plain_text import unfilled

SEED = 20080706
DESIGN = SimulationDesign(n_sites=3, n_clinicians=12, n_dyads=180)
SITES = (("NORTH", "Northside Family Practice"), ("RIVER", "Riverbend Health Center"), ("HILL", "Hillcrest Clinic"))
DAYS_OF_RECRUITMENT = 60

#: What the platform's absence of an answer is in the simulator's item matrices.
ABSENCE_OF_CODE = {
    0: Absence.SKIPPED,
    -1: Absence.DOES_NOT_APPLY,
    -2: Absence.SKIPPED,  # items are skipped; only questions offer "prefer not to answer"
    -3: Absence.NOT_REACHED,
}
#: Plausible ranges of the questions that are answered with a number.
NUMBER_RANGES = {"pt_age": (24, 88), "rel_visits_12m": (1, 9)}


def simulation_structure(instrument: Instrument, form: str) -> SimulationStructure:
    """A form of the instrument as the simulator takes it."""
    components = list(instrument.components)
    domains = list(instrument.domains)
    items = instrument.form_items(form)
    return SimulationStructure(
        item_codes=tuple(item.code for item in items),
        component_of_item=np.array([components.index(item.component) for item in items]),
        domain_of_component=np.array([domains.index(c.domain) for c in instrument.components.values()]),
        reversed_item=np.array([item.reverse for item in items]),
        allow_does_not_apply=np.array([item.allow_does_not_apply for item in items]),
    )


def make_demo_study(*, clock: Clock) -> Study:
    """The demonstration study with its synthetic dyads, scored and once analysed; left alone if it is there."""
    study = Study.objects.filter(code=STUDY_CODE).first()
    if study is None:
        study = _make_study(now=clock())
        rescore_study(study=study, clock=clock)
        run = request_analysis(
            study=study,
            form=study.default_form,
            n_factors=None,
            exclude_flagged=False,
            seed=SEED,
            user=None,
            now=clock(),
        )
        run_analysis(run_id=run.pk, owner="make_demo_study", clock=clock)
    return study


@transaction.atomic
def _make_study(*, now: datetime) -> Study:
    rng = np.random.default_rng(SEED)
    study = Study.objects.create(
        code=STUDY_CODE,
        title="Demonstration: healing relationships in primary care",
        is_synthetic=True,
        keeps_identifiers=True,
        consent=Study.Consent.HERE,
    )
    sites = [Site.objects.create(study=study, code=code, name=name, target_dyads=80) for code, name in SITES]
    baseline = Wave.objects.create(study=study, code="baseline", label="Baseline", position=1)
    Wave.objects.create(study=study, code="followup", label="Follow-up", position=2, is_follow_up=True)
    version = study_instrument_version(study)
    instrument = version.instrument
    for language in instrument.languages:
        text = _consent_text(language)
        write_text(study=study, site=None, language=language, text=text, why="", actor=None, now=now)
    form = study.default_form
    dyads = simulate_dyads(simulation_structure(instrument, form), DESIGN, rng)
    clinicians = [
        Clinician.objects.create(
            site=sites[site], code=f"C{number:02d}", characteristics=_characteristics(instrument, rng)
        )
        for number, site in enumerate(dyads.site_of_clinician, start=1)
    ]
    forms: list[FinishedForm] = []
    for row in range(len(dyads.clinician_index)):
        clinician = clinicians[int(dyads.clinician_index[row])]
        patient = Patient.objects.create(site=clinician.site, code=f"{clinician.site.code}-P{row + 1:03d}")
        dyad = Dyad.objects.create(
            study=study, clinician=clinician, patient=patient, code=f"{patient.code}.{clinician.code}"
        )
        forms.extend(_finished_forms(dyads, row, dyad=dyad, wave=baseline, instrument=instrument, rng=rng, now=now))
    store_finished_forms(study=study, instrument_version=version, forms=forms, mode=Administration.Mode.WEB, now=now)
    _store_consents(study)
    return study


def _consent_text(language: str) -> str:
    """The ready-made draft, filled in for a demonstration and without its first line that asks for that."""
    fills = {
        "en": ("10", "this demonstration", "555-0100, a made-up number", "a made-up ethics board"),
        "es": ("10", "esta demostración", "555-0100, un número inventado", "un comité de ética inventado"),
    }
    text = starting_text(language).partition("\n")[2]
    for gap, fill in zip(unfilled(text), fills[language], strict=True):
        text = text.replace(gap, fill)
    return text


def _store_consents(study: Study) -> None:
    """Every patient who has answered had agreed first, to the text of the language in which they answered."""
    texts = {text.language: text for text in study.consent_texts.all()}
    answered = Administration.objects.filter(
        visit__dyad__study=study, role=Role.PATIENT, status=Administration.Status.COMPLETED
    )
    Consent.objects.bulk_create(
        Consent(
            administration=form,
            text=texts[form.language],
            text_hash=texts[form.language].text_hash,
            language=form.language,
            is_given=True,
            decided_at=form.completed_at,
        )
        for form in answered
    )


def _finished_forms(
    dyads: SimulatedDyads,
    row: int,
    *,
    dyad: Dyad,
    wave: Wave,
    instrument: Instrument,
    rng: np.random.Generator,
    now: datetime,
) -> list[FinishedForm]:
    """The forms that this dyad finished. The patient answers on the day of the visit, the clinician within a week."""
    visit_day = (now - timedelta(days=int(rng.integers(8, DAYS_OF_RECRUITMENT)))).date()
    at_visit = datetime.combine(visit_day, time(8), tzinfo=now.tzinfo) + timedelta(minutes=int(rng.integers(0, 540)))
    later = at_visit + timedelta(minutes=int(rng.integers(10, 7 * 24 * 60)))
    forms = []
    for role, items, seconds, is_finished, completed_at in (
        (Role.PATIENT, dyads.patient_items, dyads.patient_seconds, dyads.patient_finished, at_visit),
        (Role.CLINICIAN, dyads.clinician_items, dyads.clinician_seconds, dyads.clinician_finished, later),
    ):
        if not is_finished[row]:
            continue
        questionnaire = Questionnaire(instrument=instrument, form=dyad.study.default_form, role=role, follow_up=False)
        answers = _item_answers(instrument.forms[questionnaire.form].order, items[row].tolist())
        answers |= _question_answers(questionnaire, months_known=float(dyads.years_known[row]) * 12, rng=rng)
        forms.append(
            FinishedForm(
                dyad=dyad,
                wave=wave,
                role=role,
                form=questionnaire.form,
                language="es" if role is Role.PATIENT and dyads.is_spanish[row] else "en",
                answers=questionnaire.closed_answers(answers),
                completed_at=completed_at,
                median_item_seconds=float(np.median(seconds[row])),
            )
        )
    return forms


def _item_answers(codes: tuple[str, ...], values: list[int]) -> dict[str, Answer]:
    return {
        code: value if value > 0 else ABSENCE_OF_CODE[value].value for code, value in zip(codes, values, strict=True)
    }


def _question_answers(
    questionnaire: Questionnaire, *, months_known: float, rng: np.random.Generator
) -> dict[str, Answer]:
    """Plausible answers to the unscored questions; one in thirty prefers not to answer."""
    answers: dict[str, Answer] = {}
    for code, entry in questionnaire.entries.items():
        if isinstance(entry, Question):
            if rng.random() < 1 / 30:
                answers[code] = Absence.PREFER_NOT.value
            else:
                answers[code] = _question_answer(entry, months_known=months_known, rng=rng)
    return answers


def _question_answer(question: Question, *, months_known: float, rng: np.random.Generator) -> Answer:
    offered = [str(option.value) for option in question.options if option.value != "prefer_not"]
    match question.kind:
        case "choice":
            return str(rng.choice(offered))
        case "multiple_choice":
            return [str(rng.choice(offered))]
        case "scale":
            return int(rng.integers(1, 4))
        case "years_months":
            return round(months_known)
        case _:
            low, high = NUMBER_RANGES.get(question.code, (1, 30))
            return int(rng.integers(low, high + 1))


def _characteristics(instrument: Instrument, rng: np.random.Generator) -> dict[str, Answer]:
    return {
        question.code: _question_answer(question, months_known=120, rng=rng)
        for question in instrument.clinician_characteristics()
        if question.ask_if is None
    }
