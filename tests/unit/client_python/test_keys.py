"""Owners' keys: formats, signatures, and what they show of themselves."""

from __future__ import annotations

import hashlib
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.addresses import Network as AppNetwork
from app.bitcoin.curve import N
from app.bitcoin.keys import PrivateKey, PublicKey
from patchproof_client import Network, OwnerKey
from patchproof_client.base58 import encode_check, find_payload
from patchproof_client.hashes import ripemd160
from patchproof_client.keys import ORDER

SECRET = "11" * 32
scalars = st.integers(1, N - 1)
networks = st.sampled_from(list(Network))


def app_key(secret: int) -> PrivateKey:
    return PrivateKey.from_bytes(secret.to_bytes(32, "big"))


@given(scalars, networks)
def test_address_public_key_and_formats_are_those_of_the_service(
    secret: int, network: Network
) -> None:
    key, theirs = OwnerKey.from_hex(f"{secret:064x}", network), app_key(secret)
    assert key.public_key_hex == theirs.public_key.to_hex()
    assert key.address == theirs.public_key.address(AppNetwork(network.value))
    assert key.to_hex() == theirs.to_bytes().hex()
    assert key.to_wif() == theirs.to_wif(AppNetwork(network.value))
    assert OwnerKey.from_wif(key.to_wif()).address == key.address


@given(scalars, st.binary(min_size=32, max_size=32))
def test_signature_is_the_deterministic_one_with_low_s(secret: int, digest: bytes) -> None:
    key = OwnerKey(secret, Network.MAIN)
    signature = key.sign_digest(digest)
    assert signature == app_key(secret).sign(digest)
    assert PublicKey.from_hex(key.public_key_hex).verify(signature, digest), "strict, low S"


def test_message_is_hashed_once() -> None:
    key = OwnerKey.from_hex(SECRET, Network.MAIN)
    digest = hashlib.sha256(b"a message").digest()
    assert key.sign(b"a message") == key.sign_digest(digest).hex()
    assert PublicKey.from_hex(key.public_key_hex).verify(
        bytes.fromhex(key.sign(b"a message")), digest
    )


def test_generated_keys_differ_and_know_their_network() -> None:
    first, second = (OwnerKey.generate(Network.REGTEST) for _ in range(2))
    assert first.address != second.address
    assert first.address[0] in "mn"
    assert OwnerKey.from_wif(first.to_wif()).network is Network.TEST
    assert OwnerKey.generate("main").address[0] == "1"  # type: ignore[arg-type]  # from a setting


@pytest.mark.parametrize("number", [0, ORDER, ORDER + 1, 2**256 - 1, -1])
def test_numbers_that_are_no_key_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="from 1 to n - 1"):
        OwnerKey(number, Network.MAIN)


@pytest.mark.parametrize("text", ["", "11", SECRET + "11", "0x" + SECRET[2:], "g" * 64, " " * 64])
def test_other_hex_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="64 hex characters") as refused:
        OwnerKey.from_hex(text, Network.MAIN)
    assert len(text) < 3 or text not in str(refused.value)


def wif(version: int, secret: bytes, mark: bytes = b"\x01") -> str:
    return encode_check(bytes([version]) + secret + mark)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KwntMbt59tTsj8xqpqYqRRWufyjGunvhSyeMo3NTYpFYzZbXJ5Hq",
        "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9",
        "0OIl" * 13,
        "1" * 65,
        wif(0x80, bytes(32)),
        wif(0x80, b"\x11" * 32, b""),
        wif(0x80, b"\x11" * 32, b"\x02"),
        wif(0x80, b"\x11" * 31),
        wif(0xB0, b"\x11" * 32),
    ],
)
def test_other_wif_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"private key|number") as refused:
        OwnerKey.from_wif(text)
    assert not text or text not in str(refused.value)


def test_wif_of_elsewhere_is_read() -> None:
    # The example of Bitcoin's wiki for a compressed key.
    key = OwnerKey.from_wif("KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617")
    assert key.to_hex() == "0c28fca386c7a227600b2fe50b7cae11ec86d3bf1fbe471be89827e19d72aa1d"
    assert key.network is Network.MAIN


def test_no_representation_and_no_pickle_gives_the_secret_away() -> None:
    key = OwnerKey.from_hex(SECRET, Network.MAIN)
    shown = f"{key} {key!r} {[key]} {dir(key)}"
    assert "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK9" in shown
    assert "11" * 8 not in shown
    assert str(int(SECRET, 16)) not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_traceback_with_locals_shows_the_address_only() -> None:
    key = OwnerKey.from_hex(SECRET, Network.MAIN)
    try:
        key.sign_digest(b"too short")
    except ValueError as error:
        told = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    assert key.address in told
    assert "11" * 8 not in told
    assert str(int(SECRET, 16)) not in told


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        (b"abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        (b"message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"),
        (b"1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
    ],
    ids=["empty", "abc", "message digest", "eighty"],
)
def test_ripemd160_of_its_authors_vectors(data: bytes, digest: str) -> None:
    assert ripemd160(data).hex() == digest


@given(st.binary(min_size=1, max_size=40))
def test_base58check_there_and_back(payload: bytes) -> None:
    assert find_payload(encode_check(payload)) == payload


@pytest.mark.parametrize(
    "text", ["", "1", "111", "0", "É" * 10, "1Q1pE5vPGEEMqRcVRMbtBK842Y6Pzo6nK8"]
)
def test_text_without_a_checksum_has_no_payload(text: str) -> None:
    assert find_payload(text) is None
