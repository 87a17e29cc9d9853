"""Rival models: fitted, compared as in lavaan, and judged by what they beat."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.psychometrics.command_line.main import main
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import FloatArray
from analysis.psychometrics.sem.estimation import Estimator
from analysis.psychometrics.structure.model_ladder import LadderModel, ModelStructure, build_ladder
from analysis.psychometrics.structure.rivals import RivalFit, Rivals, fit_rivals

ITEMS = [*(f"A{i}" for i in range(1, 6)), *(f"E{i}" for i in range(1, 6))]
BFI = ModelStructure(
    components={"a": ITEMS[:5], "e": ITEMS[5:]}, domains={"A": ["a"], "E": ["e"]}, reverse_keyed=["A1", "E1", "E2"]
)
#: A small copy of the healing-relationships structure: three processes, competencies, two outcomes.
COMPONENTS = {
    **{
        name: [f"{name}{i}" for i in (1, 2)]
        for name in ("stance", "presence", "attention", "partner", "teach", "crises")
    },
    **{name: [f"{name}{i}" for i in (1, 2, 3)] for name in ("stay", "calm", "know", "sure", "trust", "hope")},
}
STRUCTURE = ModelStructure(
    components=COMPONENTS,
    domains={
        "valuing": ["stance", "presence", "attention"],
        "power": ["partner", "teach"],
        "abiding": ["stay", "crises"],
        "competence": ["calm", "know", "sure"],
        "outcome": ["trust", "hope"],
    },
    parents={"attention": "presence"},
    processes=["valuing", "power", "abiding"],
    competence="competence",
    outcome="outcome",
    paths={"trust": ["valuing", "abiding"]},
)


@pytest.fixture(scope="module")
def answers(project_root: Path) -> FloatArray:
    """Ten items of the SAPA project, complete rows (tests/reference/invariance/bfi10.csv)."""
    with (project_root / "tests/reference/invariance/bfi10.csv").open() as file:
        return np.array([[float(row[name]) for name in ITEMS] for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def lavaan(project_root: Path) -> dict[str, Any]:
    """lavaan's figures (tests/reference/structure/make.R)."""
    figures: dict[str, Any] = json.loads((project_root / "tests/reference/structure/rivals.json").read_text())
    return figures


@pytest.fixture(scope="module")
def thirty_items() -> tuple[FloatArray, list[str]]:
    """Simulated: domains correlate at .6, components within them at .8; five categories with a ceiling."""
    rng = np.random.default_rng(8)
    domain_of = {c: d for d, members in STRUCTURE.domains.items() for c in members}
    names = list(COMPONENTS)
    r = np.array([[1 if a == b else 0.8 if domain_of[a] == domain_of[b] else 0.6 for b in names] for a in names])
    factors = rng.standard_normal((1200, len(names))) @ np.linalg.cholesky(r).T
    codes = [item for items in COMPONENTS.values() for item in items]
    place = [names.index(name) for name, items in COMPONENTS.items() for _ in items]
    latent = 0.8 * factors[:, place] + 0.6 * rng.standard_normal((1200, len(codes)))
    return np.digitize(latent, [-1.8, -1.1, -0.5, 0.1]) + 1.0, codes


def by_id(result: Rivals) -> dict[str, RivalFit]:
    """The fits by their models' ids."""
    return {entry.model.id: entry for entry in result.fits}


@pytest.mark.parametrize("estimator", ["ML", "MLR", "WLSMV"])
def test_two_factors_against_one_match_lavaan(
    answers: FloatArray, lavaan: dict[str, Any], estimator: Estimator
) -> None:
    """Indices, difference test and the factors' correlation (1e-4; the WLSMV difference within half a percent)."""
    ladder = [model for model in build_ladder(BFI) if model.id in ("M1", "M5")]
    result = fit_rivals(
        answers, item_codes=ITEMS, models=ladder, estimator=estimator, scales={"a": ITEMS[:5], "e": ITEMS[5:]}
    )
    figures = lavaan[estimator.lower()]
    for name, entry in by_id(result).items():
        assert entry.fit is not None
        for index in ("cfi", "rmsea", "srmr", "cfi.scaled"):
            if index in figures["models"][name]:
                expected = figures["models"][name][index]
                assert entry.fit.fit[index.replace(".", "_")] == pytest.approx(expected, abs=1e-4)
    (comparison,) = result.comparisons
    assert (comparison.general, comparison.restricted, comparison.supported) == ("M5", "M1", True)
    assert comparison.difference is not None
    assert comparison.difference.df_diff == figures["test"]["df_diff"]
    assert comparison.difference.chisq_diff == pytest.approx(figures["test"]["chisq_diff"], rel=5e-3)
    suffix = "" if estimator == "ML" else ".scaled"
    expected_rise = figures["models"]["M5"][f"cfi{suffix}"] - figures["models"]["M1"][f"cfi{suffix}"]
    assert comparison.delta_cfi == pytest.approx(expected_rise, abs=1e-4)
    (pair,) = result.factor_correlations
    expected = figures["correlation"]
    assert (pair.r, pair.ci_lower, pair.ci_upper) == pytest.approx(
        (expected["est"], expected["ci.lower"], expected["ci.upper"]), abs=1e-4
    )
    assert pair.distinct
    assert result.htmt is not None
    assert 0.5 < result.htmt.htmt[0, 1] < 1


def test_the_whole_ladder_finds_the_structure_that_was_planted(
    thirty_items: tuple[FloatArray, list[str]],
) -> None:
    """Components beat groups, groups beat one factor; what the data do not need is not supported."""
    values, codes = thirty_items
    told: list[tuple[float, str]] = []
    result = fit_rivals(
        values,
        item_codes=codes,
        models=build_ladder(STRUCTURE),
        estimator="WLSMV",
        scales=COMPONENTS,
        progress=lambda share, what: told.append((share, what)),
    )
    fits = by_id(result)
    assert all(entry.fit is not None for entry in result.fits), result.notes
    supported = {(row.general, row.restricted): row.supported for row in result.comparisons}
    assert supported[("M5", "M1")]
    assert supported[("M7", "M6")]
    assert supported[("M3", "M2")]
    assert not supported[("M3b", "M3")]  # one facet gives the parent no test of its own
    stated = next(row for row in result.comparisons if (row.general, row.restricted) == ("M9f", "M9"))
    assert stated.difference is not None
    assert stated.difference.df_diff == 3  # power and competence to trust, competence to hope
    free, grouped = fits["M9f"].fit, fits["M6"].fit
    assert free is not None
    assert grouped is not None
    assert free.fit["chisq"] == pytest.approx(grouped.fit["chisq"], rel=1e-4)  # equivalent models
    assert free.fit["df"] == grouped.fit["df"]
    assert [what for _, what in told] == [*(model.id for model in build_ladder(STRUCTURE)), "done"]
    planted = {(r.first, r.second): r for r in result.factor_correlations if r.model == "M7"}
    assert planted[("stance", "presence")].r == pytest.approx(0.8, abs=0.08)
    assert planted[("stance", "trust")].r == pytest.approx(0.6, abs=0.08)
    assert result.cfi_kind == "scaled"


def test_a_model_that_cannot_be_fitted_leaves_the_others_alone(answers: FloatArray) -> None:
    """A thin model says why; an unidentified one is a note; the comparisons with them are open."""
    models = [
        LadderModel(id="one", title="one factor", syntax=f"g =~ {' + '.join(ITEMS)}", items=tuple(ITEMS)),
        LadderModel(id="none", title="no model", syntax="", items=tuple(ITEMS), simpler=("one",), note="too thin"),
    ]
    result = fit_rivals(answers, item_codes=ITEMS, models=models, estimator="ML")
    assert by_id(result)["one"].fit is not None
    assert by_id(result)["none"].reason == "too thin"
    (comparison,) = result.comparisons
    assert comparison.supported is None
    assert np.isnan(comparison.delta_cfi)
    assert comparison.note == "not fitted: none"
    assert result.notes == ("none: too thin",)


def test_models_of_items_that_are_not_there_are_refused(answers: FloatArray) -> None:
    """The item is named before anything is fitted."""
    models = [LadderModel(id="m", title="m", syntax="f =~ A1 + A2 + Z9", items=("A1", "A2", "Z9"))]
    with pytest.raises(AnalysisInputError, match="Z9"):
        fit_rivals(answers, item_codes=ITEMS, models=models)


def test_the_command_reads_a_structure_and_prints_the_ladder(
    project_root: Path, tmp_path: Path, lavaan: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """`rivals --structure FILE.json`: models by id, comparisons, correlations of factors, ratios."""
    structure = tmp_path / "structure.json"
    structure.write_text(
        json.dumps(
            {"components": dict(BFI.components), "domains": dict(BFI.domains), "reverse_keyed": ["A1", "E1", "E2"]}
        )
    )
    data = str(project_root / "tests/reference/invariance/bfi10.csv")
    command = ["rivals", data, "--structure", str(structure), "--models", "M1,M5", "--range", "1,6"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["models"]) == ["M1", "M5"]
    expected = lavaan["wlsmv"]["models"]["M5"]
    assert printed["models"]["M5"]["fit"]["cfi_scaled"] == pytest.approx(expected["cfi.scaled"], abs=1e-4)
    assert printed["comparisons"][0]["supported"] is True
    assert main(command) == 0
    assert "Heterotrait-monotrait" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "options", "named"),
    [
        ("{", [], "is not JSON"),
        ('{"components": {}}', [], "requires components and domains"),
        ('{"components": {"a": ["A1", "A2"]}, "domains": {"A": ["a"]}, "colour": 1}', [], "colour"),
        ('{"components": {"a": ["A1", "A2"]}, "domains": {"A": ["a"]}}', ["--models", "M77"], "M77"),
        (
            '{"components": {"a": ["A1", "A2"]}, "domains": {"A": ["a"]}, "reverse_keyed": ["A1"]}',
            ["--range", "five"],
            "five",
        ),
    ],
)
def test_a_broken_structure_is_named(
    project_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    options: list[str],
    named: str,
) -> None:
    """One line that says what to write instead."""
    structure = tmp_path / "structure.json"
    structure.write_text(content)
    data = str(project_root / "tests/reference/invariance/bfi10.csv")
    assert main(["rivals", data, "--structure", str(structure), *options]) == 2
    err = capsys.readouterr().err
    assert named in err
    assert "Remedy" in err
