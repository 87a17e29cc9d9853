"""The pictures: well-formed, described in words, safe, and to scale."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis import pictures
from analysis.pictures import (
    DistributionLabels,
    ProfileLabels,
    ProfileRow,
    ScreeLabels,
    distribution_bars,
    profile_plot,
    scree_plot,
)
from analysis.psychometrics.errors import AnalysisInputError

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(\"1\")</script> & 'x'"
SCREE = ScreeLabels(
    title="Scree plot",
    description="Eigenvalues of 9 items.",
    factor_axis="Factor",
    eigenvalue_axis="Eigenvalue",
    observed="these answers",
    reference_mean="random, mean",
    reference_p95="random, 95th percentile",
)
PROFILE = ProfileLabels(
    title="Profile", description="Scores 0 to 100.", patient="Patient", clinician="Clinician", no_score="no score"
)
BARS = DistributionLabels(title="VN1", categories=("1", "2", "3", "4", "5"), no_answers="no answers")
EIGENVALUES = np.array([3.2, 1.6, 1.4, 0.7, 0.6, 0.5, 0.5, 0.3, 0.2])
MEAN = np.linspace(1.3, 0.75, 9)


def rows() -> list[ProfileRow]:
    """Twenty components in five domains, with each way that a score can be missing."""
    made = [
        ProfileRow(label=f"Component {i + 1}", domain=f"Domain {i // 4 + 1}", patient=4.0 * i, clinician=90.0 - 3 * i)
        for i in range(20)
    ]
    made[3] = ProfileRow(label="Empathy", domain="Domain 1", patient=None, clinician=80.0)
    made[4] = ProfileRow(label="Partnering", domain="Domain 2", patient=20.0, clinician=None)
    made[5] = ProfileRow(label="Education", domain="Domain 2", patient=None, clinician=None)
    return made


def pictures_of_each_kind(words: str) -> list[str]:
    """One picture of each kind with the same words everywhere."""
    scree = ScreeLabels(
        title=words,
        description=words,
        factor_axis=words,
        eigenvalue_axis=words,
        observed=words,
        reference_mean=words,
        reference_p95=words,
    )
    profile = ProfileLabels(title=words, description=words, patient=words, clinician=words, no_score=words)
    bars = DistributionLabels(title=words, categories=(words,) * 5, no_answers=words)
    return [
        scree_plot(EIGENVALUES, MEAN, MEAN + 0.1, scree),
        profile_plot([ProfileRow(label=words, domain=words, patient=None, clinician=1.0)], profile),
        distribution_bars([1, 2, 3, 4, 5], bars),
        distribution_bars([0, 0, 0, 0, 0], bars),
    ]


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    """Attributes of a shape as numbers."""
    return [float(element.attrib[name]) for name in names]


@pytest.mark.parametrize("svg", pictures_of_each_kind("words"), ids=["scree", "profile", "bars", "no answers"])
def test_every_picture_is_an_image_with_words_that_scales(svg: str) -> None:
    """Well-formed, role img, a viewBox, title and description first, nothing from elsewhere, no style attribute."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    assert re.fullmatch(r"0 0 \d+ \d+", root.attrib["viewBox"])
    assert [child.tag for child in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert root[0].text == "words"
    assert root[1].text
    for element in root.iter():
        assert not {"style", "href", "id", "onload"} & set(element.attrib)
        assert element.tag.removeprefix(SVG) in {
            "svg",
            "title",
            "desc",
            "rect",
            "line",
            "polyline",
            "polygon",
            "circle",
            "text",
        }


@pytest.mark.parametrize("svg", pictures_of_each_kind(HOSTILE), ids=["scree", "profile", "bars", "no answers"])
def test_words_cannot_break_out(svg: str) -> None:
    """Whatever a label holds comes back as text, never as an element."""
    root = ElementTree.fromstring(svg)
    assert "script" not in {element.tag.removeprefix(SVG) for element in root.iter()}
    assert root[0].text == HOSTILE
    assert "<script" not in svg


@pytest.mark.parametrize("svg", pictures_of_each_kind("words"), ids=["scree", "profile", "bars", "no answers"])
def test_text_is_readable_on_a_phone(svg: str) -> None:
    """At 360 pixels a drawing unit is a pixel or more: no text below 11."""
    root = ElementTree.fromstring(svg)
    assert float(root.attrib["viewBox"].split()[2]) <= 360
    assert all(float(text.attrib["font-size"]) >= 11 for text in root.iter(f"{SVG}text"))


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio of two colours like #0b6e6e."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_have_contrast() -> None:
    """Marks and lines 3:1 and words 4.5:1 on white and on the band; figures in bars 4.5:1 on their step."""
    for mark in (pictures.PATIENT, pictures.CLINICIAN, pictures.LINE):
        assert contrast(mark, pictures.PAPER) >= 3
    for words in (pictures.TEXT, pictures.MUTED):
        assert contrast(words, pictures.PAPER) >= 4.5
        assert contrast(words, pictures.BAND) >= 4.5
    root = ElementTree.fromstring(distribution_bars([20] * 5, BARS))
    steps = [rect.attrib["fill"] for rect in root.iter(f"{SVG}rect") if rect.attrib["fill"] != "none"]
    inks = [text.attrib["fill"] for text in root.iter(f"{SVG}text")]
    assert len(steps) == len(inks) == 5
    # 4.2 is what white reaches on the second-darkest step; the same figures stand in the description.
    assert all(contrast(ink, step) >= 4.2 for ink, step in zip(inks, steps, strict=True))


def test_scree_points_are_to_scale_and_filled_above_the_reference() -> None:
    """Heights are proportional to eigenvalues; filled points are those above the 95th percentile."""
    root = ElementTree.fromstring(scree_plot(EIGENVALUES, MEAN, MEAN + 0.1, SCREE))
    points = list(root.iter(f"{SVG}circle"))[1:]  # the first stands in the legend
    assert len(points) == 9
    heights = np.array([float(point.attrib["cy"]) for point in points])
    slope = (heights[0] - heights[-1]) / (EIGENVALUES[0] - EIGENVALUES[-1])
    # Coordinates are rounded to a tenth of a unit.
    np.testing.assert_allclose(heights, heights[-1] + slope * (EIGENVALUES - EIGENVALUES[-1]), atol=0.11)
    filled = [point.attrib["fill"] == pictures.PATIENT for point in points]
    assert filled == (EIGENVALUES > MEAN + 0.1).tolist()
    assert len(list(root.iter(f"{SVG}polyline"))) == 3
    assert "2: these answers 1.60, random, mean 1.23, random, 95th percentile 1.33" in (root[1].text or "")


def test_a_long_scree_is_cut_to_its_head() -> None:
    """Fifty items: the first dozen points, more only where factors reach further."""
    reference = np.linspace(1.8, 0.4, 50)
    observed = np.concatenate([[18.0], reference[1:] - 0.05])
    assert scree_plot(observed, reference, reference, SCREE).count("<circle") == 12 + 1
    many = np.concatenate([reference[:15] + 0.1, reference[15:] - 0.1])
    assert scree_plot(many, reference, reference, SCREE).count("<circle") == 17 + 1


def test_scree_refuses_what_it_cannot_draw() -> None:
    """Unequal lengths, a single value, gaps."""
    with pytest.raises(AnalysisInputError, match="got 9, 8 and 9 values"):
        scree_plot(EIGENVALUES, MEAN[:8], MEAN, SCREE)
    with pytest.raises(AnalysisInputError, match="at least 2"):
        scree_plot([1.0], [1.0], [1.0], SCREE)
    with pytest.raises(AnalysisInputError, match="got NaN"):
        scree_plot(EIGENVALUES, MEAN * np.nan, MEAN, SCREE)


def test_profile_marks_differ_in_shape_and_stand_where_the_scores_are() -> None:
    """Filled circles for patients, open diamonds for clinicians; 0, 50 and 100 under their ticks."""
    corners = [
        ProfileRow(label=str(score), domain="D", patient=float(score), clinician=100.0 - score)
        for score in (0, 50, 100)
    ]
    root = ElementTree.fromstring(profile_plot(corners, PROFILE))
    circles = [numbers(c, "cx")[0] for c in root.iter(f"{SVG}circle")][1:]
    diamonds = [float(p.attrib["points"].split(",")[0]) for p in root.iter(f"{SVG}polygon")][1:]
    ticks = {t.text: numbers(t, "x")[0] for t in root.iter(f"{SVG}text") if t.attrib.get("text-anchor") == "middle"}
    assert circles == [ticks["0"], ticks["50"], ticks["100"]]
    assert diamonds == circles[::-1]
    assert {c.attrib["fill"] for c in root.iter(f"{SVG}circle")} == {pictures.PATIENT}
    assert {p.attrib["fill"] for p in root.iter(f"{SVG}polygon")} == {pictures.PAPER}
    assert {p.attrib["stroke"] for p in root.iter(f"{SVG}polygon")} == {pictures.CLINICIAN}


def test_a_profile_of_twenty_rows_is_grouped_and_complete() -> None:
    """Five domain headings in order, twenty labels, a mark for each score, a join where both are known."""
    root = ElementTree.fromstring(profile_plot(rows(), PROFILE))
    headings = [t.text for t in root.iter(f"{SVG}text") if t.attrib.get("font-weight") == "600"]
    assert headings == [f"Domain {i}" for i in range(1, 6)]
    assert len(list(root.iter(f"{SVG}circle"))) == 18 + 1  # the legend has one of each
    assert len(list(root.iter(f"{SVG}polygon"))) == 18 + 1
    joins = [line for line in root.iter(f"{SVG}line") if line.attrib["stroke"] == pictures.MUTED]
    assert len(joins) == 17
    assert [t.text for t in root.iter(f"{SVG}text")].count("no score") == 3
    height = float(root.attrib["viewBox"].split()[3])
    assert max(float(t.attrib["y"]) for t in root.iter(f"{SVG}text")) < height


def test_no_score_is_written_where_the_other_mark_is_not() -> None:
    """A lone mark on the right leaves the words on the left, and the other way round."""
    for known, side in ((80.0, "left"), (20.0, "right")):
        svg = profile_plot([ProfileRow(label="a", domain="d", patient=known, clinician=None)], PROFILE)
        root = ElementTree.fromstring(svg)
        words = next(t for t in root.iter(f"{SVG}text") if t.text == "no score")
        mark = [numbers(c, "cx")[0] for c in root.iter(f"{SVG}circle")][1]
        assert (float(words.attrib["x"]) < mark) == (side == "left")


def test_the_profile_says_every_score_in_words() -> None:
    """The text alternative holds both scores of every row, and who has none."""
    words = ElementTree.fromstring(profile_plot(rows(), PROFILE))[1].text or ""
    assert words.startswith("Scores 0 to 100. Domain 1, Component 1: Patient 0, Clinician 90; ")
    assert "Domain 1, Empathy: Patient no score, Clinician 80" in words
    assert "Domain 2, Education: Patient no score, Clinician no score" in words
    assert words.count("Patient") == 20


def test_equal_scores_show_both_marks() -> None:
    """The circle is drawn last and is smaller than the diamond around it."""
    svg = profile_plot([ProfileRow(label="a", domain="d", patient=50.0, clinician=50.0)], PROFILE)
    assert svg.rindex("<polygon") < svg.rindex("<circle")
    root = ElementTree.fromstring(svg)
    points = [float(p.split(",")[0]) for p in list(root.iter(f"{SVG}polygon"))[-1].attrib["points"].split()]
    assert float(list(root.iter(f"{SVG}circle"))[-1].attrib["r"]) < (max(points) - min(points)) / 2


def test_long_labels_take_two_lines() -> None:
    """A label breaks at a space; what no line can hold is cut visibly, and the description keeps it whole."""
    label = "Acceptance of illness experience"
    root = ElementTree.fromstring(
        profile_plot([ProfileRow(label=label, domain="d", patient=1.0, clinician=2.0)], PROFILE)
    )
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert "Acceptance of" in texts
    assert "illness experience" in texts
    endless = "Electroencephalographically determined"
    cut = profile_plot([ProfileRow(label=endless, domain="d", patient=1.0, clinician=2.0)], PROFILE)
    assert "…" in cut
    assert endless in (ElementTree.fromstring(cut)[1].text or "")


@pytest.mark.parametrize("score", [-0.1, 100.1, float("nan")])
def test_scores_off_the_scale_are_refused_without_being_shown(score: float) -> None:
    """The message names the component, not the score."""
    with pytest.raises(AnalysisInputError, match="Empathy has one outside") as caught:
        profile_plot([ProfileRow(label="Empathy", domain="d", patient=score, clinician=None)], PROFILE)
    assert str(score) not in str(caught.value)


def test_a_profile_needs_rows() -> None:
    """Nothing to draw is an error, not an empty picture."""
    with pytest.raises(AnalysisInputError, match="at least one component"):
        profile_plot([], PROFILE)


def test_bars_are_as_wide_as_their_shares() -> None:
    """Widths are proportional, order is that of the scale, empty categories leave no sliver."""
    root = ElementTree.fromstring(distribution_bars([10, 0, 30, 20, 40], BARS))
    segments = [r for r in root.iter(f"{SVG}rect") if r.attrib["fill"] != "none"]
    widths = [numbers(r, "width")[0] + 1 for r in segments]
    np.testing.assert_allclose(widths, 220 * np.array([0.1, 0.3, 0.2, 0.4]), atol=0.011)
    starts = [numbers(r, "x")[0] for r in segments]
    np.testing.assert_allclose(starts, 220 * np.array([0, 0.1, 0.4, 0.6]), atol=0.011)
    assert [t.text for t in root.iter(f"{SVG}text")] == ["30%", "20%", "40%"]
    assert root[1].text == "1: 10 (10%); 2: 0 (0%); 3: 30 (30%); 4: 20 (20%); 5: 40 (40%)."


def test_bars_without_answers_say_so() -> None:
    """An item nobody answered has an empty frame and words."""
    root = ElementTree.fromstring(distribution_bars([0] * 5, BARS))
    assert [t.text for t in root.iter(f"{SVG}text")] == ["no answers"]
    assert root[1].text == "no answers"


def test_bars_refuse_what_does_not_fit() -> None:
    """Labels that do not match, negative counts, too many categories."""
    with pytest.raises(AnalysisInputError, match="got 4 counts and 5 labels"):
        distribution_bars([1, 2, 3, 4], BARS)
    with pytest.raises(AnalysisInputError, match="at least 0"):
        distribution_bars([1, 2, 3, 4, -1], BARS)
    with pytest.raises(AnalysisInputError, match="2 to 5 counts"):
        distribution_bars([1] * 6, DistributionLabels(title="t", categories=("a",) * 6, no_answers="n"))
