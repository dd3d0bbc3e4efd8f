"""The mathematics of a login against the published vectors and against its own laws."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import assume, given
from hypothesis import strategies as st

from app.bitcoin.keys import N, PrivateKey
from app.domain import svd
from app.domain.messages import key_registration_message, key_rotation_message

VECTORS: list[dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "svd.json").read_text()
)["vectors"]
CLIENT = PrivateKey.from_hex("11" * 32)
NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
digests = st.binary(min_size=32, max_size=32)
secrets = st.integers(1, N - 1).map(lambda number: number.to_bytes(32, "big"))


@pytest.mark.parametrize("vector", VECTORS, ids=["first", "short X"])
def test_the_published_secret_gives_the_published_proof(vector: dict[str, str]) -> None:
    digest = svd.challenge_digest(bytes.fromhex(vector["challenge"]))
    secret = bytes.fromhex(vector["shared_secret"])
    assert svd.login_proof(vector["user_id"], digest, secret) == vector["svd_proof"]


def test_a_secret_of_a_padded_x_gives_another_proof() -> None:
    vector = VECTORS[1]
    digest = svd.challenge_digest(bytes.fromhex(vector["challenge"]))
    padded = bytes.fromhex(vector["shared_secret_of_padded_x"])
    assert svd.login_proof(vector["user_id"], digest, padded) != vector["svd_proof"]


def test_every_step_of_the_first_vector() -> None:
    vector = VECTORS[0]
    digest = svd.challenge_digest(bytes.fromhex(vector["challenge"]))
    key = svd.one_time_key(PrivateKey.from_hex(vector["pmc"]).public_key, digest)
    assert digest.hex() == vector["m"]
    assert key.to_hex() == vector["v2c"]
    assert CLIENT.add(svd.tweak(digest)).to_bytes().hex() == vector["p2c"]
    assert key.verify(bytes.fromhex(vector["signature"]), digest)
    assert CLIENT.add(svd.tweak(digest)).sign(digest).hex() == vector["signature"]


def test_the_proof_is_not_that_of_rfc_5869() -> None:
    vector = VECTORS[0]
    secret, salt = bytes.fromhex(vector["shared_secret"]), bytes.fromhex(vector["proof_salt"])
    standard = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"JWT-Token").derive(secret)
    assert standard.hex() != vector["svd_proof"]


def assume_usable(secret: bytes, digest: bytes) -> None:
    """Leaves out what is tested below: no tweak, and a sum at infinity."""
    h = int.from_bytes(digest, "big")
    assume(h % N and (h + int.from_bytes(secret, "big")) % N)


@given(secret=secrets, digest=digests)
def test_both_sides_reach_the_same_one_time_key(secret: bytes, digest: bytes) -> None:
    assume_usable(secret, digest)
    master = PrivateKey.from_bytes(secret)
    ours = svd.one_time_key(master.public_key, digest)
    theirs = master.add(svd.tweak(digest))
    assert ours == theirs.public_key
    assert ours.verify(theirs.sign(digest), digest)


@given(secret=secrets, digest=digests, other=digests)
def test_a_login_signs_its_own_challenge_only(secret: bytes, digest: bytes, other: bytes) -> None:
    assume(digest != other)
    assume_usable(secret, digest)
    assume_usable(secret, other)
    master = PrivateKey.from_bytes(secret)
    signature = master.add(svd.tweak(digest)).sign(digest)
    assert not svd.one_time_key(master.public_key, other).verify(signature, other)
    assert not master.public_key.verify(signature, digest)


@pytest.mark.parametrize("number", [0, N], ids=["zero", "n"])
def test_a_challenge_without_a_tweak_is_refused(number: int) -> None:
    with pytest.raises(svd.UnusableChallengeError):
        svd.one_time_key(CLIENT.public_key, number.to_bytes(32, "big"))


def test_a_sum_at_infinity_is_refused() -> None:
    opposite = N - int.from_bytes(CLIENT.to_bytes(), "big")
    with pytest.raises(svd.UnusableChallengeError):
        svd.one_time_key(CLIENT.public_key, opposite.to_bytes(32, "big"))


def test_the_tweak_is_taken_modulo_the_order() -> None:
    beyond = (N + 5).to_bytes(32, "big")
    assert svd.one_time_key(CLIENT.public_key, beyond) == svd.one_time_key(
        CLIENT.public_key, (5).to_bytes(32, "big")
    )


def test_a_challenge_begins_with_its_time_and_is_never_the_same() -> None:
    made = {svd.make_challenge(NOW) for _ in range(50)}
    assert len(made) == 50
    assert {len(challenge) for challenge in made} == {24}
    assert {svd.challenge_time(challenge) for challenge in made} == {NOW}


@given(challenge=st.binary(min_size=24, max_size=24))
def test_any_challenge_has_a_time_or_none(challenge: bytes) -> None:
    moment = svd.challenge_time(challenge)
    assert moment is None or moment.timestamp() == int.from_bytes(challenge[:8], "big")


@given(user_id=st.from_regex(r"[0-9a-fA-F]{24}", fullmatch=True), digest=digests, secret=digests)
def test_the_proof_depends_on_the_spelling_of_the_user(
    user_id: str, digest: bytes, secret: bytes
) -> None:
    proof = svd.login_proof(user_id, digest, secret)
    swapped = user_id.swapcase()
    assert (svd.login_proof(swapped, digest, secret) == proof) == (swapped == user_id)


def test_messages_of_keys_are_these_bytes() -> None:
    made: dict[str, Any] = {
        "register": key_registration_message("507f1f77bcf86cd799439011", "02ab", "cafe"),
        "rotate": key_rotation_message("507f1f77bcf86cd799439011", "02ab", "cafe"),
    }
    assert made == {
        "register": b'{"purpose":"register_svd_key","userId":"507f1f77bcf86cd799439011",'
        b'"pmcHex":"02ab","nonce":"cafe"}',
        "rotate": b'{"purpose":"rotate_svd_key","userId":"507f1f77bcf86cd799439011",'
        b'"newPmcHex":"02ab","nonce":"cafe"}',
    }
