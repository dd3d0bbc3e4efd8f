"""The printed certificate: its letters, its one page, its bytes."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from pypdf import PdfReader

from app.services.certificate_pdf import FALLBACKS, Sheet, clean, needed_fonts, render
from tests.unit.domain.test_certificates import CERTIFICATE

ADDRESS = "https://patches.example/certificates/" + "ab" * 32
NAMES = {
    "Latin": "Žižkův Þór Ñandú Nguyễn Ægir",
    "Greek": "Μπουφάν",
    "Cyrillic": "Куртка Їжак",
    "Arabic": "سترة المطر",
    "Hebrew": "מעיל גשם",
    "Devanagari": "रेन जैकेट",
    "Bengali": "বৃষ্টি",
    "Tamil": "மழை",
    "Thai": "เสื้อกันฝน",
    "Georgian": "წვიმის",
    "Armenian": "Անձրև",
    "Chinese": "防水夹克 雨衣 風衣",
    "Japanese": "レインジャケット 雨具",
    "Korean": "비옷 재킷",
}


def named(name: str) -> Sheet:
    return Sheet(replace(CERTIFICATE, product=(("name", name),)), "Brand", ADDRESS)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_letters_of_the_world_have_their_shapes(name: str) -> None:
    assert "\ufffd" not in clean(name)

    pages = PdfReader(BytesIO(render(named(name)))).pages

    assert len(pages) == 1
    fonts = pages[0]["/Resources"]["/Font"]  # type: ignore[index]
    assert all(
        "/FontFile2" in font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        for font in fonts.values()
    )


def test_only_the_fonts_that_are_needed_are_read() -> None:
    assert needed_fonts("Jacket Куртка") == []
    assert needed_fonts("雨") == ["DroidSansFallback"]
    assert set(needed_fonts("".join(NAMES.values()))) == set(FALLBACKS)


def test_what_deceives_or_has_no_letter_is_marked() -> None:
    assert clean("a\u202eb\u200bc\x00") == "abc"
    assert clean("\U0001f9e5 coat") == "\ufffd coat"
    assert clean("e\u0301") == "é"


@pytest.mark.parametrize("letter", ["x", "漢", "W ", "\U0001f9e5", "ب", "x漢"])
def test_what_is_as_long_as_can_be_fits_the_page(letter: str) -> None:
    whole = (letter * 256)[:256]
    product = tuple((name, whole) for name in ("name", "category", "sku", "serial_number"))
    sheet = Sheet(
        replace(CERTIFICATE, product=(*product, ("material", whole)), uid_tag_id=whole[:128]),
        whole[:80],
        ADDRESS,
    )

    (page,) = PdfReader(BytesIO(render(sheet))).pages

    assert ADDRESS in "".join(page.extract_text().split())


def test_the_same_sheet_gives_the_same_bytes() -> None:
    first = render(named("雨 Jacket"))
    render.cache_clear()
    assert render(named("雨 Jacket")) == first
