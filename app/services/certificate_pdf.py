"""A certificate as a PDF worth framing: A4, with its letters embedded, the same bytes each time."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import cast

import segno
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import Align, MethodReturnValue, XPos, YPos

from app.domain.certificates import Certificate, Fact, spell_moment

_FONTS = Path(__file__).resolve().parents[1] / "static" / "fonts"
SERIF, ITALIC, MONO = "NotoSerif-Regular", "NotoSerif-Italic", "DejaVuSansMono"
# For the letters that the serif has not; those of most people and the smallest files come first.
FALLBACKS = (
    "NotoNaskhArabic-Regular",
    "NotoSerifHebrew-Regular",
    "NotoSerifThai-Regular",
    "NotoSerifArmenian-Regular",
    "NotoSerifGeorgian-Regular",
    "NotoSerifTamil-Regular",
    "NotoSerifDevanagari-Regular",
    "NotoSerifBengali-Regular",
    "DroidSansFallback",
    "HangulSubset",
)
# Those that letters are joined by; other invisible ones can only deceive.
_JOINERS = "\u200c\u200d"
_NO_GLYPH = "\ufffd"

_INK = (27, 42, 51)
_SOFT = (88, 99, 107)
_GOLD = (122, 92, 34)
_PALE = (226, 214, 188)
_GREEN = (28, 90, 60)

# Millimetres; fpdf2 gives an A4 page 210.0 by 297.0.
_WIDTH, _HEIGHT = 210.0, 297.0
_MARGIN = 28.0
_TEXT_WIDTH = _WIDTH - 2 * _MARGIN
_LABEL_WIDTH = 36.0
_LINE = 4.6
_CODE_SIZE = 34.0
_FOOT = 224.0
# Letters of a name; on paper there is no room for more.
_LONGEST_TITLE = 200


@dataclass(frozen=True)
class Sheet:
    """What decides about every byte of a PDF."""

    certificate: Certificate
    brand: str
    address: str


@lru_cache(maxsize=64)
def render(sheet: Sheet) -> bytes:
    """Draws a certificate on one page; the last ones are kept, some 30 KB each."""
    certificate = sheet.certificate
    pdf = _start(sheet)
    _draw_frame(pdf)
    _write_head(pdf, sheet)
    _write_facts(pdf, certificate.facts())
    _draw_seal(pdf, _WIDTH - _MARGIN - 19, _FOOT + 19)
    _write_foot(pdf, sheet)
    return bytes(pdf.output())


def _start(sheet: Sheet) -> FPDF:
    certificate = sheet.certificate
    pdf = FPDF(format="A4")
    # The one clock in a PDF; its id follows from it and from the content.
    pdf.set_creation_date(certificate.recorded_at)
    pdf.set_title(f"Certificate of Authenticity: {clean(certificate.title)}")
    pdf.set_author(clean(sheet.brand))
    pdf.set_subject(sheet.address)
    pdf.set_lang("en")
    pdf.set_auto_page_break(auto=False)
    pdf.set_margins(_MARGIN, _MARGIN, _MARGIN)
    written = [sheet.brand, *(fact.value for fact in certificate.facts()), certificate.title]
    _add_fonts(pdf, "".join(written))
    pdf.add_page()
    return pdf


def _add_fonts(pdf: FPDF, text: str) -> None:
    fallbacks = needed_fonts(text)
    for name in (SERIF, ITALIC, MONO, *fallbacks):
        pdf.add_font(name, fname=_path(name))
    pdf.set_fallback_fonts(list(fallbacks), exact_match=False)
    pdf.set_text_shaping(use_shaping_engine=True)


def needed_fonts(text: str) -> list[str]:
    """Answers which fonts have the letters that the serif has not."""
    missing = set(clean(text)) - _letters_of(SERIF)
    needed = []
    for name in FALLBACKS:
        if missing & _letters_of(name):
            needed.append(name)
            missing -= _letters_of(name)
    return needed


def clean(text: str) -> str:
    """Answers text with a mark for every letter that no font has, and nothing invisible."""
    return "".join(
        letter if _has_glyph(letter) else _NO_GLYPH
        for letter in unicodedata.normalize("NFC", text)
        if letter in _JOINERS or unicodedata.category(letter) not in ("Cf", "Cc")
    )


def _has_glyph(letter: str) -> bool:
    return letter in _JOINERS or any(letter in _letters_of(name) for name in (SERIF, *FALLBACKS))


@cache
def _letters_of(name: str) -> frozenset[str]:
    with TTFont(_path(name), lazy=True) as font:
        return frozenset(map(chr, font.getBestCmap()))


def _path(name: str) -> Path:
    return _FONTS / f"{name}.ttf"


def _draw_frame(pdf: FPDF) -> None:
    pdf.set_draw_color(*_GOLD)
    for inset, width in ((10.0, 0.9), (12.2, 0.25)):
        pdf.set_line_width(width)
        pdf.rect(inset, inset, _WIDTH - 2 * inset, _HEIGHT - 2 * inset)
    pdf.set_line_width(0.15)
    for x in (18.0, _WIDTH - 18.0):
        for y in (18.0, _HEIGHT - 18.0):
            pdf.polyline(_rosette(x, y, 4.2, petals=8))


def _draw_seal(pdf: FPDF, x: float, y: float) -> None:
    """An engraved rosette with the word in its middle."""
    pdf.set_line_width(0.1)
    pdf.set_draw_color(*_GREEN)
    for radius, petals in ((19.0, 24), (16.0, 18)):
        pdf.polyline(_rosette(x, y, radius, petals))
    pdf.set_fill_color(255, 255, 255)
    pdf.set_line_width(0.4)
    pdf.ellipse(x - 11.5, y - 11.5, 23, 23, style="DF")
    pdf.set_font(SERIF, size=9.5)
    pdf.set_text_color(*_GREEN)
    pdf.set_xy(x - 12, y - 3)
    pdf.cell(24, 6, "Authentic", align=Align.C)


def _rosette(x: float, y: float, radius: float, petals: int) -> list[tuple[float, float]]:
    """A closed line that waves around a circle, as engravers draw it against copying."""
    steps = petals * 24
    points = []
    for step in range(steps + 1):
        angle = 4 * math.pi * step / steps
        reach = radius * (0.8 + 0.2 * math.cos((petals / 2 + 0.5) * angle))
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def _write_head(pdf: FPDF, sheet: Sheet) -> None:
    certificate = sheet.certificate
    pdf.set_y(32)
    _centre(pdf, clean(sheet.brand), SERIF, 12, _GOLD)
    pdf.ln(5)
    _centre(pdf, "Certificate of Authenticity", SERIF, 29, _INK)
    _ornament(pdf)
    _centre(
        pdf,
        "The maker of this product has signed its record and put it on the chain.",
        ITALIC,
        10.5,
        _SOFT,
    )
    pdf.ln(6)
    title = _shortened(clean(certificate.title), _LONGEST_TITLE)
    _centre(pdf, title, SERIF, _fitting(title), _INK)
    if not certificate.is_current:
        pdf.ln(2)
        _centre(
            pdf,
            "Handed on since: the code leads to where the patch stands now.",
            ITALIC,
            9.5,
            _SOFT,
        )
    pdf.ln(6)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _fitting(title: str) -> float:
    """A size in which a name leaves room for the rest."""
    for length, size in ((30, 22.0), (60, 17.0), (120, 13.0)):
        if len(title) <= length:
            return size
    return 10.0


def _centre(pdf: FPDF, text: str, font: str, size: float, colour: Sequence[int]) -> None:
    pdf.set_font(font, size=size)
    pdf.set_text_color(*colour)
    _write_lines(pdf, _TEXT_WIDTH, size * 0.5, text, Align.C)


def _write_lines(pdf: FPDF, width: float, height: float, text: str, align: Align) -> None:
    """Writes text from here downwards, in the font that is set."""
    left, font, size = pdf.get_x(), pdf.font_family, pdf.font_size_pt
    for line in _lines(pdf, width, text):
        # fpdf2 takes the font for set where a line before it ended with a fallback's letters.
        pdf.set_font(ITALIC if font != ITALIC.lower() else SERIF)
        pdf.set_font(font, size=size)
        pdf.set_x(left)
        pdf.cell(width, height, line, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _lines(pdf: FPDF, width: float, text: str) -> list[str]:
    """How text is broken into lines of this width."""
    lines = pdf.multi_cell(width, 1, text, dry_run=True, output=MethodReturnValue.LINES)
    return cast("list[str]", lines)


def _ornament(pdf: FPDF) -> None:
    pdf.ln(4)
    y, middle = pdf.get_y(), _WIDTH / 2
    pdf.set_draw_color(*_GOLD)
    pdf.set_line_width(0.25)
    pdf.line(middle - 34, y, middle - 5, y)
    pdf.line(middle + 5, y, middle + 34, y)
    pdf.set_line_width(0.12)
    pdf.polyline(_rosette(middle, y, 3.2, petals=6))
    pdf.ln(7)


def _write_facts(pdf: FPDF, facts: Iterable[Fact]) -> None:
    pdf.set_draw_color(*_PALE)
    pdf.set_line_width(0.2)
    for fact in facts:
        _rule(pdf)
        pdf.set_xy(_MARGIN, pdf.get_y() + 1.2)
        pdf.set_font(SERIF, size=9)
        pdf.set_text_color(*_SOFT)
        pdf.cell(_LABEL_WIDTH, _LINE, fact.label)
        pdf.set_text_color(*_INK)
        pdf.set_font(MONO if fact.is_code else SERIF, size=7.2 if fact.is_code else 9.5)
        _write_value(pdf, clean(fact.value), may_wrap=fact.label == "Tag")
        pdf.ln(1.1)
    _rule(pdf)


def _rule(pdf: FPDF) -> None:
    pdf.line(_MARGIN, pdf.get_y(), _WIDTH - _MARGIN, pdf.get_y())


def _write_value(pdf: FPDF, text: str, *, may_wrap: bool) -> None:
    """Writes a value in one line, shortened where it is longer; the tag, which is short, whole."""
    width = _TEXT_WIDTH - _LABEL_WIDTH
    lines = _lines(pdf, width, text)
    if len(lines) > 1 and not may_wrap:
        text = f"{lines[0][:-2].rstrip()}…"
    _write_lines(pdf, width, _LINE, text, Align.L)


def _write_foot(pdf: FPDF, sheet: Sheet) -> None:
    code = BytesIO()
    segno.make(sheet.address, error="m", micro=False).save(
        code, kind="png", scale=8, border=0, dark="#1b2a33"
    )
    pdf.image(code, _MARGIN, _FOOT, _CODE_SIZE, _CODE_SIZE, alt_text="QR code of the certificate")
    pdf.set_xy(_MARGIN + _CODE_SIZE + 6, _FOOT + 2)
    pdf.set_left_margin(_MARGIN + _CODE_SIZE + 6)
    pdf.set_font(SERIF, size=9.5)
    pdf.set_text_color(*_INK)
    hint = "Scan to see how the patch stands today. What counts is that page, not this sheet."
    _write_lines(pdf, 62, 5, hint, Align.L)
    pdf.ln(2)
    pdf.set_font(ITALIC, size=8.5)
    pdf.set_text_color(*_SOFT)
    recorded = f"Recorded {spell_moment(sheet.certificate.recorded_at)}"
    _write_lines(pdf, 62, 4.5, recorded, Align.L)
    pdf.set_left_margin(_MARGIN)
    pdf.set_xy(_MARGIN, _FOOT + _CODE_SIZE + 8)
    pdf.set_font(MONO, size=6.4)
    pdf.multi_cell(_TEXT_WIDTH, 3.6, sheet.address, align=Align.C, link=sheet.address)
