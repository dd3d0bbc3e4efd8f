"""What is a key and what only looks like one."""

from __future__ import annotations

import re

import pytest

from app.domain.api_keys import SCOPE_MEANINGS, KeyText, Scope

GOOD = b"pp_" + b"0a" * 6 + b"_" + b"9f" * 32


def test_a_new_key_can_be_read_back() -> None:
    made = KeyText.generate()
    assert re.fullmatch(r"pp_[0-9a-f]{12}_[0-9a-f]{64}", made.text)
    assert KeyText.parse(made.text.encode()) == made
    assert made.text.split("_")[1] == made.prefix


def test_the_secret_has_256_bits_that_nobody_chose() -> None:
    secrets = {KeyText.generate().text.split("_")[2] for _ in range(200)}
    assert len(secrets) == 200
    # Each bit of 200 secrets is 0 for all of them once in 2**200.
    joined = [int(secret, 16) for secret in secrets]
    ones = 0
    for each in joined:
        ones |= each
    assert ones == 2**256 - 1


def test_the_hash_is_over_the_whole_text() -> None:
    a, b = (KeyText.parse(GOOD.replace(b"0a" * 6, prefix * 6)) for prefix in (b"0a", b"0b"))
    assert a is not None
    assert b is not None
    assert a.hash_hex != b.hash_hex
    assert re.fullmatch(r"[0-9a-f]{64}", a.hash_hex)


def test_a_key_does_not_show_when_it_is_printed() -> None:
    made = KeyText.generate()
    assert made.text not in repr(made)
    assert made.prefix in repr(made)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"pp",
        b"pp__",
        b"pp_" + b"0" * 12,
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"\n",
        GOOD + b" ",
        b" " + GOOD,
        b"\x00" + GOOD,
        GOOD + b"\x00",
        GOOD.upper(),
        GOOD.replace(b"pp", b"PP"),
        GOOD.replace(b"_", b"-"),
        GOOD.replace(b"9f", "9\N{FULLWIDTH DIGIT ONE}".encode()),
        GOOD.replace(b"9", b"\xb2"),
        GOOD + b"," + GOOD,
        b"pp_" + b"0" * 10_000,
        b"\xff" * 10_240,
    ],
    ids=lambda given: repr(given[:16]),
)
def test_what_is_no_key_is_none(given: bytes) -> None:
    assert KeyText.parse(given) is None


def test_every_scope_says_what_it_opens() -> None:
    assert set(SCOPE_MEANINGS) == set(Scope)
    assert {scope.value for scope in Scope} == {"patches:write", "admin", "pos", "metrics"}
