import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st

from app.bitcoin.curve import N
from app.bitcoin.errors import InvalidSignatureError
from app.bitcoin.signatures import is_low_s, is_strict_der, parse_signature_der

HALF = N // 2
scalars = st.one_of(st.integers(0, 300), st.integers(0, 2**256 - 1), st.integers(N - 3, N + 3))


def reason_of(text: str) -> str:
    with pytest.raises(InvalidSignatureError) as caught:
        parse_signature_der(text)
    return caught.value.reason


@given(scalars, scalars)
@example(1, HALF)
@example(1, HALF + 1)
def test_what_another_library_encodes_is_strict_and_sorted_by_its_numbers(r: int, s: int) -> None:
    der = encode_dss_signature(r, s)
    assert is_strict_der(der)
    assert is_low_s(der) == (s <= HALF)
    if 1 <= r < N and 1 <= s <= HALF:
        assert parse_signature_der(der.hex().upper()) == der
    else:
        in_range = 1 <= r < N and 1 <= s < N
        assert reason_of(der.hex()) == ("high_s" if in_range else "out_of_range")


@given(st.integers(1, N - 1), st.integers(1, HALF), st.data())
def test_one_changed_byte_gives_an_error_or_the_encoding_of_other_numbers(
    r: int, s: int, data: st.DataObject
) -> None:
    raw = bytearray(encode_dss_signature(r, s))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        der = parse_signature_der(bytes(raw).hex())
    except InvalidSignatureError:
        return
    r_size = der[3]
    numbers = int.from_bytes(der[4 : 4 + r_size], "big"), int.from_bytes(der[6 + r_size :], "big")
    assert encode_dss_signature(*numbers) == bytes(raw)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_signature_or_an_error(raw: bytes) -> None:
    try:
        der = parse_signature_der(raw.hex())
    except InvalidSignatureError:
        return
    assert der == raw


@given(st.text(max_size=30))
def test_any_text_is_a_signature_or_an_error(text: str) -> None:
    with pytest.raises(InvalidSignatureError):
        parse_signature_der(text)


@pytest.mark.parametrize(
    "text", ["", "zz", "300", "30 06 020101020101", "300602010102\uff10\uff1101", None]
)
def test_other_text_is_not_hex(text: str) -> None:
    assert reason_of(text) == "not_hex"


@pytest.mark.parametrize(
    "text",
    [
        "3006020101020101" + "00",  # a byte left over
        "30060201010201",  # cut short
        "308106020101020101",  # long form of a length
        "3007020200010201" + "01",  # r padded
        "300702010102020001",  # s padded
        "3006020181020101",  # r negative
        "3006020101020181",  # s negative
        "30050200020101",  # r empty
        "3106020101020101",  # no sequence
        "3006030101020101",  # r no integer
        "3006020101030101",  # s no integer
        "3006020101020101" + "41",  # with its sighash byte
        "3046022100" + "ff" * 32 + "022100" + "ff" * 32 + "00",
    ],
)
def test_f29_broken_der_is_refused(text: str) -> None:
    assert reason_of(text) == "not_der"
    assert not is_strict_der(bytes.fromhex(text))
    assert not is_low_s(bytes.fromhex(text))


def test_s19_the_twin_with_high_s_is_refused() -> None:
    assert reason_of(encode_dss_signature(5, N - 7).hex()) == "high_s"
    assert parse_signature_der(encode_dss_signature(5, 7).hex())
