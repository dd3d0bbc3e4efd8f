import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidTransactionError
from app.bitcoin.serialization import ByteReader, bytes_from_hex, pack_varbytes, pack_varint


def reader_of(raw: bytes) -> ByteReader:
    return ByteReader(raw, InvalidTransactionError, "The stream")


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_varint_round_trips(number: int) -> None:
    reader = reader_of(pack_varint(number))
    assert reader.read_varint() == number
    reader.expect_end()


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (0xFC, "fc"),
        (0xFD, "fdfd00"),
        (0xFFFF, "fdffff"),
        (0x10000, "fe00000100"),
        (0xFFFFFFFF, "feffffffff"),
        (0x100000000, "ff0000000001000000"),
    ],
)
def test_varint_changes_its_width_at_the_known_limits(number: int, encoded: str) -> None:
    assert pack_varint(number).hex() == encoded


@pytest.mark.parametrize("encoded", ["fd0000", "fdfc00", "feffff0000", "ffffffffff00000000"])
def test_a_varint_longer_than_needed_is_refused(encoded: str) -> None:
    with pytest.raises(InvalidTransactionError, match="minimally"):
        reader_of(bytes.fromhex(encoded)).read_varint()


@given(st.binary(max_size=40))
def test_any_bytes_are_one_varint_or_an_error(raw: bytes) -> None:
    reader = reader_of(raw)
    try:
        number = reader.read_varint()
    except InvalidTransactionError:
        return
    assert pack_varint(number) == raw[: len(raw) - reader.remaining]


def test_a_count_that_the_rest_cannot_hold_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(InvalidTransactionError, match="ends too early"):
        reader_of(bytes.fromhex("ffffffffffffffffff") + bytes(100)).read_count(1)


def test_bytes_cut_short_and_bytes_left_over_are_refused() -> None:
    with pytest.raises(InvalidTransactionError, match="ends too early"):
        reader_of(pack_varbytes(b"abc")[:-1]).read_varbytes()
    with pytest.raises(InvalidTransactionError, match="2 bytes too many"):
        reader_of(b"ab").expect_end()


@pytest.mark.parametrize("text", ["0", "0g", "00 11", " 00", "00\n", "0x00", "é0", "\uff10\uff10"])
def test_other_text_is_no_hex(text: str) -> None:
    with pytest.raises(InvalidTransactionError, match="not hexadecimal"):
        bytes_from_hex(text, InvalidTransactionError, "The stream")


@given(st.text(max_size=20))
def test_any_text_is_hex_or_an_error(text: str) -> None:
    try:
        raw = bytes_from_hex(text, InvalidTransactionError, "The stream")
    except InvalidTransactionError:
        return
    assert raw.hex() == text.lower()
