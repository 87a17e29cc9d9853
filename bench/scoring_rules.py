"""How fast a study's answers become scores. Prints one JSON line. Synthetic answers from a fixed seed.

    python bench/scoring_rules.py

`dyads_per_second`: 100,000 dyads of two full forms (50 items) each, from encoded answers to all scores, flags, gaps
and profiles, median of five runs on one core. Beside it: reading the answer maps, making the stored records, the
same dyads one by one, and how the time grows from 10,000 to 100,000 dyads (10 is linear).
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # started as a file, the folder above is not on the path

from instruments.catalogue.reader import read_instrument  # noqa: E402 (needs the path above)
from scoring.rules.batch import Codes, DyadScoringBatch, FormBatch, encode_answers, score_dyads  # noqa: E402
from scoring.rules.dyad import RatedForm, score_dyad  # noqa: E402
from scoring.rules.layout import FormLayout, form_layouts  # noqa: E402
from scoring.rules.records import dyad_records  # noqa: E402

CATALOGUE = ROOT / "instruments" / "catalogue" / "healing-relationships-1.0.yaml"
FORM = "full"
N_DYADS = 100_000
N_SMALL = 10_000
N_ONE_BY_ONE = 2_000
REPEATS = 5
BAR_DYADS_PER_SECOND = 20_000
ABSENCE = {0: "SKIPPED", -1: "DNA"}


def synthetic_answers(layout: FormLayout, *, n: int, rng: np.random.Generator) -> Codes:
    """Answers with a ceiling, 5 % skipped and 3 % "does not apply"; synthetic, not from any respondent."""
    answers = rng.choice(5, size=(n, len(layout.items)), p=[0.05, 0.1, 0.2, 0.3, 0.35]).astype(np.int8) + np.int8(1)
    fate = rng.random(answers.shape)
    answers[fate < 0.05] = 0
    answers[fate > 0.97] = -1
    return answers


def batch_of(answers: Codes) -> FormBatch:
    """The answers as forms that are all there, blind and timed."""
    n = len(answers)
    return FormBatch(
        answers=answers,
        present=np.ones(n, dtype=np.bool_),
        blind=np.ones(n, dtype=np.bool_),
        median_seconds=np.full(n, 4.0),
    )


def scored(layout: FormLayout, patient: Codes, clinician: Codes) -> DyadScoringBatch:
    """All results of these dyads, every one of them eligible."""
    n = len(patient)
    return score_dyads(
        layout,
        patient=batch_of(patient),
        clinician=batch_of(clinician),
        days_apart=np.full(n, 1.0),
        months_known=np.full(n, 24.0),
        visits=np.full(n, 6.0),
    )


def median_seconds_of(work: Callable[[], object]) -> float:
    """Median wall-clock seconds over the repeats."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    layouts = form_layouts(read_instrument(CATALOGUE))
    layout = layouts[FORM]
    rng = np.random.default_rng(2008)
    patient = synthetic_answers(layout, n=N_DYADS, rng=rng)
    clinician = synthetic_answers(layout, n=N_DYADS, rng=rng)
    large = median_seconds_of(lambda: scored(layout, patient, clinician))
    small = median_seconds_of(lambda: scored(layout, patient[:N_SMALL], clinician[:N_SMALL]))
    results = scored(layout, patient[:N_SMALL], clinician[:N_SMALL])
    maps = [
        {item: ABSENCE.get(code, code) for item, code in zip(layout.items, row, strict=True)}
        for row in patient[:N_SMALL].tolist()
    ]
    forms = [RatedForm(form=FORM, answers=answers, blind=True, median_seconds=4.0) for answers in maps[:N_ONE_BY_ONE]]

    def one_by_one() -> None:
        for first, second in zip(forms, reversed(forms), strict=True):
            score_dyad(layouts, patient=first, clinician=second, days_apart=1, months_known=24, visits=6)

    line = {
        "benchmark": "scoring_rules",
        "figure": "dyads_per_second",
        "value": round(N_DYADS / large),
        "n": N_DYADS,
        "items": len(layout.items),
        "seconds": round(large, 4),
        "repeats": REPEATS,
        "bar": BAR_DYADS_PER_SECOND,
        "met": N_DYADS / large >= BAR_DYADS_PER_SECOND,
        "time_ratio_100000_to_10000": round(large / small, 2),
        "one_by_one_dyads_per_second": round(N_ONE_BY_ONE / median_seconds_of(one_by_one)),
        "encoded_forms_per_second": round(N_SMALL / median_seconds_of(lambda: encode_answers(layout, maps))),
        "records_per_second": round(N_SMALL / median_seconds_of(lambda: dyad_records(results))),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
