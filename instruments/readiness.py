"""What a study still needs before it can open: a list that is looked up anew each time it is shown."""

from dataclasses import dataclass

from django.db.models import Count
from django.utils.translation import get_language_info
from django.utils.translation import gettext as _

from instruments.definitions import Instrument
from instruments.models import InstrumentVersion, study_languages
from studies.consent_texts import counting_text, missing_texts, newest_texts
from studies.models import Member, Study
from studies.plain_text import unfilled


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to be there: whether it is, what to do if not, and the page for it."""

    name: str
    is_done: bool
    todo: str  # blank when it is done
    url_name: str  # a page of the study


def opening_steps(study: Study) -> list[Step]:
    """Every step, done or not, in the order in which they are best taken."""
    version = InstrumentVersion.objects.filter(code=study.instrument_code, version=study.instrument_version).first()
    has_form = version is not None and study.default_form in version.instrument.forms
    sites = list(study.sites.annotate(n_clinicians=Count("clinicians")))
    without = [site.name for site in sites if not site.n_clinicians]
    coordinated = set(study.members.filter(role=Member.Role.COORDINATOR).values_list("site", flat=True))
    uncovered = [site.name for site in sites if site.pk not in coordinated]
    roles = set(study.members.values_list("role", flat=True))
    handles_visits = Member.Role.ADMIN in roles or not uncovered
    n_waves = study.waves.count()
    consent = consent_problems(study, version.instrument) if version is not None else []
    todo_clinicians = (
        _("No clinician yet at: %(sites)s.") % {"sites": ", ".join(without)} if sites else _("Add a site first.")
    )
    return [
        _step(
            _("Questionnaire and form"),
            has_form,
            _("This version is not loaded, or has no such form. Choose another, or ask whoever runs this site."),
            "study_settings",
        ),
        _step(_("Sites"), bool(sites), _("Add the practices that take part."), "site_new"),
        _step(_("Clinicians at every site"), bool(sites) and not without, todo_clinicians, "clinician_new"),
        _step(_("Patients' consent"), not consent, " ".join(consent), "consent_texts"),
        _step(_("Waves"), n_waves > 0, _("Add at least the first wave."), "wave_new"),
        _step(
            _("Somebody who hands out the questionnaires"),
            handles_visits,
            _("Invite a coordinator for: %(sites)s.") % {"sites": ", ".join(uncovered) or "–"},
            "member_invite",
        ),
        _step(
            _("Somebody who looks at the data"),
            not roles.isdisjoint((Member.Role.RESEARCHER, Member.Role.ADMIN)),
            _("Invite a researcher."),
            "member_invite",
        ),
    ]


def consent_problems(study: Study, instrument: Instrument) -> list[str]:
    """What keeps patients from being asked for consent, a sentence each; nothing where it is taken elsewhere."""
    if study.consent != Study.Consent.HERE:
        return []
    languages = study_languages(study, instrument)
    problems = []
    for missing in missing_texts(study, languages):
        words = {"language": language_name(missing.language)}
        if missing.site is None:
            problems.append(_("No consent text in %(language)s.") % words)
        else:
            words["site"] = missing.site.name
            problems.append(_("No consent text in %(language)s for %(site)s.") % words)
    newest = newest_texts(study)
    for (site_id, language), version in newest.items():
        counts = counting_text(newest, site_id=site_id, language=language) == version
        if counts and language in languages and (gaps := unfilled(version.text)):
            words = {"language": language_name(language), "part": gaps[0]}
            problems.append(_("The consent text in %(language)s still has to be filled in: %(part)s.") % words)
    return problems


def quality_rules(instrument: Instrument) -> list[str]:
    """What marks a form as carelessly answered, in words. The limits belong to the version: marks must not drift."""
    rules = instrument.scoring
    return [
        _("Hasty: the median time per sentence is under %(seconds)g seconds (not on paper).")
        % {"seconds": rules.fast_median_seconds},
        _("One answer throughout: every sentence, the reversed ones among them, has the same answer."),
        _("Contradictory: at least %(n)d reversed sentences lie %(points)g points or more from the others on the same.")
        % {"n": rules.reverse_conflict_minimum, "points": rules.reverse_conflict_distance},
        _("Many gaps: more than %(percent)d %% of the sentences that apply are unanswered.")
        % {"percent": rules.missing_percent},
    ]


def language_name(language: str) -> str:
    """What the page's language calls a language, for the middle of a sentence."""
    return str(get_language_info(language)["name_translated"])


def _step(name: str, is_done: bool, todo: str, url_name: str) -> Step:
    return Step(name=name, is_done=is_done, todo="" if is_done else todo, url_name=url_name)
