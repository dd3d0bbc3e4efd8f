"""The login secret against the published vectors and the client's half of the mathematics."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bitcoin.keys import N, PrivateKey
from signer.errors import RequestRefusedError
from signer.svd import derive_shared_secret, shared_x

CLIENT = PrivateKey.from_hex("11" * 32)
SERVER = PrivateKey.from_hex("22" * 32)

VECTOR_1 = (
    "000000006500000000112233445566778899aabbccddeeff",
    "ff5444916d46702b9c4f10d0bd8061dd53d5147655fee3a002fa894d0367e850",
    "0587c79a7d57eb5488532bd3a5ee35e99dd5edfb7e3557ec6ffe53a3cce23976",
)
VECTOR_2 = (
    "000000006500000000000000000000000000000000000028",
    "8304f4db76326170627d697a9713a239d9771a06ce7fc03bddf95f2ce4d461",
    "5e3250c86cccc73d7e4bd46c33851907f912c7c3139017ed6662428edf37a4bb",
)


def tweak_of(challenge: bytes) -> int:
    return int.from_bytes(hashlib.sha256(challenge).digest(), "big")


@pytest.mark.parametrize(("challenge_hex", "x_hex", "secret_hex"), [VECTOR_1, VECTOR_2])
def test_published_vectors(challenge_hex: str, x_hex: str, secret_hex: str) -> None:
    challenge = bytes.fromhex(challenge_hex)
    assert shared_x(SERVER, CLIENT.public_key, tweak_of(challenge)).hex() == x_hex
    assert derive_shared_secret(SERVER, CLIENT.public_key, challenge).hex() == secret_hex


def test_leading_zero_of_x_is_dropped() -> None:
    challenge = bytes.fromhex(VECTOR_2[0])
    assert len(shared_x(SERVER, CLIENT.public_key, tweak_of(challenge))) == 31


@given(challenge=st.binary(min_size=24, max_size=24))
def test_client_reaches_the_same_point(challenge: bytes) -> None:
    """The client multiplies the other way round: p2c * (PMS + h*G)."""
    scalar = (tweak_of(challenge) % N).to_bytes(32, "big")
    point = CLIENT.add(scalar).multiply(SERVER.public_key.add(scalar))
    assert shared_x(SERVER, CLIENT.public_key, tweak_of(challenge)) == (
        point.to_bytes()[1:].lstrip(b"\0")
    )


@pytest.mark.parametrize("tweak", [0, N, 2 * N])
def test_zero_tweak_is_refused(tweak: int) -> None:
    with pytest.raises(RequestRefusedError):
        shared_x(SERVER, CLIENT.public_key, tweak)


def test_point_at_infinity_is_refused() -> None:
    with pytest.raises(RequestRefusedError):
        shared_x(SERVER, CLIENT.public_key, N - int("11" * 32, 16))


def test_zero_server_key_is_refused() -> None:
    with pytest.raises(RequestRefusedError):
        shared_x(SERVER, CLIENT.public_key, N - int("22" * 32, 16))


def test_tweak_is_taken_modulo_the_order() -> None:
    assert shared_x(SERVER, CLIENT.public_key, N + 5) == shared_x(SERVER, CLIENT.public_key, 5)
