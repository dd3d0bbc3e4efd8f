import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.canonical import NotCanonicalError, canonical_json, sha256_hex

CASES = json.loads(
    (Path(__file__).parents[2] / "vectors" / "jcs.json").read_text(encoding="utf-8")
)["cases"]


def reads_back_as_float(number: float) -> bool:
    """Tell apart the floats that JSON writes as integers too large to be read as a double."""
    return not 2**53 <= abs(number) < 1e21


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(reads_back_as_float)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_public_cases_are_met_byte_for_byte(case: dict[str, str]) -> None:
    assert canonical_json(json.loads(case["input"])) == case["output"].encode()


@given(values)
def test_canonical_json_is_json_and_a_fixed_point(value: Any) -> None:
    raw = canonical_json(value)
    again = json.loads(raw)
    assert again == value
    assert canonical_json(again) == raw


@given(st.dictionaries(texts, st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_f11_the_order_of_members_does_not_matter(members: dict[str, int], random: Any) -> None:
    pairs = list(members.items())
    random.shuffle(pairs)
    assert canonical_json(dict(pairs)) == canonical_json(members)


def test_members_are_sorted_by_utf_16_not_by_code_point() -> None:
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}) == (
        '{"\U0001f600":2,"\ufb33":1}'.encode()
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (4.50, "4.5"),
        (333333333.33333329, "333333333.3333333"),
    ],
)
def test_numbers_are_written_as_ecmascript_does(number: float, text: str) -> None:
    assert canonical_json(number).decode() == text


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**53, -(2**53), "\ud800", {"\udc00": 1}, {1: 2}, {1, 2}, b"x", object()],
)
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(NotCanonicalError):
        canonical_json({"metadata": value})


def test_nesting_without_end_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotCanonicalError):
        canonical_json(value)


@given(st.binary(max_size=100))
def test_sha256_hex_is_one_plain_hash(data: bytes) -> None:
    assert sha256_hex(data) == hashlib.sha256(data).hexdigest()
