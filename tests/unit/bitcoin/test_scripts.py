import bitcoinx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.bitcoin.errors import InvalidScriptError
from app.bitcoin.keys import PrivateKey
from app.bitcoin.scripts import (
    P2PKH_UNLOCKING_SIZE,
    data_locking_script,
    find_p2pkh_hash160,
    p2pkh_locking_script,
    p2pkh_unlocking_script,
    parse_data_script,
    push,
    script_hash,
)


@given(st.binary(min_size=20, max_size=20))
def test_p2pkh_round_trips(hash160: bytes) -> None:
    script = p2pkh_locking_script(hash160)
    assert len(script) == 25
    assert find_p2pkh_hash160(script) == hash160
    assert find_p2pkh_hash160(script + b"\x51") is None
    assert find_p2pkh_hash160(script[:-1]) is None


@given(st.binary(max_size=30))
def test_any_bytes_pay_a_key_or_not(script: bytes) -> None:
    hash160 = find_p2pkh_hash160(script)
    assert hash160 is None or p2pkh_locking_script(hash160) == script


@pytest.mark.parametrize("size", [0, 19, 21, 32])
def test_a_hash_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidScriptError):
        p2pkh_locking_script(bytes(size))


@given(st.integers(1, 2**250), st.binary(min_size=32, max_size=32))
def test_the_unlocking_script_is_never_larger_than_planned(secret: int, digest: bytes) -> None:
    key = PrivateKey.from_bytes(secret.to_bytes(32, "big"))
    script = p2pkh_unlocking_script(key.sign(digest), key.public_key.to_bytes())
    assert len(script) <= P2PKH_UNLOCKING_SIZE


@given(st.one_of(st.binary(max_size=300), st.binary(min_size=1, max_size=1)))
@example(b"")
@example(b"\x81")
@example(bytes(75))
@example(bytes(76))
@example(bytes(255))
@example(bytes(256))
@example(bytes(65535))
@example(bytes(65536))
def test_pushes_are_the_shortest_by_another_library_too(data: bytes) -> None:
    assert push(data) == bitcoinx.push_item(data)


@given(st.lists(st.one_of(st.binary(max_size=300), st.binary(min_size=1, max_size=1)), max_size=6))
def test_data_scripts_round_trip(pushes: list[bytes]) -> None:
    assert parse_data_script(data_locking_script(pushes)) == pushes


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_data_script_or_an_error(raw: bytes, has_prefix: bool) -> None:
    script = b"\x00\x6a" + raw if has_prefix else raw
    try:
        assert data_locking_script(parse_data_script(script)) == script
    except InvalidScriptError:
        return


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("", "OP_RETURN"),
        ("6a0568656c6c6f", "OP_RETURN"),
        ("006a05", "within a push"),
        ("006a4c", "within a push"),
        ("006a4dff", "within a push"),
        ("006a4effffffff00", "within a push"),
        ("006a4c0161", "longer way"),
        ("006a0101", "longer way"),
        ("006a4d010061", "longer way"),
        ("006aac", "pushes no data"),
        ("006a50", "pushes no data"),
        ("006a0161ff", "pushes no data"),
    ],
)
def test_other_scripts_are_no_data(script: str, match: str) -> None:
    with pytest.raises(InvalidScriptError, match=match):
        parse_data_script(bytes.fromhex(script))


def test_script_hash_is_the_reversed_hash_of_the_script() -> None:
    assert script_hash(b"") == "55b852781b9995a44c939b64e441ae2724b96f99c8f4fb9a141cfc9842c4b0e3"
