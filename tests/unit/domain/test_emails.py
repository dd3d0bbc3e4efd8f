"""One spelling for each address, and no address that is none."""

from __future__ import annotations

import pytest

from app.domain.emails import normalise_email, parse_sender


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner@home.example", "owner@home.example"),
        ("  Owner@Home.EXAMPLE\r\n", "owner@home.example"),
        ("first.last+tag@mail.home.example", "first.last+tag@mail.home.example"),
        ("owner@Bücher.example", "owner@xn--bcher-kva.example"),
        ("owner@xn--bcher-kva.example", "owner@xn--bcher-kva.example"),
        ("o'hara@example.com", "o'hara@example.com"),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str) -> None:
    assert normalise_email(text) == expected
    assert normalise_email(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "owner",
        "@home.example",
        "owner@",
        "owner@home",
        "owner@localhost",
        "owner@127.0.0.1",
        "owner@[127.0.0.1]",
        "owner@home..example",
        "owner@-home.example",
        "two@at@home.example",
        "owner@home.example, thief@away.example",
        "Owner <owner@home.example>",
        "owner@home.example\r\nBcc: thief@away.example",
        "owner\x00@home.example",
        "owner@home.example\x00",
        '"owner\r\n"@home.example',
        '" "@home.example',
        "ow ner@home.example",
        "\ud800@home.example",
        "o" * 65 + "@home.example",
        "owner@" + "h" * 250 + ".example",
        # In lower case these would be somebody else's: the Kelvin sign and a dotted I.
        "\u212aate@home.example",
        "\u0130an@home.example",
        "\uff4fwner@home.example",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="email address"):
        normalise_email(text)


def test_the_sender_may_have_a_name() -> None:
    named = parse_sender('"Näh, Söhne" <codes@shop.example>')
    assert (named.display_name, named.addr_spec) == ("Näh, Söhne", "codes@shop.example")
    assert parse_sender(str(named)) == named
    assert parse_sender("codes@shop.example").display_name == ""
    with pytest.raises(ValueError, match="email address"):
        parse_sender("Shop")
