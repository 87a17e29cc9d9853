"""A questionnaire on paper: one form of one role in one language as a PDF, with the codes for typing it in.

Knows nothing of studies or the database. The font is embedded, and the same form is the same file every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import override
from reportlab.graphics import renderPDF
from reportlab.graphics.barcode.qr import QrCodeWidget
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import HexColor, black, white
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from instruments.definitions import Absence, Item, Question, Role
from instruments.page_texts import EntryText, PageText, form_text
from instruments.paper.codes import numbered, offers_prefer_not
from instruments.questionnaire import Questionnaire

SHEETS = {"a4": A4, "letter": LETTER}
FONTS = Path(__file__).resolve().parent / "fonts"
TEXT, BOLD = "DejaVuSansCondensed", "DejaVuSansCondensed-Bold"
MARGIN = 14 * mm
FRAME_PADDING = 6  # what the library keeps free inside a page's frame, in points
MARK = 14.2 * mm  # the width of a column to tick
_INK, _SOFT, _LINE, _BAND = black, HexColor("#555555"), HexColor("#999999"), HexColor("#f1f1f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitLabels:
    """Whose form it is, in study codes; nothing that names a person."""

    study: str
    patient: str
    clinician: str
    dyad: str
    wave: str
    visit_date: str
    entry_code: str
    entry_address: str  # what the QR code opens


def paper_form(
    questionnaire: Questionnaire, *, language: str, version: str, labels: VisitLabels | None, sheet: str = "a4"
) -> bytes:
    """The form as a PDF; without `labels`, with lines on which the codes are written by hand."""
    _register_fonts()
    with override(language):
        texts = form_text(questionnaire, language)
        width = SHEETS[sheet][0] - 2 * MARGIN
        story: list[Flowable] = [*_head(questionnaire, texts.title, language, version, labels, width)]
        story += [Paragraph(escape(texts.instructions), _style(10, 14)), Spacer(0, 2 * mm), _how_to_mark()]
        for heading, group in groupby(texts.pages, key=lambda page: page.heading):
            pages = list(group)
            story += _block(heading, pages, width) if heading else _questions(questionnaire, pages)
        story += [Spacer(0, 5 * mm), _office_block(width)]
        footer = " · ".join(
            part for part in (version, _form_name(questionnaire, language), labels.entry_code if labels else "") if part
        )
        page_words = _("Page %(number)s of %(total)s")
        title = texts.title
    output = BytesIO()

    class Numbered(Canvas):
        """Writes "page 2 of 5" once it is known how many there are."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.kept: list[dict[str, Any]] = []

        def showPage(self) -> None:
            self.kept.append(dict(self.__dict__))
            self._startPage()  # type: ignore[attr-defined]

        def save(self) -> None:
            for number, state in enumerate(self.kept, start=1):
                self.__dict__.update(state)
                self.setFont(TEXT, 8)
                self.setFillColor(_SOFT)
                self.drawString(MARGIN, 8 * mm, footer)
                words = page_words % {"number": number, "total": len(self.kept)}
                self.drawRightString(SHEETS[sheet][0] - MARGIN, 8 * mm, words)
                super().showPage()
            super().save()

    document = SimpleDocTemplate(
        output,
        pagesize=SHEETS[sheet],
        leftMargin=MARGIN - FRAME_PADDING,
        rightMargin=MARGIN - FRAME_PADDING,
        topMargin=12 * mm,
        bottomMargin=15 * mm,
        title=title,
        author="",
        lang=language,
        invariant=1,
    )
    document.build(story, canvasmaker=Numbered)
    return output.getvalue()


class Mark(Flowable):
    """One answer to tick: its code in a circle, or in a rounded box when it is a word."""

    def __init__(self, code: str, *, size: float = 7.4 * mm) -> None:
        super().__init__()
        self.code = code
        self.size = size
        self.width = size if len(code) <= 2 else max(size, pdfmetrics.stringWidth(code, TEXT, 6) + 2.2 * mm)
        self.height = size

    def wrap(self, availWidth: float, availHeight: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        canvas = self.canv
        canvas.setStrokeColor(_INK)
        canvas.setFillColor(white)
        canvas.setLineWidth(0.7)
        if len(self.code) <= 2:
            canvas.circle(self.size / 2, self.size / 2, self.size / 2, fill=1)
        else:
            canvas.roundRect(0, 0.8 * mm, self.width, self.size - 1.6 * mm, 1.5 * mm, fill=1)
        points = 6 if len(self.code) > 2 else 9
        canvas.setFont(TEXT, points)
        canvas.setFillColor(_INK)
        canvas.drawCentredString(self.width / 2, self.size / 2 - points * 0.36, self.code)


class Picture(Flowable):
    """A QR code."""

    def __init__(self, content: str, *, size: float = 24 * mm) -> None:
        super().__init__()
        self.content = content
        self.width = self.height = size

    def wrap(self, availWidth: float, availHeight: float) -> tuple[float, float]:
        return self.width, self.height

    def draw(self) -> None:
        widget = QrCodeWidget(self.content, barLevel="M", barBorder=2)
        left, bottom, right, top = widget.getBounds()
        scale = self.width / (right - left)
        drawing = Drawing(self.width, self.height, transform=[scale, 0, 0, self.height / (top - bottom), 0, 0])
        drawing.add(widget)
        renderPDF.draw(drawing, self.canv, 0, 0)


@cache
def _register_fonts() -> None:
    for name in (TEXT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(FONTS / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(TEXT, normal=TEXT, bold=BOLD, italic=TEXT, boldItalic=BOLD)


def _style(size: float, leading: float, *, bold: bool = False, soft: bool = False, centred: bool = False) -> Any:
    return ParagraphStyle(
        f"{size}{bold}{soft}{centred}",
        fontName=BOLD if bold else TEXT,
        fontSize=size,
        leading=leading,
        textColor=_SOFT if soft else _INK,
        alignment=1 if centred else 0,
    )


def _form_name(questionnaire: Questionnaire, language: str) -> str:
    role = _("For the patient") if questionnaire.role == Role.PATIENT else _("For the clinician")
    return f"{questionnaire.instrument.forms[questionnaire.form].label[language]} · {role}"


def _head(
    questionnaire: Questionnaire, title: str, language: str, version: str, labels: VisitLabels | None, width: float
) -> list[Flowable]:
    names = [_("Study"), _("Patient"), _("Clinician"), _("Dyad"), _("Wave"), _("Visit date"), _("Entry code")]
    if labels is None:
        values = [""] * len(names)
    else:
        values = [
            labels.study,
            labels.patient,
            labels.clinician,
            labels.dyad,
            labels.wave,
            labels.visit_date,
            labels.entry_code,
        ]
    if labels is None:
        names, values = names[:-1], values[:-1]
    cells = [(name, value) for name, value in zip(names, values, strict=True)]
    cells.append((_("Filled in on (year-month-day)"), ""))
    lines = [
        [Paragraph(escape(name), _style(8, 10, soft=True)), Paragraph(escape(value), _style(10, 12, bold=True))]
        for name, value in cells
    ]
    half = -(-len(lines) // 2)
    paired = [
        left + (lines[half + place] if half + place < len(lines) else ["", ""])
        for place, left in enumerate(lines[:half])
    ]
    inner = width - (28 * mm if labels else 0)
    block = Table(
        paired,
        colWidths=[0.15 * inner, 0.33 * inner, 0.2 * inner, 0.32 * inner],
        style=TableStyle(
            [
                ("LINEBELOW", (1, 0), (1, -1), 0.5, _LINE),
                ("LINEBELOW", (3, 0), (3, -1), 0.5, _LINE),
                ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
                ("LEFTPADDING", (0, 0), (0, -1), 0),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
                ("TOPPADDING", (0, 0), (-1, -1), 5),
            ]
        ),
        hAlign="LEFT",
    )
    identification: Flowable = block
    if labels:
        plain = TableStyle(
            [
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                ("ALIGN", (1, 0), (1, 0), "RIGHT"),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
        identification = Table([[block, Picture(labels.entry_address)]], colWidths=[inner, width - inner], style=plain)
    return [
        Paragraph(escape(title), _style(14, 18, bold=True)),
        Paragraph(escape(f"{_form_name(questionnaire, language)} · {version}"), _style(9, 13, soft=True)),
        Spacer(0, 2 * mm),
        identification,
        Spacer(0, 4 * mm),
    ]


def _how_to_mark() -> Flowable:
    words = _("Circle one number in each line. If you change your mind, cross it out and circle the right one.")
    return Paragraph(escape(words), _style(10, 14, bold=True))


def _block(heading: str, pages: Sequence[PageText], width: float) -> list[Flowable]:
    """The items of one recall block: the introduction, then a line each."""
    entries = [entry for page in pages for entry in page.entries]
    head_style = _style(6.8, 8.2, centred=True)
    scale = pages[0].scale
    apart = next((entry.options[-1].label for entry in entries if entry.options[-1].apart), None)
    heads = [Paragraph(escape(option.label), head_style) for option in scale]
    if apart is not None:
        heads.append(Paragraph(escape(apart), _style(6.2, 7.4, centred=True)))
    heads.append(Paragraph(escape(_("I'd rather skip")), head_style))
    columns = len(heads)
    skip_width, apart_width = 15.5 * mm, 17 * mm
    widths = [MARK] * len(scale) + ([apart_width] if apart is not None else []) + [skip_width]
    rows: list[list[Any]] = [[Paragraph(escape(heading), _style(10, 13, bold=True)), *heads]]
    for entry in entries:
        row: list[Any] = [_sentence(entry), *(Mark(option.value) for option in scale)]
        if apart is not None:
            row.append(Mark(Absence.DOES_NOT_APPLY.value) if entry.options[-1].apart else "")
        row.append(Mark(Absence.SKIPPED.value))
        rows.append(row)
    table = Table(
        rows,
        colWidths=[width - sum(widths), *widths],
        repeatRows=1,
        style=TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
                ("ALIGN", (1, 0), (columns, -1), "CENTER"),
                ("LEFTPADDING", (0, 0), (-1, -1), 2),
                ("RIGHTPADDING", (0, 0), (-1, -1), 2),
                ("LEFTPADDING", (1, 0), (-1, 0), 0.5),
                ("RIGHTPADDING", (1, 0), (-1, 0), 0.5),
                ("TOPPADDING", (0, 1), (-1, -1), 3),
                ("BOTTOMPADDING", (0, 1), (-1, -1), 3),
                ("LINEBELOW", (0, 0), (-1, 0), 0.8, _INK),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, _LINE),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, _BAND]),
            ]
        ),
    )
    return [Spacer(0, 5 * mm), table]


def _sentence(entry: EntryText) -> Flowable:
    return Paragraph(
        f'<font size="7" color="#555555">{escape(entry.code)}</font>&nbsp; {escape(entry.text)}', _style(10, 12.5)
    )


def _questions(questionnaire: Questionnaire, pages: Sequence[PageText]) -> list[Flowable]:
    """The unscored questions: each with its options and their numbers, or with room to write."""
    story: list[Flowable] = [Spacer(0, 5 * mm)]
    for entry in (entry for page in pages for entry in page.entries):
        question = questionnaire.entries[entry.code]
        if isinstance(question, Item):  # only blocks hold items
            continue
        story.append(KeepTogether([_sentence(entry), *_condition(questionnaire, question), _choices(question, entry)]))
        story.append(Spacer(0, 3.5 * mm))
    return story


def _condition(questionnaire: Questionnaire, question: Question) -> list[Flowable]:
    if question.ask_if is None:
        return []
    asked = questionnaire.entries[question.ask_if.question]
    numbers = {value: number for number, value in numbered(asked)} if isinstance(asked, Question) else {}
    marked = ", ".join(numbers.get(value, value) for value in question.ask_if.values)
    words = _("Only if you circled %(codes)s in %(question)s.") % {"codes": marked, "question": asked.code}
    return [Paragraph(escape(words), _style(8.5, 11, soft=True))]


def _choices(question: Question, entry: EntryText) -> Flowable:
    """What is circled or written, a line each."""
    label = _style(9.5, 12)
    words = {option.value: option.label for option in entry.options}
    rows: list[list[Any]] = []
    match question.kind:
        case "scale":
            rows = [
                [Mark(option.value, size=5.4 * mm), Paragraph(escape(option.label), label)]
                for option in entry.options
                if not option.apart
            ]
        case "choice" | "multiple_choice":
            rows = [
                [Mark(number, size=5.4 * mm), Paragraph(escape(words[value]), label)]
                for number, value in numbered(question)
            ]
        case "years_months":
            blank = "________"
            rows = [["", Paragraph(escape(_("%(blank)s years and %(blank)s months") % {"blank": blank}), label)]]
        case _:
            rows = [["", Paragraph("________________", label)]]
    if offers_prefer_not(question):
        rows.append([Mark("P", size=5.4 * mm), Paragraph(escape(entry.words[Absence.PREFER_NOT]), label)])
    rows.append([Mark("S", size=5.4 * mm), Paragraph(escape(_("I'd rather skip")), label)])
    # Two columns of answers where there are many: a form that is shorter is filled in sooner.
    half = -(-len(rows) // 2) if len(rows) > 4 else len(rows)
    paired = [
        left + (rows[half + place] if half + place < len(rows) else ["", ""]) for place, left in enumerate(rows[:half])
    ]
    return Table(
        paired,
        colWidths=[10 * mm, 81 * mm, 10 * mm, 81 * mm],
        style=TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("TOPPADDING", (0, 0), (-1, -1), 1.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
                ("LEFTPADDING", (0, 0), (-1, -1), 4),
            ]
        ),
        hAlign="LEFT",
    )


def _office_block(width: float) -> Flowable:
    """For the two people who type it in."""
    line = "______________________"
    words = [_("Entered first by, on"), _("Entered second by, on")]
    cells = [Paragraph(f"{escape(one)}<br/><br/>{line}", _style(8, 10, soft=True)) for one in words]
    head = Paragraph(
        escape(
            _("For the study staff. Type: the number circled; D for DNA; S for SKIPPED or nothing circled; P for P.")
        ),
        _style(8, 10, soft=True),
    )
    return Table(
        [[head, ""], cells],
        colWidths=[width / 2, width / 2],
        style=TableStyle([("SPAN", (0, 0), (1, 0)), ("BOX", (0, 0), (-1, -1), 0.5, _LINE)]),
    )
