"""Codes: six digits, each as likely as any other, and hashes that tell nothing without the key."""

from __future__ import annotations

import secrets

import bcrypt
import pytest

from app.domain.codes import hash_code, is_code, make_code

KEY = b"the master secret"
ADDRESS = "owner@home.example"


def test_codes_have_six_digits_and_are_not_alike() -> None:
    made = [make_code() for _ in range(1000)]

    assert all(100_000 <= int(code) <= 999_998 and len(code) == 6 for code in made)
    assert len(set(made)) > 950


def test_every_value_can_be_drawn_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[int] = []

    def draw(position: int, bound: int) -> int:
        bounds.append(bound)
        return 0 if position == 0 else bound - 1

    drawn = []
    for position in (0, 1):
        monkeypatch.setattr(secrets, "randbelow", lambda bound, at=position: draw(at, bound))
        drawn.append(make_code())

    assert drawn == ["100000", "999998"]
    assert bounds == [899_999, 899_999]


def test_a_hash_is_of_one_code_for_one_address_with_one_key() -> None:
    code_hash = hash_code("123456", ADDRESS, key=KEY, cost=4)

    assert is_code("123456", ADDRESS, code_hash, key=KEY)
    assert not is_code("123457", ADDRESS, code_hash, key=KEY)
    assert not is_code("123456", "stranger@away.example", code_hash, key=KEY)
    assert not is_code("123456", ADDRESS, code_hash, key=b"another secret")
    assert not bcrypt.checkpw(b"123456", code_hash.encode())


def test_hashes_are_salted_and_cost_what_is_asked_for() -> None:
    first, second = (hash_code("123456", ADDRESS, key=KEY, cost=4) for _ in range(2))

    assert first != second
    assert first.startswith("$2b$04$")
    assert hash_code("123456", ADDRESS, key=KEY, cost=6).startswith("$2b$06$")


def test_a_long_address_counts_to_its_end() -> None:
    """Bcrypt itself would stop after 72 bytes."""
    long = "o" * 60 + "@" + "h" * 60 + ".example"

    assert not is_code("123456", long, hash_code("123456", long + "s", key=KEY, cost=4), key=KEY)
