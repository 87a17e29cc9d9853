"""The researcher's pages, held against plain Python over the same rows."""

import csv
import io
import math
import re
import statistics
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from analysis.models import AnalysisRun
from analysis.overview import (
    DOMAIN_COLUMNS,
    MINIMUM_FOR_NORMS,
    SORTS,
    Completeness,
    completeness,
    known_sort,
    role_norms,
    scored_dyads,
)
from analysis.psychometrics.errors import AnalysisInputError
from analysis.psychometrics.response_matrix import complete_rows
from analysis.running import run_analysis
from analysis.words import FLAGS, INELIGIBILITIES, NOTES, REASONS, STATISTICS, progress_words, statistics_words
from instruments.definitions import Role
from scoring.models import DyadScore, GapReference
from scoring.rules.reasons import Flag, Ineligibility, Note, Reason
from scoring.services import score_due, set_gap_reference
from studies.access import StudyAccess
from studies.models import AuditEvent, Member, Study
from studies.templatetags.staff import points, signed
from tests.factories import NOW, StudyKit, finish, make_member, make_scored_visits, make_study, make_visit

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12


@pytest.fixture
def kit() -> StudyKit:
    return make_study("LIST", n_sites=2, n_clinicians=2)


@pytest.fixture
def researcher(kit: StudyKit) -> Client:
    return signed_in(make_member(kit, Member.Role.RESEARCHER))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def whole(study: Study) -> StudyAccess:
    return StudyAccess(study=study, roles=frozenset({"researcher"}), site_ids=None)


# --- the table of scored dyads ---


def oracle_value(score: DyadScore, key: str) -> tuple[object, ...] | None:
    visit = score.visit
    if key == "date":
        return (visit.visit_date,)
    if key == "dyad":
        return (visit.dyad.code,)
    if key == "clinician":
        return (visit.dyad.clinician.site.code, visit.dyad.clinician.code)
    value = getattr(score, key)
    return None if value is None else (value,)


@pytest.mark.parametrize("key", SORTS)
@pytest.mark.parametrize("descending", [False, True])
def test_sorting_agrees_with_plain_python(kit: StudyKit, key: str, descending: bool) -> None:
    """Every column both ways; rows without the figure come last; equals in order of entry, or newest first."""
    scores = make_scored_visits(kit, 60)
    scores.sort(key=lambda score: score.pk, reverse=descending)
    known = [score for score in scores if oracle_value(score, key) is not None]
    unknown = [score for score in scores if oracle_value(score, key) is None]
    known.sort(key=lambda score: oracle_value(score, key), reverse=descending)  # stable, also in reverse
    expected = [score.pk for score in [*known, *unknown]]
    rows = scored_dyads(whole(kit.study), sort=f"-{key}" if descending else key)
    assert [row.pk for row in rows] == expected


@pytest.mark.parametrize(
    ("query", "meets"),
    [
        ("eligible=yes", lambda s: s.is_eligible),
        ("eligible=no", lambda s: not s.is_eligible),
        ("flagged=yes", lambda s: s.is_flagged),
        ("flagged=no&complete=yes", lambda s: not s.is_flagged and s.is_complete),
        ("complete=no", lambda s: not s.is_complete),
        ("search=bIRch", lambda s: "birch" in s.visit.dyad.code.lower()),
        ("search=100%25", lambda s: "100%" in s.visit.dyad.code),
        ("search=a_b", lambda s: "a_b" in s.visit.dyad.code),
        ("search=%27%20OR%201%3D1%20--", lambda s: False),
    ],
)
def test_filters_agree_with_plain_python(
    kit: StudyKit, researcher: Client, query: str, meets: Callable[[DyadScore], bool]
) -> None:
    """Per cent signs and underscores are letters like any other; quotes end nothing."""
    scores = make_scored_visits(kit, 60)
    page = researcher.get(f"{reverse('dyads', args=['LIST'])}?{query}")
    expected = {score.pk for score in scores if meets(score)}
    assert page.context["page"].paginator.count == len(expected)
    assert {score.pk for score in page.context["page"]} <= expected


def test_filters_by_site_clinician_and_wave(kit: StudyKit, researcher: Client) -> None:
    """One site's, one clinician's, one wave's rows, and all three together."""
    scores = make_scored_visits(kit, 60)
    site, clinician = kit.sites[1], kit.clinicians[2]
    url = reverse("dyads", args=["LIST"])

    def shown(query: str) -> int:
        return researcher.get(f"{url}?{query}").context["page"].paginator.count

    of_site = [s for s in scores if s.visit.dyad.clinician.site_id == site.pk]
    of_clinician = [s for s in scores if s.visit.dyad.clinician_id == clinician.pk]
    of_wave = [s for s in scores if s.visit.wave_id == kit.wave.pk]
    assert shown(f"site={site.pk}") == len(of_site)
    assert shown(f"clinician={clinician.pk}") == len(of_clinician)
    assert shown(f"wave={kit.wave.pk}") == len(of_wave)
    both = [s for s in of_clinician if s in of_wave]
    assert shown(f"site={site.pk}&clinician={clinician.pk}&wave={kit.wave.pk}") == len(both)


def test_a_foreign_sites_number_is_no_filter(kit: StudyKit, researcher: Client) -> None:
    """The number of another study's site is refused beside the field, and tells nothing."""
    make_scored_visits(kit, 5)
    other = make_study("OTHER")
    page = researcher.get(f"{reverse('dyads', args=['LIST'])}?site={other.sites[0].pk}")
    assert page.context["form"].errors.keys() == {"site"}
    assert page.context["page"].paginator.count == 5


@pytest.mark.parametrize(
    "sort",
    ["", "nonsense", "--date", "visit__dyad__study__title", "-patient", "date;DROP TABLE", "pk", "?", "-?", "study"],
)
def test_an_unknown_sort_key_sorts_newest_first(kit: StudyKit, researcher: Client, sort: str) -> None:
    """Nothing but the listed keys reaches the database."""
    make_scored_visits(kit, 30)
    assert known_sort(sort) == "-date"
    page = researcher.get(reverse("dyads", args=["LIST"]), {"sort": sort})
    dates = [score.visit.visit_date for score in page.context["page"]]
    assert dates == sorted(dates, reverse=True)


def test_pages_hold_every_row_once(kit: StudyKit, researcher: Client) -> None:
    """Fifty rows a page; going through the links of "next" meets all rows in order, filters kept."""
    scores = make_scored_visits(kit, 160)
    expected = [s.pk for s in scored_dyads(whole(kit.study), sort="patient_valuing", flagged=False)]
    assert len(expected) > 100
    assert len(expected) < len(scores)
    url = reverse("dyads", args=["LIST"])
    query, seen = "?flagged=no&sort=patient_valuing", []
    while query:
        page = researcher.get(url + query)
        seen += [score.pk for score in page.context["page"]]
        assert len(page.context["page"]) <= 50
        link = re.search(r'href="(\?[^"]+)" rel="next"', page.content.decode())
        query = link.group(1).replace("&amp;", "&") if link else ""
    assert seen == expected


@pytest.mark.parametrize("page", ["0", "-1", "999", "x", ""])
def test_a_page_number_out_of_range_is_mended(kit: StudyKit, researcher: Client, page: str) -> None:
    """The first or last page instead of an error."""
    make_scored_visits(kit, 60)
    response = researcher.get(reverse("dyads", args=["LIST"]), {"page": page})
    assert response.status_code == 200
    assert response.context["page"].number in {1, 2}


def test_sort_links_keep_the_filter_and_turn_round(kit: StudyKit, researcher: Client) -> None:
    """The heading of the sorted column offers the other direction; figures come highest first."""
    make_scored_visits(kit, 5)
    url = reverse("dyads", args=["LIST"])
    context = researcher.get(f"{url}?complete=yes&sort=dyad").context
    dyad = context["columns"][0]
    assert (dyad["href"], dyad["aria"]) == ("?complete=yes&sort=-dyad", "ascending")
    patient, clinician = context["domains"][0]["sides"]
    assert (patient["href"], patient["aria"]) == ("?complete=yes&sort=-patient_valuing", "")
    assert clinician["href"] == "?complete=yes&sort=-clinician_valuing"
    domain = researcher.get(f"{url}?sort=-clinician_valuing").context["domains"][0]
    assert domain["aria"] == domain["sides"][1]["aria"] == "descending"
    assert domain["sides"][1]["href"] == "?sort=clinician_valuing"


@pytest.mark.parametrize("name", ["study_overview", "dyads"])
def test_queries_do_not_grow_with_the_study(kit: StudyKit, researcher: Client, name: str) -> None:
    """At most twelve queries, and no more for a hundred visits than for one."""
    counts = []
    for n in (1, 100):
        make_scored_visits(kit, n, seed=n)
        with CaptureQueriesContext(connection) as queries:
            assert researcher.get(reverse(name, args=["LIST"])).status_code == 200
        counts.append(len(queries))
    assert counts[1] <= counts[0] <= MOST_QUERIES


# --- overview ---


def test_completeness_counts_forms_and_answers(kit: StudyKit) -> None:
    """Visits, finished forms, both, scores and unanswered items per clinician, as counted by hand."""
    first, second = kit.clinicians[0], kit.clinicians[2]
    both = make_visit(kit, clinician=first)
    finish(both, Role.PATIENT, VN1="SKIPPED", VI1="DNA")
    finish(both, Role.CLINICIAN, now=NOW + timedelta(days=2))
    finish(make_visit(kit, clinician=first), Role.PATIENT)
    make_visit(kit, clinician=second)
    score_due(owner="test", clock=lambda: NOW)
    sites = completeness(whole(kit.study))
    assert [site.site.code for site in sites] == ["S1", "S2"]
    counts = sites[0].clinicians[0].counts
    assert counts == Completeness(
        n_visits=2,
        n_patient_done=2,
        n_clinician_done=1,
        n_both_done=1,
        n_scored=2,
        n_eligible=1,
        n_flagged=2,
        n_answered=48 + 50 + 50,
        n_unanswered=1,
        last_activity=NOW + timedelta(days=2),
    )
    assert counts.missing_share == pytest.approx(1 / 149)
    assert sites[0].counts == counts + Completeness()
    assert sites[1].clinicians[0].counts == Completeness(n_visits=1)
    assert sites[1].counts.missing_share is None


def test_an_empty_study_says_what_to_do_next(kit: StudyKit) -> None:
    """Overview, dyads and analyses of a study without a visit lead on."""
    admin = signed_in(make_member(kit, Member.Role.ADMIN))
    assert reverse("visit_new", args=["LIST"]) in admin.get(reverse("study_overview", args=["LIST"])).content.decode()
    assert reverse("visit_new", args=["LIST"]) in admin.get(reverse("dyads", args=["LIST"])).content.decode()
    assert reverse("analysis_new", args=["LIST"]) in admin.get(reverse("analyses", args=["LIST"])).content.decode()
    bare = Study.objects.create(code="BARE", title="Bare")
    Member.objects.create(study=bare, user=User.objects.get(username="list-admin"), role=Member.Role.ADMIN)
    page = admin.get(reverse("study_overview", args=["BARE"])).content.decode()
    assert reverse("study_settings", args=["BARE"]) in page


# --- one dyad ---


def scored_visit(kit: StudyKit, **answers: int | str) -> DyadScore:
    created = make_visit(kit)
    finish(created, Role.PATIENT, rel_years=48, **answers)
    finish(created, Role.CLINICIAN, value=3)
    score_due(owner="test", clock=lambda: NOW)
    return DyadScore.objects.select_related("visit__dyad", "visit__wave").get(pk=created.visit.pk)


def dyad_page(client: Client, score: DyadScore) -> str:
    visit = score.visit
    response = client.get(reverse("dyad", args=[score.study.code, visit.dyad.code, visit.wave.code]))
    assert response.status_code == 200
    return response.content.decode()


def test_a_dyads_page_shows_scores_or_reasons(kit: StudyKit, researcher: Client) -> None:
    """Values in whole points, a reason in words where there is none, flags in words, the picture with its text."""
    pushing = dict.fromkeys(("PU1", "PU2", "PU3"), "DNA")
    page = dyad_page(researcher, scored_visit(kit, **pushing))
    assert "every sentence was answered with “does not apply”" in page
    assert "one and the same answer throughout" in page
    assert "<desc>Component scores from 0 to 100." in page
    assert "The two forms may be compared" in page
    assert "untested draft" in page


def test_plain_gaps_are_never_shown(kit: StudyKit, researcher: Client) -> None:
    """Until invariance across roles is shown, no difference in points stands there; of few dyads, no gap at all."""
    score = scored_visit(kit)
    assert score.dyad["gaps"]["values"]["competence"] == -25
    page = dyad_page(researcher, score)
    assert "needs at least 10 comparable dyads" in page
    make_scored_visits(kit, 60)
    for text in (page, dyad_page(researcher, score)):
        assert '<td class="number">75</td>' in text  # the score itself, in whole points
        assert "\N{MINUS SIGN}25" not in text
        assert "-25" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)


def test_standardised_gaps_are_differences_of_z_scores(kit: StudyKit, researcher: Client) -> None:
    """Against means and standard deviations computed by the statistics module."""
    score = scored_visit(kit)
    make_scored_visits(kit, 60)
    norms, n = role_norms(kit.study, form="full")
    rows = list(DyadScore.objects.filter(study=kit.study, is_eligible=True))
    assert n == len(rows)
    for column in DOMAIN_COLUMNS:
        values = [getattr(row, column) for row in rows if getattr(row, column) is not None]
        assert norms[column].mean == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert norms[column].sd == pytest.approx(statistics.stdev(values), rel=1e-12)
    clinician = norms["clinician_competence"].z(score.clinician_competence or math.nan)
    patient = norms["patient_competence"].z(score.patient_competence or math.nan)
    gap = clinician - patient
    sign = "+" if gap > 0 else "\N{MINUS SIGN}"
    page = dyad_page(researcher, score)
    assert f'<td class="number">{sign}{abs(gap):.1f}</td>' in page
    assert "invariance across roles" in page


def test_norms_need_enough_dyads_and_some_spread(kit: StudyKit) -> None:
    """Nine dyads give none; a column of one value gives none."""
    make_scored_visits(kit, 60)
    DyadScore.objects.update(is_eligible=True, patient_valuing=62.5)
    norms, _ = role_norms(kit.study, form="full")
    assert "patient_valuing" not in norms
    assert "clinician_valuing" in norms
    keep = DyadScore.objects.values_list("pk", flat=True)[: MINIMUM_FOR_NORMS - 1]
    DyadScore.objects.exclude(pk__in=list(keep)).delete()
    assert role_norms(kit.study, form="full") == ({}, MINIMUM_FOR_NORMS - 1)
    assert role_norms(kit.study, form="short") == ({}, 0)


def test_the_verdict_on_a_gap_needs_a_reference(kit: StudyKit, researcher: Client) -> None:
    """Without one the cell is empty; with one it says yes or no."""
    score = scored_visit(kit)
    assert '<span class="tag attention">yes</span>' not in dyad_page(researcher, score)
    set_gap_reference(
        study=kit.study,
        form="full",
        parameters={"competence": {"mean_gap": 0.0, "sem_patient": 5.0, "sem_clinician": 5.0}},
        source="test",
        clock=lambda: NOW,
    )
    assert GapReference.objects.exists()
    assert '<span class="tag attention">yes</span>' in dyad_page(researcher, score)


def test_a_one_sided_dyad_says_why_it_is_not_compared(kit: StudyKit, researcher: Client) -> None:
    """The missing form is named, its column says so, and nothing breaks."""
    created = make_visit(kit)
    finish(created, Role.PATIENT)
    score_due(owner="test", clock=lambda: NOW)
    page = dyad_page(researcher, DyadScore.objects.select_related("visit__dyad", "visit__wave").get())
    assert "the clinician&#x27;s form is not finished" in page
    assert "form not finished" in page


def test_a_visit_without_a_score_says_so(kit: StudyKit, researcher: Client) -> None:
    """Neither form finished: a sentence, not an error."""
    visit = make_visit(kit).visit
    page = researcher.get(reverse("dyad", args=["LIST", visit.dyad.code, "baseline"]))
    assert "Not scored yet" in page.content.decode()
    assert researcher.get(reverse("dyad", args=["LIST", visit.dyad.code, "nowave"])).status_code == 404
    assert researcher.get(reverse("dyad", args=["LIST", "nobody", "baseline"])).status_code == 404


def test_every_reason_flag_and_note_has_words() -> None:
    """A name that the rules may store is never shown bare."""
    assert set(REASONS) == set(Reason)
    withdrawn = {"PATIENT_WITHDREW", "CLINICIAN_WITHDREW"}  # not a rule's: of whoever takes part no more
    assert set(INELIGIBILITIES) == set(Ineligibility) | withdrawn
    assert set(NOTES) == set(Note)
    assert set(FLAGS) == set(Flag)


def test_sentences_of_the_statistics_are_told_in_spanish() -> None:
    """Each known sentence is recognised with its figures and codes; an unknown one and all English stay as they are."""
    for sentence in STATISTICS:
        groups = {name: f"<{name}>" for name in re.findall(r"%\((\w+)\)s", str(sentence))}
        written = str(sentence) % groups
        assert statistics_words(written) == written
        with override("es"):
            told = statistics_words(written)
        assert told != written
        assert all(value in told for name, value in groups.items() if name != "who")
    with pytest.raises(AnalysisInputError) as refused:
        complete_rows([[1, float("nan")], [2, 3]], who="cronbach_alpha", minimum_respondents=3)
    with override("es"):
        assert "al menos 3 personas que hayan respondido los 2 ítems; hay 1 de 2" in statistics_words(
            str(refused.value)
        )
        assert statistics_words("something new") == "something new"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "0"), (0.4, "0"), (66.666, "67"), (99.6, "100"), (100.0, "100")],
)
def test_scores_are_shown_in_whole_points(value: float | None, shown: str) -> None:
    """Stored unrounded, shown in whole points: the item bank's rule."""
    assert points(value) == shown


def test_a_gap_shows_its_sign_unless_it_rounds_to_zero() -> None:
    """One decimal; 0.02 and -0.02 are both no gap to the eye."""
    shown = [signed(value) for value in (0.62, -0.62, 0.02, -0.02, None)]
    assert shown == ["+0.6", "\N{MINUS SIGN}0.6", "0.0", "0.0", "–"]


# --- downloads ---


def test_the_download_is_the_export_and_leaves_a_trace(kit: StudyKit, researcher: Client) -> None:
    """CSV of both-sided dyads, or of all; a line in the audit trail for each."""
    scored_visit(kit)
    finish(make_visit(kit), Role.PATIENT)
    score_due(owner="test", clock=lambda: NOW)
    url = reverse("dyads_download", args=["LIST"])
    response = researcher.get(url)
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.search(r'attachment; filename="LIST-dyads-\d{8}\.csv"', response.headers["Content-Disposition"])
    assert len(list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))) == 1
    response = researcher.get(f"{url}?incomplete=1")
    assert len(list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))) == 2
    codebook = researcher.get(reverse("codebook_download", args=["LIST"]))
    assert next(iter(codebook.streaming_content)).startswith(b"column,meaning")
    events = AuditEvent.objects.filter(action__startswith="export").order_by("sequence")
    told = [(event.action, event.detail.get("include_incomplete")) for event in events]
    assert told == [("export dyads", False), ("export dyads", True), ("export codebook", None)]


def test_synthetic_data_are_marked_on_pages_and_in_file_names() -> None:
    """And real data are not."""
    for is_synthetic in (True, False):
        kit = make_study(f"STUDY{int(is_synthetic)}", is_synthetic=is_synthetic)
        client = signed_in(make_member(kit, Member.Role.RESEARCHER))
        score = scored_visit(kit)
        for name in ("study_overview", "dyads", "analyses", "analysis_new"):
            page = client.get(reverse(name, args=[kit.study.code])).content.decode()
            assert ("Synthetic data: a demonstration" in page) is is_synthetic
        assert ("Synthetic data: a demonstration" in dyad_page(client, score)) is is_synthetic
        for name in ("dyads_download", "codebook_download"):
            download = client.get(reverse(name, args=[kit.study.code]))
            assert ("SYNTHETIC" in download.headers["Content-Disposition"]) is is_synthetic


# --- analyses ---


def test_asking_for_an_analysis_puts_it_into_the_queue(kit: StudyKit, researcher: Client) -> None:
    """The run is stored with its settings and shows as waiting, with a page that renews itself without scripts."""
    page = researcher.get(reverse("analysis_new", args=["LIST"]))
    seed = page.context["form"].initial["seed"]
    response = researcher.post(
        reverse("analysis_new", args=["LIST"]),
        {"form": "short", "n_factors": "", "exclude_flagged": "on", "seed": seed},
    )
    run = AnalysisRun.objects.get()
    assert response.headers["Location"] == reverse("analysis", args=["LIST", run.pk])
    assert (run.form, run.n_factors, run.exclude_flagged, run.seed) == ("short", None, True, seed)
    assert run.requested_by is not None
    body = researcher.get(response.headers["Location"]).content.decode()
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in body
    progress = researcher.get(reverse("analysis_progress", args=["LIST", run.pk])).json()
    assert progress == {"finished": False, "percent": 0, "words": "Waiting"}


@pytest.mark.parametrize(
    "wrong",
    [{"form": "middle"}, {"n_factors": "0"}, {"n_factors": "99"}, {"seed": "-1"}, {"seed": ""}, {"seed": "1e9"}],
)
def test_a_bad_setting_is_refused(kit: StudyKit, researcher: Client, wrong: dict[str, str]) -> None:
    """Beside its field; nothing is put into the queue."""
    data = {"form": "full", "n_factors": "", "seed": "1"} | wrong
    response = researcher.post(reverse("analysis_new", args=["LIST"]), data)
    assert response.status_code == 422
    assert response.context["form"].errors.keys() == set(wrong)
    assert not AnalysisRun.objects.exists()


def test_progress_is_told_in_words(kit: StudyKit, researcher: Client) -> None:
    """The worker's note becomes a phrase; an unknown one is shown as it is."""
    run = AnalysisRun.objects.create(
        study=kit.study, form="full", seed=1, status="running", progress=0.425, progress_note="clinician: scales"
    )
    progress = researcher.get(reverse("analysis_progress", args=["LIST", run.pk])).json()
    assert progress == {"finished": False, "percent": 42, "words": "Clinicians: reliability of components"}
    assert progress_words("something new") == "something new"


def test_a_failed_run_says_why(kit: StudyKit, researcher: Client) -> None:
    """The stored error stands on the page, with the way to another run."""
    run = AnalysisRun.objects.create(
        study=kit.study, form="full", seed=1, status="failed", error="There is no finished <b>form</b> yet."
    )
    page = researcher.get(reverse("analysis", args=["LIST", run.pk])).content.decode()
    assert "There is no finished &lt;b&gt;form&lt;/b&gt; yet." in page
    assert reverse("analysis_new", args=["LIST"]) in page
    assert "refresh" not in page


def test_a_failed_run_says_why_in_spanish(kit: StudyKit, researcher: Client) -> None:
    """What a run really stores when there is no form is told in the reader's language."""
    run = AnalysisRun.objects.create(study=kit.study, form="short", seed=1)
    run_analysis(run_id=run.pk, owner="test", clock=timezone.now)
    address = reverse("analysis", args=["LIST", run.pk])
    assert "There is no finished short form" in researcher.get(address).content.decode()
    page = researcher.get(address, headers={"accept-language": "es"}).content.decode()
    assert "Todavía no hay ningún cuestionario (short) terminado" in page
    assert "Remedy" not in page


class TestResultPage(TestCase):
    """The demonstration study's analysis, made once."""

    client: Client

    @classmethod
    def setUpTestData(cls) -> None:
        make_study("RELEASES-THE-INSTRUMENT")
        call_command("seed_demo", stdout=io.StringIO())
        cls.user = User.objects.get(username="demo-researcher")

    def setUp(self) -> None:
        self.client.force_login(self.user)

    def page(self, language: str = "en") -> str:
        run = AnalysisRun.objects.get()
        url = reverse("analysis", args=["DEMO", run.pk])
        response = self.client.get(url, headers={"accept-language": language})
        assert response.status_code == 200
        return response.content.decode()

    def test_every_figure_of_the_first_look_is_on_the_page(self) -> None:
        """Alpha with its interval, KMO, loadings, item means: as stored, rounded for reading."""
        result = AnalysisRun.objects.get().result
        page = self.page()
        for look in result.values():
            for scale in [*look["scales"].values(), *look["domains"].values()]:
                alpha = scale["alpha"]
                interval = f"[{bare(alpha['lower'])}; {bare(alpha['upper'])}]"
                assert f'<td class="number">{bare(alpha["alpha"])}</td><td>{interval}</td>' in page
            for item in look["items"]:
                assert f'<td class="number">{item["n"]}</td><td class="number">{item["mean"]:.2f}</td>' in page
            structure = look["structure"]
            assert f"<dd>{bare(structure['sampling_adequacy']['overall'])}</dd>" in page
            for row in structure["factors"]["loadings"]:
                for value in row:
                    name = "strong" if abs(value) >= 0.30 else "weak"
                    assert f'<td class="number {name}-loading">{bare(value)}</td>' in page
            for row in structure["factors"]["phi"]:
                assert "".join(f'<td class="number">{bare(value)}</td>' for value in row) in page
        assert page.count("<title>Scree plot</title>") == 2
        assert page.count("<title>Answers to VN1</title>") == 2

    def test_provenance_and_the_synthetic_mark(self) -> None:
        """Seed, data digest, versions, and that it is no evidence."""
        run = AnalysisRun.objects.get()
        page = self.page()
        assert run.data_digest in page
        assert str(run.seed) in page
        assert f"factor-analyzer {run.versions['factor-analyzer']}" in page
        assert "Synthetic data: a demonstration" in page
        assert "no verdict on the questionnaire" in page

    def test_a_part_that_failed_leaves_the_others(self) -> None:
        """Errors inside a result stand in their places; every other figure stays."""
        run = AnalysisRun.objects.get()
        result = run.result
        result["clinician"] = {"error": "Too few clinician forms."}
        look = result["patient"]
        look["structure"]["factors"] = {"error": "No factors today."}
        look["structure"]["retention"] = {"error": "No parallel analysis today."}
        look["structure"]["sampling_adequacy"] = {"error": "No KMO today."}
        look["structure"]["sphericity"] = {"error": "No Bartlett today."}
        look["scales"]["trust"]["alpha"] = {"error": "No alpha today."}
        look["items"] = {"error": "No items today."}
        AnalysisRun.objects.filter(pk=run.pk).update(result=result)
        page = self.page()
        for words in ("Too few clinician forms.", "factors today", "parallel analysis today", "KMO today"):
            assert words in page
        for words in ("Bartlett today", "alpha today", "items today"):
            assert words in page
        assert bare(look["scales"]["hope"]["alpha"]["alpha"]) in page

    def test_the_dyads_table_of_a_whole_study(self) -> None:
        """All demo dyads are listed, in at most twelve queries."""
        with CaptureQueriesContext(connection) as queries:
            page = self.client.get(reverse("dyads", args=["DEMO"]))
        assert page.context["page"].paginator.count == DyadScore.objects.count()
        assert len(queries) <= MOST_QUERIES


def bare(value: float) -> str:
    """A coefficient as the page writes it: two decimals, no zero before the point, a true minus sign."""
    text = f"{round(value, 2) + 0.0:.2f}"
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "\N{MINUS SIGN}")
